//! Connections to the data port of blob-store, or to the object store, over TCP or TLS.

use std::io;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::Duration;

use entrepot_runtime::tls::{Alpn, ClientTls, ServerName, TlsStream};
use futures_util::future::BoxFuture;
use http::Uri;
use http::uri::Scheme;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tower::{Service, ServiceExt};

/// For a connection, with its handshake.
const CONNECT: Duration = Duration::from_secs(3);
/// Between probes of a silent connection, so that one whose other end vanished is given up.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Connects to `http` and `https`.
#[derive(Clone)]
pub(crate) struct Connector {
    tcp: HttpConnector,
    tls: Option<ClientTls>,
}

impl Connector {
    /// `tls` is for `https`; without it the authorities of the system are believed.
    pub(crate) fn new(tls: Option<ClientTls>) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.set_keepalive(Some(KEEP_ALIVE));
        Self { tcp, tls }
    }

    async fn connect(self, uri: Uri) -> io::Result<TokioIo<Stream>> {
        let tls = if uri.scheme() == Some(&Scheme::HTTPS) { Some(self.tls()?) } else { None };
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        let tcp = self.tcp.oneshot(uri).await.map_err(io::Error::other)?.into_inner();
        let stream = match tls {
            None => Stream::Tcp(tcp),
            Some(tls) => {
                let name = ServerName::try_from(host).map_err(io::Error::other)?;
                let handshake = tls.connect(name, Alpn::Http11, tcp);
                Stream::Tls(Box::new(tokio::time::timeout(CONNECT, handshake).await??))
            }
        };
        Ok(TokioIo::new(stream))
    }

    fn tls(&self) -> io::Result<ClientTls> {
        // Reading the authorities of a system takes a while and some memory: only where they are needed.
        static SYSTEM: OnceLock<ClientTls> = OnceLock::new();
        if let Some(tls) = self.tls.as_ref().or_else(|| SYSTEM.get()) {
            return Ok(tls.clone());
        }
        let tls = ClientTls::public(None).map_err(io::Error::other)?;
        Ok(SYSTEM.get_or_init(|| tls).clone())
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<TokioIo<Stream>>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// A connection of either kind.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
