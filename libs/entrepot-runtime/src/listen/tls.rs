use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;

use crate::telemetry::Chain;

/// Where the certificate chain and its private key are; both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, then its intermediates.
    pub certificate: PathBuf,
    /// The private key: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file holds no certificate or no private key.
    #[error("{path} is not PEM with what belongs there")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where parsing stopped.
        #[source]
        source: pem::Error,
    },
    /// The key is of an unknown kind or not the certificate's.
    #[error("{certificate} and {key} do not go together")]
    Mismatch {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
        /// What rustls said.
        #[source]
        source: rustls::Error,
    },
    /// TLS itself cannot be set up.
    #[error("cannot set up TLS")]
    Setup(#[source] rustls::Error),
}

/// What [`Tls::reload`] found.
#[derive(Debug)]
pub enum Reload {
    /// The files hold what they held.
    Unchanged,
    /// New connections get the new certificate.
    Replaced,
    /// The files changed to something unusable; the old certificate stays.
    Kept(TlsError),
}

/// Server-side TLS whose certificate is replaced while connections go on.
///
/// Offers `h2` and `http/1.1`. Clones share the certificate.
#[derive(Clone)]
pub struct Tls {
    resolver: Arc<Resolver>,
    config: Arc<ServerConfig>,
}

struct Resolver {
    files: CertificateFiles,
    provider: Arc<CryptoProvider>,
    current: ArcSwap<CertifiedKey>,
    /// Contents last looked at, so that a bad pair of files is reported once.
    seen: Mutex<Contents>,
}

#[derive(PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Tls {
    /// Loads the certificate.
    ///
    /// # Errors
    /// The files cannot be used.
    pub fn new(files: CertificateFiles) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let contents = Contents::read(&files)?;
        let current = ArcSwap::from_pointee(contents.parse(&files, &provider)?);
        let resolver = Arc::new(Resolver { files, provider: provider.clone(), current, seen: Mutex::new(contents) });
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(resolver.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Stateless tickets: resumption works without a cache that grows with clients.
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(TlsError::Setup)?;
        Ok(Self { resolver, config: Arc::new(config) })
    }

    /// Looks at the files once.
    pub fn reload(&self) -> Reload {
        let resolver = &self.resolver;
        let contents = match Contents::read(&resolver.files) {
            Ok(contents) => contents,
            Err(error) => return Reload::Kept(error),
        };
        let mut seen = resolver.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == contents {
            return Reload::Unchanged;
        }
        let parsed = contents.parse(&resolver.files, &resolver.provider);
        *seen = contents;
        match parsed {
            Ok(certified) => {
                resolver.current.store(Arc::new(certified));
                Reload::Replaced
            }
            Err(error) => Reload::Kept(error),
        }
    }

    /// Looks at the files every `interval`, for ever, and logs what changes.
    ///
    /// Polling their contents works on every file system and for the symbolic links by which secrets are mounted.
    pub async fn watch(self, interval: Duration) {
        let mut tick = tokio::time::interval(interval);
        loop {
            tick.tick().await;
            let certificate = self.resolver.files.certificate.display();
            match self.reload() {
                Reload::Unchanged => {}
                Reload::Replaced => tracing::info!("{certificate} has changed and is in use"),
                Reload::Kept(error) => {
                    tracing::error!(error = %Chain(&error), "{certificate} cannot be used, keeping the old certificate");
                }
            }
        }
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.clone())
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.resolver.files).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Contents {
    fn read(files: &CertificateFiles) -> Result<Self, TlsError> {
        let read =
            |path: &Path| fs::read(path).map_err(|source| TlsError::Unreadable { path: path.to_owned(), source });
        Ok(Self { certificate: read(&files.certificate)?, key: read(&files.key)? })
    }

    fn parse(&self, files: &CertificateFiles, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        let malformed = |path: &Path| {
            let path = path.to_owned();
            move |source| TlsError::Malformed { path, source }
        };
        let chain = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<Vec<_>, _>>()
            .and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) })
            .map_err(malformed(&files.certificate))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(malformed(&files.key))?;
        CertifiedKey::from_der(chain, key, provider).map_err(|source| TlsError::Mismatch {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            source,
        })
    }
}
