use std::{sync::Arc, time::Duration};

use rustls::{
    ConfigBuilder, ServerConfig, WantsVerifier,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{NoServerSessionStorage, ResolvesServerCert, WantsServerCert},
    sign::{CertifiedKey, SingleCertAndKey},
};
use tokio_rustls::TlsAcceptor;

use super::{
    files::{CertificateFiles, MutualFiles, TlsError, provider},
    reload::{Reload, Reloading},
};

/// Server-side TLS whose certificate is replaced while connections go on.
///
/// Offers `h2` and `http/1.1`. Clones share the certificate.
#[derive(Clone, Debug)]
pub struct Tls(Arc<Reloading<ServerConfig>>);

impl Tls {
    /// Loads a certificate to show to everybody.
    ///
    /// # Errors
    /// The files cannot be used.
    pub fn new(files: CertificateFiles) -> Result<Self, TlsError> {
        let provider = provider();
        // Stateless tickets: resumption works without a cache that grows with clients. Kept across reloads, as the keys
        // of tickets have nothing to do with the certificate.
        let tickets = aws_lc_rs::Ticketer::new().map_err(TlsError::Setup)?;
        let paths = files.paths();
        let parse = move |contents: &[Vec<u8>]| {
            let [certificate, key] = contents else {
                return Err(TlsError::Setup(rustls::Error::NoCertificatesPresented));
            };
            let identity = files.parse(certificate, key, &provider)?;
            let mut config = finish(builder(&provider)?.with_no_client_auth(), identity);
            config.ticketer = Arc::clone(&tickets);
            Ok(config)
        };
        Ok(Self(Arc::new(Reloading::new(paths, parse)?)))
    }

    /// Loads a certificate for other services: a client must show one that the authorities signed, and every
    /// connection is checked anew, without resumption.
    ///
    /// # Errors
    /// The files cannot be used, or do not go together.
    pub fn mutual(files: MutualFiles) -> Result<Self, TlsError> {
        let provider = provider();
        let paths = files.paths();
        let parse = move |contents: &[Vec<u8>]| {
            let mutual = files.parse(contents, &provider)?;
            let mut config = finish(builder(&provider)?.with_client_cert_verifier(mutual.clients), mutual.identity);
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            Ok(config)
        };
        Ok(Self(Arc::new(Reloading::new(paths, parse)?)))
    }

    /// Looks at the files once.
    pub fn reload(&self) -> Reload {
        self.0.reload()
    }

    /// Looks at the files every `interval`, for ever, and logs what changes.
    pub async fn watch(self, interval: Duration) {
        self.0.watch(interval).await;
    }

    /// For the next connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.current())
    }
}

fn builder(provider: &Arc<CryptoProvider>) -> Result<ConfigBuilder<ServerConfig, WantsVerifier>, TlsError> {
    ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)
}

fn finish(builder: ConfigBuilder<ServerConfig, WantsServerCert>, identity: CertifiedKey) -> ServerConfig {
    let resolver: Arc<dyn ResolvesServerCert> = Arc::new(SingleCertAndKey::from(identity));
    let mut config = builder.with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}
