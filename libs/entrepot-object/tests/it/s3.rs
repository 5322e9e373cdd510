//! Uploads to S3 that go on in other processes, and what they leave behind.

use std::sync::Arc;
use std::time::{Duration, Instant};

use entrepot_object::{
    Durability, ListQuery, ListScope, ObjectError, ObjectRead, ObjectStore, S3Encryption, S3Options, S3Store,
    WriterState,
};

use crate::s3_support::{Bucket, PART, append, bytes, contents, unsealed, write};
use crate::support::key;

/// Chunks that end before, at and after the end of a part, each sent by another process.
pub(crate) async fn goes_on_elsewhere(options: &S3Options, part: usize) {
    let (key, whole) = (key("moving"), bytes(5 * part + 1, 0));
    let ends = [1, part - 1, part, 2 * part + 700, 3 * part + 300, 5 * part, 5 * part + 1];
    let mut state = WriterState::start();
    for (epoch, end) in ends.into_iter().enumerate() {
        let start = usize::try_from(state.offset).unwrap();
        let store = S3Store::new(options).await;
        state = append(&store, &key, epoch as u64 + 1, &state, &whole.slice(start..end)).await;
        assert_eq!(state.offset, end as u64);
    }
    let store = S3Store::new(options).await;
    assert!(matches!(store.open(&key).await, Err(ObjectError::NotFound { .. })));
    store.seal(&key, 9, &state).await.unwrap();
    assert!(contents(&store, &key).await == whole);
    assert_eq!(unsealed(&store).await, []);
}

#[tokio::test]
async fn an_upload_goes_on_in_another_process() {
    let bucket = Bucket::start().await;
    goes_on_elsewhere(&bucket.options(), PART).await;
    assert_eq!(bucket.server.objects(), [format!("some/where/{}", key("moving"))]);
    assert_eq!(bucket.server.uploads(), [""; 0]);
}

/// A client that sends many chunks pays for one stored tail at a time.
#[tokio::test]
async fn a_tail_is_stored_before_a_durable_checkpoint_answers_and_dropped_when_superseded() {
    let bucket = Bucket::start().await;
    let store = bucket.store().await;
    let key = key("tails");
    let mut state = WriterState::start();
    for epoch in 1..=5 {
        state = append(&store, &key, epoch, &state, &bytes(10, 7)).await;
        assert!(bucket.tails() > 0);
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    // The latest, and the one before it that the latest is not yet known to replace.
    while bucket.tails() > 2 {
        assert!(Instant::now() < deadline, "{} tails", bucket.tails());
        tokio::task::yield_now().await;
    }
    store.seal(&key, 6, &state).await.unwrap();
    assert_eq!(bucket.tails(), 0);
}

/// Each state has a tail of its own, also of one writer.
#[tokio::test]
async fn a_later_tail_does_not_take_the_place_of_an_earlier_one() {
    let bucket = Bucket::start().await;
    let store = bucket.store().await;
    let key = key("two-tails");
    let mut writer = store.open_writer(&key, 1, &WriterState::start()).await.unwrap();
    let mut states = Vec::new();
    for salt in [1, 2] {
        write(&mut *writer, &bytes(10, salt)).await;
        states.push(writer.checkpoint(Durability::Durable).await.unwrap());
    }
    let other = bucket.store().await;
    drop(other.open_writer(&key, 2, &states[0]).await.unwrap());
    other.seal(&key, 3, &states[1]).await.unwrap();
    assert!(contents(&other, &key).await == [bytes(10, 1), bytes(10, 2)].concat());
}

#[tokio::test]
async fn encryption_is_asked_for_with_each_object() {
    for (encryption, expected) in [
        (S3Encryption::Bucket, ""),
        (S3Encryption::S3, "AES256"),
        (S3Encryption::Kms { key_id: None }, "aws:kms"),
        (S3Encryption::Kms { key_id: Some("a-key".to_owned()) }, "aws:kms a-key"),
    ] {
        let bucket = Bucket::start().await;
        let store = S3Store::new(&S3Options { encryption, ..bucket.options() }).await;
        for size in [10, 2 * PART] {
            let key = key(&format!("secret-{size}"));
            let state = append(&store, &key, 1, &WriterState::start(), &bytes(size, 0)).await;
            store.seal(&key, 2, &state).await.unwrap();
        }
        // A tail and its object, a multipart.
        assert_eq!(bucket.server.encryption(), [expected; 3]);
    }
}

#[tokio::test]
async fn a_small_object_takes_one_request_to_write() {
    let bucket = Bucket::start().await;
    let store = bucket.store().await;
    let key = key("small");
    let mut writer = store.open_writer(&key, 1, &WriterState::start()).await.unwrap();
    write(&mut *writer, &bytes(PART - 1, 0)).await;
    let state = writer.checkpoint(Durability::AtSeal).await.unwrap();
    drop(writer);
    assert_eq!(bucket.server.objects(), [""; 0]);
    store.seal(&key, 1, &state).await.unwrap();
    assert_eq!((bucket.server.count("PutObject"), bucket.server.count("CreateMultipartUpload")), (1, 0));
    assert!(contents(&store, &key).await == bytes(PART - 1, 0));
}

/// The first request hangs in another process, the client sends a second one, and then the first wakes up.
#[tokio::test]
async fn a_part_that_a_fenced_writer_sends_late_never_enters_the_object() {
    for late in [false, true] {
        let bucket = Bucket::start().await;
        let (old_process, new_process) = (bucket.store().await, bucket.store().await);
        let key = key("fenced");
        let begun = append(&old_process, &key, 1, &WriterState::start(), &bytes(PART, 0)).await;
        let mut old = old_process.open_writer(&key, 2, &begun).await.unwrap();
        if !late {
            write(&mut *old, &bytes(2 * PART, 1)).await;
            old.checkpoint(Durability::Durable).await.unwrap();
        }
        let state = append(&new_process, &key, 3, &begun, &bytes(2 * PART, 2)).await;
        if late {
            write(&mut *old, &bytes(2 * PART, 1)).await;
            old.checkpoint(Durability::Durable).await.unwrap();
            let lost = new_process.seal(&key, 3, &state).await;
            assert!(matches!(lost, Err(ObjectError::Discarded { source: Some(_), .. })), "{lost:?}");
            assert!(matches!(new_process.open(&key).await, Err(ObjectError::NotFound { .. })));
        } else {
            new_process.seal(&key, 3, &state).await.unwrap();
            let expected = [bytes(PART, 0), bytes(2 * PART, 2)].concat();
            assert!(contents(&new_process, &key).await == expected);
        }
    }
}

/// Both requests have verified their digests; whoever comes second must not replace the object of the first.
#[tokio::test]
async fn a_sealed_object_is_not_replaced_by_a_seal_of_another_process() {
    for size in [10, 3 * PART] {
        let bucket = Bucket::start().await;
        let (first, second) = (bucket.store().await, bucket.store().await);
        let key = key("sealed-twice");
        let states = [
            append(&first, &key, 1, &WriterState::start(), &bytes(size, 1)).await,
            append(&second, &key, 2, &WriterState::start(), &bytes(size, 2)).await,
        ];
        first.seal(&key, 1, &states[0]).await.unwrap();
        let refused = second.seal(&key, 2, &states[1]).await;
        assert!(matches!(refused, Err(ObjectError::AlreadySealed { .. })), "{refused:?}");
        assert!(contents(&first, &key).await == bytes(size, 1));
    }
}

/// What a process left behind that was killed: no notes name it, only the key does.
#[tokio::test]
async fn aborting_a_key_ends_multiparts_that_nothing_names() {
    let bucket = Bucket::start().await;
    let (killed, reaper) = (bucket.store().await, bucket.store().await);
    for name in ["left", "left-behind"] {
        let mut writer = killed.open_writer(&key(name), 1, &WriterState::start()).await.unwrap();
        write(&mut *writer, &bytes(3 * PART, 0)).await;
        writer.checkpoint(Durability::AtSeal).await.unwrap();
        append(&killed, &key(name), 2, &WriterState::start(), &bytes(10, 0)).await;
    }
    let expected =
        [(key("left").to_string(), 3 * PART as u64 + 10), (key("left-behind").to_string(), 3 * PART as u64 + 10)];
    assert_eq!(unsealed(&reaper).await, expected);
    reaper.abort(&key("left"), u64::MAX, &WriterState::start()).await.unwrap();
    assert_eq!(unsealed(&reaper).await, expected[1..]);
    reaper.abort(&key("left-behind"), u64::MAX, &WriterState::start()).await.unwrap();
    assert_eq!((bucket.server.uploads().len(), bucket.server.objects().len()), (0, 0));
}

/// The same by exact key, as `MinIO` lists uploads.
pub(crate) async fn is_reaped(options: &S3Options, part: usize) {
    let (killed, reaper, key) = (S3Store::new(options).await, S3Store::new(options).await, key("reaped"));
    let mut writer = killed.open_writer(&key, 1, &WriterState::start()).await.unwrap();
    write(&mut *writer, &bytes(2 * part, 0)).await;
    writer.checkpoint(Durability::AtSeal).await.unwrap();
    let left = async || {
        let query = ListQuery { scope: ListScope::Unsealed, prefix: key.to_string(), after: None, limit: 9 };
        reaper.list(&query).await.unwrap().iter().map(|entry| entry.meta.size).collect::<Vec<_>>()
    };
    assert_eq!(left().await, [2 * part as u64]);
    reaper.abort(&key, u64::MAX, &WriterState::start()).await.unwrap();
    assert_eq!(left().await, [0; 0]);
}

#[tokio::test]
async fn an_upload_that_nothing_names_is_reaped_by_its_key() {
    is_reaped(&Bucket::start().await.options(), PART).await;
}

/// The first try of the upload left a multipart, the second did not know.
#[tokio::test]
async fn sealing_sweeps_what_earlier_writers_of_the_key_left() {
    let bucket = Bucket::start().await;
    let (killed, store) = (bucket.store().await, bucket.store().await);
    let key = key("swept");
    let mut writer = killed.open_writer(&key, 1, &WriterState::start()).await.unwrap();
    write(&mut *writer, &bytes(3 * PART, 0)).await;
    writer.checkpoint(Durability::Durable).await.unwrap();
    assert_eq!(bucket.server.uploads().len(), 1);
    let state = append(&store, &key, 2, &WriterState::start(), &bytes(2 * PART + 5, 1)).await;
    store.seal(&key, 3, &state).await.unwrap();
    assert_eq!(bucket.server.uploads(), [""; 0]);
    assert_eq!(bucket.tails(), 0);
}

#[tokio::test]
async fn a_writer_that_gives_up_leaves_no_multipart() {
    let bucket = Bucket::start().await;
    let store = bucket.store().await;
    let key = key("given-up");
    let mut writer = store.open_writer(&key, 1, &WriterState::start()).await.unwrap();
    write(&mut *writer, &bytes(3 * PART, 0)).await;
    writer.take_back().await.unwrap();
    assert_eq!(bucket.server.uploads(), [""; 0]);
    // A multipart that an acknowledged state names stays.
    let state = append(&store, &key, 2, &WriterState::start(), &bytes(2 * PART, 1)).await;
    let mut writer = store.open_writer(&key, 3, &state).await.unwrap();
    write(&mut *writer, &bytes(3 * PART, 0)).await;
    writer.take_back().await.unwrap();
    store.seal(&key, 4, &state).await.unwrap();
    assert!(contents(&store, &key).await == bytes(2 * PART, 1));
}

/// Notes that a database gives back wrong are refused, or find nothing; they make no object.
#[tokio::test]
async fn damaged_notes_make_no_object() {
    let bucket = Bucket::start().await;
    let store = bucket.store().await;
    let key = key("damaged");
    let state = append(&store, &key, 1, &WriterState::start(), &bytes(2 * PART + 10, 0)).await;
    for at in 0..state.driver.len() {
        let mut driver = state.driver.to_vec();
        driver[at] ^= 1;
        let damaged = WriterState { driver: driver.into(), ..state.clone() };
        let refused = store.seal(&key, 1, &damaged).await;
        assert!(refused.is_err(), "byte {at}");
        assert!(matches!(store.open(&key).await, Err(ObjectError::NotFound { .. })), "byte {at}");
    }
    store.seal(&key, 1, &state).await.unwrap();
}

/// More uploads than there is memory for: all get through, one after another.
#[tokio::test(flavor = "multi_thread")]
async fn uploads_share_the_memory_for_parts() {
    let bucket = Bucket::start().await;
    let options = S3Options { part_size: 3 << 20, buffer_memory: 6 << 20, ..bucket.options() };
    let store = Arc::new(S3Store::new(&options).await);
    let whole = bytes(8 << 20, 3);
    let uploads: Vec<_> = (0..8)
        .map(|n| {
            let (store, whole) = (Arc::clone(&store), whole.clone());
            tokio::spawn(async move {
                let key = key(&format!("parallel-{n}"));
                let mut writer = store.open_writer(&key, 1, &WriterState::start()).await.unwrap();
                for start in (0..whole.len()).step_by(1 << 20) {
                    writer.write(vec![whole.slice(start..start + (1 << 20))]).await.unwrap();
                }
                let state = writer.checkpoint(Durability::AtSeal).await.unwrap();
                drop(writer);
                store.seal(&key, 1, &state).await.unwrap();
                assert!(contents(&store, &key).await == whole);
            })
        })
        .collect();
    for upload in uploads {
        upload.await.unwrap();
    }
}

#[tokio::test]
async fn ranges_are_read_from_where_the_object_lies() {
    let bucket = Bucket::start().await;
    let store = bucket.store().await;
    let (key, whole) = (key("ranges"), bytes(3 * PART, 0));
    let state = append(&store, &key, 1, &WriterState::start(), &whole).await;
    store.seal(&key, 1, &state).await.unwrap();
    let ObjectRead::Remote(object) = store.open(&key).await.unwrap() else { panic!("not remote") };
    assert_eq!(object.size(), whole.len() as u64);
    for range in [0..1, 5..1500, 2999..3000, 0..3000, 2990..9999, 7..7, 5000..6000] {
        let mut found = Vec::new();
        let mut frames = object.read(range.clone()).await.unwrap();
        while let Some(frame) = futures_util::StreamExt::next(&mut frames).await {
            found.extend_from_slice(&frame.unwrap());
        }
        let at = |offset: u64| usize::try_from(offset).unwrap().min(whole.len());
        assert!(found == whole[at(range.start)..at(range.end)], "{range:?}");
    }
    store.delete(&key).await.unwrap();
    assert!(matches!(object.read(0..1).await.err(), Some(ObjectError::NotFound { .. })));
}
