//! The `entrepot` command.

use std::process::ExitCode;

// Built without huge pages: an idle registry would hold eight megabytes for what fits into two.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    entrepot::cli::run()
}
