//! The keys that sign tokens, and when they change.
//!
//! A key is published ten minutes before it signs, so that every verifier knows it by then, and for ten minutes after
//! its successor took over, so that the last tokens it signed can be verified to their end. The plan depends only on
//! the ages of the keys by the database's clock: any number of replicas come to the same one.

use std::time::Duration;

use entrepot_core::ports::AuthError;
use entrepot_sql::{Database, SqlError};
use entrepot_token::{KeyError, KeySet, Signer, SigningKey};
use std::sync::Arc;
use tokio::{sync::Mutex, time::Instant};

use crate::store::signing_keys::{RotateKeys, StoredKey};

const MINUTE: i64 = 60 * 1000;

/// How long a key is known before it signs, and after it stopped, in milliseconds.
const OVERLAP: i64 = 10 * MINUTE;

/// How old the youngest key gets before there is a new one, in milliseconds: 30 days.
const ROTATE: i64 = 30 * 24 * 60 * MINUTE;

/// How often the keys are read again; well within the overlap.
const RELOAD: Duration = Duration::from_secs(60);

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
}

impl KeyRing {
    pub(crate) fn new(database: Database, service: &str) -> Self {
        Self { database, service: service.to_owned(), loaded: Mutex::default() }
    }

    /// The keys of now.
    pub(crate) async fn keys(&self) -> Result<Keys, AuthError> {
        let mut loaded = self.loaded.lock().await;
        if let Some((at, keys)) = &*loaded
            && at.elapsed() < RELOAD
        {
            return Ok(keys.clone());
        }
        let keys = self.load().await.map_err(KeyRingError::into_port)?;
        *loaded = Some((Instant::now(), keys.clone()));
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
