//! What the port promises, over every driver.

use std::time::{Duration, Instant};

use entrepot_core::ports::blobs::{BlobError, BlobStore, WriterPosition};
use entrepot_core::{Algorithm, Digest, Page};
use futures_util::{StreamExt, stream};

use crate::support::{Bed, body, bytes_of, chunked, content, cut, empty, next, sha256, start};

#[tokio::test]
async fn a_monolithic_push_in_chunks_of_any_size() {
    for bed in Bed::all() {
        for (size, chunk) in [(0, 1), (1, 1), (3000, 1), (65_537, 4096), (3 << 20, 100), (5 << 20, 3 << 20)] {
            let (position, bytes) = (start(1), content(size));
            let sealed = bed.blobs.seal(position.clone(), chunked(&bytes, chunk), sha256(&bytes)).await.unwrap();
            assert_eq!(sealed, size as u64);
            let source = bed.blobs.open(position.key).await.unwrap();
            assert!(bytes_of(&source) == bytes, "{size} bytes in chunks of {chunk}");
        }
    }
}

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
async fn a_digest_of_another_algorithm_at_the_end() {
    for bed in Bed::all() {
        let bytes = content(200_000);
        let position = start(1);
        let appended = bed.blobs.append(position.clone(), body(&bytes[..150_000])).await.unwrap();
        let position = next(&position, appended);
        let expected = Digest::of(Algorithm::Sha512, &bytes);
        let sealed = bed.blobs.seal(position.clone(), body(&bytes[150_000..]), expected).await.unwrap();
        assert_eq!(sealed, 200_000);
        let announced = WriterPosition { algorithm: Algorithm::Sha512, ..start(1) };
        let appended = bed.blobs.append(announced.clone(), body(&bytes)).await.unwrap();
        assert_eq!(bed.blobs.seal(next(&announced, appended), empty(), expected).await.unwrap(), 200_000);
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
async fn a_seal_can_be_repeated_with_or_without_its_body() {
    for bed in Bed::all() {
        let bytes = content(100_000);
        let position = start(1);
        for (epoch, body) in [(1, body(&bytes)), (2, body(&bytes)), (3, empty())] {
            let position = WriterPosition { epoch, ..position.clone() };
            assert_eq!(bed.blobs.seal(position, body, sha256(&bytes)).await.unwrap(), 100_000, "epoch {epoch}");
        }
        let other = bed.blobs.seal(WriterPosition { epoch: 4, ..position.clone() }, empty(), sha256(b"other")).await;
        assert!(matches!(other, Err(BlobError::DigestMismatch { .. })), "{other:?}");
        let append = bed.blobs.append(WriterPosition { epoch: 5, ..position.clone() }, body(b"more")).await;
        assert!(matches!(append, Err(BlobError::Fenced)), "{append:?}");
        assert!(bytes_of(&bed.blobs.open(position.key).await.unwrap()) == bytes);
    }
}

#[tokio::test]
async fn a_late_seal_with_a_wrong_digest_does_not_touch_its_successor() {
    for bed in Bed::all() {
        let position = start(1);
        let appended = bed.blobs.append(position.clone(), body(b"good")).await.unwrap();
        let old = next(&position, appended.clone());
        let new = WriterPosition { epoch: 3, ..old.clone() };
        let appended = bed.blobs.append(new.clone(), body(b" bytes")).await.unwrap();
        let late = bed.blobs.seal(old, empty(), sha256(b"bad")).await;
        assert!(matches!(late, Err(BlobError::Fenced)), "{late:?}");
        bed.blobs.seal(next(&new, appended), empty(), sha256(b"good bytes")).await.unwrap();
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
        let (position, bytes) = (start(1), content(2 << 20));
        let appended = bed.blobs.append(position.clone(), body(&bytes[..1000])).await.unwrap();
        let position = next(&position, appended);
        let endless = body(&bytes).chain(stream::pending()).boxed();
        let request = tokio::spawn({
            let (blobs, position) = (bed.blobs.clone(), position.clone());
            async move { blobs.append(position, endless).await }
        });
        let deadline = Instant::now() + Duration::from_secs(20);
        let written = async |done: fn(u64) -> bool| {
            while !done(bed.unsealed().await[0]) {
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

#[tokio::test]
async fn delete_ends_an_upload_or_an_object_and_can_be_repeated() {
    for bed in Bed::all() {
        let (sealed, unsealed) = (start(1), start(7));
        bed.blobs.seal(sealed.clone(), body(b"x"), sha256(b"x")).await.unwrap();
        let appended = bed.blobs.append(unsealed.clone(), body(b"y")).await.unwrap();
        for _ in 0..2 {
            bed.blobs.delete(sealed.key).await.unwrap();
            bed.blobs.delete(unsealed.key).await.unwrap();
        }
        assert!(matches!(bed.blobs.open(sealed.key).await, Err(BlobError::NotFound)));
        let more = bed.blobs.append(next(&unsealed, appended), body(b"z")).await;
        assert!(matches!(more, Err(BlobError::NotFound)), "{more:?}");
    }
}

#[tokio::test]
async fn listing_walks_all_objects_and_no_uploads() {
    for bed in Bed::all() {
        let mut keys = Vec::new();
        for _ in 0..7 {
            let position = start(1);
            bed.blobs.seal(position.clone(), body(b"x"), sha256(b"x")).await.unwrap();
            keys.push(position.key);
        }
        bed.blobs.append(start(1), body(b"unsealed")).await.unwrap();
        keys.sort_unstable_by_key(ToString::to_string);
        let (mut found, mut page) = (Vec::new(), Page::new(None, Some(3)));
        loop {
            let listed = bed.blobs.list(page).await.unwrap();
            found.extend(listed.items);
            match listed.next {
                Some(after) => page = Page::new(Some(after), Some(3)),
                None => break,
            }
        }
        assert_eq!(found, keys);
    }
}
