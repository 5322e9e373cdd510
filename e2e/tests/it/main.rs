//! The registry under real clients, the specification's judge, hostile input and SIGKILL.
//!
//! Run by `cargo xtask e2e`, which installs the clients and says where they are.
#![expect(clippy::unwrap_used, reason = "a test reports by panicking")]

mod clients;
mod conformance;
mod engines;
mod fleet;
mod hostile;
mod kill;
mod large;
