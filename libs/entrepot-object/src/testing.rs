//! What breaks stores on purpose, and an S3 server to test against.

mod faults;
pub mod s3_proxy;
pub mod s3_server;

pub use faults::{FaultStore, Faults, Op, Stall};
