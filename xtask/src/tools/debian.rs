//! Debian packages, by apt-get.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process;

/// Asked by every package that would start its service; 101 forbids it.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// The outcome of one installation.
pub(crate) struct Packages {
    failure: Option<String>,
}

impl Packages {
    /// Installs `packages`, all in one run; what could not be had is told by [`Packages::why_missing`].
    pub(crate) fn install(packages: &[&str]) -> Self {
        let failure = if packages.is_empty() {
            None
        } else {
            println!("tools: installing {}", packages.join(" "));
            apt(packages).err().map(|error| format!("{error:#}"))
        };
        Self { failure }
    }

    /// Why `package` did not bring its program.
    pub(crate) fn why_missing(&self, package: &str) -> String {
        match &self.failure {
            Some(failure) => format!("package {package} was not installed: {failure}"),
            None => format!("package {package} is installed but brought no such program"),
        }
    }
}

fn apt(packages: &[&str]) -> Result<()> {
    if process::find("apt-get").is_none() {
        bail!("there is no apt-get on this machine");
    }
    if !process::is_root() {
        bail!("installing packages needs root");
    }
    let apt_get = |arguments: &[&str]| {
        process::output(Command::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive").args(arguments))
    };
    apt_get(&["update", "--quiet"])?;
    // Databases are packages with a service each, and the suites start servers of their own.
    let forbidden = forbid_services()?;
    let install = ["-o", "DPkg::Lock::Timeout=600", "install", "--quiet", "--yes", "--no-install-recommends"];
    let installed = apt_get(&[&install, packages].concat()).map(drop);
    if forbidden {
        std::fs::remove_file(POLICY).with_context(|| format!("removing {POLICY}"))?;
    }
    installed
}

/// Keeps packages from starting services; false where the machine has a policy of its own, which stays.
fn forbid_services() -> Result<bool> {
    if Path::new(POLICY).exists() {
        return Ok(false);
    }
    std::fs::write(POLICY, "#!/bin/sh\nexit 101\n").with_context(|| format!("writing {POLICY}"))?;
    std::fs::set_permissions(POLICY, std::fs::Permissions::from_mode(0o755))?;
    Ok(true)
}
