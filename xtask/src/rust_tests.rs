//! `cargo xtask test`: every test that needs only Rust.

use anyhow::Result;

use crate::process;

/// The whole workspace but the end-to-end suites, of which only the harness' own unit tests need no tools.
pub(crate) fn run(args: &[String]) -> Result<()> {
    process::run(
        process::cargo().args(["test", "--workspace", "--no-fail-fast", "--exclude", "entrepot-e2e"]).args(args),
    )?;
    process::run(process::cargo().args(["test", "--package", "entrepot-e2e", "--lib"]).args(args))
}
