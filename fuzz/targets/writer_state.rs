//! Whatever a database gives back as the state of an upload, it is refused, or the bytes and their digest are right.
#![no_main]

use std::sync::{Arc, LazyLock};

use blob_store::Blobs;
use bytes::Bytes;
use entrepot_core::ports::blobs::{BlobError, BlobSource, BlobStore, ByteStream, WriterPosition};
use entrepot_core::{Algorithm, Digest};
use entrepot_object::MemoryStore;
use futures_util::{StreamExt, stream};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};

const KEY: &str = "data/67/67e55044-10b1-426f-9247-bb680e5fe0c8";
/// A full block and a part of one, for both algorithms.
const BEFORE: [u8; 200] = [7; 200];
const CHUNK: &[u8] = b"more";

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_current_thread().build().unwrap());

// A byte of choices, then the state, or changes (position, byte) to a true one.
fuzz_target!(|data: &[u8]| {
    let Some((choices, rest)) = data.split_first() else { return };
    let choice = |bit: u8| choices >> bit & 1 == 1;
    let (algorithm, other) = match choice(0) {
        false => (Algorithm::Sha256, Algorithm::Sha512),
        true => (Algorithm::Sha512, Algorithm::Sha256),
    };
    RUNTIME.block_on(async {
        let blobs = Blobs::new(Arc::new(MemoryStore::default()));
        let start = position(algorithm, 1, 0, Bytes::new());
        let truth = blobs.append(start, body(&BEFORE)).await.unwrap();
        let state = if choice(1) { Bytes::copy_from_slice(rest) } else { changed(&truth.state, rest) };
        // The offset has a column of its own: usually that of the state, sometimes another.
        let column = if choice(2) { u64::from(choices >> 4) * 20 } else { offset_in(&state) };
        let before = position(algorithm, 2, column, state.clone());
        let appended = match blobs.append(before, body(CHUNK)).await {
            Ok(appended) => appended,
            Err(error) => {
                assert!(matches!(error, BlobError::BadState | BlobError::NotFound), "{error:?}");
                assert!(state != truth.state || column != truth.offset);
                return;
            }
        };
        let kept = BEFORE.get(..usize::try_from(column).unwrap()).expect("no more than was written");
        let stored = [kept, CHUNK].concat();
        let size = stored.len() as u64;
        assert_eq!(appended.offset, size);
        let after = position(algorithm, 3, appended.offset, appended.state);
        // The hash of the other algorithm is never in the state: the bytes themselves are asked.
        let asked = if choice(3) { algorithm } else { other };
        match blobs.seal(after, body(b""), Digest::of(asked, &stored)).await {
            Ok(sealed) => {
                assert_eq!(sealed, size);
                let Ok(BlobSource::Memory(bytes)) = blobs.open(KEY.parse().unwrap()).await else { panic!("not there") };
                assert_eq!(bytes, stored);
            }
            Err(BlobError::DigestMismatch { .. }) => {
                assert!(asked == algorithm && state != truth.state, "a true state has a true digest");
                assert!(matches!(blobs.open(KEY.parse().unwrap()).await, Err(BlobError::NotFound)));
            }
            Err(error) => panic!("{error:?}"),
        }
    });
});

fn position(algorithm: Algorithm, epoch: u64, offset: u64, state: Bytes) -> WriterPosition {
    WriterPosition { key: KEY.parse().unwrap(), algorithm, epoch, offset, state }
}

fn body(bytes: &[u8]) -> ByteStream {
    stream::iter([Ok(Bytes::copy_from_slice(bytes))]).boxed()
}

fn changed(state: &[u8], changes: &[u8]) -> Bytes {
    let mut state = state.to_vec();
    for change in changes.chunks_exact(2) {
        let at = usize::from(change[0]) % state.len();
        state[at] = change[1];
    }
    state.into()
}

fn offset_in(state: &[u8]) -> u64 {
    state.get(1..9).map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()))
}
