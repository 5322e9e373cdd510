//! Uploads that share the memory for parts, some of them slow.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use entrepot_object::{Durability, ObjectError, ObjectStore, ObjectWriter, S3Options, S3Store, WriterState};

use crate::s3_support::{Bucket, bytes, contents};
use crate::support::key;

const MIB: usize = 1 << 20;
/// Far more than anything here takes. Nobody gets through by waiting for memory that others keep: an upload that has had
/// none is refused after a while, any other waits for ever.
const LONG: Duration = Duration::from_secs(120);

async fn store(bucket: &Bucket, memory: usize) -> Arc<S3Store> {
    let options = S3Options { part_size: 8 * MIB, buffer_memory: memory, ..bucket.options() };
    Arc::new(S3Store::new(&options).await)
}

async fn writer(store: &S3Store, name: &str) -> Box<dyn ObjectWriter> {
    store.open_writer(&key(name), 1, &WriterState::start()).await.unwrap()
}

async fn write(writer: &mut dyn ObjectWriter, bytes: &Bytes) -> Result<(), ObjectError> {
    for start in (0..bytes.len()).step_by(MIB) {
        writer.write(vec![bytes.slice(start..bytes.len().min(start + MIB))]).await?;
    }
    Ok(())
}

async fn push(store: &S3Store, name: &str, whole: &Bytes) {
    let mut writer = writer(store, name).await;
    write(&mut *writer, whole).await.unwrap();
    let state = writer.checkpoint(Durability::AtSeal).await.unwrap();
    drop(writer);
    store.seal(&key(name), 1, &state).await.unwrap();
    assert!(contents(store, &key(name)).await == *whole);
}

/// Writers of clients that stall after `size` bytes.
async fn stalled(store: &S3Store, count: usize, size: usize) -> Vec<Box<dyn ObjectWriter>> {
    let mut stalled = Vec::new();
    for n in 0..count {
        let mut writer = writer(store, &format!("stalled-{n}")).await;
        write(&mut *writer, &bytes(size, n)).await.unwrap();
        stalled.push(writer);
    }
    stalled
}

/// As many slow clients as parts fit into the memory, all in the middle of one.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_stall_do_not_keep_others_from_pushing() {
    let bucket = Bucket::start().await;
    let store = store(&bucket, 64 * MIB).await;
    let stalled = stalled(&store, 8, 7 * MIB + MIB / 2).await;
    let whole = bytes(20 * MIB + 1, 9);
    tokio::time::timeout(LONG, push(&store, "fast", &whole)).await.expect("it waits for those that stall");
    // And they go on where they are.
    for (n, mut writer) in stalled.into_iter().enumerate() {
        write(&mut *writer, &bytes(MIB, n)).await.unwrap();
    }
}

/// All memory for parts is taken, by clients that may stall for an hour, and large uploads wait for more of it.
#[tokio::test(flavor = "multi_thread")]
async fn small_objects_wait_for_nobodys_large_ones() {
    let bucket = Bucket::start().await;
    let store = store(&bucket, 32 * MIB).await;
    let mut large = Vec::new();
    for n in 0..4 {
        let mut writer = writer(&store, &format!("large-{n}")).await;
        write(&mut *writer, &bytes(8 * MIB, n)).await.unwrap();
        // They are let in, and have nothing: what they sent is there.
        writer.checkpoint(Durability::Durable).await.unwrap();
        large.push(writer);
    }
    let _stalled = stalled(&store, 6, 2 * MIB).await;
    let more = bytes(2 * MIB, 6);
    let mut waiting: Vec<_> = large.iter_mut().map(|writer| Box::pin(write(&mut **writer, &more))).collect();
    for waiting in &mut waiting {
        assert!(waits(waiting).await, "there was memory");
    }
    for size in [1, MIB / 2, MIB] {
        let (name, whole) = (format!("small-{size}"), bytes(size, 7));
        let small = tokio::time::timeout(LONG, push(&store, &name, &whole));
        small.await.expect("it waits for those that stall");
    }
    for waiting in &mut waiting {
        assert!(waits(waiting).await, "there was memory");
    }
}

/// Somebody always has all that it needs to go on, whatever the others hold.
#[tokio::test(flavor = "multi_thread")]
async fn more_uploads_than_there_is_memory_for_all_get_through() {
    let bucket = Bucket::start().await;
    let store = store(&bucket, 11 * MIB).await;
    let whole = bytes(12 * MIB + 3, 3);
    let uploads: Vec<_> = (0..12)
        .map(|n| {
            let (store, whole) = (Arc::clone(&store), whole.clone());
            tokio::spawn(async move { push(&store, &format!("crowd-{n}"), &whole).await })
        })
        .collect();
    for upload in uploads {
        tokio::time::timeout(LONG, upload).await.expect("nobody goes on").unwrap();
    }
}

/// What an upload has taken from its client would be lost, so it waits; one that has taken nothing is sent away.
#[tokio::test]
async fn only_an_upload_that_has_had_no_memory_is_refused_for_want_of_it() {
    let bucket = Bucket::start().await;
    let store = store(&bucket, 5 * MIB).await;
    let mut under_way = writer(&store, "under-way").await;
    write(&mut *under_way, &bytes(5 * MIB, 1)).await.unwrap();
    let mut holder = writer(&store, "holder").await;
    write(&mut *holder, &bytes(2 * MIB, 2)).await.unwrap();
    let mut fresh = writer(&store, "fresh").await;
    // Nothing is sent from here on, so time may pass by itself.
    tokio::time::pause();
    let more = bytes(2 * MIB, 3);
    let mut waiting = Box::pin(write(&mut *under_way, &more));
    let waited = tokio::time::timeout(Duration::from_secs(600), &mut waiting).await;
    assert!(waited.is_err(), "{waited:?}");
    let refused = write(&mut *fresh, &more).await;
    assert!(matches!(refused, Err(ObjectError::Busy { .. })), "{refused:?}");
    tokio::time::resume();
    drop(holder);
    waiting.await.unwrap();
}

/// A later request of an upload is a writer of its own, and its client has as much to lose.
#[tokio::test]
async fn an_upload_that_goes_on_waits_for_memory() {
    let bucket = Bucket::start().await;
    let store = store(&bucket, 5 * MIB).await;
    let mut first = writer(&store, "under-way").await;
    write(&mut *first, &bytes(5 * MIB, 1)).await.unwrap();
    let state = first.checkpoint(Durability::Durable).await.unwrap();
    let mut holder = writer(&store, "holder").await;
    write(&mut *holder, &bytes(2 * MIB, 2)).await.unwrap();
    let mut next = store.open_writer(&key("under-way"), 2, &state).await.unwrap();
    // Nothing is sent from here on, so time may pass by itself.
    tokio::time::pause();
    let more = bytes(2 * MIB, 3);
    let mut waiting = Box::pin(write(&mut *next, &more));
    let waited = tokio::time::timeout(Duration::from_secs(600), &mut waiting).await;
    assert!(waited.is_err(), "{waited:?}");
    tokio::time::resume();
    drop(holder);
    waiting.await.unwrap();
}

/// A store whose memory is that of one part, and of one that fits into it.
async fn tight(bucket: &Bucket) -> S3Store {
    S3Store::new(&S3Options { part_size: 5 * MIB, buffer_memory: 5 * MIB, ..bucket.options() }).await
}

/// Whether `future` is still waiting once everything that can happen has happened.
async fn waits<F: Future + Unpin>(future: &mut F) -> bool {
    tokio::time::timeout(Duration::from_millis(300), future).await.is_err()
}

#[tokio::test]
async fn an_object_in_one_piece_holds_its_memory_until_it_is_sealed() {
    let bucket = Bucket::start().await;
    let store = tight(&bucket).await;
    let whole = bytes(5 * MIB - 1, 1);
    let mut first = writer(&store, "in-one-piece").await;
    write(&mut *first, &whole).await.unwrap();
    let state = first.checkpoint(Durability::AtSeal).await.unwrap();
    drop(first);
    let more = bytes(2 * MIB, 2);
    let mut second = writer(&store, "next").await;
    let mut waiting = Box::pin(write(&mut *second, &more));
    assert!(waits(&mut waiting).await, "there was memory");
    store.seal(&key("in-one-piece"), 1, &state).await.unwrap();
    assert!(waits(&mut waiting).await, "there was memory");
    drop(state);
    waiting.await.unwrap();
    assert_eq!(bucket.server.count("CreateMultipartUpload"), 0);
    assert!(contents(&store, &key("in-one-piece")).await == whole);
}

/// The last part may be smaller than others, so nothing needs to be carried to the seal.
#[tokio::test]
async fn what_follows_the_last_whole_part_is_sent_before_the_seal() {
    let bucket = Bucket::start().await;
    let store = store(&bucket, 64 * MIB).await;
    for size in [16 * MIB - 1, 8 * MIB + 1] {
        let (key, whole) = (key(&format!("rest-{size}")), bytes(size, 1));
        let mut writer = store.open_writer(&key, 1, &WriterState::start()).await.unwrap();
        write(&mut *writer, &whole).await.unwrap();
        let state = writer.checkpoint(Durability::AtSeal).await.unwrap();
        assert!(state.driver.len() < 200, "{} bytes of notes", state.driver.len());
        drop(writer);
        store.seal(&key, 1, &state).await.unwrap();
        assert!(contents(&store, &key).await == whole);
    }
    assert_eq!((bucket.server.count("CreateMultipartUpload"), bucket.server.count("UploadPart")), (2, 4));
}

#[tokio::test]
async fn a_tail_is_read_back_into_memory_that_is_free() {
    let bucket = Bucket::start().await;
    let store = tight(&bucket).await;
    let (resumed, sealed) = (key("resumed"), key("sealed"));
    let tail = bytes(3 * MIB, 1);
    let mut states = Vec::new();
    for key in [&resumed, &sealed] {
        let mut writer = store.open_writer(key, 1, &WriterState::start()).await.unwrap();
        write(&mut *writer, &tail).await.unwrap();
        states.push(writer.checkpoint(Durability::Durable).await.unwrap());
    }
    let mut holder = writer(&store, "holder").await;
    write(&mut *holder, &bytes(2 * MIB, 2)).await.unwrap();
    let mut opening = Box::pin(store.open_writer(&resumed, 2, &states[0]));
    assert!(waits(&mut opening).await, "there was memory");
    let mut sealing = Box::pin(store.seal(&sealed, 2, &states[1]));
    assert!(waits(&mut sealing).await, "there was memory");
    assert!(waits(&mut opening).await, "there was memory");
    drop(holder);
    drop(opening.await.unwrap());
    sealing.await.unwrap();
    assert!(contents(&store, &sealed).await == tail);
}
