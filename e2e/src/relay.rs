//! The address of a server that may move: what a virtual address or a database's service name is in
//! production. Clients connect here; connections go to wherever the server is now.
//!
//! It can also cut PostgreSQL connections at the worst moment, which is COMMIT: see [`Relay::cut_commits`].

mod wire;

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use anyhow::Result;
use rand::RngExt as _;

use crate::tcp::{self, Acceptor};
use wire::Commits;

/// A running relay. Dropping it stops the listener and closes all connections.
pub struct Relay {
    acceptor: Acceptor,
    shared: Arc<Shared>,
}

struct Shared {
    target: Mutex<SocketAddr>,
    open: Mutex<Vec<(TcpStream, TcpStream)>>,
    /// Of a thousand COMMITs.
    cut_permille: AtomicU32,
    cut: AtomicU64,
}

impl Relay {
    /// Listens on a port of its own and connects to `target`.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start(target: SocketAddr) -> Result<Self> {
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            open: Mutex::default(),
            cut_permille: AtomicU32::new(0),
            cut: AtomicU64::new(0),
        });
        let serving = shared.clone();
        let address = crate::ports::free_address()?;
        let acceptor = Acceptor::start(address, move |client| serving.serve(client))?;
        Ok(Self { acceptor, shared })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.acceptor.address()
    }

    /// Where connections go from now on.
    pub fn point_to(&self, target: SocketAddr) {
        *lock(&self.shared.target) = target;
    }

    /// Closes every open connection.
    pub fn disconnect(&self) {
        for (client, server) in std::mem::take(&mut *lock(&self.shared.open)) {
            tcp::close(&client, &server);
        }
    }

    /// Cuts so many of a thousand connections at COMMIT: half of them before the server sees it, half after
    /// it has answered and before the client hears it. Either way the client cannot know.
    pub fn cut_commits(&self, permille: u32) {
        self.shared.cut_permille.store(permille, Ordering::Relaxed);
    }

    /// Connections that were cut at COMMIT so far.
    #[must_use]
    pub fn commits_cut(&self) -> u64 {
        self.shared.cut.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.disconnect();
    }
}

impl Shared {
    fn serve(&self, client: TcpStream) {
        let target = *lock(&self.target);
        let Ok(server) = tcp::connect(target) else { return };
        let (Ok(one), Ok(other)) = (client.try_clone(), server.try_clone()) else { return };
        lock(&self.open).push((one, other));
        thread::scope(|scope| {
            scope.spawn(|| tcp::copy(&server, &client));
            self.forward(&client, &server);
        });
        lock(&self.open).retain(|(open, _)| match (open.peer_addr(), client.peer_addr()) {
            (Ok(open), Ok(ours)) => open != ours,
            (open, _) => open.is_ok(),
        });
    }

    /// The client's direction, in which COMMIT is looked for.
    fn forward(&self, client: &TcpStream, server: &TcpStream) {
        let mut commits = Commits::default();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = match tcp::read(client, &mut buffer) {
                Ok(0) | Err(_) => return tcp::close(client, server),
                Ok(count) => count,
            };
            let commit = commits.seen_in(&buffer[..count]);
            if commit && rand::rng().random_range(0..1000) < self.cut_permille.load(Ordering::Relaxed) {
                self.cut.fetch_add(1, Ordering::Relaxed);
                if rand::rng().random_bool(0.5) {
                    // The client hears nothing more; the server gets everything and finishes.
                    let _ = client.shutdown(std::net::Shutdown::Both);
                    let _ = tcp::write(server, &buffer[..count]);
                    let _ = server.shutdown(std::net::Shutdown::Write);
                    return;
                }
                return tcp::close(client, server);
            }
            if tcp::write(server, &buffer[..count]).is_err() {
                return tcp::close(client, server);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it is held")
}

#[cfg(test)]
mod tests;
