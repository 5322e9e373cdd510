//! Debian packages, by apt-get.

use std::process::Command;

use anyhow::{Result, bail};

use crate::process;

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
    let install = ["install", "--quiet", "--yes", "--no-install-recommends"];
    apt_get(&[&install, packages].concat())?;
    Ok(())
}
