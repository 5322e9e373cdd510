//! What the end-to-end suites need and how each thing is had.

mod debian;
mod golang;

use std::path::PathBuf;

use anyhow::Result;

use crate::{cache, process};

/// How a tool comes onto the machine.
#[derive(Clone, Copy)]
pub(crate) enum Source {
    /// A Debian package.
    Debian(&'static str),
    /// A Go program: module path of its `main` package, and version.
    Go(&'static str, &'static str),
    /// A Go program of our own: its folder in the workspace.
    OwnGo(&'static str),
}

/// A program that a suite starts.
#[derive(Clone, Copy)]
pub(crate) struct Tool {
    /// File name of the program.
    pub(crate) name: &'static str,
    source: Source,
}

const fn debian(name: &'static str, package: &'static str) -> Tool {
    Tool { name, source: Source::Debian(package) }
}

const fn go(name: &'static str, module: &'static str, version: &'static str) -> Tool {
    Tool { name, source: Source::Go(module, version) }
}

/// Everything, at the versions that the figures in the documentation were taken with.
const TOOLS: &[Tool] = &[
    debian("docker", "docker.io"),
    debian("dockerd", "docker.io"),
    debian("containerd", "containerd"),
    debian("ctr", "containerd"),
    debian("runc", "runc"),
    debian("podman", "podman"),
    debian("buildah", "buildah"),
    debian("skopeo", "skopeo"),
    debian("busybox", "busybox-static"),
    debian("postgres", "postgresql"),
    debian("redis-server", "redis-server"),
    go("crane", "github.com/google/go-containerregistry/cmd/crane", "v0.22.1"),
    go("oras", "oras.land/oras/cmd/oras", "v1.3.6"),
    go("regctl", "github.com/regclient/regclient/cmd/regctl", "v0.11.7"),
    go("helm", "helm.sh/helm/v3/cmd/helm", "v3.22.0"),
    go("registry", "github.com/distribution/distribution/v3/cmd/registry", "v3.1.2"),
    go("minio", "github.com/minio/minio", "v0.0.0-20260212201848-7aac2a2c5b7c"),
    Tool { name: "otelcol", source: Source::OwnGo("e2e/otelcol") },
    go("conformance", "github.com/opencontainers/distribution-spec/conformance", "v0.0.0-20260831232431-97274622c111"),
];

/// What `ensure` achieved.
pub(crate) struct Inventory {
    /// Every tool that is there, by name and path.
    pub(crate) present: Vec<(&'static str, PathBuf)>,
    /// Every tool that is not, by name and why.
    pub(crate) missing: Vec<(&'static str, String)>,
}

/// Installs what is missing. A tool that cannot be had is listed with the reason, never an error.
pub(crate) fn ensure() -> Result<Inventory> {
    ensure_of(TOOLS.iter())
}

/// Like [`ensure`], for some of the tools.
pub(crate) fn ensure_only(names: &[&str]) -> Result<Inventory> {
    ensure_of(TOOLS.iter().filter(|tool| names.contains(&tool.name)))
}

fn ensure_of(tools: impl Iterator<Item = &'static Tool> + Clone) -> Result<Inventory> {
    let mut inventory = Inventory { present: Vec::new(), missing: Vec::new() };
    let packages = debian::Packages::install(&absent_packages(tools.clone()));
    for tool in tools {
        let found = match tool.source {
            Source::Debian(package) => process::find(tool.name).ok_or_else(|| packages.why_missing(package)),
            Source::Go(module, version) => {
                golang::install(tool.name, module, version, &cache::root()?).map_err(|error| format!("{error:#}"))
            }
            Source::OwnGo(folder) => golang::build(tool.name, &cache::workspace().join(folder), &cache::root()?)
                .map_err(|error| format!("{error:#}")),
        };
        match found {
            Ok(path) => inventory.present.push((tool.name, path)),
            Err(reason) => inventory.missing.push((tool.name, reason)),
        }
    }
    Ok(inventory)
}

/// Installs a Debian package, where that can be done; whether it brought what was wanted is for the caller to see.
pub(crate) fn install_package(package: &'static str) {
    let _ = debian::Packages::install(&[package]);
}

fn absent_packages(tools: impl Iterator<Item = &'static Tool>) -> Vec<&'static str> {
    let mut packages: Vec<&'static str> = tools
        .filter_map(|tool| match tool.source {
            Source::Debian(package) if process::find(tool.name).is_none() => Some(package),
            _ => None,
        })
        .collect();
    packages.dedup();
    packages
}
