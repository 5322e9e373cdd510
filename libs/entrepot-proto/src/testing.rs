//! Client and server joined in memory, for tests: the whole of gRPC and HTTP/2, and no socket.

use std::io;
use std::time::Duration;

use axum::Router;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, stream};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tonic::service::Routes;
use tonic::transport::Server;

use crate::client::{Connection, Dial, Socket};
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

/// A way to `router` through in-memory pipes: a new one for each connection.
pub fn duplex_channel(router: Router) -> Pipes {
    let (accepted, incoming) = mpsc::unbounded_channel::<io::Result<DuplexStream>>();
    let incoming = stream::unfold(incoming, |mut incoming| async move { Some((incoming.recv().await?, incoming)) });
    tokio::spawn(Server::builder().add_routes(Routes::from(router)).serve_with_incoming(incoming));
    Pipes { accepted }
}

/// In-memory pipes to a server.
#[derive(Clone, Debug)]
pub struct Pipes {
    accepted: mpsc::UnboundedSender<io::Result<DuplexStream>>,
}

impl Connection {
    /// A connection through in-memory pipes.
    pub fn over(pipes: Pipes, secret: &InternalSecret, deadline: Duration) -> Self {
        Self::dialled(Box::new(pipes), secret, deadline)
    }
}

impl Dial for Pipes {
    fn dial(&self) -> BoxFuture<'static, io::Result<Box<dyn Socket>>> {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let sent = self.accepted.send(Ok(far)).map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused));
        async move { sent.map(|()| Box::new(near) as Box<dyn Socket>) }.boxed()
    }
}
