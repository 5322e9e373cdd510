//! A blocking HTTP/1.1 client over one kept-alive connection, for uploads and for timing single
//! requests; sustained GETs are wrk's.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// Far above any answer that is worth waiting for.
const TIMEOUT: Duration = Duration::from_secs(120);
/// A registry names every tag that it set in a header of its own.
const MAX_HEADERS: usize = 500;

/// An answer with its whole body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// Refuses any status but `wanted`, showing what the server said.
    pub(crate) fn expect(self, wanted: StatusCode) -> anyhow::Result<Self> {
        let said = String::from_utf8_lossy(&self.body[..self.body.len().min(500)]);
        ensure!(self.status == wanted, "the server answered {} instead of {wanted}: {said}", self.status);
        Ok(self)
    }
}

/// One connection to one server.
#[derive(Debug)]
pub(crate) struct Client {
    runtime: Runtime,
    address: SocketAddr,
    sender: SendRequest<Full<Bytes>>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the client's runtime")?;
        let sender = runtime.block_on(handshake(address))?;
        Ok(Self { runtime, address, sender })
    }

    /// GET of `path` with one more header when given.
    pub(crate) fn get(&mut self, path: &str, extra: Option<(&str, &str)>) -> anyhow::Result<Answer> {
        self.send(Method::GET, path, extra.as_slice(), Bytes::new())
    }

    /// Sends one request and reads the whole answer. Connects anew where the server closed.
    pub(crate) fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> anyhow::Result<Answer> {
        let mut request = Request::builder().method(&method).uri(path).header(header::HOST, self.address.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if body.is_empty() && method != Method::GET {
            request = request.header(header::CONTENT_LENGTH, 0);
        }
        let request = request.body(Full::new(body)).with_context(|| format!("{path:?} cannot be requested"))?;
        let (address, sender) = (self.address, &mut self.sender);
        let exchange = async {
            if sender.ready().await.is_err() {
                *sender = handshake(address).await?;
            }
            let (parts, body) = sender.send_request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok::<_, anyhow::Error>(Answer { status: parts.status, headers: parts.headers, body })
        };
        self.runtime
            .block_on(async { tokio::time::timeout(TIMEOUT, exchange).await })
            .map_err(anyhow::Error::from)
            .and_then(|answer| answer)
            .with_context(|| format!("{method} {path} failed"))
    }
}

async fn handshake(address: SocketAddr) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::Builder::new().max_headers(MAX_HEADERS).handshake(TokioIo::new(stream)).await?;
    // An error of the connection also fails the request that waits for it.
    tokio::spawn(async { connection.await.ok() });
    Ok(sender)
}
