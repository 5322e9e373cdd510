//! One client's home and registry.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use entrepot_e2e::api::Api;
use entrepot_e2e::environment;
use entrepot_e2e::http::Credentials;
use entrepot_e2e::image::{Blob, Image};
use entrepot_e2e::layout;
use entrepot_e2e::process;
use entrepot_e2e::registry::{Registry, Setup};
use tempfile::TempDir;

/// A registry, and a home folder in which a client finds no configuration but its own.
pub(crate) struct Session {
    pub(super) registry: Rc<Registry>,
    pub(super) api: Api,
    home: TempDir,
}

impl Session {
    pub(super) fn start(setup: &Setup) -> Self {
        Self::with(Rc::new(Registry::start(setup).unwrap()))
    }

    /// A home of its own at a registry that other clients have used before.
    pub(crate) fn with(registry: Rc<Registry>) -> Self {
        let api = registry.api();
        // No capital letters, as the default name has: podman takes a path for a repository's name.
        let name = format!("e2e-home-{}", registry.authority().replace(['.', ':', '[', ']'], "-"));
        let home = tempfile::Builder::new().prefix(&name).rand_bytes(0).tempdir().unwrap();
        std::fs::write(home.path().join("auth.json"), "{}").unwrap();
        Self { registry, api, home }
    }

    /// `host:port/<name>`.
    pub(super) fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.registry.authority())
    }

    /// The home folder.
    pub(super) fn home(&self) -> &Path {
        self.home.path()
    }

    /// A path below the home folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// A new folder below the home folder.
    pub(super) fn folder(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// Writes a file below the home folder.
    pub(super) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    pub(super) fn credentials(&self) -> Option<Credentials> {
        self.registry.credentials()
    }

    /// The authority's certificate; none when the registry speaks plain HTTP.
    pub(super) fn ca(&self) -> Option<&Path> {
        self.registry.ca()
    }

    /// `tool` with this session's home, trusting this session's authority only.
    pub(super) fn command(&self, tool: &str) -> Command {
        let mut command = environment::command(tool).unwrap();
        command
            .current_dir(self.home())
            .env("HOME", self.home())
            .env("XDG_RUNTIME_DIR", self.folder("run"))
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("XDG_DATA_HOME", self.path("share"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("DOCKER_CONFIG", self.folder("docker-config"))
            .env("REGISTRY_AUTH_FILE", self.path("auth.json"))
            .env_remove("DOCKER_HOST")
            .env_remove("SSL_CERT_DIR");
        match self.ca() {
            Some(ca) => command.env("SSL_CERT_FILE", ca),
            None => command.env_remove("SSL_CERT_FILE"),
        };
        command
    }

    /// Runs a tool; its standard output, trimmed.
    pub(super) fn output(&self, tool: &str, args: &[&str]) -> String {
        let text = process::stdout(self.command(tool).args(args)).unwrap_or_else(|error| self.fail(&error));
        text.trim().to_owned()
    }

    /// Runs a tool; both its outputs.
    pub(super) fn run(&self, tool: &str, args: &[&str]) -> String {
        process::run(self.command(tool).args(args)).unwrap_or_else(|error| self.fail(&error))
    }

    /// Runs a tool that has to fail; what it said.
    pub(super) fn refused(&self, tool: &str, args: &[&str]) -> String {
        match process::run(self.command(tool).args(args)) {
            Ok(output) => panic!("{tool} {args:?} succeeded: {output}"),
            Err(error) => error.to_string(),
        }
    }

    fn fail(&self, error: &anyhow::Error) -> ! {
        panic!("{error:#}\n{}", self.registry.logs())
    }

    /// Writes `root` over `images` as an OCI image layout; the folder.
    pub(super) fn layout(&self, folder: &str, root: &Blob, images: &[&Image]) -> String {
        let path = self.folder(folder);
        layout::write(&path, "latest", root, images).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The digest that the registry has under `name` (`repository:tag`), everything below it checked.
    pub(super) fn stored(&self, name: &str) -> String {
        let (repository, tag) = name.rsplit_once(':').unwrap();
        self.api.verify(repository, tag).unwrap_or_else(|error| self.fail(&error))
    }

    /// Deletes the manifest under `name` and every tag of it, for clients that cannot.
    pub(super) fn delete(&self, name: &str) {
        let (repository, tag) = name.rsplit_once(':').unwrap();
        let digest = self.stored(name);
        assert!(self.api.delete_manifest(repository, &digest).unwrap());
        assert!(self.api.manifest(repository, tag).unwrap().is_none());
    }
}

/// The digest of the root manifest of an OCI image layout.
pub(super) fn layout_root(folder: &Path) -> String {
    let index = std::fs::read(folder.join("index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
    index["manifests"][0]["digest"].as_str().unwrap().to_owned()
}
