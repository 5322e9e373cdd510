use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};

use async_trait::async_trait;
use entrepot_core::ports::index::{Referrer, StoredManifest, Visibility};
use entrepot_core::{Algorithm, Manifest, MediaType, Page, PageOf, StorageKey, Tag};
use futures_util::future::join_all;

use super::*;
use crate::caches::{FRESH, STALE};

/// An index of one manifest and one blob, which may be there or not, and answer or not.
pub(crate) struct Index {
    present: AtomicBool,
    down: AtomicBool,
    stalled: AtomicBool,
    /// Milliseconds until an answer.
    takes: AtomicU64,
    /// How many manifests more are gone once they were named.
    vanishing: AtomicUsize,
    /// Names of the calls.
    calls: Mutex<Vec<&'static str>>,
    /// Takes a look before an answer is on its way back.
    answered: AtomicUsize,
    key: StorageKey,
}

impl Index {
    async fn call<T>(&self, name: &'static str, value: T, unknown: IndexError) -> Result<T, IndexError> {
        self.calls.lock().unwrap().push(name);
        let present = self.present.load(SeqCst);
        tokio::time::sleep(Duration::from_millis(self.takes.load(SeqCst))).await;
        if self.stalled.load(SeqCst) {
            std::future::pending::<()>().await;
        }
        self.answered.fetch_add(1, SeqCst);
        match (self.down.load(SeqCst), present) {
            (true, _) => Err(IndexError::Unavailable("down".into())),
            (false, true) => Ok(value),
            (false, false) => Err(unknown),
        }
    }

    fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }
}

#[async_trait]
impl ManifestIndex for Index {
    async fn resolve(&self, _: &RepositoryName, reference: &Reference) -> Result<Digest, IndexError> {
        self.call("resolve", digest(), IndexError::ManifestUnknown(reference.clone())).await
    }

    async fn get_manifest(&self, _: &RepositoryName, digest: Digest) -> Result<StoredManifest, IndexError> {
        let media_type: MediaType = MediaType::OCI_MANIFEST.parse().unwrap();
        let stored = StoredManifest { digest, media_type, payload: "payload".into() };
        if self.vanishing.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
            let gone = || IndexError::ManifestUnknown(Reference::Digest(digest));
            return self.call("get", (), gone()).await.and(Err(gone()));
        }
        self.call("get", stored, IndexError::ManifestUnknown(Reference::Digest(digest))).await
    }

    async fn put_manifest(&self, _: &RepositoryName, _: Manifest, _: Vec<Tag>) -> Result<(), IndexError> {
        unreachable!("nothing is written")
    }

    async fn delete_manifest(&self, _: &RepositoryName, _: &Reference) -> Result<(), IndexError> {
        unreachable!("nothing is written")
    }

    async fn list_tags(&self, _: &RepositoryName, _: Page) -> Result<PageOf<Tag>, IndexError> {
        unreachable!("nothing is listed")
    }

    async fn list_repositories(&self, _: &Visibility, _: Page) -> Result<PageOf<RepositoryName>, IndexError> {
        unreachable!("nothing is listed")
    }

    async fn list_referrers(
        &self,
        _: &RepositoryName,
        _: Digest,
        _: Option<&str>,
        _: Page,
    ) -> Result<PageOf<Referrer>, IndexError> {
        unreachable!("nothing is listed")
    }
}

#[async_trait]
impl BlobLinks for Index {
    async fn locate(&self, _: &RepositoryName, digest: Digest) -> Result<LocatedBlob, IndexError> {
        self.call("locate", LocatedBlob { size: 7, key: self.key }, IndexError::BlobUnknown(digest)).await
    }

    async fn stat(&self, _: &RepositoryName, _: Digest) -> Result<LocatedBlob, IndexError> {
        unreachable!("existence is no business of a cache")
    }

    async fn mount(&self, _: &RepositoryName, _: Option<&RepositoryName>, _: Digest) -> Result<bool, IndexError> {
        unreachable!("nothing is written")
    }

    async fn unlink(&self, _: &RepositoryName, _: Digest) -> Result<(), IndexError> {
        unreachable!("nothing is written")
    }
}

fn digest() -> Digest {
    Digest::of(Algorithm::Sha256, b"payload")
}

fn key() -> Key {
    ("team/app".parse().unwrap(), digest())
}

pub(crate) fn setup() -> (Arc<Index>, Caches, Lookups) {
    let index = Arc::new(Index {
        present: AtomicBool::new(true),
        down: AtomicBool::new(false),
        stalled: AtomicBool::new(false),
        takes: AtomicU64::new(1),
        vanishing: AtomicUsize::new(0),
        calls: Mutex::default(),
        answered: AtomicUsize::new(0),
        key: StorageKey::random(),
    });
    let caches = Caches::new();
    let lookups = Lookups::new(index.clone(), index.clone(), caches.clone());
    (index, caches, lookups)
}

async fn both(lookups: &Lookups) -> [Result<(), u16>; 2] {
    let status = |error: ApiError| error.into_response().status().as_u16();
    let (repository, digest) = key();
    let key = key();
    let (manifest, blob) = tokio::join!(lookups.manifest(&key), lookups.location(&repository, digest));
    [
        manifest.map(|manifest| assert_eq!(&manifest.payload[..], b"payload")).map_err(status),
        blob.map(|blob| assert_eq!(blob.size, 7)).map_err(status),
    ]
}

const GOOD: [Result<(), u16>; 2] = [Ok(()), Ok(())];
const GONE: [Result<(), u16>; 2] = [Err(404), Err(404)];
const AWAY: [Result<(), u16>; 2] = [Err(503), Err(503)];

#[tokio::test(start_paused = true)]
async fn many_misses_at_once_cause_one_call_each() {
    let (index, _, lookups) = setup();
    for answers in join_all((0..50).map(|_| both(&lookups))).await {
        assert_eq!(answers, GOOD);
    }
    assert_eq!(index.calls(), ["get", "locate"]);
}

/// The time within which a deletion elsewhere counts although nothing told of it, and that it takes no bytes to find out.
#[tokio::test(start_paused = true)]
async fn an_entry_is_served_for_its_time_and_then_confirmed() {
    let (index, _, lookups) = setup();
    assert_eq!(both(&lookups).await, GOOD);
    tokio::time::advance(FRESH - Duration::from_millis(10)).await;
    index.calls();
    index.present.store(false, SeqCst);
    assert_eq!(both(&lookups).await, GOOD);
    assert!(index.calls().is_empty(), "an answer from memory costs no call");
    tokio::time::advance(Duration::from_millis(10)).await;
    assert_eq!(both(&lookups).await, GONE);
    assert_eq!(index.calls(), ["resolve", "locate"]);
    index.present.store(true, SeqCst);
    assert_eq!(both(&lookups).await, GOOD);
    assert_eq!(index.calls(), ["get", "locate"]);
    tokio::time::advance(FRESH).await;
    assert_eq!(both(&lookups).await, GOOD);
    assert_eq!(index.calls(), ["resolve", "locate"]);
    assert_eq!(both(&lookups).await, GOOD);
    assert!(index.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_known_is_served_for_a_minute_without_the_index() {
    for stalled in [false, true] {
        let (index, _, lookups) = setup();
        assert_eq!(both(&lookups).await, GOOD);
        index.down.store(true, SeqCst);
        index.stalled.store(stalled, SeqCst);
        tokio::time::advance(FRESH).await;
        assert_eq!(both(&lookups).await, GOOD);
        index.calls();
        let asked = Instant::now();
        assert_eq!(both(&lookups).await, GOOD);
        assert!(asked.elapsed().is_zero() && index.calls().is_empty(), "what just failed is tried again");
        tokio::time::advance(PATIENCE * 2).await;
        assert_eq!(both(&lookups).await, GOOD);
        assert_eq!(index.calls(), ["resolve", "locate"]);
        tokio::time::advance(STALE).await;
        index.stalled.store(false, SeqCst);
        assert_eq!(both(&lookups).await, AWAY);
        index.down.store(false, SeqCst);
        assert_eq!(both(&lookups).await, GOOD);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_is_heard_of_counts_at_once() {
    let (index, caches, lookups) = setup();
    for forget in [
        (|caches: &Caches| {
            caches.manifests.forget(&key());
            caches.forget_blob(&key());
        }) as fn(&Caches),
        Caches::doubt,
    ] {
        index.present.store(true, SeqCst);
        assert_eq!(both(&lookups).await, GOOD);
        index.present.store(false, SeqCst);
        forget(&caches);
        assert_eq!(both(&lookups).await, GONE);
    }
}

/// A Redis that comes and goes costs a look at the index, but no bytes and no answer that needs the index.
#[tokio::test(start_paused = true)]
async fn a_doubt_is_cleared_by_one_look() {
    let (index, caches, lookups) = setup();
    assert_eq!(both(&lookups).await, GOOD);
    index.calls();
    caches.doubt();
    assert_eq!(both(&lookups).await, GOOD);
    assert_eq!(both(&lookups).await, GOOD);
    assert_eq!(index.calls(), ["resolve", "locate"]);
    index.down.store(true, SeqCst);
    caches.doubt();
    assert_eq!(both(&lookups).await, GOOD);
}

/// What was read before a deletion is neither kept after it nor given to a request that comes after it.
#[tokio::test(start_paused = true)]
async fn a_reading_from_before_a_deletion_serves_nobody_after_it() {
    let (index, caches, lookups) = setup();
    let (before, after) = tokio::join!(both(&lookups), async {
        while index.calls.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(index.answered.load(SeqCst), 0, "the first reading is under way");
        index.present.store(false, SeqCst);
        caches.manifests.forget(&key());
        caches.forget_blob(&key());
        both(&lookups).await
    });
    assert_eq!(before[0], Ok(()));
    assert_eq!(after, GONE);
    assert_eq!(both(&lookups).await, GONE);
}

fn tag() -> Reference {
    Reference::Tag("latest".parse().unwrap())
}

fn status<T>(outcome: Result<T, ApiError>) -> u16 {
    outcome.map_or_else(|error| error.into_response().status().as_u16(), |_| 200)
}

/// A tag names a digest that is there: the manifest behind it needs no confirmation of its own.
#[tokio::test(start_paused = true)]
async fn a_manifest_just_named_by_the_index_costs_no_second_call() {
    let (index, _, lookups) = setup();
    let (repository, tag) = (key().0, tag());
    assert_eq!(status(lookups.tagged_manifest(&repository, &tag).await), 200);
    assert_eq!(index.calls(), ["resolve", "get"]);
    tokio::time::advance(FRESH * 2).await;
    assert_eq!(status(lookups.tagged_manifest(&repository, &tag).await), 200);
    assert_eq!(index.calls(), ["resolve"]);
}

/// The tag was moved and what it had named deleted, after it was looked up: it was never without a manifest.
#[tokio::test(start_paused = true)]
async fn a_tag_that_moves_under_a_reading_is_looked_up_again() {
    let (index, _, lookups) = setup();
    let (repository, tag) = (key().0, tag());
    index.vanishing.store(2, SeqCst);
    assert_eq!(status(lookups.tagged_manifest(&repository, &tag).await), 200);
    assert_eq!(index.calls(), ["resolve", "get"].repeat(3));
    let (index, _, lookups) = setup();
    index.vanishing.store(usize::MAX, SeqCst);
    assert_eq!(status(lookups.tagged_manifest(&repository, &tag).await), 404);
    assert_eq!(index.calls().len(), 2 * TAG_TRIES as usize, "it ends");
}

/// Who is told that a manifest is there does not push it.
#[tokio::test(start_paused = true)]
async fn presence_is_asked_of_the_index_each_time() {
    let (index, _, lookups) = setup();
    assert_eq!(status(lookups.manifest(&key()).await), 200);
    index.calls();
    assert_eq!(status(lookups.present_manifest(&key()).await), 200);
    assert_eq!(index.calls(), ["resolve"], "the bytes are here");
    index.present.store(false, SeqCst);
    assert_eq!(status(lookups.present_manifest(&key()).await), 404);
    assert_eq!(status(lookups.manifest(&key()).await), 404, "what is gone is forgotten");
    index.present.store(true, SeqCst);
    assert_eq!(status(lookups.present_manifest(&key()).await), 200);
    index.present.store(false, SeqCst);
    index.takes.store(4_000, SeqCst);
    assert_eq!(status(lookups.present_manifest(&key()).await), 404, "one that is slow takes pushes all the same");
    index.present.store(true, SeqCst);
    assert_eq!(status(lookups.present_manifest(&key()).await), 200);
    index.down.store(true, SeqCst);
    assert_eq!(status(lookups.present_manifest(&key()).await), 200, "a pull goes on, and a push gets no further");
}
