//! Go programs at exact versions, by `go install`, each in a folder named after its version.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;

/// The program's path, built first if this version is not in the cache yet.
///
/// # Errors
/// When Go is missing or the module cannot be fetched or built.
pub(crate) fn install(name: &str, module: &str, version: &str, cache: &Path) -> Result<PathBuf> {
    let folder = cache.join("tools").join(format!("{name}@{version}"));
    let program = folder.join(name);
    if process::is_program(&program) {
        return Ok(program);
    }
    let go = process::find("go").context("there is no Go (1.25 or later) on this machine")?;
    println!("tools: building {name} {version}");
    process::output(
        Command::new(go)
            .arg("install")
            .arg(format!("{module}@{version}"))
            .env("GOBIN", &folder)
            .env("GOFLAGS", "-buildvcs=false"),
    )?;
    Ok(program)
}
