//! What `cargo xtask e2e` hands over, and how a suite says that it cannot run.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

/// Which registry the suites run against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Ours: the path of the `entrepot` program.
    Entrepot(PathBuf),
    /// CNCF Distribution, which proves the harness itself: a suite that fails on both is at fault.
    Distribution,
}

/// The registry under test.
///
/// `ENTREPOT_E2E_BINARY` names our program; `ENTREPOT_E2E_TARGET=distribution` asks for the stand-in.
///
/// # Errors
/// When neither is set: the suites do not guess which build they judge.
pub fn target() -> Result<Target> {
    if std::env::var("ENTREPOT_E2E_TARGET").is_ok_and(|target| target == "distribution") {
        return Ok(Target::Distribution);
    }
    match std::env::var_os("ENTREPOT_E2E_BINARY") {
        Some(path) => Ok(Target::Entrepot(path.into())),
        None => bail!("ENTREPOT_E2E_BINARY is not set: run the suites with `cargo xtask e2e`"),
    }
}

/// The path of a tool, as `cargo xtask e2e` found it (`ENTREPOT_E2E_TOOL_<NAME>`), or why there is none.
///
/// # Errors
/// Text for [`skip`].
pub fn tool(name: &str) -> Result<PathBuf, String> {
    let variable = |kind: &str| format!("ENTREPOT_E2E_{kind}_{}", name.to_uppercase().replace('-', "_"));
    match std::env::var_os(variable("TOOL")) {
        Some(path) => Ok(path.into()),
        None => {
            Err(std::env::var(variable("MISSING"))
                .unwrap_or_else(|_| format!("`cargo xtask e2e` did not provide {name}")))
        }
    }
}

/// Like [`tool`], for code behind a check that the tool is there.
///
/// # Errors
/// When it is not.
pub fn command(name: &str) -> Result<Command> {
    match tool(name) {
        Ok(path) => Ok(Command::new(path)),
        Err(reason) => bail!("{name}: {reason}"),
    }
}

/// True when every one of `tools` is there; otherwise says what is skipped and why.
///
/// # Panics
/// With `CI=true`, where a skip is a failure.
#[must_use]
pub fn have(suite: &str, tools: &[&str]) -> bool {
    for name in tools {
        if let Err(reason) = tool(name) {
            skip(suite, &format!("{name}: {reason}"));
            return false;
        }
    }
    true
}

/// Says that `suite` is skipped.
///
/// # Panics
/// With `CI=true`, where a skip is a failure.
pub fn skip(suite: &str, reason: &str) {
    let in_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!in_ci, "{suite} may not be skipped in CI: {reason}");
    say(&format!("SKIP {suite}: {reason}"));
}

/// One line for the reader of the run, past the test runner's capture.
pub fn say(line: &str) {
    // A closed standard error leaves nobody to tell.
    let _ = writeln!(std::io::stderr(), "e2e: {line}");
}
