use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use entrepot_core::ports::blobs::BlobSource;
use entrepot_core::ports::notices::{Notice, Notices};
use entrepot_core::ports::uploads::Finish;
use entrepot_core::ports::{BlobStore, UploadIndex};
use entrepot_core::{Algorithm, Digest, Page, PageOf, Principal, RepositoryName, StorageKey, UploadId};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};

use super::*;

const MIB: u64 = 1 << 20;

/// All ports. Appends count bytes; saves fail as `faults` says, one after another, and what each was is kept.
struct Ports {
    faults: fn(usize) -> Result<(), IndexError>,
    saves: Mutex<Vec<(u64, u64, u64)>>,
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
        panic!("nothing is completed")
    }

    async fn finish(
        &self,
        _: UploadId,
        _: &WriterPosition,
        _: Digest,
        _: u64,
        _: Option<StorageKey>,
    ) -> Result<(), IndexError> {
        panic!("nothing is completed")
    }

    async fn release(&self, _: &RepositoryName, _: UploadId, _: Option<u64>, _: bool) -> Result<(), IndexError> {
        panic!("nothing is given back")
    }
}

#[async_trait]
impl BlobStore for Ports {
    async fn append(&self, position: WriterPosition, mut body: ByteStream) -> Result<Appended, BlobError> {
        let at_start = position.offset == 0;
        assert!(at_start || position.state == position.offset.to_string(), "{:?}", position.state);
        let mut offset = position.offset;
        while let Some(bytes) = body.next().await {
            offset += bytes.map_err(BlobError::Body)?.len() as u64;
        }
        Ok(Appended { offset, state: offset.to_string().into() })
    }

    async fn seal(&self, _: WriterPosition, _: ByteStream, _: Digest) -> Result<u64, BlobError> {
        panic!("nothing is completed")
    }

    async fn open(&self, _: StorageKey) -> Result<BlobSource, BlobError> {
        panic!("nothing is read")
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

/// Sends 150 MiB to a new upload; what came of it, and the saves: epoch, offset before and after.
async fn send(faults: fn(usize) -> Result<(), IndexError>) -> (Result<u64, Failed>, Vec<(u64, u64, u64)>) {
    let ports = Arc::new(Ports { faults, saves: Mutex::default() });
    let held = Held {
        uploads: Arc::clone(&ports) as _,
        blobs: Arc::clone(&ports) as _,
        notices: Arc::clone(&ports) as _,
        repository: "team/app".parse().unwrap(),
        id: UploadId::random(),
    };
    let position = WriterPosition {
        key: StorageKey::random(),
        algorithm: Algorithm::Sha256,
        epoch: 7,
        offset: 0,
        state: Bytes::new(),
    };
    let chunk = Bytes::from(vec![0; MIB as usize]);
    let body = stream::iter((0..150).map(move |_| Ok(chunk.clone()))).boxed();
    let appended = append_all(&held, position, body, SegmentSize::LARGEST_PART).await;
    let saves = ports.saves.lock().unwrap().clone();
    (appended, saves)
}

#[test]
fn segments_end_where_parts_do() {
    let (first, largest) = (SegmentSize::FIRST_PARTS, SegmentSize::LARGEST_PART);
    for (size, offset, left) in [
        (first, 0, 8 * MIB),
        (first, 8 * MIB, 8 * MIB),
        (first, 8 * MIB + 1, 8 * MIB - 1),
        (first, 8_000 * MIB - 1, 1),
        (first, 8_000 * MIB, 64 * MIB),
        (first, 8_065 * MIB, 63 * MIB),
        (largest, 65 * MIB, 63 * MIB),
        (largest, 9_000 * MIB, 24 * MIB),
    ] {
        assert_eq!(size.left(offset), left, "{size:?} at {offset}");
    }
}

fn unavailable() -> Result<(), IndexError> {
    Err(IndexError::Unavailable("failing over".into()))
}

/// A request of its own for each would cut off a newer one that came between two of them.
#[tokio::test]
async fn segments_follow_each_other_in_one_epoch() {
    let (appended, saves) = send(|_| Ok(())).await;
    assert_eq!(appended.unwrap(), 150 * MIB);
    assert_eq!(saves, [(7, 0, 64 * MIB), (7, 64 * MIB, 128 * MIB), (7, 128 * MIB, 150 * MIB)]);
}

/// The client of a layer of gigabytes cannot send it again from here, and the next primary is there in seconds.
#[tokio::test(start_paused = true)]
async fn an_index_that_fails_over_does_not_end_an_upload() {
    let (appended, saves) = send(|n| if (2..8).contains(&n) { unavailable() } else { Ok(()) }).await;
    assert_eq!(appended.unwrap(), 150 * MIB);
    assert_eq!(saves.len(), 9);
    assert!(saves[1..8].iter().all(|save| *save == (7, 64 * MIB, 128 * MIB)), "{saves:?}");
}

#[tokio::test(start_paused = true)]
async fn an_index_that_stays_away_ends_it_in_time() {
    let began = Instant::now();
    let (appended, saves) = send(|_| unavailable()).await;
    assert!(matches!(appended, Err(Failed::Index(IndexError::Unavailable(_)))), "{appended:?}");
    assert!((SAVING / 2..=SAVING).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert!(saves.len() < 60, "{} saves", saves.len());
}

#[tokio::test]
async fn an_answer_of_the_index_counts_at_once() {
    let (appended, saves) = send(|_| Err(IndexError::UploadBusy)).await;
    assert!(matches!(appended, Err(Failed::Index(IndexError::UploadBusy))), "{appended:?}");
    assert_eq!(saves.len(), 1);
}
