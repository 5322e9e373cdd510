//! What the gateway remembers. Nothing here decides whether something exists on the push path.
//!
//! Content named by its digest never changes, so an entry can be wrong in one way only: what it tells of was deleted,
//! through another gateway or by gc-worker. A deletion through this gateway drops the entry at once, and a notice of one
//! elsewhere as soon as it comes. Whether a notice comes or not, an entry is served for [`FRESH`] and must then be
//! confirmed by the index; only where the index does not answer it is served for [`STALE`], and by then it is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use entrepot_core::ports::blobs::BlobSource;
use entrepot_core::ports::index::{LocatedBlob, StoredManifest};
use entrepot_core::{Digest, RepositoryName, StorageKey};
use http::HeaderValue;
use moka::sync::Cache;
use tokio::time::Instant;

/// A manifest ready to be sent.
pub(crate) struct CachedManifest {
    pub(crate) media_type: HeaderValue,
    pub(crate) digest: HeaderValue,
    pub(crate) etag: HeaderValue,
    pub(crate) payload: Bytes,
}

impl From<StoredManifest> for CachedManifest {
    fn from(stored: StoredManifest) -> Self {
        let digest = stored.digest.to_string();
        Self {
            media_type: crate::location::header(stored.media_type.as_str()),
            etag: crate::location::header(&format!("\"{digest}\"")),
            digest: crate::location::header(&digest),
            payload: stored.payload,
        }
    }
}

/// Most bytes of manifests kept.
const MANIFEST_BYTES: u64 = 64 << 20;
/// A deletion elsewhere that nothing told of is seen here after this time.
pub(crate) const FRESH: Duration = Duration::from_secs(5);
/// How long after it was last confirmed an entry is served while the index does not answer. Far below the quarantine.
pub(crate) const STALE: Duration = Duration::from_secs(60);
/// How long the index is not asked again about an entry after it did not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// Open files kept, each a file descriptor, and for how long.
const OPEN_FILES: u64 = 256;
const OPEN_TIME: Duration = Duration::from_secs(30);

pub(crate) type Key = (RepositoryName, Digest);

/// An entry with what is known about it.
#[derive(Clone)]
pub(crate) struct Known<T> {
    pub(crate) value: T,
    /// When the index last said that it is there: the time before it was asked.
    confirmed: Instant,
    /// When the index last did not answer.
    failed: Option<Instant>,
    /// How many doubts there had been then.
    doubts: u64,
}

impl<T> Known<T> {
    /// Confirmed by a call that began at `asked`.
    pub(crate) fn confirmed(value: T, asked: Instant) -> Self {
        Self { value, confirmed: asked, failed: None, doubts: 0 }
    }

    /// The same after a call that got no answer.
    pub(crate) fn unanswered(self) -> Self {
        Self { failed: Some(Instant::now()), ..self }
    }

    /// May be served where nobody answers.
    pub(crate) fn is_usable(&self) -> bool {
        self.confirmed.elapsed() < STALE
    }
}

/// Answers by digest.
#[derive(Clone)]
pub(crate) struct Caches {
    pub(crate) manifests: Answers<Arc<CachedManifest>>,
    pub(crate) locations: Answers<LocatedBlob>,
    sources: Cache<StorageKey, BlobSource>,
}

/// How many deletions this gateway had heard of, and how often it may have missed some, when something was read.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    deletions: u64,
    doubts: u64,
}

/// Answers of one kind.
#[derive(Clone)]
pub(crate) struct Answers<T: Clone + Send + Sync + 'static> {
    entries: Cache<Key, Known<T>>,
    deletions: Arc<AtomicU64>,
    doubts: Arc<AtomicU64>,
}

impl<T: Clone + Send + Sync + 'static> Answers<T> {
    fn new(entries: moka::sync::CacheBuilder<Key, Known<T>, Cache<Key, Known<T>>>) -> Self {
        Self { entries: entries.time_to_live(STALE).build(), deletions: Arc::default(), doubts: Arc::default() }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Known<T>> {
        self.entries.get(key)
    }

    /// May be served without asking: confirmed a short time ago, or just not answered about.
    pub(crate) fn is_fresh(&self, known: &Known<T>) -> bool {
        let confirmed = known.confirmed.elapsed() < FRESH && known.doubts == self.doubts.load(Ordering::SeqCst);
        confirmed || known.is_usable() && known.failed.is_some_and(|at| at.elapsed() < PAUSE)
    }

    /// To be taken before the index is read, and handed in with what is to be kept.
    pub(crate) fn seen(&self) -> Seen {
        Seen { deletions: self.deletions.load(Ordering::SeqCst), doubts: self.doubts.load(Ordering::SeqCst) }
    }

    /// What was read before a deletion must not be kept after it. The deletion counts first and invalidates then, so
    /// whichever of the two comes last removes the entry.
    pub(crate) fn keep(&self, seen: Seen, key: &Key, known: Known<T>) {
        self.entries.insert(key.clone(), Known { doubts: seen.doubts, ..known });
        if self.seen().deletions != seen.deletions {
            self.entries.invalidate(key);
        }
    }

    pub(crate) fn forget(&self, key: &Key) {
        self.deletions.fetch_add(1, Ordering::SeqCst);
        self.entries.invalidate(key);
    }

    /// It is not there, by an answer of the index. No deletion counts: whoever asks for what is not there must not keep
    /// others from keeping what is.
    pub(crate) fn drop_entry(&self, key: &Key) {
        self.entries.invalidate(key);
    }
}

impl Caches {
    pub(crate) fn new() -> Self {
        let weigh = |_: &Key, manifest: &Known<Arc<CachedManifest>>| {
            u32::try_from(manifest.value.payload.len() + 512).unwrap_or(u32::MAX)
        };
        Self {
            manifests: Answers::new(Cache::builder().max_capacity(MANIFEST_BYTES).weigher(weigh)),
            locations: Answers::new(Cache::builder().max_capacity(100_000)),
            sources: Cache::builder().max_capacity(OPEN_FILES).time_to_live(OPEN_TIME).build(),
        }
    }

    /// Deletions may have gone by unheard: each entry has to be confirmed before it is served again. Nothing is dropped,
    /// so that a Redis that comes and goes costs no manifest to be sent twice.
    pub(crate) fn doubt(&self) {
        self.manifests.doubts.fetch_add(1, Ordering::SeqCst);
        self.locations.doubts.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn source(&self, key: StorageKey) -> Option<BlobSource> {
        self.sources.get(&key)
    }

    /// Only open files are kept: a URL is signed for a time, and memory needs no opening.
    pub(crate) fn keep_source(&self, key: StorageKey, source: &BlobSource) {
        if matches!(source, BlobSource::File { .. }) {
            self.sources.insert(key, source.clone());
        }
    }

    /// The bytes under a key are lost.
    pub(crate) fn forget_source(&self, key: StorageKey) {
        self.sources.invalidate(&key);
    }

    /// A blob is no longer in a repository. Its open file goes with the location: nothing else leads to it from there.
    pub(crate) fn forget_blob(&self, key: &Key) {
        if let Some(known) = self.locations.get(key) {
            self.sources.invalidate(&known.value.key);
        }
        self.locations.forget(key);
    }
}
