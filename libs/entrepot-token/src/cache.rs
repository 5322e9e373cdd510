//! Verified tokens by fingerprint.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, PoisonError, RwLock},
};

use aws_lc_rs::digest::{SHA256, digest};

use crate::Grant;

/// SHA-256 of the whole token, so that no token is kept in memory and none can pass for another.
pub(crate) type Fingerprint = [u8; 32];

/// A bounded map in two generations: when the young one is full it becomes the old one, and what was not asked for
/// since then is forgotten.
#[derive(Debug)]
pub(crate) struct Cache {
    generation: usize,
    generations: RwLock<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Fingerprint, Arc<Grant>>,
    old: HashMap<Fingerprint, Arc<Grant>>,
}

impl Cache {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { generation: capacity / 2, generations: RwLock::default() }
    }

    pub(crate) fn fingerprint(token: &str) -> Fingerprint {
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        fingerprint
    }

    pub(crate) fn get(&self, fingerprint: &Fingerprint) -> Option<Arc<Grant>> {
        let generations = self.generations.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(grant) = generations.young.get(fingerprint) {
            return Some(Arc::clone(grant));
        }
        let grant = Arc::clone(generations.old.get(fingerprint)?);
        drop(generations);
        self.insert(*fingerprint, Arc::clone(&grant));
        Some(grant)
    }

    pub(crate) fn insert(&self, fingerprint: Fingerprint, grant: Arc<Grant>) {
        let mut generations = self.generations.write().unwrap_or_else(PoisonError::into_inner);
        if generations.young.len() >= self.generation {
            generations.old = mem::take(&mut generations.young);
        }
        generations.young.insert(fingerprint, grant);
    }

    pub(crate) fn clear(&self) {
        *self.generations.write().unwrap_or_else(PoisonError::into_inner) = Generations::default();
    }
}

#[cfg(test)]
mod tests;
