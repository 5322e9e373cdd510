use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use entrepot_core::ports::blobs::{Appended, BlobSource, BodyError};
use entrepot_core::{Algorithm, Page, PageOf, Principal, StorageKey};
use entrepot_runtime::shutdown::{Drain, DrainConfig, Drained};
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, stream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::*;
use crate::admission::{Admission, AdmissionLimits, Ask};

/// What an object is found to be.
type Stored = fn() -> Result<BlobSource, BlobError>;

/// Both ports; tells what is done.
struct Ports {
    told: UnboundedSender<&'static str>,
    /// What stands for the digest, and what its object is found to be.
    known: Option<LocatedBlob>,
    stored: Stored,
}

impl Ports {
    fn tell(&self, what: &'static str) {
        self.told.send(what).unwrap();
    }
}

impl Notices for Ports {
    fn publish(&self, _: Notice) {}

    fn subscribe(&self) -> BoxStream<'static, Notice> {
        panic!("nobody listens")
    }
}

#[async_trait]
impl UploadIndex for Ports {
    async fn open(&self, _: &RepositoryName, _: &Principal, _: Algorithm) -> Result<UploadId, IndexError> {
        panic!("the session is open")
    }

    async fn owner(&self, _: &RepositoryName, _: UploadId) -> Result<Principal, IndexError> {
        panic!("nobody asks")
    }

    async fn status(&self, _: &RepositoryName, _: UploadId) -> Result<u64, IndexError> {
        panic!("nobody asks")
    }

    async fn begin_append(
        &self,
        _: &RepositoryName,
        _: UploadId,
        _: Option<u64>,
    ) -> Result<WriterPosition, IndexError> {
        panic!("nothing is appended")
    }

    async fn save(&self, _: UploadId, _: &WriterPosition, _: u64, _: Bytes) -> Result<(), IndexError> {
        panic!("nothing is appended")
    }

    async fn begin_finish(
        &self,
        _: &RepositoryName,
        _: UploadId,
        _: Option<u64>,
        _: Digest,
    ) -> Result<Finish, IndexError> {
        let position = WriterPosition {
            key: StorageKey::random(),
            algorithm: Algorithm::Sha256,
            epoch: 7,
            offset: 0,
            state: Bytes::new(),
        };
        Ok(Finish::Write { position, known: self.known })
    }

    async fn finish(
        &self,
        _: UploadId,
        _: &WriterPosition,
        _: Digest,
        _: u64,
        lost: Option<StorageKey>,
    ) -> Result<(), IndexError> {
        assert!(lost.is_none() || lost == self.known.map(|blob| blob.key));
        self.tell(if lost.is_some() { "replace" } else { "finish" });
        Ok(())
    }

    async fn release(&self, _: &RepositoryName, _: UploadId, epoch: Option<u64>, keep: bool) -> Result<(), IndexError> {
        assert_eq!(epoch, Some(7));
        self.tell(if keep { "give back" } else { "end" });
        Ok(())
    }
}

#[async_trait]
impl BlobStore for Ports {
    async fn append(&self, _: WriterPosition, _: ByteStream) -> Result<Appended, BlobError> {
        panic!("nothing is appended")
    }

    async fn seal(&self, _: WriterPosition, mut body: ByteStream, _: Digest) -> Result<u64, BlobError> {
        self.tell("seal");
        while let Some(bytes) = body.next().await {
            bytes.map_err(BlobError::Body)?;
        }
        Ok(0)
    }

    async fn open(&self, key: StorageKey) -> Result<BlobSource, BlobError> {
        assert_eq!(Some(key), self.known.map(|blob| blob.key));
        (self.stored)()
    }

    async fn delete(&self, _: StorageKey) -> Result<(), BlobError> {
        panic!("nothing is deleted")
    }

    async fn list(&self, _: Page) -> Result<PageOf<StorageKey>, BlobError> {
        panic!("nothing is listed")
    }
}

fn completion(
    resumable: bool,
    known: Option<LocatedBlob>,
    stored: Stored,
) -> (Completion, UnboundedReceiver<&'static str>) {
    let (told, telling) = unbounded_channel();
    let ports = Arc::new(Ports { told, known, stored });
    let held = Held {
        uploads: Arc::clone(&ports) as _,
        blobs: Arc::clone(&ports) as _,
        notices: ports,
        repository: "team/app".parse().unwrap(),
        id: UploadId::random(),
    };
    let digest = Digest::of(Algorithm::Sha256, b"blob");
    let hold = Drain::new(DrainConfig::IMMEDIATE).hold();
    (Completion { held, offset: None, digest, resumable, _permit: None, _hold: hold }, telling)
}

/// A request is dropped as its connection is, with its answer still to come.
#[tokio::test]
async fn a_client_that_goes_away_leaves_no_session_behind() {
    for (resumable, last, expected) in
        [(true, Err(BodyError::Cut), "give back"), (false, Err(BodyError::Cut), "end"), (true, Ok(()), "finish")]
    {
        let (completion, mut telling) = completion(resumable, None, || panic!("nothing is known"));
        let (go_on, gone_on) = oneshot::channel::<()>();
        let end = gone_on.map(move |_| last.map(|()| Bytes::new()));
        let mut request = Box::pin(completion.run(stream::once(end).boxed()));
        tokio::select! {
            answer = &mut request => panic!("answered before the body ended: {answer:?}"),
            told = telling.recv() => assert_eq!(told, Some("seal")),
        }
        drop(request);
        drop(go_on);
        let told = tokio::time::timeout(Duration::from_secs(10), telling.recv()).await;
        assert_eq!(told, Ok(Some(expected)));
    }
}

/// Invariants: bytes in memory are counted, and a gateway that drains ends what it began. A client that goes away does not
/// take its completion out of either.
#[tokio::test]
async fn a_completion_keeps_its_place_without_its_client() {
    let limits = AdmissionLimits {
        requests: 1,
        bytes_in_flight: 1 << 30,
        tenant_requests: None,
        tenant_bytes_in_flight: None,
        queue_timeout: Duration::from_secs(20),
        queued: 1,
    };
    let admission = Admission::new(limits);
    let (mut completion, mut telling) = completion(true, None, || panic!("nothing is known"));
    completion._permit = Some(admission.admit(Ask::LOOK_UP).await.unwrap());
    let drain = Drain::new(DrainConfig { timeout: Duration::from_secs(20), ..DrainConfig::IMMEDIATE });
    completion._hold = drain.hold();
    let (go_on, gone_on) = oneshot::channel::<()>();
    let end = gone_on.map(|_| Err(BodyError::Cut));
    let mut request = Box::pin(completion.run(stream::once(end).boxed()));
    tokio::select! {
        answer = &mut request => panic!("answered before the body ended: {answer:?}"),
        told = telling.recv() => assert_eq!(told, Some("seal")),
    }
    drop(request);
    let mut next = Box::pin(admission.admit(Ask::LOOK_UP));
    assert!((&mut next).now_or_never().is_none(), "there is no room while the bytes are there");
    drain.start();
    let mut drained = Box::pin(drain.drive());
    let early = tokio::time::timeout(Duration::from_millis(100), &mut drained).await;
    assert!(early.is_err(), "{early:?}");
    drop(go_on);
    assert!(next.await.is_ok());
    assert_eq!(drained.await, Drained::Clean);
}

#[tokio::test]
async fn only_what_is_certainly_lost_is_replaced() {
    let cases: [(Stored, bool); 4] = [
        (|| Ok(BlobSource::Memory(Bytes::from_static(b"blob"))), false),
        (|| Ok(BlobSource::Memory(Bytes::from_static(b"blo"))), true),
        (|| Err(BlobError::NotFound), true),
        (|| Err(BlobError::Unavailable("no answer".into())), false),
    ];
    for (stored, lost) in cases {
        let known = LocatedBlob { key: StorageKey::random(), size: 4 };
        let (completion, mut telling) = completion(true, Some(known), stored);
        assert_eq!(completion.run(stream::empty().boxed()).await.unwrap(), lost.then_some(known.key));
        assert_eq!(telling.recv().await, Some("seal"));
        assert_eq!(telling.recv().await, Some(if lost { "replace" } else { "finish" }));
    }
}
