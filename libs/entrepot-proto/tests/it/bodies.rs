//! Bodies on their way: complete or visibly broken, and never more of them in memory than windows allow.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use entrepot_core::ports::blobs::{Appended, BlobError, BlobSource, BlobStore, BodyError, ByteStream, WriterPosition};
use entrepot_core::{Algorithm, Digest, Page, PageOf, StorageKey};
use entrepot_proto::client::BlobStoreGrpcClient;
use entrepot_proto::server::Services;
use entrepot_proto::testing;
use futures_util::{StreamExt, stream};
use tokio::sync::{Notify, mpsc, watch};

use crate::fakes::PlainUrls;

/// What the store saw of the body: bytes so far, then how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Bytes(u64),
    End(u64),
    Broken(BodyError),
    Dropped,
}

/// Reads bodies and tells what it sees.
struct Reader {
    seen: watch::Sender<Seen>,
    largest: AtomicU64,
    /// Taken before each chunk after the first, when `slow`.
    go: Notify,
    slow: bool,
    /// Answers with this error after the first chunk.
    refuse: AtomicBool,
}

struct Told<'a>(&'a watch::Sender<Seen>);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.0.send_if_modified(|seen| {
            let running = matches!(seen, Seen::Bytes(_));
            if running {
                *seen = Seen::Dropped;
            }
            running
        });
    }
}

impl Reader {
    fn new(slow: bool) -> Arc<Self> {
        Arc::new(Self {
            seen: watch::Sender::new(Seen::Bytes(0)),
            largest: AtomicU64::new(0),
            go: Notify::new(),
            slow,
            refuse: AtomicBool::new(false),
        })
    }

    async fn read(&self, mut body: ByteStream) -> Result<u64, BlobError> {
        let _told = Told(&self.seen);
        let mut bytes = 0;
        while let Some(chunk) = body.next().await {
            match chunk {
                Ok(chunk) => {
                    bytes += chunk.len() as u64;
                    self.largest.fetch_max(chunk.len() as u64, SeqCst);
                    self.seen.send_replace(Seen::Bytes(bytes));
                }
                Err(error) => {
                    self.seen.send_replace(Seen::Broken(error));
                    return Err(BlobError::Body(error));
                }
            }
            if self.refuse.load(SeqCst) {
                return Err(BlobError::Fenced);
            }
            if self.slow {
                self.go.notified().await;
            }
        }
        self.seen.send_replace(Seen::End(bytes));
        Ok(bytes)
    }
}

#[async_trait]
impl BlobStore for Reader {
    async fn append(&self, _: WriterPosition, body: ByteStream) -> Result<Appended, BlobError> {
        Ok(Appended { offset: self.read(body).await?, state: Bytes::new() })
    }

    async fn seal(&self, _: WriterPosition, body: ByteStream, _: Digest) -> Result<u64, BlobError> {
        self.read(body).await
    }

    async fn open(&self, _: StorageKey) -> Result<BlobSource, BlobError> {
        Err(BlobError::NotFound)
    }

    async fn delete(&self, _: StorageKey) -> Result<(), BlobError> {
        Ok(())
    }

    async fn list(&self, _: Page) -> Result<PageOf<StorageKey>, BlobError> {
        Ok(PageOf { items: Vec::new(), next: None })
    }
}

fn position() -> WriterPosition {
    let key = StorageKey::random();
    WriterPosition { key, algorithm: Algorithm::Sha256, epoch: 1, offset: 0, state: Bytes::new() }
}

fn client(reader: &Arc<Reader>) -> BlobStoreGrpcClient {
    let services = Services::new(testing::secret()).blob_store(reader.clone(), Arc::new(PlainUrls));
    BlobStoreGrpcClient::new(&testing::connect(services))
}

async fn wait_for(reader: &Reader, wanted: impl FnMut(&Seen) -> bool) -> Seen {
    let mut seen = reader.seen.subscribe();
    let found = tokio::time::timeout(Duration::from_secs(10), seen.wait_for(wanted)).await;
    *found.unwrap_or_else(|_| panic!("still {:?}", *reader.seen.borrow())).unwrap()
}

fn chunks(sizes: &[usize]) -> ByteStream {
    stream::iter(sizes.iter().map(|size| Ok(Bytes::from(vec![7; *size]))).collect::<Vec<_>>()).boxed()
}

#[tokio::test]
async fn any_cutting_of_a_body_arrives_whole_in_bounded_chunks() {
    for sizes in [&[][..], &[0], &[1], &[0, 5, 0], &[256 << 10], &[(256 << 10) + 1], &[3_000_000, 1, 0, 700_000]] {
        let reader = Reader::new(false);
        let total = sizes.iter().sum::<usize>() as u64;
        assert_eq!(client(&reader).append(position(), chunks(sizes)).await.unwrap().offset, total);
        assert!(reader.largest.load(SeqCst) <= 256 << 10, "{sizes:?}");
        let digest = Digest::of(Algorithm::Sha256, b"");
        assert_eq!(client(&reader).seal(position(), chunks(sizes), digest).await.unwrap(), total);
    }
}

#[tokio::test]
async fn a_body_that_breaks_at_its_source_breaks_the_same_way_at_the_store() {
    for error in [BodyError::Cut, BodyError::Stalled, BodyError::TooLong] {
        let reader = Reader::new(false);
        let broken = || chunks(&[1000]).chain(stream::iter([Err(error)])).boxed();
        let appended = client(&reader).append(position(), broken()).await;
        assert!(matches!(appended, Err(BlobError::Body(found)) if found == error), "{appended:?}");
        assert_eq!(*reader.seen.borrow(), Seen::Broken(error));
        let sealed = client(&reader).seal(position(), broken(), Digest::of(Algorithm::Sha256, b"")).await;
        assert!(matches!(sealed, Err(BlobError::Body(found)) if found == error), "{sealed:?}");
    }
}

/// A client that gives up, as a gateway does whose own client went away.
#[tokio::test]
async fn a_cancelled_append_never_looks_complete() {
    let reader = Reader::new(false);
    let (feed, body) = mpsc::channel(1);
    let body = stream::unfold(body, |mut body| async move { Some((body.recv().await?, body)) }).boxed();
    let client = client(&reader);
    let call = tokio::spawn(async move { client.append(position(), body).await });
    feed.send(Ok(Bytes::from_static(b"half of it"))).await.unwrap();
    wait_for(&reader, |seen| *seen == Seen::Bytes(10)).await;
    call.abort();
    let end = wait_for(&reader, |seen| !matches!(seen, Seen::Bytes(_))).await;
    assert!(matches!(end, Seen::Broken(BodyError::Cut) | Seen::Dropped), "{end:?}");
}

/// A client process that dies: the connection ends, nothing else is said.
#[tokio::test]
async fn a_lost_connection_never_looks_complete() {
    let reader = Reader::new(false);
    let (_feed, body) = mpsc::channel(1);
    let first = stream::iter([Ok(Bytes::from_static(b"half of it"))]);
    let rest = stream::unfold(body, |mut body| async move { Some((body.recv().await?, body)) });
    let server = Arc::clone(&reader);
    let process = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    process.spawn(async move { client(&server).append(position(), first.chain(rest).boxed()).await });
    wait_for(&reader, |seen| *seen == Seen::Bytes(10)).await;
    process.shutdown_background();
    let end = wait_for(&reader, |seen| !matches!(seen, Seen::Bytes(_))).await;
    assert!(matches!(end, Seen::Broken(BodyError::Cut) | Seen::Dropped), "{end:?}");
}

#[tokio::test]
async fn an_early_refusal_reaches_a_client_that_is_still_sending() {
    let reader = Reader::new(false);
    reader.refuse.store(true, SeqCst);
    let endless = stream::repeat_with(|| Ok(Bytes::from_static(&[0; 65536]))).boxed();
    let answer = tokio::time::timeout(Duration::from_secs(10), client(&reader).append(position(), endless)).await;
    assert!(matches!(answer, Ok(Err(BlobError::Fenced))), "{answer:?}");
}

/// The store takes one chunk and stops: the body must be left at its source, but for what the
/// windows hold (64 KiB stream window, 64 KiB pipe, h2's send buffer of 1 MiB, one chunk a side).
#[tokio::test]
async fn a_slow_store_bounds_what_is_taken_from_the_body() {
    const CHUNK: u64 = 128 << 10;
    const TOTAL: u64 = 64 << 20;
    let reader = Reader::new(true);
    let taken = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&taken);
    let body = stream::iter(0..TOTAL / CHUNK).map(move |_| {
        counter.fetch_add(CHUNK, SeqCst);
        Ok(Bytes::from_static(&[0; CHUNK as usize]))
    });
    let client = client(&reader);
    let call = tokio::spawn(async move { client.append(position(), body.boxed()).await });
    wait_for(&reader, |seen| *seen == Seen::Bytes(CHUNK)).await;
    settle(&taken).await;
    let ahead = taken.load(SeqCst);
    assert!(ahead <= 2 << 20, "{ahead} bytes were taken for {CHUNK} that were read");

    let go = Arc::clone(&reader);
    let pump = tokio::spawn(async move {
        loop {
            go.go.notify_one();
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(call.await.unwrap().unwrap().offset, TOTAL);
    pump.abort();
}

/// Gives every task its turns until nothing moves any more.
async fn settle(counter: &AtomicU64) {
    let mut still = 0;
    let mut last = counter.load(SeqCst);
    while still < 1000 {
        tokio::task::yield_now().await;
        let now = counter.load(SeqCst);
        still = if now == last { still + 1 } else { 0 };
        last = now;
    }
}
