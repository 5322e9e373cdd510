//! A bounded map that forgets what was not asked for lately.

use std::{borrow::Borrow, collections::HashMap, hash::Hash};

/// Two generations: new and used entries are in the young one; when that is full it becomes the old one, and what
/// the old one held is forgotten. As good as an exact order of use here, without keeping one on every read.
pub(crate) struct Generations<K, V> {
    young: HashMap<K, Entry<V>>,
    old: HashMap<K, Entry<V>>,
    young_bytes: usize,
    half: usize,
}

struct Entry<V> {
    value: V,
    bytes: usize,
}

impl<K: Eq + Hash + Clone, V> Generations<K, V> {
    /// Room for entries of `bytes` together.
    pub(crate) fn new(bytes: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), young_bytes: 0, half: bytes / 2 }
    }

    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        // Only an entry of the old generation moves, so the usual hit changes nothing.
        if !self.young.contains_key(key) {
            let (key, entry) = self.old.remove_entry(key)?;
            self.make_young(key, entry);
        }
        self.young.get(key).map(|entry| &entry.value)
    }

    /// Keeps a value that takes `bytes`; one that takes more than half of the room is not kept.
    pub(crate) fn insert(&mut self, key: K, value: V, bytes: usize) {
        self.remove(&key);
        if bytes <= self.half {
            self.make_young(key, Entry { value, bytes });
        }
    }

    pub(crate) fn remove(&mut self, key: &K) {
        if let Some(entry) = self.young.remove(key) {
            self.young_bytes -= entry.bytes;
        }
        self.old.remove(key);
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&K) -> bool) {
        let young_bytes = &mut self.young_bytes;
        self.young.retain(|key, entry| {
            let kept = keep(key);
            if !kept {
                *young_bytes -= entry.bytes;
            }
            kept
        });
        self.old.retain(|key, _| keep(key));
    }

    fn make_young(&mut self, key: K, entry: Entry<V>) {
        if self.young_bytes + entry.bytes > self.half {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += entry.bytes;
        self.young.insert(key, entry);
    }
}

#[cfg(test)]
mod tests;
