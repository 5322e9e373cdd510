//! Manifests and blob locations by digest: from memory while that is fresh, else from the index, once for all who ask at
//! the same time.
//!
//! A call is shared only by requests that have heard of the same deletions as the one who began it: a request that comes
//! after a deletion never gets what was read before it.

use std::sync::Arc;
use std::time::Duration;

use entrepot_core::error::Classify;
use entrepot_core::ports::index::LocatedBlob;
use entrepot_core::ports::{BlobLinks, IndexError, ManifestIndex};
use entrepot_core::{Digest, ErrorKind, Reference, RepositoryName};
use tokio::time::{Instant, timeout};

use crate::caches::{Answers, CachedManifest, Caches, Key, Known, Seen};
use crate::error::ApiError;
use crate::flights::Flights;

/// How long an entry that can be served waits to be confirmed.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often a tag is looked up before what it names is believed to be gone: each time it has to move and what it
/// named has to be deleted within a millisecond.
const TAG_TRIES: u32 = 5;

type Outcome<T> = Result<T, Arc<IndexError>>;

/// Reads by digest.
pub(crate) struct Lookups {
    manifests: Arc<dyn ManifestIndex>,
    links: Arc<dyn BlobLinks>,
    caches: Caches,
    manifest_flights: Flights<(Key, Seen), Outcome<Arc<CachedManifest>>>,
    location_flights: Flights<(Key, Seen), Outcome<LocatedBlob>>,
}

impl Lookups {
    pub(crate) fn new(manifests: Arc<dyn ManifestIndex>, links: Arc<dyn BlobLinks>, caches: Caches) -> Self {
        Self { manifests, links, caches, manifest_flights: Flights::new(), location_flights: Flights::new() }
    }

    /// A manifest that may have been deleted.
    pub(crate) async fn manifest(&self, key: &Key) -> Result<Arc<CachedManifest>, ApiError> {
        let seen = self.caches.manifests.seen();
        let known = self.caches.manifests.get(key);
        if let Some(known) = &known
            && self.caches.manifests.is_fresh(known)
        {
            return Ok(Arc::clone(&known.value));
        }
        let flight = self.manifest_flights.join((key.clone(), seen), || {
            let read = self.read(key, known.as_ref());
            refresh(self.caches.manifests.clone(), seen, key.clone(), known, read, Some(PATIENCE))
        });
        flight.await.map_err(|error| ApiError::of_index(&error))
    }

    /// The manifest of a tag, which is looked up at its owner every time: a moved tag is visible at once, everywhere.
    ///
    /// Between the look-up and the reading the tag may move and what it named be deleted. A tag that was there all the
    /// time never answers 404 for that: it is looked up again.
    pub(crate) async fn tagged_manifest(
        &self,
        repository: &RepositoryName,
        tag: &Reference,
    ) -> Result<Arc<CachedManifest>, ApiError> {
        let mut tries = TAG_TRIES;
        loop {
            let digest = self.manifests.resolve(repository, tag).await?;
            let key = (repository.clone(), digest);
            // The index has just named it: memory is as good as the index.
            if let Some(known) = self.caches.manifests.get(&key) {
                return Ok(known.value);
            }
            tries -= 1;
            match self.manifest(&key).await {
                Err(error) if error.kind() == ErrorKind::NotFound && tries > 0 => {}
                outcome => return outcome,
            }
        }
    }

    /// A manifest that a client may be about not to push, because it is there: the index says so, now, however long it
    /// takes. Only where it cannot be asked, and so takes no push either, memory does: who pulls may go on.
    pub(crate) async fn present_manifest(&self, key: &Key) -> Result<Arc<CachedManifest>, ApiError> {
        let seen = self.caches.manifests.seen();
        let known = self.caches.manifests.get(key);
        let read = self.read(key, known.as_ref());
        let outcome = refresh(self.caches.manifests.clone(), seen, key.clone(), known, read, None).await;
        outcome.map_err(|error| ApiError::of_index(&error))
    }

    /// Reads a manifest; the bytes that are here already are not sent again.
    fn read(
        &self,
        key: &Key,
        known: Option<&Known<Arc<CachedManifest>>>,
    ) -> impl Future<Output = Result<Arc<CachedManifest>, IndexError>> + Send + use<> {
        let (index, (repository, digest)) = (Arc::clone(&self.manifests), key.clone());
        let confirmed = known.map(|known| Arc::clone(&known.value));
        async move {
            match confirmed {
                Some(manifest) => index.resolve(&repository, &Reference::Digest(digest)).await.map(|_| manifest),
                None => index.get_manifest(&repository, digest).await.map(|stored| Arc::new(stored.into())),
            }
        }
    }

    /// Where a blob that may have been deleted lies.
    pub(crate) async fn location(&self, repository: &RepositoryName, digest: Digest) -> Result<LocatedBlob, ApiError> {
        let key = (repository.clone(), digest);
        let seen = self.caches.locations.seen();
        let known = self.caches.locations.get(&key);
        if let Some(known) = &known
            && self.caches.locations.is_fresh(known)
        {
            return Ok(known.value);
        }
        let flight = self.location_flights.join((key.clone(), seen), || {
            let links = Arc::clone(&self.links);
            let (repository, digest) = key.clone();
            let read = async move { links.locate(&repository, digest).await };
            refresh(self.caches.locations.clone(), seen, key, known, read, Some(PATIENCE))
        });
        flight.await.map_err(|error| ApiError::of_index(&error))
    }
}

/// Reads and keeps. What is known but no longer fresh is served where the index does not answer, or not within `patience`.
async fn refresh<T: Clone + Send + Sync + 'static>(
    answers: Answers<T>,
    seen: Seen,
    key: Key,
    known: Option<Known<T>>,
    read: impl Future<Output = Result<T, IndexError>>,
    patience: Option<Duration>,
) -> Outcome<T> {
    let asked = Instant::now();
    let usable = known.filter(Known::is_usable);
    let outcome = match patience.filter(|_| usable.is_some()) {
        Some(patience) => {
            timeout(patience, read).await.unwrap_or_else(|late| Err(IndexError::Unavailable(Box::new(late))))
        }
        None => read.await,
    };
    match (outcome, usable) {
        (Ok(value), _) => {
            answers.keep(seen, &key, Known::confirmed(value.clone(), asked));
            Ok(value)
        }
        (Err(error), Some(known)) if error.kind() == ErrorKind::Unavailable => {
            metrics::counter!("entrepot_gateway_stale_answers_total").increment(1);
            let value = known.value.clone();
            answers.keep(seen, &key, known.unanswered());
            Ok(value)
        }
        (Err(error), _) => {
            if error.kind() == ErrorKind::NotFound {
                answers.drop_entry(&key);
            }
            Err(Arc::new(error))
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
