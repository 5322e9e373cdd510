//! `cargo xtask fuzz`: libFuzzer on stable Rust.
//!
//! The coverage pass is reached through plain code generation options, so neither a nightly compiler nor
//! cargo-fuzz is needed; `libfuzzer-sys` builds the engine itself with the machine's C++ compiler.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

use crate::{cache, process};

/// What `cargo fuzz --sanitizer none` passes, less its nightly parts.
const RUSTFLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Ccodegen-units=1";

/// Builds all targets of `fuzz/`, then runs each for `args[0]` seconds (30 unless given).
pub(crate) fn run(args: &[String]) -> Result<()> {
    let seconds: u32 = match args.first() {
        Some(text) => text.parse().with_context(|| format!("{text:?} is not a number of seconds"))?,
        None => 30,
    };
    run_in(&cache::workspace().join("fuzz"), seconds)
}

fn run_in(folder: &Path, seconds: u32) -> Result<()> {
    let manifest = folder.join("Cargo.toml");
    let targets = targets(&manifest)?;
    let programs = build(&manifest)?;
    let failed = Mutex::new(Vec::new());
    let queue = Mutex::new(targets.iter());
    let next = || queue.lock().ok()?.next();
    std::thread::scope(|scope| {
        // A fuzzer keeps one core busy.
        for _ in 0..std::thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(|| {
                while let Some(name) = next() {
                    match fuzz(folder, name, &programs.join(name), seconds) {
                        Ok(line) => println!("fuzz: {name}: {line}"),
                        Err(error) => {
                            println!("fuzz: {name}: FAILED: {error:#}");
                            failed.lock().unwrap_or_else(PoisonError::into_inner).push(name.as_str());
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("fuzz: {} passed, {} failed", targets.len() - failed.len(), failed.len());
    if !failed.is_empty() {
        bail!("fuzz targets found faults: {}", failed.join(", "));
    }
    Ok(())
}

fn targets(manifest: &Path) -> Result<Vec<String>> {
    let text = process::output(
        process::cargo().args(["metadata", "--no-deps", "--format-version", "1"]).arg("--manifest-path").arg(manifest),
    )?;
    let metadata: serde_json::Value = serde_json::from_str(&text)?;
    let names: Vec<String> = metadata["packages"][0]["targets"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|target| target["kind"][0] == "bin")
        .filter_map(|target| target["name"].as_str().map(str::to_owned))
        .collect();
    if names.is_empty() {
        bail!("{} has no targets", manifest.display());
    }
    Ok(names)
}

/// Naming the target triple keeps the coverage pass away from build scripts and procedural macros.
fn build(manifest: &Path) -> Result<PathBuf> {
    let host = process::output(Command::new("rustc").arg("-vV"))?;
    let triple = host.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV names no host")?;
    let target = cache::folder("fuzz/target")?;
    process::run(
        process::cargo()
            .args(["build", "--quiet", "--release", "--target", triple])
            .arg("--manifest-path")
            .arg(manifest)
            .env("CARGO_TARGET_DIR", &target)
            .env("RUSTFLAGS", RUSTFLAGS),
    )?;
    Ok(target.join(triple).join("release"))
}

fn fuzz(folder: &Path, name: &str, program: &Path, seconds: u32) -> Result<String> {
    let corpus = cache::folder(&format!("fuzz/corpus/{name}"))?;
    let artifacts = cache::folder(&format!("fuzz/artifacts/{name}"))?;
    let mut command = Command::new(program);
    command
        .arg(format!("-max_total_time={seconds}"))
        .args(["-rss_limit_mb=512", "-timeout=10", "-print_final_stats=1"])
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(&corpus);
    let seeds = folder.join("seeds").join(name);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    let log = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let from = log.len().saturating_sub(3000);
        bail!("{}: …{}", output.status, &log[log.ceil_char_boundary(from)..]);
    }
    summary(&log).context("the fuzzer printed no statistics")
}

/// Executions, coverage and peak memory, from the engine's last lines.
fn summary(log: &str) -> Option<String> {
    let stat = |name: &str| {
        log.lines()
            .find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name))
            .map(|value| value.trim_start_matches(':').trim())
    };
    let coverage = log.lines().rev().find_map(|line| line.split_once(" cov: ")?.1.split_whitespace().next());
    Some(format!(
        "{} runs, coverage {}, peak {} MB",
        stat("number_of_executed_units")?,
        coverage.unwrap_or("unknown"),
        stat("peak_rss_mb")?
    ))
}

#[cfg(test)]
mod tests;
