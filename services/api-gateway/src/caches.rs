//! What the gateway remembers. Nothing here decides whether something exists on the push path.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use entrepot_core::ports::blobs::BlobSource;
use entrepot_core::ports::index::{LocatedBlob, StoredManifest};
use entrepot_core::{Digest, RepositoryName, StorageKey};
use http::HeaderValue;
use moka::sync::Cache;

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
/// A deletion through another gateway is seen here after this time; through this one at once.
const TIME_TO_LIVE: Duration = Duration::from_secs(30);
/// Open files kept, each a file descriptor.
const OPEN_FILES: u64 = 256;

type Key = (RepositoryName, Digest);

/// Answers by digest: immutable content, so only deletion ends an entry early.
#[derive(Clone)]
pub(crate) struct Caches {
    manifests: Cache<Key, Arc<CachedManifest>>,
    locations: Cache<Key, LocatedBlob>,
    sources: Cache<StorageKey, BlobSource>,
    deletions: Arc<AtomicU64>,
}

/// How many deletions had passed through this gateway when something was read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen(u64);

impl Caches {
    pub(crate) fn new() -> Self {
        Self {
            manifests: Cache::builder()
                .max_capacity(MANIFEST_BYTES)
                .weigher(|_, manifest: &Arc<CachedManifest>| {
                    u32::try_from(manifest.payload.len() + 512).unwrap_or(u32::MAX)
                })
                .time_to_live(TIME_TO_LIVE)
                .build(),
            locations: Cache::builder().max_capacity(100_000).time_to_live(TIME_TO_LIVE).build(),
            sources: Cache::builder().max_capacity(OPEN_FILES).time_to_live(TIME_TO_LIVE).build(),
            deletions: Arc::default(),
        }
    }

    pub(crate) fn manifest(&self, repository: &RepositoryName, digest: Digest) -> Option<Arc<CachedManifest>> {
        self.manifests.get(&(repository.clone(), digest))
    }

    /// To be taken before the index is read, and handed in with what is to be kept.
    pub(crate) fn seen(&self) -> Seen {
        Seen(self.deletions.load(Ordering::SeqCst))
    }

    /// What was read before a deletion must not be kept after it. The deletion counts first and invalidates then, so
    /// whichever of the two comes last removes the entry.
    pub(crate) fn keep_manifest(
        &self,
        seen: Seen,
        repository: &RepositoryName,
        digest: Digest,
        manifest: &Arc<CachedManifest>,
    ) {
        self.manifests.insert((repository.clone(), digest), Arc::clone(manifest));
        if self.seen() != seen {
            self.manifests.invalidate(&(repository.clone(), digest));
        }
    }

    pub(crate) fn forget_manifest(&self, repository: &RepositoryName, digest: Digest) {
        self.deletions.fetch_add(1, Ordering::SeqCst);
        self.manifests.invalidate(&(repository.clone(), digest));
    }

    pub(crate) fn location(&self, repository: &RepositoryName, digest: Digest) -> Option<LocatedBlob> {
        self.locations.get(&(repository.clone(), digest))
    }

    /// As [`Caches::keep_manifest`].
    pub(crate) fn keep_location(&self, seen: Seen, repository: &RepositoryName, digest: Digest, blob: LocatedBlob) {
        self.locations.insert((repository.clone(), digest), blob);
        if self.seen() != seen {
            self.locations.invalidate(&(repository.clone(), digest));
        }
    }

    pub(crate) fn forget_location(&self, repository: &RepositoryName, digest: Digest) {
        self.deletions.fetch_add(1, Ordering::SeqCst);
        self.locations.invalidate(&(repository.clone(), digest));
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

    pub(crate) fn forget_source(&self, key: StorageKey) {
        self.sources.invalidate(&key);
    }
}
