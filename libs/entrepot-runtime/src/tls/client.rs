use std::{io, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore,
    client::{ResolvesClientCert, Resumption},
    pki_types::ServerName,
    sign::SingleCertAndKey,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{
    files::{MutualFiles, TlsError, provider},
    reload::{Reload, Reloading},
};

/// A connection to a server whose certificate was accepted.
pub type TlsStream = tokio_rustls::client::TlsStream<TcpStream>;

/// The protocol to agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// HTTP/2.
    H2,
    /// HTTP/1.1.
    Http11,
}

/// Client-side TLS whose certificate and authorities are replaced while connections go on. Clones share them.
#[derive(Clone, Debug)]
pub struct ClientTls(Arc<Reloading<Configs>>);

struct Configs {
    h2: Arc<ClientConfig>,
    http11: Arc<ClientConfig>,
}

impl ClientTls {
    /// Shows the certificate of `files` and believes its authorities, nobody else.
    ///
    /// # Errors
    /// The files cannot be used, or do not go together.
    pub fn mutual(files: MutualFiles) -> Result<Self, TlsError> {
        Self::over(Some(files), false)
    }

    /// Believes the authorities of the system, such as those of an object store, and those of `files`, whose certificate
    /// is shown to a server that asks.
    ///
    /// # Errors
    /// The files cannot be used, or do not go together.
    pub fn public(files: Option<MutualFiles>) -> Result<Self, TlsError> {
        Self::over(files, true)
    }

    fn over(files: Option<MutualFiles>, system: bool) -> Result<Self, TlsError> {
        let provider = provider();
        let paths = files.as_ref().map(MutualFiles::paths).unwrap_or_default();
        let parse = move |contents: &[Vec<u8>]| {
            let mut roots = RootCertStore::empty();
            if system {
                // What cannot be read or parsed is missing, as in every other program of the system.
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
            let mutual = files.as_ref().map(|files| files.parse(contents, &provider)).transpose()?;
            roots.roots.extend(mutual.iter().flat_map(|mutual| mutual.authorities.roots.iter().cloned()));
            let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_safe_default_protocol_versions()
                .map_err(TlsError::Setup)?
                .with_root_certificates(roots);
            let config = match mutual {
                None => builder.with_no_client_auth(),
                Some(mutual) => {
                    let resolver: Arc<dyn ResolvesClientCert> = Arc::new(SingleCertAndKey::from(mutual.identity));
                    builder.with_client_cert_resolver(resolver)
                }
            };
            Ok(Configs::new(config))
        };
        Ok(Self(Arc::new(Reloading::new(paths, parse)?)))
    }

    /// Makes `tcp` a connection to a server that proves to be `name` and speaks `alpn`.
    ///
    /// # Errors
    /// The handshake fails, or the server speaks something else. There is no way around TLS.
    pub async fn connect(&self, name: ServerName<'static>, alpn: Alpn, tcp: TcpStream) -> io::Result<TlsStream> {
        let configs = self.0.current();
        let (config, protocol): (_, &[u8]) = match alpn {
            Alpn::H2 => (&configs.h2, b"h2"),
            Alpn::Http11 => (&configs.http11, b"http/1.1"),
        };
        let stream = TlsConnector::from(Arc::clone(config)).connect(name, tcp).await?;
        match stream.get_ref().1.alpn_protocol() {
            Some(agreed) if agreed == protocol => Ok(stream),
            // HTTP/1.1 is what a server speaks that knows of no negotiation.
            None if alpn == Alpn::Http11 => Ok(stream),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the server does not speak the protocol needed")),
        }
    }

    /// Looks at the files once.
    pub fn reload(&self) -> Reload {
        self.0.reload()
    }

    /// Looks at the files every `interval`, for ever, and logs what changes.
    pub async fn watch(self, interval: Duration) {
        self.0.watch(interval).await;
    }
}

impl Configs {
    fn new(mut config: ClientConfig) -> Self {
        // A server between services resumes nothing, so that each connection is checked anew.
        config.resumption = Resumption::disabled();
        let mut http11 = config.clone();
        config.alpn_protocols = vec![b"h2".to_vec()];
        http11.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { h2: Arc::new(config), http11: Arc::new(http11) }
    }
}
