//! A writer that is stuck in the disk when the next one comes.

use std::pin::pin;
use std::time::Duration;

use entrepot_object::{Durability, FsOp, ObjectError, ObjectStore, WriterState, contract};

use crate::support::{chunk, gate, key, open_with};

/// Long enough for a writer that does not wait to be done; only a broken guard makes it matter.
const PATIENCE: Duration = Duration::from_millis(200);

/// The client of the first request has gone, so nobody waits for its write, but the write goes on.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_writer_waits_for_a_write_under_way_that_was_abandoned() {
    let dir = tempfile::tempdir().unwrap();
    let (gate, hook) = gate(FsOp::Write);
    let store = open_with(dir.path(), hook);
    let key = key("stalled");
    let mut first = store.open_writer(&key, 1, &WriterState::start()).await.unwrap();
    let abandoned = tokio::spawn(async move { first.write(chunk("STALLED STALLED STALLED")).await });
    tokio::task::spawn_blocking({
        let reached = gate.reached;
        move || reached.recv().unwrap()
    })
    .await
    .unwrap();
    abandoned.abort();
    assert!(abandoned.await.unwrap_err().is_cancelled());

    let mut second = tokio::spawn({
        let (store, key) = (store.clone(), key.clone());
        async move { store.open_writer(&key, 2, &WriterState::start()).await }
    });
    let early = tokio::time::timeout(PATIENCE, &mut second).await;
    assert!(early.is_err(), "the second writer started while the first was writing: {early:?}");
    gate.release.send(()).unwrap();
    let mut second = second.await.unwrap().unwrap();
    second.write(chunk("second")).await.unwrap();
    let state = second.checkpoint(Durability::Durable).await.unwrap();
    store.seal(&key, 2, &state).await.unwrap();
    assert_eq!(contract::contents(&store.open(&key).await.unwrap()), b"second");
}

/// The first request stalls between two writes, as a slow client does, and wakes up too late.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_wakes_up_late_is_fenced() {
    let dir = tempfile::tempdir().unwrap();
    let (gate, hook) = gate(FsOp::Write);
    let store = open_with(dir.path(), hook);
    let key = key("late");
    let mut first = store.open_writer(&key, 1, &WriterState::start()).await.unwrap();
    let first = tokio::spawn(async move {
        let stalled = first.write(chunk("first ")).await;
        (stalled, first.write(chunk("first again ")).await, first.checkpoint(Durability::Durable).await)
    });
    tokio::task::spawn_blocking({
        let reached = gate.reached;
        move || reached.recv().unwrap()
    })
    .await
    .unwrap();
    let start = WriterState::start();
    let mut second = pin!(store.open_writer(&key, 2, &start));
    let early = tokio::time::timeout(Duration::ZERO, &mut second).await;
    assert!(early.is_err(), "the second writer started while the first was writing: {early:?}");
    gate.release.send(()).unwrap();
    let mut second = second.await.unwrap();
    second.write(chunk("second")).await.unwrap();
    let state = second.checkpoint(Durability::Durable).await.unwrap();
    let (stalled, again, checkpoint) = first.await.unwrap();
    assert!(stalled.is_ok(), "the write under way ends as it will: {stalled:?}");
    assert!(matches!(again, Err(ObjectError::Fenced { epoch: 1, .. })), "{again:?}");
    assert!(matches!(checkpoint, Err(ObjectError::Fenced { epoch: 1, .. })), "{checkpoint:?}");
    store.seal(&key, 2, &state).await.unwrap();
    assert_eq!(contract::contents(&store.open(&key).await.unwrap()), b"second");
}
