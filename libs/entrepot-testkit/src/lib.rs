//! What tests of several crates share: builders of content, and one suite per port that every implementation of it
//! must pass, local or remote. Everything here panics where an expectation does not hold.
#![expect(clippy::unwrap_used, reason = "only tests call this crate, and a panic is how they fail")]

pub mod builders;
pub mod certificates;
pub mod contract;
pub mod proxy;
