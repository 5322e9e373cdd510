//! The workspace's chores, one command each: `cargo xtask help` lists them.
//!
//! Kept small and quick to build on purpose: two dependencies, no argument parser.
#![expect(clippy::print_stdout, reason = "a command line tool reports on its standard output")]

mod arch;
mod cache;
mod deny;
mod e2e;
mod engines;
mod fuzz;
mod postgres;
mod process;
mod redis;
mod rust_tests;
mod tools;

use std::process::ExitCode;

use anyhow::{Result, bail};

const HELP: &str = "\
cargo xtask <command>

  test [cargo test arguments]   every test that needs only Rust
  e2e [filter] [--release] [--target entrepot|distribution]
                                real clients, conformance, kill and hostile suites; `e2e fleet::` for those over
                                whole fleets; installs what is missing
  engines [cargo test arguments]
                                the tests of the metadata services on a PostgreSQL started for them
  fleet up [options]            the whole registry as a fleet on this machine, with PostgreSQL, MinIO and Redis
  check-arch                    dependency direction, lints, file sizes
  fuzz [seconds]                build and run every fuzz target (30 s each unless told)
  deny                          licences, bans, sources and, where reachable, advisories
  redis-tests [test arguments]  the tests that need a Redis, on one of their own (Debian package redis-server)
  tools                         install what e2e needs and say what could not be had

Tools and other downloads live in ${ENTREPOT_CACHE:-$HOME/.cache/entrepot}.";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<()> {
    let (command, rest) = match args.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", &[][..]),
    };
    match command {
        "test" => rust_tests::run(rest),
        "e2e" => e2e::run(rest),
        "engines" => engines::run(rest),
        "fleet" => e2e::fleet(rest),
        "check-arch" => arch::run(),
        "fuzz" => fuzz::run(rest),
        "deny" => deny::run(),
        "redis-tests" => redis::test(rest),
        "tools" => e2e::install(),
        "help" | "--help" | "-h" => {
            println!("{HELP}");
            Ok(())
        }
        other => bail!("unknown command {other:?}\n\n{HELP}"),
    }
}
