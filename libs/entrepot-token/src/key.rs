//! ES256 keys (ECDSA on P-256 with SHA-256, RFC 7518 section 3.4).

use std::fmt;

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, ParsedPublicKey},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// Bytes of an uncompressed point: its tag and two coordinates.
const POINT: usize = 1 + 32 + 32;

/// Why a key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not an ECDSA key on P-256")]
pub struct KeyError;

/// A private key. Never printed.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    public: PublicKey,
}

impl SigningKey {
    /// A new random key.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn generate() -> Result<Self, KeyError> {
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| KeyError).and_then(Self::from_pair)
    }

    /// Reads a key as [`to_pkcs8`](Self::to_pkcs8) wrote it.
    ///
    /// # Errors
    /// When the bytes are something else.
    pub fn from_pkcs8(bytes: &[u8]) -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, bytes);
        pair.map_err(|_| KeyError).and_then(Self::from_pair)
    }

    /// The key as PKCS #8 (DER), to be stored where nobody else reads.
    ///
    /// # Errors
    /// When the key cannot be written down, which no key of this type does.
    pub fn to_pkcs8(&self) -> Result<Vec<u8>, KeyError> {
        self.pair.to_pkcs8v1().map(|document| document.as_ref().to_vec()).map_err(|_| KeyError)
    }

    /// The half that verifies.
    pub fn public(&self) -> PublicKey {
        self.public.clone()
    }

    /// The key's identifier.
    pub fn id(&self) -> &str {
        self.public.id()
    }

    fn from_pair(pair: EcdsaKeyPair) -> Result<Self, KeyError> {
        let public = PublicKey::from_point(pair.public_key().as_ref())?;
        Ok(Self { pair, public })
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signature = self.pair.sign(&SystemRandom::new(), message);
        signature.map(|signature| signature.as_ref().to_vec()).map_err(|_| KeyError)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id()).finish_non_exhaustive()
    }
}

/// A public key, parsed and checked to lie on the curve.
#[derive(Clone)]
pub struct PublicKey {
    id: String,
    point: [u8; POINT],
    parsed: ParsedPublicKey,
}

impl PublicKey {
    /// The key's identifier: its thumbprint (RFC 7638), which nobody can choose.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn from_coordinates(x: &str, y: &str) -> Result<Self, KeyError> {
        let mut point = vec![0x04];
        for coordinate in [x, y] {
            let bytes = URL_SAFE_NO_PAD.decode(coordinate).map_err(|_| KeyError)?;
            if bytes.len() != 32 {
                return Err(KeyError);
            }
            point.extend(bytes);
        }
        Self::from_point(&point)
    }

    /// Both coordinates in base64url.
    pub(crate) fn coordinates(&self) -> (String, String) {
        let (x, y) = self.point[1..].split_at(32);
        (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y))
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(message, signature).is_ok()
    }

    fn from_point(point: &[u8]) -> Result<Self, KeyError> {
        let parsed = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).map_err(|_| KeyError)?;
        let point = point.try_into().map_err(|_| KeyError)?;
        let mut key = Self { id: String::new(), point, parsed };
        let (x, y) = key.coordinates();
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        key.id = URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()));
        Ok(key)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PublicKey").field(&self.id).finish()
    }
}
