//! `cargo run --release -p entrepot-bench -- run`: see `docs/benchmarks.md`.

use std::process::ExitCode;

use clap::Parser;

fn main() -> anyhow::Result<ExitCode> {
    entrepot_bench::execute(entrepot_bench::Cli::parse())
}
