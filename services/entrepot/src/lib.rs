//! Composition: which services run in this process, and how they reach each other.
//!
//! A service is built from its ports. Here, and nowhere else, it is decided whether a port is the
//! service itself ([`embedded`]) or a gRPC client of another process ([`fleet`]).

mod accounts;
pub mod cli;
pub mod config;
mod database;
pub mod embedded;
pub mod fleet;
mod notices;
pub mod process;
mod secret;
mod storage;
#[cfg(feature = "testing")]
pub mod testing;
mod watch;
