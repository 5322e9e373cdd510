//! Full disks, broken disks, and a first writer that stalls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use entrepot_core::ports::blobs::{BlobError, BlobStore, WriterPosition};
use entrepot_object::FsOp;
use entrepot_object::testing::Op;
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;

use crate::support::{Bed, body, bytes_of, content, empty, next, sha256, start};

/// A body that a test feeds chunk by chunk.
fn fed() -> (mpsc::UnboundedSender<&'static str>, entrepot_core::ports::blobs::ByteStream) {
    let (feed, chunks) = mpsc::unbounded_channel();
    let body = stream::unfold(chunks, |mut chunks| async move {
        let chunk: &'static str = chunks.recv().await?;
        Some((Ok(Bytes::from_static(chunk.as_bytes())), chunks))
    });
    (feed, body.boxed())
}

/// The first request waits for its client, the client has long sent a second one.
#[tokio::test]
async fn a_first_request_that_stalls_on_its_client_is_cut_off_by_the_second() {
    for bed in Bed::all() {
        let position = start(1);
        let (feed, slow) = fed();
        feed.send("first ").unwrap();
        let mut stall = bed.faults.stall(Op::Write);
        let first = tokio::spawn({
            let (blobs, position) = (bed.blobs.clone(), position.clone());
            async move { blobs.append(position, slow).await }
        });
        feed.send("and more of the first").unwrap();
        drop(feed);
        stall.reached().await;
        let second = WriterPosition { epoch: 2, ..position.clone() };
        let appended = bed.blobs.append(second.clone(), body(b"second")).await.unwrap();
        drop(stall);
        let first = first.await.unwrap();
        assert!(matches!(first, Err(BlobError::Fenced)), "{first:?}");
        bed.blobs.seal(next(&second, appended), empty(), sha256(b"second")).await.unwrap();
        assert_eq!(bytes_of(&bed.blobs.open(position.key).await.unwrap()), b"second");
    }
}

/// The first request stalls just before it seals: the second must not be sealed under its digest.
#[tokio::test]
async fn a_first_request_that_stalls_in_seal_does_not_seal_the_bytes_of_the_second() {
    for bed in Bed::all() {
        let position = start(1);
        let mut stall = bed.faults.stall(Op::Seal);
        let first = tokio::spawn({
            let (blobs, position) = (bed.blobs.clone(), position.clone());
            async move { blobs.seal(position, body(b"first!"), sha256(b"first!")).await }
        });
        stall.reached().await;
        let second = WriterPosition { epoch: 2, ..position.clone() };
        let appended = bed.blobs.append(second.clone(), body(b"second")).await.unwrap();
        drop(stall);
        let first = first.await.unwrap();
        assert!(matches!(first, Err(BlobError::Fenced)), "{first:?}");
        bed.blobs.seal(next(&second, appended), empty(), sha256(b"second")).await.unwrap();
    }
}

#[tokio::test]
async fn a_full_store_takes_nothing_and_the_upload_goes_on_when_there_is_room() {
    for bed in Bed::all() {
        let bytes = content(4 << 20);
        let position = start(1);
        let appended = bed.blobs.append(position.clone(), body(&bytes[..1 << 20])).await.unwrap();
        let position = next(&position, appended);
        bed.faults.space(Some(1 << 20));
        let refused = bed.blobs.append(position.clone(), body(&bytes[1 << 20..])).await;
        assert!(matches!(refused, Err(BlobError::NoSpace)), "{refused:?}");
        bed.faults.space(None);
        bed.blobs.seal(position, body(&bytes[1 << 20..]), sha256(&bytes)).await.unwrap();
    }
}

#[tokio::test]
async fn a_store_that_fails_is_not_acknowledged() {
    for bed in Bed::all() {
        for op in [Op::OpenWriter, Op::Write, Op::Checkpoint, Op::Seal] {
            let position = start(1);
            bed.faults.fail_nth(op, 1);
            let failed = bed.blobs.seal(position.clone(), body(b"bytes"), sha256(b"bytes")).await;
            assert!(matches!(failed, Err(BlobError::Unavailable(_))), "{op:?} {failed:?}");
            assert!(matches!(bed.blobs.open(position.key).await, Err(BlobError::NotFound)), "{op:?}");
            assert_eq!(bed.blobs.seal(position, body(b"bytes"), sha256(b"bytes")).await.unwrap(), 5, "{op:?}");
        }
    }
}

/// The first seal may have died between the rename and the flush of the name.
#[tokio::test]
async fn a_repeated_seal_is_acknowledged_only_when_the_name_is_durable() {
    let (bed, broken) = Bed::broken(FsOp::SyncDir);
    let position = start(1);
    bed.blobs.seal(position.clone(), body(b"bytes"), sha256(b"bytes")).await.unwrap();
    for content in [&b"bytes"[..], b""] {
        broken.store(true, Ordering::SeqCst);
        let repeat = bed.blobs.seal(position.clone(), body(content), sha256(b"bytes")).await;
        assert!(matches!(repeat, Err(BlobError::Unavailable(_))), "{repeat:?}");
        broken.store(false, Ordering::SeqCst);
        assert_eq!(bed.blobs.seal(position.clone(), body(content), sha256(b"bytes")).await.unwrap(), 5);
    }
}

#[tokio::test]
async fn an_upload_whose_bytes_the_disk_lost_is_not_found() {
    for sealing in [false, true] {
        let (bed, broken) = Bed::broken(FsOp::Sync);
        let position = start(1);
        let appended = bed.blobs.append(position.clone(), body(b"first ")).await.unwrap();
        let position = next(&position, appended);
        for broken_now in [true, false] {
            broken.store(broken_now, Ordering::SeqCst);
            let lost = if sealing {
                bed.blobs.seal(position.clone(), body(b"second"), sha256(b"first second")).await.err()
            } else {
                bed.blobs.append(position.clone(), body(b"second")).await.err()
            };
            assert!(matches!(lost, Some(BlobError::NotFound)), "{lost:?}");
        }
        assert_eq!(bed.unsealed().await, [0; 0]);
    }
}

/// Clients are faster than their disk: what they send waits with them and not in memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_disk_does_not_fill_the_memory() {
    const CHUNK: usize = 16 << 10;
    let (bed, stalled) = Bed::stalled(FsOp::Write);
    let blobs = bed.blobs.clone().upload_memory(6 << 20);
    let bytes = Bytes::from(content(20 << 20));
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = |bytes: Bytes| {
        let taken = Arc::clone(&taken);
        let chunks = (0..bytes.len()).step_by(CHUNK).map(move |at| {
            taken.fetch_add(CHUNK, Ordering::SeqCst);
            Ok(bytes.slice(at..at + CHUNK))
        });
        stream::iter(chunks).boxed()
    };
    let upload = |bytes: &Bytes| {
        let (blobs, digest, body) = (blobs.clone(), sha256(bytes), counted(bytes.clone()));
        tokio::spawn(async move { blobs.seal(start(1), body, digest).await })
    };
    let first = upload(&bytes);
    let refused = tokio::time::timeout(Duration::from_secs(10), upload(&bytes)).await;
    let refused = refused.expect("it has got memory").unwrap();
    assert!(matches!(refused, Err(BlobError::Unavailable(_))), "{refused:?}");
    let taken = taken.load(Ordering::SeqCst);
    // Its two buffers: with the third, less than half would be left to others.
    assert!((4 << 20..5 << 20).contains(&taken), "{taken} bytes were taken");
    drop(stalled);
    assert_eq!(first.await.unwrap().unwrap(), 20 << 20);
    assert_eq!(upload(&bytes).await.unwrap().unwrap(), 20 << 20);
}

/// Buffers are handed on a few at a time; an upload that gets only two hands on each.
#[tokio::test]
async fn an_upload_gets_through_with_the_least_memory() {
    for bed in Bed::all() {
        let bytes = content((9 << 20) + 7);
        let blobs = bed.blobs.clone().upload_memory(0);
        let sealed = blobs.seal(start(1), body(&bytes), sha256(&bytes));
        let sealed = tokio::time::timeout(Duration::from_secs(20), sealed).await.expect("nothing comes back");
        assert_eq!(sealed.unwrap(), bytes.len() as u64);
    }
}

/// What its client has sent would be lost. It waits before it opens a writer, which may hold memory that others wait for.
#[tokio::test(start_paused = true)]
async fn an_upload_under_way_waits_for_memory_before_anything_else() {
    let bed = Bed::memory();
    let blobs = bed.blobs.clone().upload_memory(0);
    let position = start(1);
    let bytes = content(1 << 20);
    let appended = blobs.append(position.clone(), body(&bytes[..9])).await.unwrap();
    let position = next(&position, appended);
    let stalled = stream::iter([Ok(bytes.clone().into())]).chain(stream::pending()).boxed();
    let mut holder = Box::pin(blobs.append(start(1), stalled));
    assert!(tokio::time::timeout(Duration::from_secs(1), &mut holder).await.is_err());
    bed.faults.fail_nth(Op::OpenWriter, 1);
    let refused = blobs.append(start(1), body(&bytes)).await;
    assert!(matches!(refused, Err(BlobError::Unavailable(_))), "{refused:?}");
    let mut waiting = Box::pin(blobs.append(position.clone(), body(&bytes[9..])));
    let waited = tokio::time::timeout(Duration::from_secs(200), &mut waiting).await;
    assert!(waited.is_err(), "{waited:?}");
    drop(holder);
    let failed = waiting.await;
    assert!(matches!(failed, Err(BlobError::Unavailable(_))), "only now is a writer opened: {failed:?}");
    blobs.seal(position, body(&bytes[9..]), sha256(&bytes)).await.unwrap();
}
