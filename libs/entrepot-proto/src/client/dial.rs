//! How a connection to one address is opened.

use std::io;
use std::net::SocketAddr;

use entrepot_runtime::tls::{Alpn, ClientTls, ServerName};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// An open connection of any kind.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// Opens connections to one replica.
pub(crate) trait Dial: Send + Sync {
    /// Opens one; whoever asks bounds the time.
    fn dial(&self) -> BoxFuture<'static, io::Result<Box<dyn Socket>>>;
}

/// Over TCP, and TLS where the endpoint says so: never without TLS where it should be.
pub(super) struct Tcp {
    pub(super) address: SocketAddr,
    pub(super) tls: Option<(ClientTls, ServerName<'static>)>,
}

impl Dial for Tcp {
    fn dial(&self) -> BoxFuture<'static, io::Result<Box<dyn Socket>>> {
        let Self { address, tls } = self;
        let (address, tls) = (*address, tls.clone());
        async move {
            let tcp = TcpStream::connect(address).await?;
            tcp.set_nodelay(true)?;
            let socket: Box<dyn Socket> = match tls {
                None => Box::new(tcp),
                Some((tls, name)) => Box::new(tls.connect(name, Alpn::H2, tcp).await?),
            };
            Ok(socket)
        }
        .boxed()
    }
}
