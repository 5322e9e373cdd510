//! Uploads that go on after a crash, or in the next version.

use std::io::Write;
use std::sync::Arc;

use blob_store::Blobs;
use entrepot_core::ports::blobs::{BlobStore, WriterPosition};

use crate::support::{Bed, body, bytes_of, content, empty, files, files_again, next, sha256, start};

#[tokio::test]
async fn a_crash_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = content(5 << 20);
    let position = start(1);
    let first = {
        let blobs = Blobs::new(Arc::new(files(dir.path())));
        blobs.append(position.clone(), body(&bytes[..2 << 20])).await.unwrap()
    };
    // Written past the acknowledged offset when the process died.
    let upload = std::fs::read_dir(dir.path().join(".uploads")).unwrap().next().unwrap().unwrap().path();
    std::fs::OpenOptions::new().append(true).open(upload).unwrap().write_all(&content(2 << 20)).unwrap();
    let blobs = Blobs::new(Arc::new(files_again(dir.path()).await));
    let position = WriterPosition { epoch: 5, ..next(&position, first) };
    let second = blobs.append(position.clone(), body(&bytes[2 << 20..])).await.unwrap();
    let position = next(&position, second);
    blobs.seal(position.clone(), empty(), sha256(&bytes)).await.unwrap();
    assert!(bytes_of(&blobs.open(position.key).await.unwrap()) == bytes);
}

#[tokio::test]
async fn a_hash_of_another_version_is_made_again_from_the_stored_bytes() {
    for bed in Bed::all() {
        let bytes = content(3 << 20);
        let position = start(1);
        let appended = bed.blobs.append(position.clone(), body(&bytes[..2 << 20])).await.unwrap();
        let position = next(&position, appended);
        let foreign = |position: &WriterPosition| {
            let mut state = position.state.to_vec();
            // The hash format follows the version, the offset, one byte of driver notes and the algorithm.
            let format = 1 + 8 + 4 + 1 + 1;
            assert_eq!(state[format], 1);
            state[format] = 77;
            WriterPosition { state: state.into(), ..position.clone() }
        };
        let appended = bed.blobs.append(foreign(&position), body(&bytes[2 << 20..])).await.unwrap();
        let position = next(&position, appended);
        bed.blobs.seal(foreign(&position), empty(), sha256(&bytes)).await.unwrap();
    }
}
