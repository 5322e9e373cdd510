//! The keys that sign tokens, and when they change.
//!
//! A key is published ten minutes before it signs, so that every verifier knows it by then, and for ten minutes after
//! its successor took over, so that the last tokens it signed can be verified to their end. The plan depends only on
//! the ages of the keys by the database's clock: any number of replicas come to the same one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use entrepot_core::ports::AuthError;
use entrepot_sql::{Database, SqlError};
use entrepot_token::{KeyError, KeySet, Signer, SigningKey};
use tokio::time::Instant;
use tracing::Instrument;

use crate::store::signing_keys::{RotateKeys, StoredKey};

const MINUTE: i64 = 60 * 1000;

/// How long a key is known before it signs, and after it stopped, in milliseconds.
const OVERLAP: i64 = 10 * MINUTE;

/// How old the youngest key gets before there is a new one, in milliseconds: 30 days.
const ROTATE: i64 = 30 * 24 * 60 * MINUTE;

/// How old keys get before they are read again.
const RELOAD: Duration = Duration::from_secs(60);

/// How old keys may be where the database does not answer. Half of the overlap: a verifier whose own are as old knows by then
/// what is signed with them, and there is as much left for the tokens.
const LATEST: Duration = Duration::from_millis(OVERLAP.unsigned_abs() / 2);

/// What to do with the keys, youngest first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// A new key is due.
    pub(crate) add: bool,
    /// Which one signs; without keys, the new one does at once.
    pub(crate) signs: usize,
    /// How many stay.
    pub(crate) keep: usize,
}

/// The plan for keys of these ages in milliseconds, youngest first.
pub(crate) fn plan(ages: &[i64]) -> Plan {
    let ready = ages.iter().position(|age| *age >= OVERLAP);
    let signs = ready.unwrap_or(ages.len().saturating_sub(1));
    let settled = ages.get(signs).is_some_and(|age| *age >= 2 * OVERLAP);
    Plan {
        add: ages.first().is_none_or(|youngest| *youngest >= ROTATE),
        signs,
        keep: if settled { signs + 1 } else { ages.len() },
    }
}

/// The keys as last read.
#[derive(Clone)]
pub(crate) struct Keys {
    /// Signs now.
    pub(crate) signer: Arc<Signer>,
    /// What is published, as JSON.
    pub(crate) published: Arc<str>,
}

/// Reads keys from the database, and makes new ones there when they are due.
pub(crate) struct KeyRing {
    database: Database,
    service: String,
    loaded: Mutex<Option<(Instant, Keys)>>,
    /// Whoever holds this reads the keys.
    reading: Arc<tokio::sync::Mutex<()>>,
}

impl KeyRing {
    pub(crate) fn new(database: Database, service: &str) -> Self {
        Self { database, service: service.to_owned(), loaded: Mutex::default(), reading: Arc::default() }
    }

    /// The keys of now, or of a while ago: nobody waits for the database who has keys that are good.
    pub(crate) async fn keys(self: &Arc<Self>) -> Result<Keys, AuthError> {
        if let Some(keys) = self.younger_than(RELOAD) {
            return Ok(keys);
        }
        if let Some(keys) = self.younger_than(LATEST) {
            self.read_again();
            return Ok(keys);
        }
        let _turn = self.reading.lock().await;
        // Others who waited may have read them meanwhile.
        if let Some(keys) = self.younger_than(RELOAD) {
            return Ok(keys);
        }
        self.read().await.map_err(KeyRingError::into_port)
    }

    fn younger_than(&self, age: Duration) -> Option<Keys> {
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.as_ref().filter(|(at, _)| at.elapsed() < age).map(|(_, keys)| keys.clone())
    }

    /// Has the keys read, unless somebody does.
    fn read_again(self: &Arc<Self>) {
        let Ok(turn) = Arc::clone(&self.reading).try_lock_owned() else { return };
        let ring = Arc::clone(self);
        let read = async move {
            if let Err(error) = ring.read().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "the keys that sign tokens stay as they are");
            }
            drop(turn);
        };
        tokio::spawn(read.in_current_span());
    }

    async fn read(&self) -> Result<Keys, KeyRingError> {
        // Before, so that they do not count as younger than they are.
        let began = Instant::now();
        let keys = self.load().await?;
        *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) = Some((began, keys.clone()));
        Ok(keys)
    }

    async fn load(&self) -> Result<Keys, KeyRingError> {
        let fresh = SigningKey::generate()?;
        let rotate = RotateKeys { fresh_id: fresh.id().to_owned(), fresh_pkcs8: fresh.to_pkcs8()? };
        let stored = self.database.write(rotate).await?;
        let read = |key: &StoredKey| SigningKey::from_pkcs8(&key.pkcs8);
        let keys = stored.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let published = KeySet::new(keys.iter().map(SigningKey::public)).to_json().into();
        let signing = keys.into_iter().next().ok_or(KeyError)?;
        tracing::debug!(key.id = signing.id(), "signing keys read");
        Ok(Keys { signer: Arc::new(Signer::new(signing, &self.service)), published })
    }
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
enum KeyRingError {
    #[error("the signing keys cannot be read")]
    Database(#[from] SqlError),
    #[error("a signing key cannot be used")]
    Key(#[from] KeyError),
}

impl KeyRingError {
    fn into_port(self) -> AuthError {
        match self {
            Self::Database(_) => AuthError::Unavailable(self.into()),
            Self::Key(_) => AuthError::Internal(self.into()),
        }
    }
}

#[cfg(test)]
mod tests;
