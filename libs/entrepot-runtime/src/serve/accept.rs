use std::{
    fmt, io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response};
use http_body::Body;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::task::TaskTracker;
use tower::Service;

use super::{
    ServeOptions,
    body::RequestBody,
    connection::{Connection, Protocols},
};
use crate::{BoxError, listen::Tls, shutdown::Drain, telemetry::Chain};

/// Pauses between failing accepts, doubled up to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// Serves connections until the process drains.
pub struct Server {
    options: ServeOptions,
    drain: Drain,
    tls: Option<Tls>,
}

impl Server {
    /// A server for plain TCP.
    pub fn new(options: ServeOptions, drain: Drain) -> Self {
        Self { options, drain, tls: None }
    }

    /// The same over TLS, if one is given.
    #[must_use]
    pub fn tls(mut self, tls: Option<&Tls>) -> Self {
        self.tls = tls.cloned();
        self
    }

    /// Accepts connections on every listener and serves them with clones of `service`; an axum `Router` is one.
    ///
    /// When the drain reaches its stopping phase the listeners close, connections finish what they are at, and this
    /// returns once they have, or the drain has ended.
    pub async fn serve<S, B>(self, listeners: Vec<TcpListener>, service: S)
    where
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let acceptor = Acceptor {
            slots: Arc::new(Semaphore::new(self.options.max_connections.min(Semaphore::MAX_PERMITS))),
            protocols: Arc::new(Protocols::new(self.options)),
            connections: TaskTracker::new(),
            tls: self.tls,
            drain: self.drain,
            service,
        };
        join_all(listeners.into_iter().map(|listener| acceptor.run(listener))).await;
        acceptor.connections.close();
        tokio::select! {
            () = acceptor.connections.wait() => {}
            () = acceptor.drain.ended() => {}
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("options", &self.options)
            .field("drain", &self.drain)
            .field("tls", &self.tls.is_some())
            .finish()
    }
}

struct Acceptor<S> {
    slots: Arc<Semaphore>,
    protocols: Arc<Protocols>,
    connections: TaskTracker,
    tls: Option<Tls>,
    drain: Drain,
    service: S,
}

impl<S> Acceptor<S> {
    async fn run<B>(&self, listener: TcpListener)
    where
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let mut stopping = std::pin::pin!(self.drain.stopping());
        let mut backoff = BACKOFF.0;
        loop {
            let accepted = async {
                // The semaphore is never closed.
                let slot = self.slots.clone().acquire_owned().await.map_err(io::Error::other)?;
                listener.accept().await.map(|(tcp, peer)| (slot, tcp, peer))
            };
            let accepted = tokio::select! {
                accepted = accepted => accepted,
                () = &mut stopping => return,
            };
            match accepted {
                Ok((slot, tcp, peer)) => {
                    backoff = BACKOFF.0;
                    let connection = self.connection(tcp, peer);
                    self.connections.spawn(async move {
                        connection.run().await;
                        drop(slot);
                    });
                }
                // The client went away while it was queued.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {}
                // Most often out of file descriptors: pause until connections have ended.
                Err(error) => {
                    tracing::error!(error = %Chain(&error), "cannot accept connections");
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(BACKOFF.1);
                }
            }
        }
    }

    fn connection(&self, tcp: TcpStream, peer: SocketAddr) -> Connection<S>
    where
        S: Clone,
    {
        Connection {
            tcp,
            peer,
            accepted: Instant::now(),
            tls: self.tls.as_ref().map(Tls::acceptor),
            protocols: self.protocols.clone(),
            hold: self.drain.hold(),
            drain: self.drain.clone(),
            service: self.service.clone(),
        }
    }
}
