//! A certificate authority made for one run, and the client side of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::CertificateDer;

/// A name that no name service knows, for clients that treat loopback addresses specially.
pub const HOST: &str = "registry.test";

/// Files of a fresh authority and of a server certificate for loopback that it signed.
#[derive(Clone, Debug)]
pub struct Authority {
    /// The authority's certificate, for clients.
    pub ca: PathBuf,
    /// The server's certificate.
    pub certificate: PathBuf,
    /// The server's private key.
    pub key: PathBuf,
    /// Trusts this authority and nothing else.
    pub client: Arc<rustls::ClientConfig>,
}

impl Authority {
    /// Makes both certificates and writes them to `folder`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn create(folder: &Path) -> Result<Self> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        authority.distinguished_name.push(rcgen::DnType::CommonName, "end-to-end test authority");
        let authority_key = KeyPair::generate()?;
        let authority_certificate = authority.self_signed(&authority_key)?;

        let names = ["127.0.0.1", "::1", "localhost", HOST].map(str::to_owned);
        let server_key = KeyPair::generate()?;
        let mut server = CertificateParams::new(names)?;
        // Go refuses a certificate whose issuer it cannot match by name.
        server.distinguished_name.push(rcgen::DnType::CommonName, "end-to-end test registry");
        let issuer = Issuer::new(authority, authority_key);
        let server_certificate = server.signed_by(&server_key, &issuer)?;

        let write = |name: &str, text: String| -> Result<PathBuf> {
            let path = folder.join(name);
            std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
            Ok(path)
        };
        Ok(Self {
            ca: write("ca.crt", authority_certificate.pem())?,
            certificate: write("server.crt", server_certificate.pem())?,
            key: write("server.key", server_key.serialize_pem())?,
            client: Arc::new(client(authority_certificate.der())?),
        })
    }
}

fn client(authority: &CertificateDer<'static>) -> Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.clone())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
