//! The secret that the services of one registry share.

use std::fmt;

use entrepot_core::{Algorithm, Digest};
use http::HeaderValue;
use subtle::ConstantTimeEq;

/// A shared secret (`internal.secret`): a service answers only peers that present it.
#[derive(Clone)]
pub struct InternalSecret {
    header: HeaderValue,
    digest: Digest,
}

/// Why a text cannot be the internal secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InternalSecretError {
    /// Guessable.
    #[error("the internal secret is shorter than {} characters", InternalSecret::MIN_LEN)]
    TooShort,
    /// It could not be sent in a header.
    #[error("the internal secret holds a character that is not visible ASCII")]
    NotVisible,
}

impl InternalSecret {
    /// Shortest secret accepted: 128 bits in hex, 192 in base64. Keys for signed URLs are made of it, too.
    pub const MIN_LEN: usize = 32;

    /// Takes the secret as configured.
    pub fn new(text: &str) -> Result<Self, InternalSecretError> {
        if text.len() < Self::MIN_LEN {
            return Err(InternalSecretError::TooShort);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InternalSecretError::NotVisible);
        }
        let bearer = format!("Bearer {text}");
        let mut header = HeaderValue::from_str(&bearer).map_err(|_| InternalSecretError::NotVisible)?;
        header.set_sensitive(true);
        Ok(Self { header, digest: fingerprint(bearer.as_bytes()) })
    }

    /// The value of `authorization` that proves knowledge of the secret.
    pub(crate) fn header(&self) -> &HeaderValue {
        &self.header
    }

    /// Whether `authorization` holds the secret, in a time that does not depend on the answer.
    pub(crate) fn admits(&self, authorization: Option<&HeaderValue>) -> bool {
        // Hashed first: the comparison then has a fixed length and says nothing about the secret's.
        let presented = fingerprint(authorization.map_or(b"", HeaderValue::as_bytes));
        self.digest.raw().ct_eq(presented.raw()).into()
    }
}

impl fmt::Debug for InternalSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InternalSecret(***)")
    }
}

fn fingerprint(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

#[cfg(test)]
mod tests;
