//! `cargo xtask e2e`: the registry under real clients.
//!
//! This command only prepares: it installs tools, builds the registry and hands both to the suites in
//! `e2e/` through environment variables (`e2e/src/environment.rs` reads them).

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::{process, tools};

/// Suites that measure time or memory and so run alone, after all others.
const ALONE: &[&str] = &["kill::", "large::"];

/// Suites over whole fleets, which take as long as all others together: `cargo xtask e2e fleet::`.
const FLEET: &str = "fleet::";

/// What the command line asks for.
#[derive(Debug, Default, PartialEq)]
struct Options {
    filter: Option<String>,
    release: bool,
    target: Option<String>,
}

/// Installs, builds, runs.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let options = parse(args)?;
    let inventory = tools::ensure()?;
    report(&inventory)?;
    let binary = match options.target.as_deref() {
        Some("distribution") => None,
        _ => Some(build_registry(options.release)?),
    };
    let suites = |filters: &[&str], skip: &[&str], threads: &str| {
        let mut command = process::cargo();
        command.args(["test", "--package", "entrepot-e2e", "--test", "it", "--"]);
        command.args(filters).arg("--test-threads").arg(threads);
        for name in skip {
            command.args(["--skip", name]);
        }
        hand_over(&inventory, &mut command);
        match &binary {
            Some(path) => command.env("ENTREPOT_E2E_BINARY", path),
            None => command.env("ENTREPOT_E2E_TARGET", "distribution"),
        };
        process::run(&mut command)
    };
    match &options.filter {
        Some(filter) => suites(&[filter], &[], "1"),
        None => {
            // One client that fails must not keep the kill and size suites from running.
            let together = suites(&[], &[ALONE, &[FLEET]].concat(), "2");
            suites(ALONE, &[FLEET], "1").and(together)
        }
    }
}

/// `cargo xtask fleet up`: becomes the program that keeps a whole fleet running.
pub(crate) fn fleet(args: &[String]) -> Result<()> {
    let Some(("up", rest)) = args.split_first().map(|(command, rest)| (command.as_str(), rest)) else {
        bail!("`cargo xtask fleet up` is all there is; `cargo xtask fleet up --help` lists its options");
    };
    let (release, rest): (Vec<&String>, Vec<&String>) = rest.iter().partition(|arg| *arg == "--release");
    let inventory = tools::ensure_only(&["postgres", "redis-server", "minio"])?;
    let registry = build_registry(!release.is_empty())?;
    let fleet = build(&["--package", "entrepot-e2e", "--bin", "fleet"])?;
    let mut command = std::process::Command::new(fleet);
    command.args(rest).env("ENTREPOT_E2E_BINARY", registry);
    hand_over(&inventory, &mut command);
    process::become_command(&mut command)
}

/// Tells `command` where the tools are, and why others are not there.
fn hand_over(inventory: &tools::Inventory, command: &mut std::process::Command) {
    for (name, path) in &inventory.present {
        command.env(variable("TOOL", name), path);
    }
    for (name, reason) in &inventory.missing {
        command.env(variable("MISSING", name), reason);
    }
}

/// Installs only.
pub(crate) fn install() -> Result<()> {
    report(&tools::ensure()?)
}

fn report(inventory: &tools::Inventory) -> Result<()> {
    for (name, path) in &inventory.present {
        println!("tools: {name}: {}", path.display());
    }
    for (name, reason) in &inventory.missing {
        println!("tools: {name}: SKIPPED, {reason}");
    }
    if !inventory.missing.is_empty() && std::env::var_os("CI").is_some_and(|ci| ci == "true") {
        bail!("CI=true: every tool has to be there");
    }
    Ok(())
}

fn build_registry(release: bool) -> Result<PathBuf> {
    let arguments: &[&str] = if release { &["--package", "entrepot", "--release"] } else { &["--package", "entrepot"] };
    build(arguments)
}

/// Builds a program of the workspace; its path.
fn build(arguments: &[&str]) -> Result<PathBuf> {
    let mut build = process::cargo();
    build.arg("build").args(arguments).args(["--message-format", "json"]).stderr(std::process::Stdio::inherit());
    let output = build.output().context("starting cargo build")?;
    if !output.status.success() {
        bail!("{build:?} ended with {}", output.status);
    }
    executable(&String::from_utf8_lossy(&output.stdout)).with_context(|| format!("{build:?} made no program"))
}

/// The `executable` of the last artifact message that has one.
fn executable(messages: &str) -> Option<PathBuf> {
    messages.lines().rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(PathBuf::from)
    })
}

fn variable(kind: &str, tool: &str) -> String {
    format!("ENTREPOT_E2E_{kind}_{}", tool.to_uppercase().replace('-', "_"))
}

fn parse(args: &[String]) -> Result<Options> {
    let mut options = Options::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--release" => options.release = true,
            "--target" => {
                let target = args.next().context("--target needs a value")?;
                if !["entrepot", "distribution"].contains(&target.as_str()) {
                    bail!("--target {target:?} is neither entrepot nor distribution");
                }
                options.target = Some(target.clone());
            }
            flag if flag.starts_with('-') => bail!("unknown option {flag:?}"),
            filter if options.filter.is_none() => options.filter = Some(filter.to_owned()),
            extra => bail!("one filter only, so {extra:?} is too many"),
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests;
