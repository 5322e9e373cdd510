//! Disks that are full or broken, and the decorator that plays them.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use entrepot_object::testing::{FaultStore, Op};
use entrepot_object::{
    Durability, FsOp, FsOptions, FsStore, ListQuery, ListScope, MemoryStore, ObjectError, ObjectStore, WriterState,
    contract,
};

use crate::support::{chunk, gate, key, open, open_with, uploads};

/// A hook that makes every `op` fail with `kind` while the switch is on.
fn failing(op: FsOp, kind: io::ErrorKind) -> (Arc<AtomicBool>, impl Fn(FsOp) -> io::Result<()> + Send + Sync) {
    let on = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&on);
    let hook = move |now| if now == op && on.load(Ordering::SeqCst) { Err(kind.into()) } else { Ok(()) };
    (switch, hook)
}

#[tokio::test]
async fn a_full_disk_keeps_what_was_acknowledged_and_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let (full, hook) = failing(FsOp::Write, io::ErrorKind::StorageFull);
    let store = open_with(dir.path(), hook);
    let key = key("full");
    let mut writer = store.open_writer(&key, 1, &WriterState::start()).await.unwrap();
    writer.write(chunk("kept")).await.unwrap();
    let state = writer.checkpoint(Durability::Durable).await.unwrap();
    writer.write(chunk("taken back")).await.unwrap();
    full.store(true, Ordering::SeqCst);
    let refused = writer.write(chunk("no room")).await;
    assert!(matches!(refused, Err(ObjectError::NoSpace { .. })), "{refused:?}");
    assert_eq!(uploads(dir.path()), [("data+00+full@1".to_owned(), 4)]);
    full.store(false, Ordering::SeqCst);
    let mut writer = store.open_writer(&key, 2, &state).await.unwrap();
    writer.write(chunk(", continued")).await.unwrap();
    let state = writer.checkpoint(Durability::Durable).await.unwrap();
    store.seal(&key, 2, &state).await.unwrap();
    assert_eq!(contract::contents(&store.open(&key).await.unwrap()), b"kept, continued");
}

#[tokio::test]
async fn a_failed_flush_is_final() {
    for op in [FsOp::Sync, FsOp::SyncDir] {
        let dir = tempfile::tempdir().unwrap();
        let (broken, hook) = failing(op, io::ErrorKind::Other);
        let store = open_with(dir.path(), hook);
        let key = key("broken");
        let mut writer = store.open_writer(&key, 1, &WriterState::start()).await.unwrap();
        writer.write(chunk("bytes")).await.unwrap();
        let unsafe_state = writer.checkpoint(Durability::AtSeal).await.unwrap();
        broken.store(true, Ordering::SeqCst);
        let lost = writer.checkpoint(Durability::Durable).await;
        assert!(matches!(lost, Err(ObjectError::Discarded { source: Some(_), .. })), "{op:?} {lost:?}");
        broken.store(false, Ordering::SeqCst);
        assert_eq!(uploads(dir.path()), [], "{op:?}");
        assert!(writer.checkpoint(Durability::Durable).await.is_err(), "a flush was tried twice");
        let resumed = store.open_writer(&key, 2, &unsafe_state).await;
        assert!(matches!(resumed, Err(ObjectError::Discarded { .. })), "{op:?} {resumed:?}");
    }
}

#[tokio::test]
async fn a_seal_that_could_not_flush_leaves_no_object() {
    for op in [FsOp::Sync, FsOp::SyncDir] {
        let dir = tempfile::tempdir().unwrap();
        let (broken, hook) = failing(op, io::ErrorKind::Other);
        let store = open_with(dir.path(), hook);
        store.seal(&key("first"), 1, &WriterState::start()).await.unwrap();
        let key = key("broken");
        let mut writer = store.open_writer(&key, 1, &WriterState::start()).await.unwrap();
        writer.write(chunk("bytes")).await.unwrap();
        let state = writer.checkpoint(Durability::AtSeal).await.unwrap();
        broken.store(true, Ordering::SeqCst);
        let lost = store.seal(&key, 1, &state).await;
        assert!(matches!(lost, Err(ObjectError::Discarded { source: Some(_), .. })), "{op:?} {lost:?}");
        broken.store(false, Ordering::SeqCst);
        let again = store.seal(&key, 1, &state).await;
        assert!(matches!(again, Err(ObjectError::Discarded { .. })), "{op:?} {again:?}");
        assert!(matches!(store.open(&key).await, Err(ObjectError::NotFound { .. })), "{op:?}");
    }
}

/// The path of a push: which flushes it takes, so that none gets lost and none is added unseen.
#[tokio::test]
async fn a_push_flushes_the_file_and_every_new_name() {
    let dir = tempfile::tempdir().unwrap();
    let counts: Arc<[AtomicUsize; 2]> = Arc::default();
    let seen = Arc::clone(&counts);
    let store = open_with(dir.path(), move |op| {
        match op {
            FsOp::Sync => _ = seen[0].fetch_add(1, Ordering::SeqCst),
            FsOp::SyncDir => _ = seen[1].fetch_add(1, Ordering::SeqCst),
            _ => {}
        }
        Ok(())
    });
    let flushes = || [counts[0].swap(0, Ordering::SeqCst), counts[1].swap(0, Ordering::SeqCst)];
    let mut writer = store.open_writer(&key("a"), 1, &WriterState::start()).await.unwrap();
    writer.write(chunk("bytes")).await.unwrap();
    writer.checkpoint(Durability::AtSeal).await.unwrap();
    assert_eq!(flushes(), [0, 0], "a deferred checkpoint is free");
    writer.checkpoint(Durability::Durable).await.unwrap();
    assert_eq!(flushes(), [1, 1], "bytes and the upload's name");
    writer.write(chunk("bytes")).await.unwrap();
    let state = writer.checkpoint(Durability::Durable).await.unwrap();
    assert_eq!(flushes(), [1, 0], "the name is on disk already");
    store.seal(&key("a"), 1, &state).await.unwrap();
    assert_eq!(flushes(), [1, 3], "bytes, two new directories, the object's name");
    store.seal(&key("b"), 1, &WriterState::start()).await.unwrap();
    assert_eq!(flushes(), [1, 1], "bytes, the object's name");
}

#[tokio::test]
async fn one_writer_too_many_waits_for_another_to_end_and_not_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let store = FsStore::open(dir.path(), FsOptions::default().max_writers(1)).unwrap();
    let first = store.open_writer(&key("a"), 1, &WriterState::start()).await.unwrap();
    let second = store.open_writer(&key("b"), 1, &WriterState::start()).await;
    assert!(matches!(second, Err(ObjectError::Busy { .. })), "{second:?}");
    let (key, start) = (key("b"), WriterState::start());
    let mut second = pin!(store.open_writer(&key, 1, &start));
    let early = tokio::time::timeout(Duration::ZERO, &mut second).await;
    assert!(early.is_err(), "the second writer did not wait: {early:?}");
    drop(first);
    second.await.unwrap();
}

/// The object has its name while the flush of the name is under way, and loses it when the flush fails.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_seal_waits_for_the_flush_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let (gate, hold) = gate(FsOp::SyncDir);
    let (broken, fail) = failing(FsOp::SyncDir, io::ErrorKind::Other);
    let switch = Arc::clone(&broken);
    let store = open_with(dir.path(), move |op| {
        if !switch.load(Ordering::SeqCst) {
            return Ok(());
        }
        let failed = fail(op);
        if failed.is_err() {
            hold(op)?;
            switch.store(false, Ordering::SeqCst);
        }
        failed
    });
    store.seal(&key("first"), 1, &WriterState::start()).await.unwrap();
    broken.store(true, Ordering::SeqCst);
    let first = tokio::spawn({
        let store = store.clone();
        async move { store.seal(&key("held"), 1, &WriterState::start()).await }
    });
    let reached = gate.reached;
    tokio::task::spawn_blocking(move || reached.recv().unwrap()).await.unwrap();
    // The disk is well again: only the flush under way fails.
    broken.store(false, Ordering::SeqCst);
    let (key, start) = (key("held"), WriterState::start());
    assert_eq!(store.open(&key).await.unwrap().size(), 0, "the first seal should have renamed");
    let mut repeat = pin!(store.seal(&key, 2, &start));
    let early = tokio::time::timeout(Duration::from_millis(200), &mut repeat).await;
    assert!(early.is_err(), "a repeat was answered before the flush: {early:?}");
    gate.release.send(()).unwrap();
    let (first, repeat) = (first.await.unwrap(), repeat.await);
    assert!(matches!(first, Err(ObjectError::Discarded { source: Some(_), .. })), "{first:?}");
    assert!(matches!(repeat, Err(ObjectError::Discarded { .. })), "{repeat:?}");
    assert!(matches!(store.open(&key).await, Err(ObjectError::NotFound { .. })));
}

#[tokio::test]
async fn an_object_that_could_be_neither_flushed_nor_removed_is_never_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let broken = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&broken);
    let store = open_with(dir.path(), move |op| {
        let hit = matches!(op, FsOp::SyncDir | FsOp::Remove) && switch.load(Ordering::SeqCst);
        if hit { Err(io::ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
    });
    store.seal(&key("first"), 1, &WriterState::start()).await.unwrap();
    broken.store(true, Ordering::SeqCst);
    assert!(store.seal(&key("stuck"), 1, &WriterState::start()).await.is_err());
    broken.store(false, Ordering::SeqCst);
    let repeat = store.seal(&key("stuck"), 2, &WriterState::start()).await;
    assert!(matches!(repeat, Err(ObjectError::Discarded { .. })), "{repeat:?}");
}

#[tokio::test]
async fn the_decorator_fails_fills_and_stalls() {
    let (store, faults) = FaultStore::new(Arc::new(MemoryStore::default()));
    faults.fail_nth(Op::Write, 2);
    let mut writer = store.open_writer(&key("a"), 1, &WriterState::start()).await.unwrap();
    writer.write(chunk("1")).await.unwrap();
    assert!(matches!(writer.write(chunk("2")).await, Err(ObjectError::Io { .. })));
    writer.write(chunk("3")).await.unwrap();
    faults.space(Some(3));
    writer.write(chunk("123")).await.unwrap();
    assert!(matches!(writer.write(chunk("4")).await, Err(ObjectError::NoSpace { .. })));
    faults.space(None);
    let mut stall = faults.stall(Op::List);
    let query = ListQuery { scope: ListScope::Sealed, prefix: String::new(), after: None, limit: 1 };
    let held = tokio::spawn(async move { store.list(&query).await });
    stall.reached().await;
    assert!(!held.is_finished());
    drop(stall);
    assert_eq!(held.await.unwrap().unwrap(), []);
}

#[tokio::test]
async fn a_session_table_forgets_what_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for n in 0..100 {
        let key = key(&n.to_string());
        assert!(store.open_writer(&key, 0, &WriterState::start()).await.is_err());
        store.abort(&key, 1, &WriterState::start()).await.unwrap();
        store.seal(&key, 1, &WriterState::start()).await.unwrap();
        store.delete(&key).await.unwrap();
    }
    assert_eq!(store.open_sessions(), 0);
}
