//! Tests of the storage port and its drivers.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod contract;
mod crash;
mod direct;
mod faults;
mod fencing;
mod s3;
mod s3_check;
mod s3_faults;
mod s3_memory;
#[cfg(feature = "s3-server-tests")]
mod s3_server;
mod s3_support;
mod support;
