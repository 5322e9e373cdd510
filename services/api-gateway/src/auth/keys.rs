//! The keys that tokens are verified with, fetched from auth-token.

use std::sync::Arc;
use std::time::{Duration, Instant};

use entrepot_core::ports::TokenService;
use entrepot_token::{Grant, KeySet, TokenError, Verifier};
use tokio::sync::Mutex;

use crate::error::ApiError;

/// Shortest time between two fetches for tokens with unknown keys: forged ones must cost us little.
const REFRESH: Duration = Duration::from_secs(5);

pub(super) struct Keys {
    verifier: Verifier,
    tokens: Arc<dyn TokenService>,
    fetched: Mutex<Option<Instant>>,
}

impl Keys {
    pub(super) fn new(service: &str, tokens: Arc<dyn TokenService>) -> Self {
        Self { verifier: Verifier::new(service, KeySet::new([])), tokens, fetched: Mutex::new(None) }
    }

    /// Verifies a token; one signed by a key not seen yet makes the keys be fetched again.
    pub(super) async fn verify(&self, token: &str, now: u64) -> Result<Result<Arc<Grant>, TokenError>, ApiError> {
        match self.verifier.verify(token, now) {
            Err(TokenError::UnknownKey) => {
                self.refresh().await?;
                Ok(self.verifier.verify(token, now))
            }
            verified => Ok(verified),
        }
    }

    async fn refresh(&self) -> Result<(), ApiError> {
        let mut fetched = self.fetched.lock().await;
        if fetched.is_some_and(|at| at.elapsed() < REFRESH) {
            // Somebody else may have fetched while we waited: the second look is free.
            return Ok(());
        }
        let keys = self.tokens.key_set().await?;
        let keys = KeySet::from_json(&keys)
            .map_err(|error| ApiError::from(entrepot_core::ports::AuthError::Internal(Box::new(error))))?;
        self.verifier.set_keys(keys);
        *fetched = Some(Instant::now());
        Ok(())
    }
}
