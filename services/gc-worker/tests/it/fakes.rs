//! A queue that leases by the paused clock, and a store that counts deletions and can be made to fail.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use entrepot_core::ports::blobs::{Appended, BlobError, BlobSource, BlobStore, ByteStream, WriterPosition};
use entrepot_core::ports::garbage::{Garbage, GarbageQueue};
use entrepot_core::ports::index::IndexError;
use entrepot_core::{Digest, Page, PageOf, StorageKey};
use tokio::sync::watch;
use tokio::time::Instant;

struct Entry {
    key: StorageKey,
    held_until: Option<Instant>,
}

pub struct Queue {
    entries: Mutex<BTreeMap<u64, Entry>>,
    pub left: watch::Sender<usize>,
    /// Times of all calls of `lease`, for the pace of the workers.
    pub leases: Mutex<Vec<Instant>>,
    /// How many of the next acknowledgements fail after the fact: the answer is lost.
    pub lost_answers: AtomicU32,
    pub down: AtomicBool,
}

impl Queue {
    pub fn with(keys: &[StorageKey]) -> Self {
        let queue = Self {
            entries: Mutex::default(),
            left: watch::Sender::new(0),
            leases: Mutex::default(),
            lost_answers: AtomicU32::new(0),
            down: AtomicBool::new(false),
        };
        keys.iter().for_each(|key| queue.push(*key));
        queue
    }

    pub fn push(&self, key: StorageKey) {
        let mut entries = self.entries.lock().unwrap();
        let id = entries.keys().last().map_or(1, |last| last + 1);
        entries.insert(id, Entry { key, held_until: None });
        self.left.send_replace(entries.len());
    }

    fn check(&self) -> Result<(), IndexError> {
        if self.down.load(SeqCst) { Err(IndexError::Unavailable("down".into())) } else { Ok(()) }
    }
}

#[async_trait]
impl GarbageQueue for Queue {
    async fn lease(&self, limit: u32, hold: Duration, _idle: Duration) -> Result<Vec<Garbage>, IndexError> {
        let now = Instant::now();
        self.leases.lock().unwrap().push(now);
        self.check()?;
        let mut entries = self.entries.lock().unwrap();
        let free = entries.iter_mut().filter(|(_, entry)| entry.held_until.is_none_or(|until| until <= now));
        Ok(free
            .take(limit as usize)
            .map(|(id, entry)| {
                entry.held_until = Some(now + hold);
                Garbage { id: *id, key: entry.key, reason: "abandoned-upload".to_owned() }
            })
            .collect())
    }

    async fn acknowledge(&self, ids: &[u64]) -> Result<(), IndexError> {
        self.check()?;
        let mut entries = self.entries.lock().unwrap();
        entries.retain(|id, _| !ids.contains(id));
        self.left.send_replace(entries.len());
        if self.lost_answers.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(IndexError::Unavailable("the answer was lost".into()));
        }
        Ok(())
    }
}

#[derive(Default)]
pub struct Store {
    /// Objects and how often each was deleted.
    objects: Mutex<BTreeMap<StorageKey, u32>>,
    pub down: AtomicBool,
    /// A key whose deletion fails with a fault of its own.
    pub broken: Mutex<Option<StorageKey>>,
}

impl Store {
    pub fn with(keys: &[StorageKey]) -> Self {
        let objects = Mutex::new(keys.iter().map(|key| (*key, 0)).collect());
        Self { objects, ..Self::default() }
    }

    pub fn add(&self, key: StorageKey) {
        self.objects.lock().unwrap().insert(key, 0);
    }

    pub fn deletions(&self, key: StorageKey) -> u32 {
        self.objects.lock().unwrap()[&key]
    }
}

#[async_trait]
impl BlobStore for Store {
    async fn delete(&self, key: StorageKey) -> Result<(), BlobError> {
        // As long as a call over the network, so that workers interleave.
        tokio::time::sleep(Duration::from_millis(10)).await;
        if self.down.load(SeqCst) {
            return Err(BlobError::Unavailable("down".into()));
        }
        if *self.broken.lock().unwrap() == Some(key) {
            return Err(BlobError::Internal("broken".into()));
        }
        *self.objects.lock().unwrap().get_mut(&key).unwrap() += 1;
        Ok(())
    }

    async fn append(&self, _: WriterPosition, _: ByteStream) -> Result<Appended, BlobError> {
        unreachable!("a collector writes nothing")
    }

    async fn seal(&self, _: WriterPosition, _: ByteStream, _: Digest) -> Result<u64, BlobError> {
        unreachable!("a collector writes nothing")
    }

    async fn open(&self, _: StorageKey) -> Result<BlobSource, BlobError> {
        unreachable!("a collector reads nothing")
    }

    async fn list(&self, _: Page) -> Result<PageOf<StorageKey>, BlobError> {
        unreachable!("a collector is told what to delete")
    }
}
