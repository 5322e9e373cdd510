//! What the contract of the port leaves to the store: how it reads, and what it leaves behind.

use std::time::{Duration, Instant};

use entrepot_core::ports::blobs::{BlobError, BlobStore, WriterPosition};
use futures_util::{StreamExt, stream};

use crate::support::{Bed, body, bytes_of, content, cut, empty, next, sha256, start};

#[tokio::test]
async fn a_chunked_push_hashes_each_byte_once() {
    for bed in Bed::all() {
        let bytes = content(300_000);
        let mut position = start(1);
        for part in bytes.chunks(70_001) {
            let appended = bed.blobs.append(position.clone(), body(part)).await.unwrap();
            assert_eq!(appended.offset, position.offset + part.len() as u64);
            position = next(&position, appended);
        }
        // Reading back would be a second pass.
        bed.faults.fail_nth(entrepot_object::testing::Op::Read, 1);
        let sealed = bed.blobs.seal(position.clone(), empty(), sha256(&bytes)).await.unwrap();
        assert_eq!(sealed, 300_000);
        assert!(matches!(bed.blobs.open(position.key).await, Err(BlobError::Unavailable(_))), "the fault is unused");
        assert!(bytes_of(&bed.blobs.open(position.key).await.unwrap()) == bytes);
    }
}

#[tokio::test]
async fn nothing_is_kept_of_a_wrong_digest() {
    for bed in Bed::all() {
        let position = start(1);
        let appended = bed.blobs.append(position.clone(), body(b"not what ")).await.unwrap();
        let position = next(&position, appended);
        let refused = bed.blobs.seal(position.clone(), body(b"was announced"), sha256(b"announced")).await;
        match refused {
            Err(BlobError::DigestMismatch { expected, actual }) => {
                assert_eq!((expected, actual), (sha256(b"announced"), sha256(b"not what was announced")));
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(bed.blobs.open(position.key).await, Err(BlobError::NotFound)));
        assert_eq!(bed.unsealed().await, [0; 0]);
        let again = bed.blobs.append(position, body(b"more")).await;
        assert!(matches!(again, Err(BlobError::NotFound)), "{again:?}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_nothing_and_can_be_sent_again() {
    for bed in Bed::all() {
        let (mut position, bytes) = (start(1), content(4 << 20));
        for acknowledged in [vec![], vec![1 << 20]] {
            let rest = &bytes[usize::try_from(position.offset).unwrap()..];
            let broken = bed.blobs.append(position.clone(), cut(&rest[..2 << 20])).await;
            assert!(matches!(broken, Err(BlobError::Body(_))), "{broken:?}");
            assert_eq!(bed.unsealed().await, acknowledged);
            let broken = bed.blobs.seal(position.clone(), cut(&rest[..2 << 20]), sha256(&bytes)).await;
            assert!(matches!(broken, Err(BlobError::Body(_))), "{broken:?}");
            assert_eq!(bed.unsealed().await, acknowledged);
            if acknowledged.is_empty() {
                let appended = bed.blobs.append(position.clone(), body(&rest[..1 << 20])).await.unwrap();
                position = next(&position, appended);
            }
        }
        bed.blobs.seal(position, body(&bytes[1 << 20..]), sha256(&bytes)).await.unwrap();
    }
}

/// A server drops the future of a request whose connection has ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_dropped_leaves_nothing() {
    for bed in Bed::all() {
        let (position, bytes) = (start(1), content(6 << 20));
        let appended = bed.blobs.append(position.clone(), body(&bytes[..1000])).await.unwrap();
        let position = next(&position, appended);
        let endless = body(&bytes).chain(stream::pending()).boxed();
        let request = tokio::spawn({
            let (blobs, position) = (bed.blobs.clone(), position.clone());
            async move { blobs.append(position, endless).await }
        });
        let deadline = Instant::now() + Duration::from_secs(20);
        let written = async |done: fn(u64) -> bool| {
            // A file is in neither list while it is renamed.
            while !bed.unsealed().await.first().is_some_and(|size| done(*size)) {
                assert!(Instant::now() < deadline, "{:?}", bed.unsealed().await);
                tokio::task::yield_now().await;
            }
        };
        written(|size| size > 1000).await;
        request.abort();
        assert!(request.await.unwrap_err().is_cancelled());
        written(|size| size == 1000).await;
        let position = WriterPosition { epoch: position.epoch + 1, ..position };
        bed.blobs.seal(position, body(&bytes[1000..]), sha256(&bytes)).await.unwrap();
    }
}
