//! Client and server joined in memory, for tests: the whole of gRPC and HTTP/2, and no socket.

use std::io;
use std::time::Duration;

use axum::Router;
use futures_util::stream;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint, Server, Uri};

use crate::client::Connection;
use crate::secret::InternalSecret;
use crate::server::Services;

/// Bytes the in-memory pipe holds each way, about as much as a socket.
const PIPE_BYTES: usize = 64 << 10;

/// The secret of [`connect`].
pub fn secret() -> InternalSecret {
    InternalSecret::new("secret-of-the-tests-of-32-letters").expect("long enough and visible")
}

/// A connection to `services`, which must have been made with [`secret`]. Each call to this
/// function starts a server of its own; it ends with its connections.
pub fn connect(services: Services) -> Connection {
    Connection::over(duplex_channel(services.into_router()), &secret(), Duration::from_secs(10))
}

/// A channel to `router` through in-memory pipes; connects lazily and again when a pipe breaks.
pub fn duplex_channel(router: Router) -> Channel {
    let (accepted, incoming) = mpsc::unbounded_channel::<io::Result<DuplexStream>>();
    let incoming = stream::unfold(incoming, |mut incoming| async move { Some((incoming.recv().await?, incoming)) });
    tokio::spawn(Server::builder().add_routes(Routes::from(router)).serve_with_incoming(incoming));
    let connector = tower::service_fn(move |_: Uri| {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let sent = accepted.send(Ok(far)).map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused));
        async move { sent.map(|()| TokioIo::new(near)) }
    });
    Endpoint::from_static("http://memory").connect_with_connector_lazy(connector)
}
