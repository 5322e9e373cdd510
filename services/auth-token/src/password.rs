//! Passwords of people: argon2id, a few at a time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use argon2::{
    Argon2, Params,
    password_hash::{PasswordHasher, PasswordVerifier},
};
use aws_lc_rs::{constant_time, hmac, rand};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use tokio::sync::Semaphore;

use crate::secret::NoRandomness;

/// The shortest and longest password, in bytes.
pub(crate) const LENGTH: std::ops::RangeInclusive<usize> = 8..=1024;

/// How many checks may wait for their turn; more are told to come back.
const WAITING: usize = 64;

/// How long a password that was checked is recognised without the slow hash, and for how many accounts.
const REMEMBERED_FOR: Duration = Duration::from_secs(300);
const REMEMBERED: usize = 1024;

/// A password's argon2id hash in PHC form.
///
/// Takes a blocking thread about 20 ms.
pub(crate) fn hash(password: &str) -> Result<String, NoRandomness> {
    let mut salt = [0; 16];
    rand::fill(&mut salt).map_err(|_| NoRandomness)?;
    let hash = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
    hash.map(|hash| hash.to_string()).map_err(|_| NoRandomness)
}

/// A hash that no password has, with the parameters of a real one. Written down rather than computed: hashing at every
/// start would cost 19 MiB and most of the time to the first answer.
fn decoy() -> Result<String, NoRandomness> {
    let mut random = [0; 16 + 32];
    rand::fill(&mut random).map_err(|_| NoRandomness)?;
    let (salt, output) = random.split_at(16);
    let params = Params::default();
    let (memory, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
    let (salt, output) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(output));
    Ok(format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${output}"))
}

/// Why a password was not checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Busy;

/// Checks passwords.
pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// Checked for names that do not exist, so that those take as long.
    decoy: Arc<str>,
    /// Keys what is remembered; lives and dies with the process.
    memory_key: hmac::Key,
    remembered: Mutex<HashMap<String, (hmac::Tag, Instant)>>,
}

impl Passwords {
    pub(crate) fn new(concurrent: usize) -> Result<Self, NoRandomness> {
        let mut key = [0; 32];
        rand::fill(&mut key).map_err(|_| NoRandomness)?;
        Ok(Self {
            turns: Arc::new(Semaphore::new(concurrent.max(1))),
            waiting: Arc::new(Semaphore::new(WAITING)),
            decoy: decoy()?.into(),
            memory_key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            remembered: Mutex::default(),
        })
    }

    /// Whether the password fits the stored hash; takes the same time where there is none.
    pub(crate) async fn verify(&self, account: &str, password: &str, stored: Option<&str>) -> Result<bool, Busy> {
        if password.len() > *LENGTH.end() {
            return Ok(false);
        }
        let fingerprint = self.fingerprint(password, stored.unwrap_or_default());
        if stored.is_some() && self.is_remembered(account, &fingerprint) {
            return Ok(true);
        }
        let _waiting = self.waiting.try_acquire().map_err(|_| Busy)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| Busy)?;
        let against = stored.map_or_else(|| Arc::clone(&self.decoy), Into::into);
        let password = password.to_owned();
        let check = move || {
            let fits = Argon2::default().verify_password(password.as_bytes(), &*against).is_ok();
            drop(turn);
            fits
        };
        let fits = tokio::task::spawn_blocking(check).await.map_err(|_| Busy)? && stored.is_some();
        if fits {
            self.remember(account, fingerprint);
        }
        Ok(fits)
    }

    /// Binds the password to the stored hash, so that a changed password is never recognised.
    fn fingerprint(&self, password: &str, stored: &str) -> hmac::Tag {
        hmac::sign(&self.memory_key, format!("{stored}\n{password}").as_bytes())
    }

    fn is_remembered(&self, account: &str, fingerprint: &hmac::Tag) -> bool {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.get(account).is_some_and(|(known, since)| {
            let same = constant_time::verify_slices_are_equal(known.as_ref(), fingerprint.as_ref()).is_ok();
            same && since.elapsed() < REMEMBERED_FOR
        })
    }

    fn remember(&self, account: &str, fingerprint: hmac::Tag) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(account.to_owned(), (fingerprint, Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use argon2::PasswordHash;

    use super::*;

    /// A malformed decoy would be refused at once, and the time of a refusal would tell which names exist.
    #[test]
    fn the_decoy_costs_what_a_real_hash_costs() {
        let (real, decoy) = (hash("correct horse").unwrap(), decoy().unwrap());
        let (real, decoy) = (PasswordHash::new(&real).unwrap(), PasswordHash::new(&decoy).unwrap());
        assert_eq!((real.algorithm, real.version, &real.params), (decoy.algorithm, decoy.version, &decoy.params));
        let length = |hash: &PasswordHash| hash.hash.as_ref().map(|output| output.as_bytes().len());
        assert_eq!(length(&real), length(&decoy));
    }
}
