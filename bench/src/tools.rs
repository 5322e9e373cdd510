//! The programs that a run needs: found on the machine, or installed into the cache folder.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::server::ServerKind;

const DISTRIBUTION_MODULE: &str = "github.com/distribution/distribution/v3/cmd/registry";
const DISTRIBUTION_VERSION: &str = "v3.1.2";
/// What our server is started with unless the command line says otherwise.
const OURS_ARGUMENTS: [&str; 7] =
    ["serve", "--listen", "{listen}", "--admin-listen", "{admin}", "--data-dir", "{data}"];

/// A program and what it needs to run.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    path: PathBuf,
    libraries: Option<PathBuf>,
    /// As the program or its installer states it.
    pub(crate) version: String,
}

impl Program {
    #[cfg(test)]
    pub(crate) fn at(path: &str) -> Self {
        Self { path: path.into(), libraries: None, version: String::new() }
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
    }
}

/// All programs of a run; those of servers that do not take part are absent.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) wrk: Program,
    pub(crate) nginx: Option<Program>,
    pub(crate) distribution: Option<Program>,
    /// Program and arguments, with placeholders.
    pub(crate) ours: Option<Vec<String>>,
}

impl Tools {
    /// Finds or installs everything that `servers` need.
    ///
    /// # Errors
    /// Names the program that is missing and what installs it.
    pub(crate) fn install(cache: &Path, servers: &[ServerKind], ours: Option<&str>) -> anyhow::Result<Self> {
        let folder = cache.join("bench");
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let takes_part = |kind| servers.contains(&kind);
        Ok(Self {
            wrk: debian_program("wrk", &["wrk", "libluajit-5.1-2"], &folder)?,
            nginx: takes_part(ServerKind::Nginx)
                .then(|| debian_program("nginx", &["nginx", "libpcre2-8-0"], &folder))
                .transpose()?,
            distribution: takes_part(ServerKind::Distribution).then(|| distribution(&folder)).transpose()?,
            ours: takes_part(ServerKind::Ours)
                .then(|| match ours {
                    Some(line) => Ok(line.split_ascii_whitespace().map(str::to_owned).collect()),
                    None => build_ours(),
                })
                .transpose()?,
        })
    }
}

/// `$ENTREPOT_CACHE`, else `~/.cache/entrepot`.
pub(crate) fn cache_dir() -> anyhow::Result<PathBuf> {
    if let Some(folder) = std::env::var_os("ENTREPOT_CACHE") {
        return Ok(folder.into());
    }
    let home = std::env::var_os("HOME").context("neither ENTREPOT_CACHE nor HOME is set")?;
    Ok(Path::new(&home).join(".cache/entrepot"))
}

/// A program of a Debian package. Packages are unpacked, not installed: that needs no privileges
/// and starts no service.
fn debian_program(name: &str, packages: &[&str], folder: &Path) -> anyhow::Result<Program> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let on_machine = std::env::split_paths(&paths)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|path| path.join(name))
        .find(|path| path.is_file());
    let (path, libraries) = match on_machine {
        Some(path) => (path, None),
        None => {
            let root = folder.join(name);
            if !root.is_dir() {
                unpack(packages, &root).with_context(|| format!("{name} is missing: apt-get install {name}"))?;
            }
            let path = ["usr/bin", "usr/sbin"]
                .iter()
                .map(|bin| root.join(bin).join(name))
                .find(|path| path.is_file())
                .with_context(|| format!("the package has no {name}: apt-get install {name}"))?;
            (path, Some(libraries(&root)))
        }
    };
    let mut program = Program { path, libraries, version: String::new() };
    program.version = version(program.command().arg("-v"))?;
    Ok(program)
}

/// The folder `usr/lib/MACHINE-linux-gnu` of unpacked packages.
fn libraries(root: &Path) -> PathBuf {
    root.join("usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH))
}

/// The first line that a program prints about itself, on either stream; wrk fails after it.
fn version(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let text = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned())
}

/// Fills `root`, which appears only when it is complete.
fn unpack(packages: &[&str], root: &Path) -> anyhow::Result<()> {
    let partial = root.with_extension("partial");
    let downloads = partial.join("packages");
    std::fs::create_dir_all(&downloads).with_context(|| format!("cannot create {}", downloads.display()))?;
    // Its own unprivileged user could not write here.
    let sandbox = ["-o", "APT::Sandbox::User=root"];
    let download = || run(Command::new("apt-get").args(sandbox).arg("download").args(packages).current_dir(&downloads));
    if download().is_err() {
        // A fresh machine has no package lists yet.
        run(Command::new("apt-get").args(["-qq", "update"]))?;
        download()?;
    }
    for entry in std::fs::read_dir(&downloads)? {
        run(Command::new("dpkg-deb").arg("-x").arg(entry?.path()).arg(&partial))?;
    }
    std::fs::rename(&partial, root).with_context(|| format!("cannot create {}", root.display()))
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .with_context(|| format!("cannot run {command:?}"))?;
    ensure!(status.success(), "{command:?} failed: {status}");
    Ok(())
}

fn distribution(folder: &Path) -> anyhow::Result<Program> {
    let bin = folder.join(format!("distribution-{DISTRIBUTION_VERSION}"));
    let path = bin.join("registry");
    if !path.is_file() {
        let module = format!("{DISTRIBUTION_MODULE}@{DISTRIBUTION_VERSION}");
        run(Command::new("go").args(["install", &module]).env("GOBIN", &bin))
            .context("Distribution is missing: it takes a Go toolchain to build it")?;
    }
    Ok(Program { path, libraries: None, version: DISTRIBUTION_VERSION.to_owned() })
}

fn build_ours() -> anyhow::Result<Vec<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let output = Command::new(cargo)
        .args(["build", "--release", "-p", "entrepot", "--message-format", "json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(output.status.success(), "our server does not build");
    let Some(path) = executable(&String::from_utf8_lossy(&output.stdout)) else {
        bail!("the build made no program called entrepot")
    };
    Ok([path].into_iter().chain(OURS_ARGUMENTS.map(str::to_owned)).collect())
}

/// The path of the program in cargo's messages.
fn executable(messages: &str) -> Option<String> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "entrepot")
        .find_map(|message| message["executable"].as_str().map(str::to_owned))
}

#[cfg(test)]
mod tests;
