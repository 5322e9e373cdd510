//! Answers from memory that are provably the database's.
//!
//! Only for a database that this process alone writes. Then an entry may be served if it equals the committed value
//! at the moment of the answer. The rules, per key:
//!
//! 1. A write marks its keys *before* its transaction is handed to the database: their entries are dropped, and while
//!    a key is marked nothing is inserted under it. It unmarks them *after* the commit (or the refusal) is known, in a
//!    task that goes on when the caller goes away.
//! 2. A read that finds no entry notes how many writes the shard has seen, reads the database, and inserts only if
//!    the key was not marked when it began and no write has begun in the shard since.
//!
//! So an inserted value was read from a snapshot during whose whole life, from before the read to the insertion, no
//! write of the key was running: it is the committed value at the insertion. It stays so until the next write of the
//! key begins, and that removes it first. An entry that is found is therefore the committed value at that moment:
//! the answer takes effect there, between the answer of the last write that was acknowledged and the commit of the next one, which is
//! what linearizability asks for. A read that misses takes effect at its snapshot.
//!
//! Counting the writes of a whole shard, not of a key, refuses some insertions that would be right; the next read
//! inserts instead.

mod generations;

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use entrepot_core::RepositoryName;

pub(crate) use generations::Generations;

const SHARDS: usize = 16;

/// Entries keyed by repository and `K`.
pub(crate) struct FreshCache<K, V> {
    shards: [Mutex<Shard<K, V>>; SHARDS],
    hasher: RandomState,
}

type Key<K> = (RepositoryName, K);

struct Shard<K, V> {
    entries: Generations<Key<K>, V>,
    /// Writes that have begun so far.
    begun: u64,
    /// How many running writes mark a key.
    marked: HashMap<Key<K>, usize>,
    /// How many running writes mark all keys of a repository.
    marked_repositories: HashMap<RepositoryName, usize>,
}

/// What a look-up found.
pub(crate) enum Lookup<V> {
    /// The committed value.
    Fresh(V),
    /// Nothing; what the database answers may be offered with the ticket.
    Miss(Ticket),
}

/// Proof of when a read began: how many writes had begun, or none while a write of the key was running.
pub(crate) struct Ticket(Option<u64>);

/// What a write may change.
pub(crate) enum Scope<K> {
    Keys(Vec<K>),
    Repository,
}

impl<K: Eq + Hash + Clone, V: Clone> FreshCache<K, V> {
    pub(crate) fn new(bytes: usize) -> Self {
        let shard = || {
            Mutex::new(Shard {
                entries: Generations::new(bytes / SHARDS),
                begun: 0,
                marked: HashMap::new(),
                marked_repositories: HashMap::new(),
            })
        };
        Self { shards: std::array::from_fn(|_| shard()), hasher: RandomState::new() }
    }

    pub(crate) fn lookup(&self, repository: &RepositoryName, key: &K) -> Lookup<V> {
        let key = (repository.clone(), key.clone());
        let mut shard = self.shard(&key);
        if let Some(value) = shard.entries.get(&key) {
            return Lookup::Fresh(value.clone());
        }
        let marked = shard.marked.contains_key(&key) || shard.marked_repositories.contains_key(repository);
        Lookup::Miss(Ticket((!marked).then_some(shard.begun)))
    }

    /// Keeps what the database answered to the read that got `ticket`, unless a write may have changed it.
    pub(crate) fn offer(&self, ticket: Ticket, repository: &RepositoryName, key: K, value: V, bytes: usize) {
        let key = (repository.clone(), key);
        let mut shard = self.shard(&key);
        if ticket.0 == Some(shard.begun) {
            shard.entries.insert(key, value, bytes);
        }
    }

    /// Marks what a write may change, until the answer is dropped.
    pub(crate) fn mark(self: &Arc<Self>, repository: &RepositoryName, scope: Scope<K>) -> Mark<K, V> {
        match &scope {
            Scope::Keys(keys) => {
                for key in keys {
                    let key = (repository.clone(), key.clone());
                    let mut shard = self.shard(&key);
                    shard.begun += 1;
                    shard.entries.remove(&key);
                    *shard.marked.entry(key).or_insert(0) += 1;
                }
            }
            Scope::Repository => {
                for shard in &self.shards {
                    let mut shard = lock(shard);
                    shard.begun += 1;
                    shard.entries.retain(|(of, _)| of != repository);
                    *shard.marked_repositories.entry(repository.clone()).or_insert(0) += 1;
                }
            }
        }
        Mark { cache: Arc::clone(self), repository: repository.clone(), scope }
    }

    fn shard(&self, key: &Key<K>) -> MutexGuard<'_, Shard<K, V>> {
        let hash = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        lock(&self.shards[hash])
    }

    fn unmark(&self, repository: &RepositoryName, scope: &Scope<K>) {
        match scope {
            Scope::Keys(keys) => {
                for key in keys {
                    let key = (repository.clone(), key.clone());
                    release(&mut self.shard(&key).marked, &key);
                }
            }
            Scope::Repository => {
                for shard in &self.shards {
                    release(&mut lock(shard).marked_repositories, repository);
                }
            }
        }
    }
}

/// A write that is running.
pub(crate) struct Mark<K: Eq + Hash + Clone, V: Clone> {
    cache: Arc<FreshCache<K, V>>,
    repository: RepositoryName,
    scope: Scope<K>,
}

impl<K: Eq + Hash + Clone, V: Clone> Drop for Mark<K, V> {
    fn drop(&mut self) {
        self.cache.unmark(&self.repository, &self.scope);
    }
}

fn release<K: Eq + Hash>(marks: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = marks.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            marks.remove(key);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
