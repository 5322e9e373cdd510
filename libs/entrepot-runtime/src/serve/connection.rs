use std::{
    future::{Future, pending},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body::Body;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics::gauge;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tower::Service;

use super::{
    Peer, ServeOptions,
    body::RequestBody,
    idle::UntilIdle,
    io::{Activity, Guarded},
    request::Requests,
    stall::Streams,
};
use crate::{
    BoxError,
    sendfile::FileSocket,
    shutdown::{Drain, Hold},
    telemetry::Chain,
};

const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const H2_FRAME: u32 = 256 << 10;
/// What of a response waits in memory for a slow HTTP/2 client: two chunks.
const H2_SEND_BUFFER: usize = 512 << 10;
/// Enough for the heads clients send, so that one read brings the whole head of the first request.
const FIRST_READ: usize = 4 << 10;

/// hyper's settings for both protocols, made once.
pub(super) struct Protocols {
    options: ServeOptions,
    http1: http1::Builder,
    http2: http2::Builder<Streams>,
}

impl Protocols {
    pub(super) fn new(options: ServeOptions) -> Self {
        let max_head = options.max_head.as_usize();
        let mut http1 = http1::Builder::new();
        // hyper counts the idle time before a head as reading it, so this is the keep-alive time; the head itself is
        // timed by `Guarded`.
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(options.keep_alive)
            .max_header_size(max_head)
            .max_buf_size(options.read_buffer.as_usize().max(max_head).max(8 << 10));
        let mut http2 = http2::Builder::new(Streams { write_stall: options.write_stall });
        http2
            .timer(TokioTimer::new())
            .keep_alive_interval(options.keep_alive)
            .initial_stream_window_size(options.h2_stream_window)
            .initial_connection_window_size(options.h2_connection_window)
            .max_frame_size(H2_FRAME)
            .max_send_buf_size(H2_SEND_BUFFER)
            .max_concurrent_streams(options.h2_streams)
            .max_pending_accept_reset_streams(options.h2_resets)
            .max_local_error_reset_streams(options.h2_resets)
            .max_header_list_size(u32::try_from(max_head).unwrap_or(u32::MAX));
        Self { options, http1, http2 }
    }
}

/// One accepted connection and what is needed to serve it.
pub(super) struct Connection<S> {
    pub(super) tcp: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) accepted: Instant,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) protocols: Arc<Protocols>,
    pub(super) hold: Hold,
    pub(super) drain: Drain,
    pub(super) service: S,
}

enum Protocol {
    Http1,
    Http2,
}

impl<S> Connection<S> {
    /// Serves the connection to its end and says at debug level why it ended badly.
    pub(super) async fn run<B>(self)
    where
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let open = gauge!("entrepot_http_connections");
        open.increment(1.0);
        let peer = self.peer;
        if let Err(error) = self.serve().await {
            tracing::debug!(%peer, error = %Chain(&*error), "connection ended early");
        }
        open.decrement(1.0);
    }

    async fn serve<B>(mut self) -> Result<(), BoxError>
    where
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        self.tcp.set_nodelay(true)?;
        let options = self.protocols.options;
        let drain = self.drain.clone();
        let peer = Peer { address: self.peer, tls: self.tls.is_some() };
        let activity = Arc::new(Activity::default());
        let mut requests = Requests::new(self.service, peer, options, drain.clone(), activity.clone());
        let Some(acceptor) = self.tls.take() else {
            let first = tokio::select! {
                first = timeout(options.header_timeout, first_bytes(&mut self.tcp)) => first??,
                () = drain.stopping() => return Ok(()),
            };
            let Some((protocol, first)) = first else { return Ok(()) };
            let socket = FileSocket::new(self.tcp);
            if matches!(protocol, Protocol::Http1) {
                requests.file_sender = Some(socket.sender());
            }
            let io = Guarded::new(socket, first, options.write_stall);
            return speak(io, protocol, requests, &self.protocols, self.accepted, &drain, self.hold).await;
        };
        let stream = tokio::select! {
            stream = timeout(options.handshake_timeout, acceptor.accept(self.tcp)) => stream??,
            () = drain.stopping() => return Ok(()),
        };
        let protocol = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        };
        let io = Guarded::new(stream, Bytes::new(), options.write_stall);
        speak(io, protocol, requests, &self.protocols, Instant::now(), &drain, self.hold).await
    }
}

/// Reads until the bytes tell HTTP/1 from HTTP/2; `None` when the client hangs up before.
async fn first_bytes(tcp: &mut TcpStream) -> io::Result<Option<(Protocol, Bytes)>> {
    let mut first = BytesMut::with_capacity(FIRST_READ);
    loop {
        if tcp.read_buf(&mut first).await? == 0 {
            return Ok(None);
        }
        let length = first.len().min(H2_PREFACE.len());
        if first[..length] != H2_PREFACE[..length] {
            return Ok(Some((Protocol::Http1, first.freeze())));
        }
        if length == H2_PREFACE.len() {
            return Ok(Some((Protocol::Http2, first.freeze())));
        }
    }
}

async fn speak<S, B, T>(
    mut io: Guarded<T>,
    protocol: Protocol,
    requests: Requests<S>,
    protocols: &Protocols,
    started: Instant,
    drain: &Drain,
    hold: Hold,
) -> Result<(), BoxError>
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let served = match protocol {
        Protocol::Http1 => {
            io.time_heads(protocols.options.header_timeout, requests.activity.clone(), started);
            let activity = requests.activity.clone();
            let service = hyper::service::service_fn(move |request: Request<Incoming>| requests.call(request));
            let connection = protocols.http1.serve_connection(TokioIo::new(io), service);
            until_drained(connection, drain, hold, pending(), || activity.is_idle()).await
        }
        Protocol::Http2 => {
            let activity = requests.activity.clone();
            let service = hyper::service::service_fn(move |request: Request<Incoming>| requests.call(request));
            let connection = protocols.http2.serve_connection(TokioIo::new(io), service);
            let connection = UntilIdle::new(connection, activity.clone(), protocols.options.keep_alive);
            let leave = async {
                if !protocols.options.h2_leave_early {
                    return pending().await;
                }
                drain.draining().await;
                activity.may_leave().await;
            };
            until_drained(connection, drain, hold, leave, || false).await
        }
    };
    served.map_err(Into::into)
}

/// A connection that can be told to end after what it is at.
pub(super) trait Graceful: Future<Output = hyper::Result<()>> {
    fn graceful(self: Pin<&mut Self>);
}

impl<I, B, S> Graceful for http1::Connection<I, S>
where
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<BoxError>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    fn graceful(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, B, S> Graceful for http2::Connection<I, S, Streams>
where
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
    Streams: hyper::rt::bounds::Http2ServerConnExec<S::Future, B>,
{
    fn graceful(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Serves `connection` to its end, or to that of the drain. It is told to end when `leave` completes, or with the listeners.
///
/// A connection of HTTP/1.1 that is idle when listeners close is not closed with them: a request that is on its way
/// then would be lost without an answer. It keeps nobody from ending, and its next answer is its last.
async fn until_drained(
    connection: impl Graceful,
    drain: &Drain,
    hold: Hold,
    leave: impl Future<Output = ()>,
    is_idle: impl Fn() -> bool,
) -> hyper::Result<()> {
    let mut connection = std::pin::pin!(connection);
    let mut stopping = std::pin::pin!(drain.stopping());
    tokio::select! {
        biased;
        served = &mut connection => return served,
        () = &mut stopping => {}
        () = leave => {
            connection.as_mut().graceful();
            tokio::select! {
                biased;
                served = &mut connection => return served,
                () = stopping => {}
            }
        }
    }
    let _hold = if is_idle() {
        drop(hold);
        None
    } else {
        connection.as_mut().graceful();
        Some(hold)
    };
    tokio::select! {
        biased;
        served = connection => served,
        () = drain.ended() => Ok(()),
    }
}
