//! Workers over fakes of the two ports, on paused time.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "tests")]

mod fakes;
mod reaping;
