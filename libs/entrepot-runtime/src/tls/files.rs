use std::{io, path::PathBuf, sync::Arc};

use rustls::{
    RootCertStore,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem, pem::PemObject},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::CertifiedKey,
};

/// Where the certificate chain and its private key are; both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, then its intermediates.
    pub certificate: PathBuf,
    /// The private key: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// What a service shows to others, and whom it believes; all PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MutualFiles {
    /// Shown as a server and as a client.
    pub identity: CertificateFiles,
    /// Authorities that sign the certificates of all services. While they change, both the old and the new ones.
    pub authorities: PathBuf,
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
    /// A certificate among the authorities cannot be one.
    #[error("{path} holds a certificate that cannot be an authority")]
    Authority {
        /// The file.
        path: PathBuf,
        /// What rustls said.
        #[source]
        source: rustls::Error,
    },
    /// Other services would refuse this certificate: it has expired, is not valid yet, is signed by somebody else, or
    /// is not meant for clients.
    #[error("{certificate} is not accepted by the authorities in {authorities}")]
    Untrusted {
        /// The certificate file.
        certificate: PathBuf,
        /// The file of authorities.
        authorities: PathBuf,
        /// What rustls said.
        #[source]
        source: rustls::Error,
    },
    /// TLS itself cannot be set up.
    #[error("cannot set up TLS")]
    Setup(#[source] rustls::Error),
}

impl CertificateFiles {
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        vec![self.certificate.clone(), self.key.clone()]
    }

    pub(super) fn parse(
        &self,
        certificate: &[u8],
        key: &[u8],
        provider: &CryptoProvider,
    ) -> Result<CertifiedKey, TlsError> {
        let malformed = |path: &PathBuf| {
            let path = path.clone();
            move |source| TlsError::Malformed { path, source }
        };
        let chain = certificates(certificate).map_err(malformed(&self.certificate))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(malformed(&self.key))?;
        CertifiedKey::from_der(chain, key, provider).map_err(|source| TlsError::Mismatch {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            source,
        })
    }
}

/// [`MutualFiles`] read and checked against each other.
pub(super) struct Mutual {
    pub(super) identity: CertifiedKey,
    pub(super) authorities: RootCertStore,
    pub(super) clients: Arc<dyn ClientCertVerifier>,
}

impl MutualFiles {
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let mut paths = self.identity.paths();
        paths.push(self.authorities.clone());
        paths
    }

    /// Parses the contents of [`MutualFiles::paths`].
    pub(super) fn parse(&self, contents: &[Vec<u8>], provider: &Arc<CryptoProvider>) -> Result<Mutual, TlsError> {
        let content = |at: usize| contents.get(at).map_or(&[][..], Vec::as_slice);
        let identity = self.identity.parse(content(0), content(1), provider)?;
        let path = || self.authorities.clone();
        let mut authorities = RootCertStore::empty();
        for certificate in certificates(content(2)).map_err(|source| TlsError::Malformed { path: path(), source })? {
            authorities.add(certificate).map_err(|source| TlsError::Authority { path: path(), source })?;
        }
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(authorities.clone()), Arc::clone(provider)).build();
        let clients = clients.map_err(|error| TlsError::Setup(rustls::Error::General(error.to_string())))?;
        let mutual = Mutual { identity, authorities, clients };
        self.check(&mutual)?;
        Ok(mutual)
    }

    /// A certificate that every other service would refuse must not replace one that they accept.
    fn check(&self, mutual: &Mutual) -> Result<(), TlsError> {
        let untrusted = |source| TlsError::Untrusted {
            certificate: self.identity.certificate.clone(),
            authorities: self.authorities.clone(),
            source,
        };
        let Some((own, intermediates)) = mutual.identity.cert.split_first() else {
            return Err(untrusted(rustls::Error::NoCertificatesPresented));
        };
        mutual.clients.verify_client_cert(own, intermediates, UnixTime::now()).map(|_| ()).map_err(untrusted)
    }
}

/// The certificates in `pem`: at least one.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>()?;
    if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) }
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
