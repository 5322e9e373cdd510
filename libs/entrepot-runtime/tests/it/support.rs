use std::{convert::Infallible, net::SocketAddr, time::Duration};

use bytes::Bytes;
use entrepot_runtime::{
    listen::{self, Tls},
    serve::{ServeOptions, Server},
    shutdown::{Drain, DrainConfig},
};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};

/// Far more than anything here takes; a test that waits this long has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) drain: Drain,
    pub(crate) served: JoinHandle<()>,
}

pub(crate) fn start(router: axum::Router, options: ServeOptions) -> TestServer {
    start_with(router, options, DrainConfig::IMMEDIATE, None)
}

pub(crate) fn start_with(
    router: axum::Router,
    options: ServeOptions,
    drain: DrainConfig,
    tls: Option<&Tls>,
) -> TestServer {
    let drain = Drain::new(drain);
    let listeners = listen::bind(&[([127, 0, 0, 1], 0).into()]).unwrap();
    let address = listeners[0].local_addr().unwrap();
    let server = Server::new(options, drain.clone()).tls(tls);
    TestServer { address, drain, served: tokio::spawn(server.serve(listeners, router)) }
}

impl TestServer {
    pub(crate) async fn connect(&self) -> Client {
        Client { tcp: TcpStream::connect(self.address).await.unwrap() }
    }

    pub(crate) async fn connect_h2(&self) -> (SendRequest, JoinHandle<hyper::Result<()>>) {
        connect_h2(self.address).await
    }
}

type SendRequest = hyper::client::conn::http2::SendRequest<Empty<Bytes>>;

/// An HTTP/2 connection by prior knowledge, and the task that drives it.
pub(crate) async fn connect_h2(address: SocketAddr) -> (SendRequest, JoinHandle<hyper::Result<()>>) {
    let tcp = TcpStream::connect(address).await.unwrap();
    let (send, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tcp)).await.unwrap();
    (send, tokio::spawn(connection))
}

/// A client that speaks bytes, so that it can also misbehave.
pub(crate) struct Client {
    pub(crate) tcp: TcpStream,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) async fn send(&mut self, text: &str) {
        self.tcp.write_all(text.as_bytes()).await.unwrap();
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")).await;
        self.answer().await
    }

    /// Reads one answer that has a `Content-Length`.
    pub(crate) async fn answer(&mut self) -> Answer {
        timeout(DEADLINE, async {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(self.tcp.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
            let status = head.split(' ').nth(1).unwrap().parse().unwrap();
            let length = head.split("content-length: ").nth(1).unwrap();
            let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
            let mut body = vec![0; length];
            self.tcp.read_exact(&mut body).await.unwrap();
            Answer { status, head, body }
        })
        .await
        .unwrap()
    }

    /// Reads until the server ends the connection, cleanly or not.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let read = timeout(DEADLINE, self.tcp.read_to_end(&mut rest)).await;
        let _clean_or_reset = read.unwrap();
        rest
    }

    /// Whether the connection is silent and open for that long.
    pub(crate) async fn stays_open(&mut self, time: Duration) -> bool {
        timeout(time, self.tcp.read_u8()).await.is_err()
    }
}

pub(crate) async fn collect(response: http::Response<hyper::body::Incoming>) -> Bytes {
    timeout(DEADLINE, response.into_body().collect()).await.unwrap().unwrap().to_bytes()
}

pub(crate) fn request(address: SocketAddr, path: &str) -> http::Request<Empty<Bytes>> {
    http::Request::get(format!("http://{address}{path}")).body(Empty::new()).unwrap()
}

/// Asks again and again until it holds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let poll = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok::<(), Infallible>(())
    };
    assert!(timeout(DEADLINE, poll).await.is_ok(), "never: {what}");
}
