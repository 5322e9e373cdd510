//! A layer-4 balancer with no stickiness: every connection goes to the next backend that is ready.
//!
//! What a cloud's network balancer does, so that a registry behind it has to do without sticky sessions: two
//! requests of one client meet two gateways.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Result;

use crate::http::{Client, Request};
use crate::tcp::{self, Acceptor};

/// Pause between two looks at a backend's readiness.
const PROBE: Duration = Duration::from_millis(100);

/// A backend.
#[derive(Clone, Copy, Debug)]
pub struct Backend {
    /// Where connections go.
    pub address: SocketAddr,
    /// Where `/readyz` is; none for a backend that is ready whenever it listens.
    pub admin: Option<SocketAddr>,
}

struct Shared {
    backends: Vec<(Backend, AtomicBool)>,
    next: AtomicUsize,
}

/// A running balancer. Dropping it stops it; connections that are open stay.
pub struct Balancer {
    acceptor: Acceptor,
    prober: Option<JoinHandle<()>>,
    stop: Option<mpsc::Sender<()>>,
}

impl Balancer {
    /// Listens on `address` and shares connections among `backends`, all of which count as ready until a
    /// first look says otherwise.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn start(address: SocketAddr, backends: &[Backend]) -> Result<Self> {
        let backends = backends.iter().map(|backend| (*backend, AtomicBool::new(true))).collect();
        let shared = Arc::new(Shared { backends, next: AtomicUsize::new(0) });
        let (stop, stopped) = mpsc::channel();
        let probed = shared.clone();
        let prober = thread::spawn(move || {
            while stopped.recv_timeout(PROBE) == Err(mpsc::RecvTimeoutError::Timeout) {
                probed.probe();
            }
        });
        let acceptor = Acceptor::start(address, move |client| shared.serve(&client))?;
        Ok(Self { acceptor, prober: Some(prober), stop: Some(stop) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.acceptor.address()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(prober) = self.prober.take() {
            let _ = prober.join();
        }
    }
}

impl Shared {
    fn probe(&self) {
        for (backend, ready) in &self.backends {
            if let Some(admin) = backend.admin {
                let answer = Client::new(&admin.to_string(), None, None).send(Request::new("GET", "/readyz"));
                ready.store(answer.is_ok_and(|answer| answer.status == 200), Ordering::Relaxed);
            }
        }
    }

    fn serve(&self, client: &TcpStream) {
        // A client without any backend is cut off, as it is by a real balancer.
        if let Some(server) = self.connect() {
            tcp::tunnel(client, &server);
        }
    }

    /// The next backend that takes a connection: those that are ready first, then, rather than refuse
    /// everybody, the others.
    fn connect(&self) -> Option<TcpStream> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let turn = || (0..self.backends.len()).map(|at| &self.backends[(first + at) % self.backends.len()]);
        let ready = turn().filter(|(_, ready)| ready.load(Ordering::Relaxed));
        let others = turn().filter(|(_, ready)| !ready.load(Ordering::Relaxed));
        ready.chain(others).find_map(|(backend, _)| tcp::connect(backend.address).ok())
    }
}

#[cfg(test)]
mod tests;
