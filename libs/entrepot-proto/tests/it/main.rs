//! The adapters joined over in-memory HTTP/2: what goes in at one port comes out at the other.
#![allow(clippy::unwrap_used, clippy::result_large_err, missing_docs, unreachable_pub, reason = "tests")]

mod admission;
mod bodies;
mod failures;
mod fakes;
mod generators;
mod large;
mod round_trips;
mod traces;
