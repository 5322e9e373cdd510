//! Section `internal`: how the services of a fleet reach each other.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use entrepot_proto::Endpoint;
use entrepot_runtime::config::{Reader, Secret};
use entrepot_runtime::tls::{CertificateFiles, MutualFiles};

use super::{Role, local};

/// How the services of a fleet reach each other.
#[derive(Clone, Debug)]
pub struct Internal {
    /// gRPC addresses of auth-token, blob-store and manifest-index.
    pub listen: Vec<SocketAddr>,
    /// Shared by all services.
    pub secret: Option<Secret>,
    /// What services show each other, and whom they believe; plaintext without.
    pub tls: Option<MutualFiles>,
    /// Data port of blob-store.
    pub data_listen: Vec<SocketAddr>,
    /// URL under which api-gateway reaches the data port.
    pub data_url: Option<String>,
    /// How long a signed URL of the data port is valid.
    pub data_url_lifetime: Duration,
    /// Where the replicas of auth-token are.
    pub auth_token: Vec<Endpoint>,
    /// Where the replicas of blob-store are.
    pub blob_store: Vec<Endpoint>,
    /// Where the replicas of manifest-index are.
    pub manifest_index: Vec<Endpoint>,
}

impl Internal {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            listen: reader.list("internal.listen", vec![local(5100)], "gRPC addresses of this service in a fleet."),
            secret: reader.secret("internal.secret", "Shared by all services of a registry; signs uploads and data URLs. Made and kept in the data directory by `entrepot serve`."),
            tls: tls(reader),
            data_listen: reader.list("internal.data_listen", vec![local(5101)], "Addresses of blob-store's data port."),
            data_url: reader.optional("internal.data_url", "URL under which api-gateway reaches the data port; by default its first address."),
            data_url_lifetime: reader.field("internal.data_url_lifetime", Duration::from_secs(1200), "How long a signed URL of the data port is valid."),
            auth_token: endpoints(reader, "internal.auth_token", "gRPC endpoints of auth-token, such as http://auth-token:5100; a name counts for each of its addresses."),
            blob_store: endpoints(reader, "internal.blob_store", "gRPC endpoints of blob-store: one over a directory, any number over an object store."),
            manifest_index: endpoints(reader, "internal.manifest_index", "gRPC endpoints of manifest-index."),
        }
    }

    /// What a service of a fleet cannot do without, and what contradicts itself.
    pub(super) fn check(&self, role: Role, files: bool, reader: &mut Reader<'_>) {
        if self.secret.is_none() {
            reader.reject(
                "internal.secret",
                "is needed by every service of a fleet: the same random text of at least 32 characters for all",
            );
        }
        self.check_data_url(role, files, reader);
        let callers = matches!(role, Role::ApiGateway | Role::GcWorker);
        self.check_endpoints(role, "internal.manifest_index", &self.manifest_index, callers, reader);
        self.check_endpoints(role, "internal.blob_store", &self.blob_store, callers, reader);
        self.check_endpoints(role, "internal.auth_token", &self.auth_token, role == Role::ApiGateway, reader);
    }

    fn check_data_url(&self, role: Role, files: bool, reader: &mut Reader<'_>) {
        if role != Role::BlobStore || !files {
            return;
        }
        let unspecified = self.data_listen.first().is_some_and(|address| address.ip().is_unspecified());
        match &self.data_url {
            None if unspecified => reader.reject(
                "internal.data_url",
                "is needed where internal.data_listen is no address that api-gateway can reach",
            ),
            Some(url) if !url.starts_with(&format!("{}://", self.scheme())) => {
                let scheme = self.scheme();
                reader.reject("internal.data_url", format!("must begin with {scheme}://{}", self.why_scheme()));
            }
            Some(_) | None => {}
        }
    }

    fn check_endpoints(&self, role: Role, key: &str, endpoints: &[Endpoint], needed: bool, reader: &mut Reader<'_>) {
        for endpoint in endpoints.iter().filter(|endpoint| endpoint.is_https() != self.tls.is_some()) {
            let scheme = self.scheme();
            reader.reject(key, format!("{endpoint} must begin with {scheme}://{}", self.why_scheme()));
        }
        if needed && endpoints.is_empty() {
            let scheme = self.scheme();
            reader.reject(
                key,
                format!(
                    "is needed by {}: where the replicas of that service listen, such as {scheme}://127.0.0.1:5100",
                    role.as_str()
                ),
            );
        }
    }

    /// The scheme of every URL between services.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    fn why_scheme(&self) -> &'static str {
        match self.tls {
            Some(_) => ", because internal.tls_certificate is set and nothing between services goes unencrypted then",
            None => ", or internal.tls_certificate, internal.tls_key and internal.tls_authorities must be set",
        }
    }
}

fn tls(reader: &mut Reader<'_>) -> Option<MutualFiles> {
    let keys = ["internal.tls_certificate", "internal.tls_key", "internal.tls_authorities"];
    let docs = [
        "PEM file with the certificate that this service shows to others, as a server and as a client; with it, nothing between services is sent in plaintext. Read again when it changes.",
        "PEM file with the private key of that certificate.",
        "PEM file with the authorities that sign the certificates of all services; others are refused.",
    ];
    let [certificate, key, authorities]: [Option<PathBuf>; 3] =
        std::array::from_fn(|at| reader.optional(keys[at], docs[at]));
    let given = [certificate.is_some(), key.is_some(), authorities.is_some()];
    if given.contains(&true) {
        for (key, _) in keys.iter().zip(given).filter(|(_, given)| !given) {
            reader.reject(key, format!("is missing: TLS between services needs {}", keys.join(", ")));
        }
    }
    let identity = CertificateFiles { certificate: certificate?, key: key? };
    Some(MutualFiles { identity, authorities: authorities? })
}

fn endpoints(reader: &mut Reader<'_>, key: &str, doc: &str) -> Vec<Endpoint> {
    let texts: Vec<String> = reader.list(key, Vec::new(), doc);
    let mut endpoints: Vec<Endpoint> = Vec::with_capacity(texts.len());
    for text in texts {
        match text.parse() {
            Ok(endpoint) if endpoints.contains(&endpoint) => reader.reject(key, format!("names {endpoint} twice")),
            Ok(endpoint) => endpoints.push(endpoint),
            Err(error) => reader.reject(key, error.to_string()),
        }
    }
    endpoints
}
