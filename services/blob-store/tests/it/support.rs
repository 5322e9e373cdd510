//! What the tests share.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use blob_store::Blobs;
use bytes::Bytes;
use entrepot_core::ports::blobs::{Appended, BlobSource, BodyError, ByteStream, WriterPosition};
use entrepot_core::{Algorithm, Digest, StorageKey};
use entrepot_object::testing::s3_proxy::S3Proxy;
use entrepot_object::testing::s3_server::S3Server;
use entrepot_object::testing::{FaultStore, Faults};
use entrepot_object::{
    FaultHook, FsOp, FsOptions, FsStore, ListQuery, ListScope, MemoryStore, ObjectStore, OpenError, S3Options, S3Store,
};
use futures_util::{StreamExt, stream};

/// A store to run a test on, with its faults.
pub(crate) struct Bed {
    pub(crate) blobs: Blobs,
    pub(crate) faults: Arc<Faults>,
    pub(crate) objects: Arc<dyn ObjectStore>,
    _dir: Option<tempfile::TempDir>,
}

impl Bed {
    fn new(objects: Arc<dyn ObjectStore>, dir: Option<tempfile::TempDir>) -> Self {
        let (store, faults) = FaultStore::new(Arc::clone(&objects));
        Self { blobs: Blobs::new(Arc::new(store)), faults, objects, _dir: dir }
    }

    pub(crate) fn memory() -> Self {
        Self::new(Arc::new(MemoryStore::default()), None)
    }

    pub(crate) fn filesystem() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::new(Arc::new(files(dir.path())), Some(dir))
    }

    /// Files on a disk where every `op` fails while the switch is on.
    pub(crate) fn broken(op: FsOp) -> (Self, Arc<AtomicBool>) {
        let (dir, broken) = (tempfile::tempdir().unwrap(), Arc::<AtomicBool>::default());
        let switch = Arc::clone(&broken);
        let hook = FaultHook(Arc::new(move |now| {
            if now == op && switch.load(Ordering::SeqCst) { Err(std::io::Error::other("broken disk")) } else { Ok(()) }
        }));
        let store = FsStore::open(dir.path(), FsOptions::default().faults(hook)).unwrap();
        (Self::new(Arc::new(store), Some(dir)), broken)
    }

    /// Files on a disk where every `op` waits until the guard is dropped.
    pub(crate) fn stalled(op: FsOp) -> (Self, mpsc::Sender<()>) {
        let dir = tempfile::tempdir().unwrap();
        let (guard, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let hook = FaultHook(Arc::new(move |now| {
            if now == op {
                // Nothing is ever sent.
                let _ = gate.lock().unwrap().recv();
            }
            Ok(())
        }));
        let store = FsStore::open(dir.path(), FsOptions::default().faults(hook)).unwrap();
        (Self::new(Arc::new(store), Some(dir)), guard)
    }

    /// Bytes of every unsealed upload.
    pub(crate) async fn unsealed(&self) -> Vec<u64> {
        let query = ListQuery { scope: ListScope::Unsealed, prefix: String::new(), after: None, limit: 9 };
        self.objects.list(&query).await.unwrap().iter().map(|entry| entry.meta.size).collect()
    }

    /// One of each driver.
    pub(crate) fn all() -> [Self; 2] {
        [Self::memory(), Self::filesystem()]
    }
}

/// A bucket behind a proxy that can break requests.
pub(crate) struct Bucket {
    pub(crate) server: S3Server,
    pub(crate) proxy: S3Proxy,
    part_size: usize,
}

impl Bucket {
    pub(crate) async fn start(part_size: usize) -> Self {
        let server = S3Server::start(part_size).await.unwrap();
        let proxy = S3Proxy::start(server.address()).await.unwrap();
        Self { server, proxy, part_size }
    }

    /// One replica: it shares nothing but the bucket with others.
    pub(crate) async fn replica(&self) -> Blobs {
        let options = S3Options { part_size: self.part_size, ..self.server.options(Some(self.proxy.url())) };
        Blobs::new(Arc::new(S3Store::new(&options).await))
    }
}

pub(crate) fn files(dir: &Path) -> FsStore {
    FsStore::open(dir, FsOptions::default()).unwrap()
}

/// Opens a directory again once what the store before had under way has ended.
pub(crate) async fn files_again(dir: &Path) -> FsStore {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match FsStore::open(dir, FsOptions::default()) {
            Err(OpenError::InUse { .. }) if Instant::now() < deadline => tokio::task::yield_now().await,
            opened => return opened.unwrap(),
        }
    }
}

pub(crate) fn start(epoch: u64) -> WriterPosition {
    WriterPosition { key: StorageKey::random(), algorithm: Algorithm::Sha256, epoch, offset: 0, state: Bytes::new() }
}

/// The position after an append, for the request that follows.
pub(crate) fn next(before: &WriterPosition, appended: Appended) -> WriterPosition {
    WriterPosition { epoch: before.epoch + 1, offset: appended.offset, state: appended.state, ..before.clone() }
}

/// A body in chunks of the given size.
pub(crate) fn chunked(content: &[u8], size: usize) -> ByteStream {
    let chunks: Vec<_> = content.chunks(size).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    stream::iter(chunks).boxed()
}

pub(crate) fn body(content: &[u8]) -> ByteStream {
    chunked(content, 16 << 10)
}

pub(crate) fn empty() -> ByteStream {
    stream::empty().boxed()
}

/// A body whose client goes away after `content`.
pub(crate) fn cut(content: &[u8]) -> ByteStream {
    body(content).chain(stream::iter([Err(BodyError::Cut)])).boxed()
}

pub(crate) fn sha256(content: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, content)
}

/// `size` bytes in which no two blocks are alike.
pub(crate) fn content(size: usize) -> Vec<u8> {
    (0..size).map(|n| u8::try_from((n ^ (n >> 8) ^ (n >> 16)) & 0xff).unwrap()).collect()
}

pub(crate) fn bytes_of(source: &BlobSource) -> Vec<u8> {
    match source {
        BlobSource::File { file, size } => {
            let mut bytes = vec![0; usize::try_from(*size).unwrap()];
            file.read_exact_at(&mut bytes, 0).unwrap();
            bytes
        }
        BlobSource::Memory(bytes) => bytes.to_vec(),
        BlobSource::Url { url, .. } => panic!("{url} where bytes were expected"),
    }
}
