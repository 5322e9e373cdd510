//! The runtime over real sockets on the loopback.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod admin;
mod drain;
mod http2_limits;
mod limits;
mod mutual_tls;
mod protocol;
mod sendfile;
mod support;
mod tasks;
mod telemetry;
mod tls;
