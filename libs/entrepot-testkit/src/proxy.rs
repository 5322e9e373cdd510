//! A TCP proxy that a test lets fail: it forwards, holds every byte back, takes no connections, or forgets those it has.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the proxy does with bytes and connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Forwards.
    Pass = 0,
    /// Accepts and keeps everything to itself.
    Stall = 1,
    /// Closes every connection, new ones at once.
    Refuse = 2,
}

/// A proxy before one address; it ends when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    target: SocketAddr,
    mode: AtomicU8,
    ended: AtomicBool,
    accepted: AtomicUsize,
    /// The near and the far side of each connection.
    open: Mutex<Vec<[TcpStream; 2]>>,
    /// Connections with a lower number than this are forgotten.
    remembered_from: AtomicUsize,
}

/// How soon a stalled connection notices that the mode has changed.
const GLANCE: Duration = Duration::from_millis(2);

impl Proxy {
    /// Listens on a free port of loopback and forwards to `target`.
    pub fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            target,
            mode: AtomicU8::new(Mode::Pass as u8),
            ended: AtomicBool::new(false),
            accepted: AtomicUsize::new(0),
            open: Mutex::default(),
            remembered_from: AtomicUsize::new(0),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.ended.load(SeqCst) {
                    return;
                }
                let number = accepting.accepted.fetch_add(1, SeqCst);
                accepting.forward(stream, number);
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what it does, also with connections that are open.
    pub fn set(&self, mode: Mode) {
        self.shared.mode.store(mode as u8, SeqCst);
        if mode == Mode::Refuse {
            self.shared.cut();
        }
    }

    /// Closes all connections that are open.
    pub fn cut(&self) {
        self.shared.cut();
    }

    /// As when the address moves to another host: the far side of connections that are open ends, the near side never
    /// hears of it, and new connections are served.
    pub fn forget(&self) {
        self.shared.remembered_from.store(self.accepted(), SeqCst);
        for [_, far] in &*self.shared.open.lock().unwrap() {
            let _ = far.shutdown(Shutdown::Both);
        }
    }

    /// How many connections came so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, SeqCst);
        self.shared.cut();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn is(&self, mode: Mode) -> bool {
        self.mode.load(SeqCst) == mode as u8
    }

    fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..).flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn forward(self: &Arc<Self>, near: TcpStream, number: usize) {
        if self.is(Mode::Refuse) {
            return;
        }
        let Ok(far) = TcpStream::connect(self.target) else { return };
        for stream in [&near, &far] {
            stream.set_nodelay(true).unwrap();
        }
        self.open.lock().unwrap().push([near.try_clone().unwrap(), far.try_clone().unwrap()]);
        // Whoever refuses from now on finds it there; whoever did meanwhile has not.
        if self.is(Mode::Refuse) {
            self.cut();
            return;
        }
        let pairs = [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)];
        for (from, to) in pairs {
            let shared = Arc::clone(self);
            std::thread::spawn(move || shared.copy(from, to, number));
        }
    }

    fn copy(&self, mut from: TcpStream, mut to: TcpStream, number: usize) {
        let mut buffer = [0; 16 << 10];
        loop {
            let length = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            while self.is(Mode::Stall) && !self.ended.load(SeqCst) {
                std::thread::park_timeout(GLANCE);
            }
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        while number < self.remembered_from.load(SeqCst) && !self.ended.load(SeqCst) {
            std::thread::park_timeout(GLANCE);
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests;
