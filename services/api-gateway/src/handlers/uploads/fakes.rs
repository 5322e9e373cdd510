//! Stubs of the ports that uploads work with, as far as appending and completing ask them.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use entrepot_core::ports::blobs::{Appended, BlobSource, ByteStream, WriterPosition};
use entrepot_core::ports::index::LocatedBlob;
use entrepot_core::ports::notices::{Notice, Notices};
use entrepot_core::ports::uploads::Finish;
use entrepot_core::ports::{BlobError, BlobStore, IndexError, UploadIndex};
use entrepot_core::{Algorithm, Digest, Page, PageOf, Principal, RepositoryName, StorageKey, UploadId};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::completion::Held;

/// What an object is found to be.
pub(super) type Stored = fn() -> Result<BlobSource, BlobError>;

/// The epoch of the request.
const EPOCH: u64 = 7;

/// All of them. Appends count bytes.
pub(super) struct Ports {
    /// What a completion does.
    told: Option<UnboundedSender<&'static str>>,
    /// Outcome of the first save, the second, and so on.
    faults: fn(usize) -> Result<(), IndexError>,
    /// Epoch, offset before and after of each save.
    pub(super) saves: Mutex<Vec<(u64, u64, u64)>>,
    /// What stands for the digest, and what its object is found to be.
    known: Option<LocatedBlob>,
    stored: Stored,
}

impl Ports {
    pub(super) fn appending(faults: fn(usize) -> Result<(), IndexError>) -> Arc<Self> {
        let stored = || panic!("nothing is read");
        Arc::new(Self { told: None, faults, saves: Mutex::default(), known: None, stored })
    }

    pub(super) fn completing(
        known: Option<LocatedBlob>,
        stored: Stored,
    ) -> (Arc<Self>, UnboundedReceiver<&'static str>) {
        let (told, telling) = unbounded_channel();
        let faults = |_| panic!("nothing is appended");
        (Arc::new(Self { told: Some(told), faults, saves: Mutex::default(), known, stored }), telling)
    }

    /// A session that works on them.
    pub(super) fn held(self: &Arc<Self>) -> Held {
        Held {
            uploads: Arc::clone(self) as _,
            blobs: Arc::clone(self) as _,
            notices: Arc::clone(self) as _,
            repository: "team/app".parse().unwrap(),
            id: UploadId::random(),
        }
    }

    fn tell(&self, what: &'static str) {
        self.told.as_ref().expect("nothing is completed").send(what).unwrap();
    }
}

/// The beginning of an upload.
pub(super) fn start() -> WriterPosition {
    WriterPosition {
        key: StorageKey::random(),
        algorithm: Algorithm::Sha256,
        epoch: EPOCH,
        offset: 0,
        state: Bytes::new(),
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
        panic!("a request takes its session over once")
    }

    async fn save(&self, _: UploadId, before: &WriterPosition, offset: u64, state: Bytes) -> Result<(), IndexError> {
        assert_eq!(state, offset.to_string());
        let mut saves = self.saves.lock().unwrap();
        saves.push((before.epoch, before.offset, offset));
        (self.faults)(saves.len())
    }

    async fn begin_finish(
        &self,
        _: &RepositoryName,
        _: UploadId,
        _: Option<u64>,
        _: Digest,
    ) -> Result<Finish, IndexError> {
        Ok(Finish::Write { position: start(), known: self.known })
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
        assert_eq!(epoch, Some(EPOCH));
        self.tell(if keep { "give back" } else { "end" });
        Ok(())
    }
}

#[async_trait]
impl BlobStore for Ports {
    async fn append(&self, position: WriterPosition, mut body: ByteStream) -> Result<Appended, BlobError> {
        assert!(self.told.is_none(), "nothing is appended");
        let at_start = position.offset == 0;
        assert!(at_start || position.state == position.offset.to_string(), "{:?}", position.state);
        let mut offset = position.offset;
        while let Some(bytes) = body.next().await {
            offset += bytes.map_err(BlobError::Body)?.len() as u64;
        }
        Ok(Appended { offset, state: offset.to_string().into() })
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

impl Notices for Ports {
    fn publish(&self, _: Notice) {}

    fn subscribe(&self) -> BoxStream<'static, Notice> {
        panic!("nobody listens")
    }
}
