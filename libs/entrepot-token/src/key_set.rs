//! The keys that verify, as a JSON Web Key Set (RFC 7517).

use serde::{Deserialize, Serialize};

use crate::PublicKey;

/// More than rotation ever publishes at once.
const MAX_KEYS: usize = 16;

/// Public keys by identifier.
#[derive(Clone, Debug, Default)]
pub struct KeySet(Vec<PublicKey>);

/// Why a text is not a key set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeySetError {
    /// Not the JSON of a key set.
    #[error("the key set is not valid JSON of the expected form")]
    Malformed(#[source] serde_json::Error),
    /// A key that does not verify ES256, or is not the one its identifier names.
    #[error("key {0:?} of the set is not an ES256 key with its own thumbprint as identifier")]
    Key(String),
    /// More keys than rotation leaves.
    #[error("the key set holds more than {MAX_KEYS} keys")]
    TooMany,
}

#[derive(Serialize, Deserialize)]
struct Document {
    keys: Vec<Jwk>,
}

#[derive(Serialize, Deserialize)]
struct Jwk {
    kty: String,
    crv: String,
    alg: String,
    #[serde(rename = "use")]
    purpose: String,
    kid: String,
    x: String,
    y: String,
}

impl KeySet {
    /// A set, in the order given: the key that signs now first.
    pub fn new(keys: impl IntoIterator<Item = PublicKey>) -> Self {
        Self(keys.into_iter().collect())
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    /// When any key is not one this registry would publish: a set that was tampered with is not used in part.
    pub fn from_json(text: &str) -> Result<Self, KeySetError> {
        let document: Document = serde_json::from_str(text).map_err(KeySetError::Malformed)?;
        if document.keys.len() > MAX_KEYS {
            return Err(KeySetError::TooMany);
        }
        let keys = document.keys.into_iter().map(|jwk| {
            let suits = jwk.kty == "EC" && jwk.crv == "P-256" && jwk.alg == "ES256" && jwk.purpose == "sig";
            let key = PublicKey::from_coordinates(&jwk.x, &jwk.y).ok();
            key.filter(|key| suits && key.id() == jwk.kid).ok_or(KeySetError::Key(jwk.kid))
        });
        keys.collect::<Result<_, _>>().map(Self)
    }

    /// The set as published.
    pub fn to_json(&self) -> String {
        let keys = self.0.iter().map(|key| {
            let (x, y) = key.coordinates();
            serde_json::json!({
                "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": key.id(), "x": x, "y": y,
            })
        });
        serde_json::json!({ "keys": keys.collect::<Vec<_>>() }).to_string()
    }

    /// The key with this identifier.
    pub fn get(&self, id: &str) -> Option<&PublicKey> {
        self.0.iter().find(|key| key.id() == id)
    }

    /// The identifiers, in order.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(PublicKey::id)
    }
}
