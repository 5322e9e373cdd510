//! Signed URLs of a blob-store's data port: each works for one method and one key for a short time.
//!
//! The signature is HMAC-SHA256 over fields with their lengths in front, so that no two sets of fields sign alike,
//! and is compared in constant time.

use std::fmt;

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use entrepot_core::StorageKey;

/// The shortest secret, in bytes.
const MIN_SECRET: usize = 32;

/// Signs and verifies data URLs. Cheap to clone.
#[derive(Clone)]
pub struct DataUrlSigner {
    current: hmac::Key,
    /// Verifies URLs that were signed before the secret was changed.
    previous: Option<hmac::Key>,
}

/// Why a secret cannot sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret for signed URLs needs at least {MIN_SECRET} random bytes")]
pub struct SecretError;

/// Why a URL authorises nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DataUrlError {
    /// Not a URL that this registry wrote, or one for something else.
    #[error("the URL's signature is wrong")]
    Signature,
    /// Its time is over.
    #[error("the URL has expired")]
    Expired,
}

impl DataUrlSigner {
    /// A signer with a secret of at least 32 random bytes.
    ///
    /// # Errors
    /// When it is shorter.
    pub fn new(secret: &[u8]) -> Result<Self, SecretError> {
        Ok(Self { current: key(secret)?, previous: None })
    }

    /// Accepts URLs signed with the secret before this one, too.
    ///
    /// # Errors
    /// When it is too short.
    pub fn with_previous(mut self, secret: &[u8]) -> Result<Self, SecretError> {
        self.previous = Some(key(secret)?);
        Ok(self)
    }

    /// The query of a URL for `method` on `key`, valid until `expires_at` (seconds since 1970).
    pub fn sign(&self, method: &str, key: &StorageKey, expires_at: u64) -> String {
        let tag = hmac::sign(&self.current, &message(method, key, expires_at));
        format!("exp={expires_at}&sig={}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// Checks the `exp` and `sig` of a URL at the time `now`. A URL for `GET` serves `HEAD` as well.
    ///
    /// # Errors
    /// [`DataUrlError::Signature`] unless it was signed for this method and key.
    pub fn verify(&self, method: &str, key: &StorageKey, exp: &str, sig: &str, now: u64) -> Result<(), DataUrlError> {
        let expires_at: u64 = exp.parse().map_err(|_| DataUrlError::Signature)?;
        // `+5` and `05` are numbers too, but no URL of ours: each has one spelling.
        if expires_at.to_string() != exp {
            return Err(DataUrlError::Signature);
        }
        let tag = URL_SAFE_NO_PAD.decode(sig).map_err(|_| DataUrlError::Signature)?;
        let method = if method == "HEAD" { "GET" } else { method };
        let message = message(method, key, expires_at);
        let mut keys = std::iter::once(&self.current).chain(&self.previous);
        if !keys.any(|key| hmac::verify(key, &message, &tag).is_ok()) {
            return Err(DataUrlError::Signature);
        }
        if now < expires_at { Ok(()) } else { Err(DataUrlError::Expired) }
    }
}

impl fmt::Debug for DataUrlSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataUrlSigner")
    }
}

/// A key of its own for this purpose, so that the deployment needs one secret.
fn key(secret: &[u8]) -> Result<hmac::Key, SecretError> {
    if secret.len() < MIN_SECRET {
        return Err(SecretError);
    }
    let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"entrepot data url v1");
    Ok(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()))
}

fn message(method: &str, key: &StorageKey, expires_at: u64) -> Vec<u8> {
    let mut message = expires_at.to_be_bytes().to_vec();
    for text in [method, &key.to_string()] {
        message.extend((text.len() as u64).to_be_bytes());
        message.extend(text.as_bytes());
    }
    message
}
