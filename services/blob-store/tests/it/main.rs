//! Tests of the blob store over its drivers.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod contract;
mod data_port;
mod faults;
mod port;
mod resume;
mod s3;
mod support;
