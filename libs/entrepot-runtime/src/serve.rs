//! The HTTP server: an accept loop of our own around hyper, for HTTP/1.1 and HTTP/2 (by ALPN, or by prior knowledge on
//! plain TCP), with a deadline on everything a client can withhold.
//!
//! | a client that… | is cut after |
//! |---|---|
//! | does not finish its TLS handshake | [`ServeOptions::handshake_timeout`] |
//! | does not finish its request head | [`ServeOptions::header_timeout`]; over HTTP/2 as if it sent nothing |
//! | sends nothing between requests | [`ServeOptions::keep_alive`], whether it answers pings or not |
//! | sends a request body slower than 1 KiB/s | [`ServeOptions::body_stall`] |
//! | does not take its response | [`ServeOptions::write_stall`]; over HTTP/2 the stream alone is reset if it is the stream's window that is full |
//!
//! There is no limit on the time of a whole request: a large layer over a slow line is not an error.
//!
//! Requests carry [`Peer`] in their extensions and, over plain HTTP/1.1, a [`crate::sendfile::FileSender`]. A panic in the
//! service becomes a 500, one in a body cuts its connection; neither ends the process.

mod accept;
mod body;
mod connection;
mod idle;
mod io;
mod options;
mod request;
mod stall;

use std::net::SocketAddr;

pub use accept::Server;
pub use body::{RequestBody, RequestBodyError};
pub use options::ServeOptions;

/// Who sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The other end of the connection.
    pub address: SocketAddr,
    /// Whether the connection is encrypted.
    pub tls: bool,
}
