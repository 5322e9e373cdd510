//! Listening sockets, with or without TLS, bound before anything runs so that their addresses are known.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpSocket};

pub use crate::tls::{CertificateFiles, Reload, Tls, TlsError};

/// Connections the kernel queues while the process is busy; capped by `net.core.somaxconn`.
const BACKLOG: u32 = 4096;

/// A socket that could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct BindError {
    /// The address asked for.
    pub address: SocketAddr,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}

/// Binds every address; port 0 picks a free one, see [`TcpListener::local_addr`].
///
/// `[::]` alone also takes IPv4 connections; together with `0.0.0.0` on the same port each takes its own family.
///
/// # Errors
/// The first address that cannot be bound, such as one in use.
pub fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, BindError> {
    addresses
        .iter()
        .map(|address| {
            let any_v4 = addresses.iter().any(|other| other.is_ipv4() && other.port() == address.port());
            bind_one(*address, any_v4).map_err(|source| BindError { address: *address, source })
        })
        .collect()
}

/// Raises the soft limit of open files to the hard one and returns it; 1024 is the usual soft limit and is few for a
/// server whose every connection is a file.
///
/// # Errors
/// The kernel refused.
pub fn raise_open_files_limit() -> io::Result<u64> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit)?;
    }
    Ok(limit.current.unwrap_or(u64::MAX))
}

fn bind_one(address: SocketAddr, v4_beside: bool) -> io::Result<TcpListener> {
    let socket = match address.ip() {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(ip) => {
            let socket = TcpSocket::new_v6()?;
            sockopt::set_ipv6_v6only(&socket, v4_beside || !ip.is_unspecified())?;
            socket
        }
    };
    // A restarted server must not wait for its predecessor's connections to leave TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
