//! Uploads that share the memory for parts, some of them slow.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use entrepot_object::{Durability, ObjectError, ObjectStore, ObjectWriter, S3Options, S3Store, WriterState};

use crate::s3_support::{Bucket, bytes, contents};
use crate::support::key;

const MIB: usize = 1 << 20;
/// Far more than anything here takes, and less than anybody waits for memory.
const SOON: Duration = Duration::from_secs(9);

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

/// As many slow clients as parts fit into the memory, all in the middle of one.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_stall_do_not_keep_others_from_pushing() {
    let bucket = Bucket::start().await;
    let store = store(&bucket, 64 * MIB).await;
    let mut stalled = Vec::new();
    for n in 0..8 {
        let mut writer = writer(&store, &format!("stalled-{n}")).await;
        write(&mut *writer, &bytes(7 * MIB + MIB / 2, n)).await.unwrap();
        stalled.push(writer);
    }
    let whole = bytes(20 * MIB + 1, 9);
    tokio::time::timeout(SOON, push(&store, "fast", &whole)).await.expect("it waits for those that stall");
    // And they go on where they are.
    for (n, mut writer) in stalled.into_iter().enumerate() {
        write(&mut *writer, &bytes(MIB, n)).await.unwrap();
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
        tokio::time::timeout(Duration::from_secs(120), upload).await.expect("nobody goes on").unwrap();
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
