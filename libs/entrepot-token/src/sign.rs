//! Writing tokens.

use aws_lc_rs::rand;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use entrepot_core::{Principal, Scope};

use crate::{
    KeyError, MAX_LENGTH, MAX_LIFETIME, MAX_SCOPES, SigningKey,
    claims::{Access, Claims},
    jws,
};

/// Writes access tokens for one service.
#[derive(Debug)]
pub struct Signer {
    key: SigningKey,
    service: String,
}

/// Why a token was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The scopes do not fit into one token: ask for fewer.
    #[error("a token holds at most {MAX_SCOPES} scopes and {MAX_LENGTH} bytes")]
    TooLarge,
    /// The key, or the system's randomness, failed.
    #[error("the token cannot be signed")]
    Key(#[source] KeyError),
}

impl Signer {
    /// A signer whose tokens name `service` as issuer and audience.
    pub fn new(key: SigningKey, service: impl Into<String>) -> Self {
        Self { key, service: service.into() }
    }

    /// The key it signs with.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// A token that gives `principal` these rights from `now` (seconds since 1970) for `lifetime` seconds, at most
    /// [`MAX_LIFETIME`]. A scope without actions is kept: it says that the right was asked for and not granted,
    /// and of the catalog that it shows what the other scopes let pull. `refused` holds what was asked for beside what
    /// was granted. `generation` is that of the rights: one which had been committed before they were read.
    ///
    /// # Errors
    /// [`SignError::TooLarge`] when the scopes do not fit.
    pub fn sign(
        &self,
        principal: &Principal,
        scopes: &[Scope],
        refused: &[Scope],
        generation: u64,
        now: u64,
        lifetime: u64,
    ) -> Result<String, SignError> {
        let [access, refused] = [scopes, refused].map(|scopes| scopes.iter().map(Access::of).collect::<Vec<_>>());
        if access.len() > MAX_SCOPES {
            return Err(SignError::TooLarge);
        }
        let mut id = [0; 16];
        rand::fill(&mut id).map_err(|_| SignError::Key(KeyError))?;
        let claims = Claims {
            iss: self.service.clone(),
            sub: principal.to_string(),
            aud: self.service.clone(),
            iat: now,
            nbf: now,
            exp: now.saturating_add(lifetime.min(MAX_LIFETIME)),
            jti: URL_SAFE_NO_PAD.encode(id),
            generation,
            access,
            refused,
        };
        let payload = serde_json::to_vec(&claims).map_err(|_| SignError::TooLarge)?;
        let token = jws::sign(&self.key, &payload).map_err(SignError::Key)?;
        if token.len() > MAX_LENGTH { Err(SignError::TooLarge) } else { Ok(token) }
    }
}
