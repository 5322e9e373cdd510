//! The keys that tokens are verified with, fetched from auth-token.

use std::sync::Arc;
use std::time::Duration;

use entrepot_core::ports::{AuthError, TokenService};
use entrepot_token::{Grant, KeySet, TokenError, Verifier};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::error::ApiError;

/// Shortest time between two fetches for tokens with unknown keys: forged ones must cost us little, and so must an
/// auth-token that does not answer.
const REFRESH: Duration = Duration::from_secs(5);

pub(super) struct Keys {
    verifier: Verifier,
    tokens: Arc<dyn TokenService>,
    last: Mutex<Option<Fetch>>,
}

/// The end of a fetch. A failed one counts too: while auth-token hangs, requests would wait for their deadlines one after
/// the other.
struct Fetch {
    at: Instant,
    succeeded: bool,
}

impl Keys {
    pub(super) fn new(service: &str, tokens: Arc<dyn TokenService>) -> Self {
        Self { verifier: Verifier::new(service, KeySet::new([])), tokens, last: Mutex::new(None) }
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
        let mut last = self.last.lock().await;
        // Somebody else may have fetched while we waited: the second look is free, and so is an answer without one.
        match &*last {
            Some(Fetch { at, succeeded: true }) if at.elapsed() < REFRESH => return Ok(()),
            Some(Fetch { at, succeeded: false }) if at.elapsed() < REFRESH => {
                return Err(AuthError::Unavailable("it did not give its keys a moment ago".into()).into());
            }
            _ => {}
        }
        let fetched = self.fetch().await;
        *last = Some(Fetch { at: Instant::now(), succeeded: fetched.is_ok() });
        Ok(fetched?)
    }

    async fn fetch(&self) -> Result<(), AuthError> {
        let keys = self.tokens.key_set().await?;
        let keys = KeySet::from_json(&keys).map_err(|error| AuthError::Internal(Box::new(error)))?;
        self.verifier.set_keys(keys);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
