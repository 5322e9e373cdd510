//! Child processes, with errors that name the command.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Runs `command` with inherited output; a non-zero exit is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("starting {command:?}"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}

/// Becomes `command`, so that signals to us are signals to it.
///
/// # Errors
/// When it cannot be started; otherwise this never returns.
pub(crate) fn become_command(command: &mut Command) -> Result<()> {
    Err(command.exec()).with_context(|| format!("starting {command:?}"))
}

/// Runs `command` quietly and returns its standard output; its errors are part of ours.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} ended with {}: {}", output.status, last_lines(&String::from_utf8_lossy(&output.stderr), 12));
    }
    String::from_utf8(output.stdout).with_context(|| format!("reading the output of {command:?}"))
}

/// The cargo that started us.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(crate::cache::workspace());
    command
}

/// Finds `program` in `PATH` and where daemons live, which a user's `PATH` may leave out.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/local/go/bin"].map(PathBuf::from))
        .chain(postgres_folders())
        .map(|folder| folder.join(program))
        .find(|candidate| is_program(candidate))
}

/// Where Debian keeps PostgreSQL's programs, the newest version first.
fn postgres_folders() -> Vec<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    folders.sort();
    folders.reverse();
    folders
}

/// True for a file that exists; permissions are left to the kernel, whose message is better than ours.
pub(crate) fn is_program(path: &Path) -> bool {
    path.is_file()
}

/// True when this process may install packages.
pub(crate) fn is_root() -> bool {
    output(Command::new("id").arg("-u")).is_ok_and(|uid| uid.trim() == "0")
}

/// The end of a text.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
