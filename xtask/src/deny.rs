//! `cargo xtask deny`: what cargo-deny can decide here.

use anyhow::Result;

use crate::{cache, process};

const VERSION: &str = "0.20.2";

/// Licences, bans and sources always; advisories only when their database can be fetched, which is said.
pub(crate) fn run() -> Result<()> {
    let root = cache::folder(&format!("tools/cargo-deny@{VERSION}"))?;
    let program = root.join("bin/cargo-deny");
    if !process::is_program(&program) {
        println!("deny: installing cargo-deny {VERSION}");
        // A build folder of its own: the workspace's would stay locked for minutes.
        let build = root.join("build");
        process::run(
            process::cargo()
                .args(["install", "--quiet", "--locked", "--version", VERSION])
                .arg("--root")
                .arg(&root)
                .arg("cargo-deny")
                .env("CARGO_TARGET_DIR", &build),
        )?;
        std::fs::remove_dir_all(&build)?;
    }
    let deny = || {
        let mut command = std::process::Command::new(&program);
        command.current_dir(cache::workspace());
        command
    };
    process::run(deny().args(["check", "bans", "licenses", "sources"]))?;
    match process::output(deny().args(["fetch", "db"])) {
        Ok(_) => process::run(deny().args(["check", "--disable-fetch", "advisories"])),
        Err(error) => {
            println!("deny: advisories not checked, their database cannot be fetched: {error:#}");
            Ok(())
        }
    }
}
