//! Tests of the storage port and its drivers.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod contract;
mod crash;
mod direct;
mod faults;
mod fencing;
mod support;
