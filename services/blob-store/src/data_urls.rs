//! URLs under which other processes read objects.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use entrepot_core::StorageKey;
use entrepot_token::{DataUrlError, DataUrlSigner, SecretError};

/// Makes and checks URLs of this blob-store's data port.
///
/// A URL is good for GET and HEAD of one object for a limited time:
/// `<base>/data/<xx>/<uuid>?exp=<seconds since 1970>&sig=<HMAC-SHA256>`.
#[derive(Clone, Debug)]
pub struct DataUrls {
    signer: DataUrlSigner,
    base: String,
    lifetime: Duration,
}

impl DataUrls {
    /// URLs below `base` (`http://host:port`), signed with `secret`, each valid for `lifetime`,
    /// which must be long enough to start a read and short enough for a leaked URL to be stale.
    ///
    /// # Errors
    /// When the secret is shorter than 32 bytes.
    pub fn new(secret: &[u8], base: &str, lifetime: Duration) -> Result<Self, SecretError> {
        Ok(Self { signer: DataUrlSigner::new(secret)?, base: base.trim_end_matches('/').to_owned(), lifetime })
    }

    /// An absolute URL for the object under `key`.
    pub fn sign(&self, key: StorageKey) -> String {
        let expires_at = now().saturating_add(self.lifetime.as_secs());
        format!("{}/{key}?{}", self.base, self.signer.sign("GET", &key, expires_at))
    }

    /// Checks the query of a URL of `key`.
    pub(crate) fn verify(&self, key: &StorageKey, query: &str) -> Result<(), DataUrlError> {
        let field = |name| query.split('&').find_map(|pair| pair.strip_prefix(name)).ok_or(DataUrlError::Signature);
        self.signer.verify("GET", key, field("exp=")?, field("sig=")?, now())
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
