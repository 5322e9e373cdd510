//! A proxy before an S3 server that breaks a share of what passes through it.

mod message;

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use rand::RngExt as _;

use crate::tcp::{self, Acceptor};
use message::{Framing, Head, Wire};

/// What S3 answers when it is asked too often.
const SLOW_DOWN: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>SlowDown</Code>\
    <Message>Please reduce your request rate.</Message></Error>";

/// How often each fault happens, in a thousand requests; their sum is at most a thousand.
#[derive(Clone, Debug)]
pub struct Faults {
    /// 503, and the server never sees the request.
    pub unavailable: u32,
    /// The connection ends in the middle of the request's body; before the request, if it has none.
    pub reset: u32,
    /// The server does it, and the answer is lost.
    pub lost: u32,
    /// The answer comes late.
    pub stall: u32,
    /// How late.
    pub stall_for: Duration,
    /// The answer comes after everybody has given up who does not wait for a body.
    pub hang: u32,
    /// How late.
    pub hang_for: Duration,
    /// The answer's body ends half-way.
    pub truncate: u32,
}

impl Faults {
    /// What a bad day looks like: 10 % 503, 3 % cut requests, 2 % lost answers, 2 % stalls, 3 % cut answers, and 0.5 %
    /// answers that come later than any deadline of a call.
    #[must_use]
    pub fn bad_day() -> Self {
        Self {
            unavailable: 100,
            reset: 30,
            lost: 20,
            stall: 20,
            stall_for: Duration::from_secs(3),
            hang: 5,
            hang_for: Duration::from_secs(15),
            truncate: 30,
        }
    }

    fn throw(&self, number: u32) -> Fault {
        let faults = [
            (self.unavailable, Fault::Unavailable),
            (self.reset, Fault::Reset),
            (self.lost, Fault::Lost),
            (self.stall, Fault::Stall),
            (self.hang, Fault::Hang),
            (self.truncate, Fault::Truncate),
        ];
        let mut number = number;
        for (share, fault) in faults {
            if number < share {
                return fault;
            }
            number -= share;
        }
        Fault::None
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    Unavailable,
    Reset,
    Lost,
    Stall,
    Hang,
    Truncate,
}

/// A running proxy. Dropping it stops its listener.
pub struct S3Proxy {
    acceptor: Acceptor,
    shared: Arc<Shared>,
}

struct Shared {
    server: SocketAddr,
    faults: Faults,
    calm: AtomicBool,
    requests: AtomicU64,
    faulty: AtomicU64,
}

impl S3Proxy {
    /// Listens on a port of its own before `server`.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start(server: SocketAddr, faults: Faults) -> Result<Self> {
        let (calm, requests, faulty) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        let shared = Arc::new(Shared { server, faults, calm, requests, faulty });
        let serving = shared.clone();
        let acceptor = Acceptor::start(crate::ports::free_address()?, move |client| {
            // Every failure is a connection that ends, which is what a client would see of it anyway.
            let _ = serving.serve(&client);
            let _ = client.shutdown(Shutdown::Both);
        })?;
        Ok(Self { acceptor, shared })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.acceptor.address()
    }

    /// Passes everything on as it is, from now on.
    pub fn calm(&self) {
        self.shared.calm.store(true, Ordering::Relaxed);
    }

    /// Requests so far, and how many of them were broken.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.shared.requests.load(Ordering::Relaxed), self.shared.faulty.load(Ordering::Relaxed))
    }
}

impl Shared {
    fn fault(&self) -> Fault {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if self.calm.load(Ordering::Relaxed) {
            return Fault::None;
        }
        let fault = self.faults.throw(rand::rng().random_range(0..1000));
        if fault != Fault::None {
            self.faulty.fetch_add(1, Ordering::Relaxed);
        }
        fault
    }

    /// One connection, request after request.
    fn serve(&self, client: &TcpStream) -> std::io::Result<()> {
        let server = tcp::connect(self.server)?;
        let mut from_client = Wire::new(client);
        let mut from_server = Wire::new(&server);
        while let Some(request) = from_client.head()? {
            let fault = self.fault();
            if fault == Fault::Unavailable {
                refuse(client, &request)?;
                // The body is not worth reading; the client has to connect again.
                return Ok(());
            }
            if fault == Fault::Reset && request.framing() == Framing::Length(0) {
                return Ok(());
            }
            tcp::write(&server, request.bytes())?;
            if request.expects_continue() {
                tcp::write(client, b"HTTP/1.1 100 Continue\r\n\r\n")?;
            }
            if fault == Fault::Reset {
                from_client.pass_some(&server, &request.framing())?;
                let _ = server.shutdown(Shutdown::Both);
                return Ok(());
            }
            from_client.pass(&server, &request.framing())?;
            let response = from_server.response()?;
            let framing = if request.is_head() { Framing::Length(0) } else { response.framing() };
            match fault {
                Fault::Lost => return Ok(()),
                Fault::Stall => thread::sleep(self.faults.stall_for),
                Fault::Hang => thread::sleep(self.faults.hang_for),
                Fault::Truncate if framing != Framing::Length(0) => {
                    tcp::write(client, response.bytes())?;
                    from_server.pass_some(client, &framing)?;
                    let _ = server.shutdown(Shutdown::Both);
                    return Ok(());
                }
                _ => {}
            }
            tcp::write(client, response.bytes())?;
            from_server.pass(client, &framing)?;
            if response.closes() || request.closes() {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn refuse(client: &TcpStream, request: &Head) -> std::io::Result<()> {
    let body = if request.is_head() { "" } else { SLOW_DOWN };
    let length = SLOW_DOWN.len();
    let answer = format!(
        "HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    tcp::write(client, answer.as_bytes())
}

#[cfg(test)]
mod tests;
