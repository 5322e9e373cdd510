//! The contract of [`BlobStore`].

use std::any::Any;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use entrepot_core::ports::blobs::{Appended, BlobError, BlobSource, BlobStore, BodyError, ByteStream, WriterPosition};
use entrepot_core::{Algorithm, Digest, StorageKey};
use futures_util::{StreamExt, stream};

use super::{page, refused, run};

/// One blob-store, empty at first.
#[derive(Clone)]
pub struct BlobPorts {
    /// What is under test.
    pub blobs: Arc<dyn BlobStore>,
    /// The store behind it, where bytes can be read: a remote one only says at which address.
    pub near: Arc<dyn BlobStore>,
    /// What has to live as long as they do, such as a directory.
    pub keep: Arc<dyn Any + Send + Sync>,
}

/// Runs every case on ports of its own.
pub async fn all(fresh: impl AsyncFn() -> BlobPorts) {
    run!(
        fresh,
        one_request_of_any_size,
        many_requests,
        a_digest_of_another_algorithm,
        a_wrong_digest_leaves_nothing,
        a_seal_may_be_repeated,
        a_sealed_key_takes_no_more_bytes,
        a_body_that_breaks_off_does_not_count,
        a_newer_epoch_cuts_the_older_off,
        a_late_seal_does_not_touch_its_successor,
        state_that_does_not_fit_is_refused,
        delete_ends_an_upload_or_an_object,
        listing_walks_objects_and_no_uploads,
    );
}

impl BlobPorts {
    async fn append(&self, position: &WriterPosition, body: ByteStream) -> Result<WriterPosition, BlobError> {
        let Appended { offset, state } = self.blobs.append(position.clone(), body).await?;
        Ok(WriterPosition { epoch: position.epoch + 1, offset, state, ..position.clone() })
    }

    async fn seal(&self, position: &WriterPosition, body: ByteStream, expected: Digest) -> Result<u64, BlobError> {
        self.blobs.seal(position.clone(), body, expected).await
    }

    /// Asserts that an object is there with these bytes.
    async fn assert_stored(&self, key: StorageKey, bytes: &[u8]) {
        assert_eq!(self.blobs.open(key).await.unwrap().size(), bytes.len() as u64);
        let found = match self.near.open(key).await.unwrap() {
            BlobSource::Memory(found) => found,
            BlobSource::File { file, size } => {
                let mut found = vec![0; usize::try_from(size).unwrap()];
                file.read_exact_at(&mut found, 0).unwrap();
                found.into()
            }
            BlobSource::Url { url, .. } => panic!("{url} where bytes were expected"),
        };
        assert!(found == bytes, "{} other bytes", found.len());
    }

    async fn assert_absent(&self, key: StorageKey) {
        refused!(self.blobs.open(key).await, BlobError::NotFound);
    }
}

/// A new key, before its first byte.
fn start() -> WriterPosition {
    WriterPosition { key: StorageKey::random(), algorithm: Algorithm::Sha256, epoch: 1, offset: 0, state: Bytes::new() }
}

/// `size` bytes in which no two blocks are alike.
fn content(size: usize) -> Vec<u8> {
    (0..size).map(|n| u8::try_from((n ^ (n >> 8) ^ (n >> 16)) & 0xff).unwrap()).collect()
}

fn chunked(bytes: &[u8], size: usize) -> ByteStream {
    let chunks: Vec<_> = bytes.chunks(size).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    stream::iter(chunks).boxed()
}

fn body(bytes: &[u8]) -> ByteStream {
    chunked(bytes, 16 << 10)
}

fn empty() -> ByteStream {
    stream::empty().boxed()
}

fn cut(bytes: &[u8]) -> ByteStream {
    body(bytes).chain(stream::iter([Err(BodyError::Cut)])).boxed()
}

fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

async fn one_request_of_any_size(ports: &BlobPorts) {
    for (size, chunk) in [(0, 1), (1, 1), (3000, 7), (65_536, 4096), (65_537, 65_537), (3 << 20, 100_000)] {
        let (position, bytes) = (start(), content(size));
        let sealed = ports.seal(&position, chunked(&bytes, chunk), sha256(&bytes)).await.unwrap();
        assert_eq!(sealed, size as u64);
        ports.assert_stored(position.key, &bytes).await;
    }
}

async fn many_requests(ports: &BlobPorts) {
    for part in [7, 70_001, 1 << 20] {
        let bytes = content(part * 4 + 5);
        let mut position = start();
        for (n, chunk) in bytes.chunks(part).enumerate() {
            position = ports.append(&position, body(chunk)).await.unwrap();
            assert_eq!(position.offset, (n * part + chunk.len()) as u64);
            ports.assert_absent(position.key).await;
        }
        assert_eq!(ports.seal(&position, empty(), sha256(&bytes)).await.unwrap(), bytes.len() as u64);
        ports.assert_stored(position.key, &bytes).await;
    }
}

async fn a_digest_of_another_algorithm(ports: &BlobPorts) {
    let bytes = content(200_000);
    let expected = Digest::of(Algorithm::Sha512, &bytes);
    for announced in [Algorithm::Sha256, Algorithm::Sha512] {
        let position = WriterPosition { algorithm: announced, ..start() };
        let position = ports.append(&position, body(&bytes[..150_000])).await.unwrap();
        assert_eq!(ports.seal(&position, body(&bytes[150_000..]), expected).await.unwrap(), 200_000);
        ports.assert_stored(position.key, &bytes).await;
    }
}

async fn a_wrong_digest_leaves_nothing(ports: &BlobPorts) {
    let position = ports.append(&start(), body(b"not what ")).await.unwrap();
    let (announced, sent) = (sha256(b"announced"), sha256(b"not what was announced"));
    refused!(
        ports.seal(&position, body(b"was announced"), announced).await,
        BlobError::DigestMismatch { expected, actual } if expected == announced && actual == sent
    );
    ports.assert_absent(position.key).await;
    refused!(ports.append(&position, body(b"more")).await, BlobError::NotFound);
}

async fn a_seal_may_be_repeated(ports: &BlobPorts) {
    let (position, bytes) = (start(), content(100_000));
    for (epoch, body) in [(1, body(&bytes)), (2, body(&bytes)), (3, empty())] {
        let position = WriterPosition { epoch, ..position.clone() };
        assert_eq!(ports.seal(&position, body, sha256(&bytes)).await.unwrap(), 100_000, "epoch {epoch}");
    }
    let position = WriterPosition { epoch: 4, ..position };
    refused!(ports.seal(&position, empty(), sha256(b"other")).await, BlobError::DigestMismatch { .. });
    ports.assert_stored(position.key, &bytes).await;
}

async fn a_sealed_key_takes_no_more_bytes(ports: &BlobPorts) {
    let position = start();
    ports.seal(&position, body(b"final"), sha256(b"final")).await.unwrap();
    let late = WriterPosition { epoch: 2, ..position.clone() };
    refused!(ports.append(&late, body(b"more")).await, BlobError::Fenced);
    ports.assert_stored(position.key, b"final").await;
}

async fn a_body_that_breaks_off_does_not_count(ports: &BlobPorts) {
    let bytes = content(3 << 20);
    let mut position = start();
    for _ in 0..2 {
        let rest = &bytes[usize::try_from(position.offset).unwrap()..];
        refused!(ports.append(&position, cut(&rest[..1 << 20])).await, BlobError::Body(BodyError::Cut));
        refused!(ports.seal(&position, cut(&rest[..1 << 20]), sha256(&bytes)).await, BlobError::Body(BodyError::Cut));
        ports.assert_absent(position.key).await;
        position = ports.append(&position, body(&rest[..1000])).await.unwrap();
    }
    ports.seal(&position, body(&bytes[2000..]), sha256(&bytes)).await.unwrap();
    ports.assert_stored(position.key, &bytes).await;
}

async fn a_newer_epoch_cuts_the_older_off(ports: &BlobPorts) {
    let first = start();
    let second = WriterPosition { epoch: 2, ..first.clone() };
    let next = ports.append(&second, body(b"of the second")).await.unwrap();
    refused!(ports.append(&first, body(b"of the first")).await, BlobError::Fenced);
    refused!(ports.seal(&first, body(b"of the first"), sha256(b"of the first")).await, BlobError::Fenced);
    ports.seal(&next, empty(), sha256(b"of the second")).await.unwrap();
    ports.assert_stored(first.key, b"of the second").await;
}

async fn a_late_seal_does_not_touch_its_successor(ports: &BlobPorts) {
    let old = ports.append(&start(), body(b"good")).await.unwrap();
    let new = WriterPosition { epoch: old.epoch + 1, ..old.clone() };
    let new = ports.append(&new, body(b" bytes")).await.unwrap();
    refused!(ports.seal(&old, empty(), sha256(b"bad")).await, BlobError::Fenced);
    ports.seal(&new, empty(), sha256(b"good bytes")).await.unwrap();
}

async fn state_that_does_not_fit_is_refused(ports: &BlobPorts) {
    let position = ports.append(&start(), body(b"12345")).await.unwrap();
    for (offset, state) in [(4, position.state.clone()), (5, "nonsense".into()), (5, Bytes::new())] {
        let wrong = WriterPosition { offset, state, ..position.clone() };
        refused!(ports.append(&wrong, body(b"6")).await, BlobError::BadState);
    }
    ports.seal(&position, body(b"6"), sha256(b"123456")).await.unwrap();
}

async fn delete_ends_an_upload_or_an_object(ports: &BlobPorts) {
    let sealed = start();
    ports.seal(&sealed, body(b"x"), sha256(b"x")).await.unwrap();
    let unsealed = ports.append(&start(), body(b"y")).await.unwrap();
    for _ in 0..2 {
        ports.blobs.delete(sealed.key).await.unwrap();
        ports.blobs.delete(unsealed.key).await.unwrap();
        ports.blobs.delete(StorageKey::random()).await.unwrap();
    }
    ports.assert_absent(sealed.key).await;
    refused!(ports.append(&unsealed, body(b"z")).await, BlobError::NotFound);
}

async fn listing_walks_objects_and_no_uploads(ports: &BlobPorts) {
    let mut keys = Vec::new();
    for _ in 0..7 {
        let position = start();
        ports.seal(&position, body(b"x"), sha256(b"x")).await.unwrap();
        keys.push(position.key);
    }
    ports.append(&start(), body(b"unsealed")).await.unwrap();
    keys.sort_unstable_by_key(ToString::to_string);
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let listed = ports.blobs.list(page(after.as_deref(), 3)).await.unwrap();
        found.extend(listed.items);
        after = listed.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, keys);
}
