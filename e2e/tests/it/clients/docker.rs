//! docker, with a daemon of its own: push, pull, and run what was pulled.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use entrepot_e2e::image::{self, Blob, Image, host_architecture};
use entrepot_e2e::process::Daemon;
use entrepot_e2e::{layout, poll, process, tls};

use super::session::Session;

const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn exercise(session: &Session) {
    let docker = Docker::start(session);
    if let Some(user) = session.credentials() {
        docker.run(&["login", "-u", &user.user, "-p", &user.password, &docker.host]);
    }
    let marker = format!("docker on {}", session.registry.authority());
    let image = Image::runnable(&marker).unwrap();
    let one = docker.reference("docker/app:1");
    let archive = session.write("image.tar", layout::docker_archive(&one, &image));
    docker.run(&["load", "--input", archive.to_str().unwrap()]);

    let (first, _) = docker.push(&one);
    assert_eq!(session.stored("docker/app:1"), first);
    let (again, said) = docker.push(&one);
    assert_eq!(again, first);
    assert!(said.contains("Layer already exists"), "{said}");
    let other = docker.reference("docker/other/app:1");
    docker.run(&["tag", &one, &other]);
    let (mounted, said) = docker.push(&other);
    assert_eq!(mounted, first);
    assert!(said.contains("Mounted from docker/app"), "{said}");
    assert_eq!(session.stored("docker/other/app:1"), first);

    docker.run(&["rmi", "--force", &one, &other]);
    let said = docker.run(&["pull", &one]);
    assert!(said.contains(&format!("Digest: {first}")), "{said}");
    assert_eq!(docker.run(&["run", "--rm", "--network=none", &one]), marker);

    let arm = Image::random(&[5_000], "arm64").in_docker_types();
    session.api.push_image("docker/app", "arm", &arm).unwrap();
    let multi = docker.push_index("docker/app:multi", "docker/app:1", &arm);
    docker.run(&["rmi", "--force", &one]);
    let said = docker.run(&["pull", "--platform", &format!("linux/{}", host_architecture()), &multi]);
    assert!(said.contains(&session.stored("docker/app:multi")), "{said}");
    assert_eq!(docker.run(&["run", "--rm", "--network=none", &multi]), marker);

    session.delete("docker/other/app:1");
    let said = docker.refused(&["pull", &other]);
    assert!(said.contains("not found") || said.contains("manifest unknown"), "{said}");
}

/// A daemon that shares nothing with one that the machine may run.
struct Docker<'a> {
    session: &'a Session,
    daemon: Daemon,
    socket: String,
    host: String,
    hosts: PathBuf,
}

impl<'a> Docker<'a> {
    fn start(session: &'a Session) -> Self {
        let port = session.registry.authority().rsplit_once(':').unwrap().1;
        let host = match session.ca() {
            Some(_) => format!("{}:{port}", tls::HOST),
            None => session.registry.authority().to_owned(),
        };
        let hosts = format!("127.0.0.1 localhost\n::1 {}\n", tls::HOST);
        let hosts = session.write("hosts", hosts);
        let socket = format!("unix://{}", session.path("docker.sock").display());
        let config = serde_json::json!({
            "data-root": session.folder("docker-data"),
            "exec-root": session.folder("docker-exec"),
            "pidfile": session.path("docker.pid"),
            "hosts": [socket],
            "storage-driver": "vfs",
            "bridge": "none",
            "iptables": false,
            "ip-forward": false,
            "ip-masq": false,
        });
        let config = session.write("daemon.json", config.to_string());
        let mut command = with_hosts(&hosts, &session.command("dockerd"));
        command.arg("--config-file").arg(config);
        let daemon = Daemon::start("dockerd", session.home(), &mut command).unwrap();
        let mut docker = Self { session, daemon, socket, host, hosts };
        let ready = poll::until("dockerd", PATIENCE, || {
            docker.daemon.check_alive()?;
            process::run(&mut docker.command(&["version"]))
        });
        if let Err(error) = ready {
            panic!("{error:#}\n{}", docker.daemon.log_tail(30));
        }
        docker
    }

    fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.host)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = with_hosts(&self.hosts, &self.session.command("docker"));
        command.args(args).env("DOCKER_HOST", &self.socket).env("DOCKER_CLI_EXPERIMENTAL", "enabled");
        command
    }

    fn run(&self, args: &[&str]) -> String {
        match process::run(&mut self.command(args)) {
            Ok(output) => output.trim().to_owned(),
            Err(error) => {
                panic!("{error:#}\n{}\n{}", self.daemon.log_tail(30), self.session.registry.logs())
            }
        }
    }

    fn refused(&self, args: &[&str]) -> String {
        match process::run(&mut self.command(args)) {
            Ok(output) => panic!("docker {args:?} succeeded: {output}"),
            Err(error) => error.to_string(),
        }
    }

    /// Pushes an index over what is tagged `host` and `arm` in one repository; its reference.
    fn push_index(&self, name: &str, host: &str, arm: &Image) -> String {
        let reference = self.reference(name);
        let (repository, tag) = name.rsplit_once(':').unwrap();
        let api = &self.session.api;
        if self.session.ca().is_some() {
            // Recent versions of this command speak plain HTTP to every loopback address, whatever is there.
            let (_, host_tag) = host.rsplit_once(':').unwrap();
            let host = api.manifest(repository, host_tag).unwrap().unwrap();
            let host = Blob::new(&host.media_type, host.bytes);
            let index = image::index_of(&[(&host, host_architecture()), (&arm.manifest, &arm.architecture)]);
            api.put_manifest(repository, tag, &index).unwrap();
        } else {
            let arm = self.reference(&format!("{repository}:arm"));
            self.run(&["manifest", "create", "--insecure", &reference, &self.reference(host), &arm]);
            let said = self.run(&["manifest", "push", "--insecure", &reference]);
            assert!(said.contains(&self.session.stored(name)), "{said}");
        }
        reference
    }

    /// The digest that docker says the registry gave, and everything it said.
    fn push(&self, name: &str) -> (String, String) {
        let said = self.run(&["push", name]);
        let digest = said
            .split_whitespace()
            .find(|word| word.starts_with("sha256:"))
            .unwrap_or_else(|| panic!("no digest: {said}"));
        (digest.to_owned(), said.clone())
    }
}

impl Drop for Docker<'_> {
    fn drop(&mut self) {
        // Only a daemon that is asked to end also ends the containerd that it started. A failure to end
        // shows in the next test, not here.
        let _ = self.daemon.terminate(PATIENCE);
    }
}

/// `command` in a mount namespace where `/etc/hosts` is `hosts`, so that the machine's stays as it is.
fn with_hosts(hosts: &std::path::Path, command: &Command) -> Command {
    let mut wrapped = Command::new("unshare");
    wrapped
        .args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""])
        .arg(hosts)
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    wrapped.current_dir(command.get_current_dir().unwrap());
    wrapped
}
