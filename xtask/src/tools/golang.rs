//! Go programs at exact versions, by `go install`, each in a folder named after its version.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
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

/// The path of the program whose sources are in `folder`, built first if these sources are not in the cache yet.
///
/// # Errors
/// When Go is missing, or what it needs cannot be fetched or built.
pub(crate) fn build(name: &str, folder: &Path, cache: &Path) -> Result<PathBuf> {
    let mut sources = DefaultHasher::new();
    for file in ["main.go", "go.mod", "go.sum"] {
        let path = folder.join(file);
        std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?.hash(&mut sources);
    }
    let program = cache.join("tools").join(format!("{name}@{:016x}", sources.finish())).join(name);
    if process::is_program(&program) {
        return Ok(program);
    }
    let go = process::find("go").context("there is no Go (1.25 or later) on this machine")?;
    println!("tools: building {name}");
    let mut build = Command::new(go);
    build.arg("build").arg("-o").arg(&program).arg(".").current_dir(folder);
    process::output(build.env("GOFLAGS", "-buildvcs=false -mod=readonly"))?;
    Ok(program)
}
