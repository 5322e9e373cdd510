//! `cargo xtask deny`: what cargo-deny can decide here.

use anyhow::Result;

use crate::{cache, process};

const VERSION: &str = "0.20.2";

/// Licences, bans and sources always; advisories only when their database can be fetched. A CI need not reach it, so even
/// there that is said, in words nobody overlooks, and is no failure.
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
            println!("{}", not_checked(&error, std::env::var_os("CI").is_some()));
            Ok(())
        }
    }
}

fn not_checked(error: &anyhow::Error, ci: bool) -> String {
    let text = format!("deny: advisories were NOT CHECKED, their database cannot be fetched: {error:#}");
    if !ci {
        return text;
    }
    let line = "!".repeat(80);
    let why = "No known vulnerability of a dependency would have been found by this run.";
    format!("{line}\n{text}\n{why}\nRun `cargo xtask deny` where the advisory database can be reached.\n{line}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ci_without_the_database_says_so_loudly() {
        let error = anyhow::anyhow!("no route");
        let (quiet, loud) = (not_checked(&error, false), not_checked(&error, true));
        assert!(quiet.contains("NOT CHECKED") && quiet.contains("no route") && quiet.lines().count() == 1);
        assert!(loud.contains(&quiet) && loud.starts_with("!!!!") && loud.lines().count() == 5);
    }
}
