//! The suite that every driver and decorator passes.
//!
//! Each function takes a store in which nobody else works below `data/<its own name>`, and panics
//! where the store breaks the contract of [`ObjectStore`].

#![expect(clippy::unwrap_used, reason = "the suite reports by panicking")]

use std::collections::BTreeSet;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use futures_util::TryStreamExt;

use crate::{Durability, ListQuery, ListScope, ObjectError, ObjectKey, ObjectRead, ObjectStore, WriterState};

/// Runs every case.
pub async fn all(store: &dyn ObjectStore) {
    writes_seals_and_reads(store).await;
    an_empty_object_is_an_object(store).await;
    resuming_drops_what_was_not_acknowledged(store).await;
    a_newer_writer_fences_the_older(store).await;
    an_older_epoch_is_refused(store).await;
    sealing_ends_writing_and_may_be_repeated(store).await;
    sealing_takes_only_what_was_acknowledged(store).await;
    taking_back_leaves_what_was_acknowledged(store).await;
    aborting_drops_the_upload(store).await;
    deleting_may_be_repeated_and_spares_readers(store).await;
    foreign_or_lost_state_is_refused(store).await;
    a_writer_reads_back_what_it_wrote(store).await;
    listings_page_in_key_order(store).await;
}

/// A key of one case.
fn key(case: &str, name: &str) -> ObjectKey {
    format!("data/{case}/{name}").parse().unwrap()
}

async fn append(
    store: &dyn ObjectStore,
    key: &ObjectKey,
    epoch: u64,
    from: &WriterState,
    bytes: &'static [u8],
) -> WriterState {
    let mut writer = store.open_writer(key, epoch, from).await.unwrap();
    writer.write(vec![Bytes::from_static(bytes)]).await.unwrap();
    writer.checkpoint(Durability::Durable).await.unwrap()
}

async fn put(store: &dyn ObjectStore, key: &ObjectKey, bytes: &'static [u8]) {
    let state = append(store, key, 1, &WriterState::start(), bytes).await;
    store.seal(key, 1, &state).await.unwrap();
}

/// All bytes of an opened object, wherever it is.
pub async fn fetch(read: &ObjectRead) -> Result<Vec<u8>, ObjectError> {
    let ObjectRead::Remote(object) = read else { return Ok(contents(read)) };
    let frames = object.read(0..object.size()).await?;
    Ok(frames.map_ok(|frame| frame.to_vec()).try_concat().await.unwrap())
}

/// All bytes of an object opened on this machine.
pub fn contents(read: &ObjectRead) -> Vec<u8> {
    match read {
        ObjectRead::Remote(object) => panic!("{object:?} where bytes were expected"),
        ObjectRead::File { file, size } => {
            let mut bytes = vec![0; usize::try_from(*size).unwrap()];
            file.read_exact_at(&mut bytes, 0).unwrap();
            bytes
        }
        ObjectRead::Bytes(bytes) => bytes.to_vec(),
    }
}

/// Bytes come back as written, and only once sealed.
pub async fn writes_seals_and_reads(store: &dyn ObjectStore) {
    let key = key("basic", "one");
    let mut writer = store.open_writer(&key, 1, &WriterState::start()).await.unwrap();
    writer.write(vec![Bytes::from_static(b"con"), Bytes::new(), Bytes::from_static(b"tain")]).await.unwrap();
    writer.write(vec![Bytes::from_static(b"er")]).await.unwrap();
    assert_eq!(writer.offset(), 9);
    let state = writer.checkpoint(Durability::AtSeal).await.unwrap();
    assert_eq!(state.offset, 9);
    assert!(matches!(store.open(&key).await, Err(ObjectError::NotFound { .. })), "unsealed bytes were opened");
    assert!(matches!(store.stat(&key).await, Err(ObjectError::NotFound { .. })), "unsealed bytes were stated");
    store.seal(&key, 1, &state).await.unwrap();
    let read = store.open(&key).await.unwrap();
    assert_eq!((fetch(&read).await.unwrap().as_slice(), read.size()), (&b"container"[..], 9));
    assert_eq!(store.stat(&key).await.unwrap().size, 9);
    let directory: ObjectKey = "data/basic".parse().unwrap();
    assert!(matches!(store.open(&directory).await, Err(ObjectError::NotFound { .. })), "a prefix is no object");
}

/// Zero bytes are an object too, with or without a writer.
pub async fn an_empty_object_is_an_object(store: &dyn ObjectStore) {
    let (written, unwritten) = (key("empty", "written"), key("empty", "unwritten"));
    let mut writer = store.open_writer(&written, 1, &WriterState::start()).await.unwrap();
    let state = writer.checkpoint(Durability::Durable).await.unwrap();
    store.seal(&written, 1, &state).await.unwrap();
    store.seal(&unwritten, 1, &WriterState::start()).await.unwrap();
    assert_eq!(fetch(&store.open(&written).await.unwrap()).await.unwrap(), b"");
    assert_eq!(fetch(&store.open(&unwritten).await.unwrap()).await.unwrap(), b"");
}

/// What was written after the last checkpoint does not count.
pub async fn resuming_drops_what_was_not_acknowledged(store: &dyn ObjectStore) {
    let key = key("resume", "one");
    let mut first = store.open_writer(&key, 1, &WriterState::start()).await.unwrap();
    first.write(vec![Bytes::from_static(b"kept,")]).await.unwrap();
    let state = first.checkpoint(Durability::Durable).await.unwrap();
    first.write(vec![Bytes::from_static(b"dropped because nobody acknowledged it")]).await.unwrap();
    drop(first);
    let state = append(store, &key, 2, &state, b"resumed").await;
    store.seal(&key, 2, &state).await.unwrap();
    assert_eq!(fetch(&store.open(&key).await.unwrap()).await.unwrap(), b"kept,resumed");
}

/// Two writers never mix bytes.
pub async fn a_newer_writer_fences_the_older(store: &dyn ObjectStore) {
    for (name, newer) in [("higher", 2), ("same", 1)] {
        let key = key("fence", name);
        let mut old = store.open_writer(&key, 1, &WriterState::start()).await.unwrap();
        old.write(vec![Bytes::from_static(b"old old old")]).await.unwrap();
        let mut new = store.open_writer(&key, newer, &WriterState::start()).await.unwrap();
        let late = old.write(vec![Bytes::from_static(b"late")]).await;
        assert!(matches!(late, Err(ObjectError::Fenced { .. })), "{late:?}");
        let late = old.checkpoint(Durability::Durable).await;
        assert!(matches!(late, Err(ObjectError::Fenced { .. })), "{late:?}");
        new.write(vec![Bytes::from_static(b"new")]).await.unwrap();
        let state = new.checkpoint(Durability::Durable).await.unwrap();
        store.seal(&key, newer, &state).await.unwrap();
        assert_eq!(fetch(&store.open(&key).await.unwrap()).await.unwrap(), b"new");
    }
}

/// A request that comes late does not cut off the one that came after it.
pub async fn an_older_epoch_is_refused(store: &dyn ObjectStore) {
    let key = key("late", "one");
    let mut new = store.open_writer(&key, 7, &WriterState::start()).await.unwrap();
    for epoch in [0, 6] {
        let late = store.open_writer(&key, epoch, &WriterState::start()).await;
        assert!(matches!(late, Err(ObjectError::Fenced { .. })), "{late:?}");
        let late = store.seal(&key, epoch, &WriterState::start()).await;
        assert!(matches!(late, Err(ObjectError::Fenced { .. })), "{late:?}");
        let late = store.abort(&key, epoch, &WriterState::start()).await;
        assert!(matches!(late, Err(ObjectError::Fenced { .. })), "{late:?}");
    }
    new.write(vec![Bytes::from_static(b"undisturbed")]).await.unwrap();
    let state = new.checkpoint(Durability::Durable).await.unwrap();
    store.seal(&key, 7, &state).await.unwrap();
    assert_eq!(fetch(&store.open(&key).await.unwrap()).await.unwrap(), b"undisturbed");
}

/// A sealed object never changes.
pub async fn sealing_ends_writing_and_may_be_repeated(store: &dyn ObjectStore) {
    let key = key("seal", "one");
    let mut writer = store.open_writer(&key, 1, &WriterState::start()).await.unwrap();
    writer.write(vec![Bytes::from_static(b"final")]).await.unwrap();
    let state = writer.checkpoint(Durability::Durable).await.unwrap();
    store.seal(&key, 1, &state).await.unwrap();
    let repeat = store.seal(&key, 1, &state).await;
    assert!(matches!(repeat, Ok(()) | Err(ObjectError::AlreadySealed { .. })), "{repeat:?}");
    store.seal(&key, 2, &WriterState { offset: 5, driver: Bytes::new() }).await.unwrap();
    let other = store.seal(&key, 2, &WriterState { offset: 4, ..state.clone() }).await;
    assert!(matches!(other, Err(ObjectError::AlreadySealed { .. })), "{other:?}");
    assert!(writer.write(vec![Bytes::from_static(b"!")]).await.is_err(), "wrote to a sealed object");
    let again = store.open_writer(&key, 2, &state).await;
    assert!(matches!(again, Err(ObjectError::AlreadySealed { .. })), "{again:?}");
    store.abort(&key, 9, &state).await.unwrap();
    assert_eq!(fetch(&store.open(&key).await.unwrap()).await.unwrap(), b"final");
}

/// Bytes behind the offset that is sealed are not part of the object.
pub async fn sealing_takes_only_what_was_acknowledged(store: &dyn ObjectStore) {
    let key = key("seal", "short");
    let mut writer = store.open_writer(&key, 1, &WriterState::start()).await.unwrap();
    writer.write(vec![Bytes::from_static(b"yes")]).await.unwrap();
    let state = writer.checkpoint(Durability::AtSeal).await.unwrap();
    writer.write(vec![Bytes::from_static(b" and no")]).await.unwrap();
    store.seal(&key, 1, &state).await.unwrap();
    assert_eq!(fetch(&store.open(&key).await.unwrap()).await.unwrap(), b"yes");
}

/// A writer that gives up frees its space and no more, and not that of a writer that came after it.
pub async fn taking_back_leaves_what_was_acknowledged(store: &dyn ObjectStore) {
    let key = key("back-out", "one");
    let query = ListQuery { scope: ListScope::Unsealed, prefix: "data/back-out/".to_owned(), after: None, limit: 9 };
    let mut writer = store.open_writer(&key, 1, &WriterState::start()).await.unwrap();
    writer.write(vec![Bytes::from_static(b"in vain")]).await.unwrap();
    writer.take_back().await.unwrap();
    assert_eq!(store.list(&query).await.unwrap(), []);

    let mut writer = store.open_writer(&key, 1, &WriterState::start()).await.unwrap();
    writer.write(vec![Bytes::from_static(b"kept,")]).await.unwrap();
    let state = writer.checkpoint(Durability::Durable).await.unwrap();
    writer.write(vec![Bytes::from_static(b"in vain")]).await.unwrap();
    writer.take_back().await.unwrap();
    let left: Vec<u64> = store.list(&query).await.unwrap().iter().map(|entry| entry.meta.size).collect();
    assert_eq!(left, [5]);

    let old = store.open_writer(&key, 2, &state).await.unwrap();
    let mut new = store.open_writer(&key, 2, &state).await.unwrap();
    new.write(vec![Bytes::from_static(b"continued")]).await.unwrap();
    let late = old.take_back().await;
    assert!(matches!(late, Err(ObjectError::Fenced { .. })), "{late:?}");
    let state = new.checkpoint(Durability::Durable).await.unwrap();
    store.seal(&key, 2, &state).await.unwrap();
    assert_eq!(fetch(&store.open(&key).await.unwrap()).await.unwrap(), b"kept,continued");
}

/// Nothing is left of an aborted upload, and its writer is cut off.
pub async fn aborting_drops_the_upload(store: &dyn ObjectStore) {
    let key = key("abort", "one");
    let mut writer = store.open_writer(&key, 1, &WriterState::start()).await.unwrap();
    writer.write(vec![Bytes::from_static(b"in vain")]).await.unwrap();
    let state = writer.checkpoint(Durability::Durable).await.unwrap();
    store.abort(&key, 9, &state).await.unwrap();
    store.abort(&key, 9, &state).await.unwrap();
    assert!(writer.write(vec![Bytes::from_static(b"!")]).await.is_err(), "wrote to an aborted upload");
    let resumed = store.open_writer(&key, 2, &state).await;
    assert!(matches!(resumed, Err(ObjectError::Discarded { .. })), "{resumed:?}");
    let sealed = store.seal(&key, 2, &state).await;
    assert!(matches!(sealed, Err(ObjectError::Discarded { .. })), "{sealed:?}");
    assert_eq!(keys(store, ListScope::Unsealed, "data/abort/").await, BTreeSet::new());
}

/// Whoever opened an object before it was deleted reads it to its end.
pub async fn deleting_may_be_repeated_and_spares_readers(store: &dyn ObjectStore) {
    let key = key("delete", "one");
    put(store, &key, b"short-lived").await;
    let read = store.open(&key).await.unwrap();
    store.delete(&key).await.unwrap();
    store.delete(&key).await.unwrap();
    store.delete(&self::key("delete", "never/was")).await.unwrap();
    assert!(matches!(store.open(&key).await, Err(ObjectError::NotFound { .. })));
    assert!(matches!(store.stat(&key).await, Err(ObjectError::NotFound { .. })));
    match fetch(&read).await {
        Ok(bytes) => assert_eq!(bytes, b"short-lived"),
        Err(gone) => {
            assert!(matches!((&read, &gone), (ObjectRead::Remote(_), ObjectError::NotFound { .. })), "{gone:?}");
        }
    }
}

/// No guess is made about state that does not fit.
pub async fn foreign_or_lost_state_is_refused(store: &dyn ObjectStore) {
    let key = key("state", "one");
    let state = append(store, &key, 1, &WriterState::start(), b"12345").await;
    let foreign = WriterState { offset: 5, driver: Bytes::from_static(b"\xff\xff\xff\xff") };
    let refused = store.open_writer(&key, 2, &foreign).await;
    assert!(matches!(refused, Err(ObjectError::InvalidState { .. })), "{refused:?}");
    let beyond = WriterState { offset: 6, ..state.clone() };
    let refused = store.open_writer(&key, 2, &beyond).await;
    assert!(matches!(refused, Err(ObjectError::Discarded { offset: 6, .. })), "{refused:?}");
    let state = append(store, &key, 3, &state, b"6").await;
    store.seal(&key, 3, &state).await.unwrap();
    assert_eq!(fetch(&store.open(&key).await.unwrap()).await.unwrap(), b"123456");
}

/// Hashing again from the start is possible before sealing.
pub async fn a_writer_reads_back_what_it_wrote(store: &dyn ObjectStore) {
    let key = key("back", "one");
    let state = append(store, &key, 1, &WriterState::start(), b"first ").await;
    let mut writer = store.open_writer(&key, 2, &state).await.unwrap();
    for (more, expected) in [(&b""[..], &b"first "[..]), (b"second", b"first second")] {
        writer.write(vec![Bytes::from_static(more)]).await.unwrap();
        match writer.read_back().await {
            Ok(read) => assert_eq!(fetch(&read).await.unwrap(), expected),
            Err(unreadable) => assert!(matches!(unreadable, ObjectError::Unreadable { .. }), "{unreadable:?}"),
        }
    }
    store.abort(&key, 9, &state).await.unwrap();
}

/// Every page size walks the same keys, in byte order, within the prefix.
pub async fn listings_page_in_key_order(store: &dyn ObjectStore) {
    // `-` and `.` sort before `/`: a driver that walks directories must not be misled.
    let names = ["a/1", "a/2", "a-b/1", "a.c/1", "b", "b0/x/deep", "c/1"];
    for name in names {
        put(store, &key("list", name), b"x").await;
    }
    append(store, &key("list", "unsealed"), 1, &WriterState::start(), b"xyz").await;
    put(store, &key("list2", "neighbour"), b"x").await;
    let all: BTreeSet<String> = names.iter().map(|name| key("list", name).to_string()).collect();
    for limit in 1..=8 {
        assert_eq!(walk(store, ListScope::Sealed, "data/list/", limit).await, Vec::from_iter(all.clone()));
    }
    assert_eq!(walk(store, ListScope::Sealed, "data/list/a", 2).await.len(), 4);
    assert_eq!(keys(store, ListScope::Unsealed, "data/list/").await, BTreeSet::from(["data/list/unsealed".to_owned()]));
    store.abort(&key("list", "unsealed"), u64::MAX, &WriterState::start()).await.unwrap();
}

async fn keys(store: &dyn ObjectStore, scope: ListScope, prefix: &str) -> BTreeSet<String> {
    walk(store, scope, prefix, 100).await.into_iter().collect()
}

/// All keys of a listing, page by page.
async fn walk(store: &dyn ObjectStore, scope: ListScope, prefix: &str, limit: usize) -> Vec<String> {
    let mut query = ListQuery { scope, prefix: prefix.to_owned(), after: None, limit };
    let mut found = Vec::new();
    loop {
        let page = store.list(&query).await.unwrap();
        assert!(page.len() <= limit, "a page of {} for a limit of {limit}", page.len());
        found.extend(page.iter().map(|entry| entry.key.to_string()));
        query.after = page.last().map(|entry| entry.key.to_string());
        if page.len() < limit {
            return found;
        }
    }
}
