//! What a balancer and the proxies that cause faults have in common: a listener with a thread for each
//! connection, and a tunnel between two sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

/// A backend on this machine takes a connection at once or not at all.
pub const CONNECT: Duration = Duration::from_secs(2);
const BUFFER: usize = 128 << 10;

/// A listener that gives every connection to a function, on a thread of its own. Dropping it stops the
/// listener; connections that are open stay.
pub struct Acceptor {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Acceptor {
    /// Listens on `address`; port 0 takes any.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn start(address: SocketAddr, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind(address).with_context(|| format!("listening on {address}"))?;
        let address = listener.local_addr()?;
        let stopped = Arc::new(AtomicBool::new(false));
        let (serve, stop) = (Arc::new(serve), stopped.clone());
        let accept = move || {
            while let Ok((stream, _)) = listener.accept() {
                if stop.load(Ordering::Acquire) {
                    return;
                }
                let serve = serve.clone();
                // Latency of small messages is what a proxy would otherwise add.
                let _ = stream.set_nodelay(true);
                thread::spawn(move || serve(stream));
            }
        };
        Ok(Self { address, stopped, thread: Some(thread::spawn(accept)) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        // Wakes the thread from `accept`; if that fails the listener is gone already.
        if TcpStream::connect_timeout(&self.address, CONNECT).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

/// Connects to a backend on this machine.
///
/// # Errors
/// When it does not listen.
pub fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, CONNECT)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Copies in both directions until both have ended. An end is passed on as an end, a failure closes both.
pub fn tunnel(client: &TcpStream, server: &TcpStream) {
    thread::scope(|scope| {
        scope.spawn(|| copy(server, client));
        copy(client, server);
    });
}

/// One direction of [`tunnel`].
pub fn copy(from: &TcpStream, to: &TcpStream) {
    let mut buffer = vec![0; BUFFER];
    loop {
        match read(from, &mut buffer) {
            Ok(0) => {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            Ok(count) if write(to, &buffer[..count]).is_ok() => {}
            _ => return close(from, to),
        }
    }
}

/// Closes both sockets, whoever else uses them.
pub fn close(one: &TcpStream, other: &TcpStream) {
    let _ = one.shutdown(Shutdown::Both);
    let _ = other.shutdown(Shutdown::Both);
}

/// Reads what is there.
pub(crate) fn read(mut from: &TcpStream, buffer: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match from.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Writes all of it.
pub(crate) fn write(mut to: &TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    to.write_all(bytes)
}
