//! manifest-index over SQLite.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test binary")]

mod caches;
mod contract;
mod migrations;
mod races;
mod records;
mod state_machine;
mod support;
