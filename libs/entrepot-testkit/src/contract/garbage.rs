//! The contract of [`GarbageQueue`](entrepot_core::ports::GarbageQueue).

use std::collections::HashSet;
use std::time::Duration;

use entrepot_core::UploadId;
use entrepot_core::ports::IndexError;
use futures_util::future::{join, join_all};

use super::{IndexPorts, refused, repository, run, state};
use crate::builders::content;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Runs every case.
pub async fn all(fresh: impl AsyncFn() -> IndexPorts) {
    run!(
        fresh,
        an_idle_session_is_abandoned,
        a_session_at_work_is_not_abandoned,
        a_completed_session_leaves_no_garbage,
        an_item_is_held_by_one_worker_at_a_time,
        acknowledged_items_are_forgotten,
        a_late_acknowledgement_names_nothing_newer,
        concurrent_workers_share_the_work,
        a_client_that_comes_back_wins_or_loses_whole,
    );
}

/// Opens and cancels sessions, so that their keys are garbage.
async fn cancel(ports: &IndexPorts, count: usize) {
    let repository = repository("team/app");
    for _ in 0..count {
        let id = ports.open(&repository).await;
        ports.uploads.release(&repository, id, None, false).await.unwrap();
    }
}

async fn an_idle_session_is_abandoned(ports: &IndexPorts) {
    let repository = repository("team/app");
    let digest = content("blob").digest;
    for finalizing in [false, true] {
        let id = ports.open(&repository).await;
        let mut position = ports.uploads.begin_append(&repository, id, None).await.unwrap();
        if finalizing {
            position = ports.begin_finish(&repository, id, digest).await;
        }
        ports.clock.advance(HOUR - MINUTE);
        assert_eq!(ports.take_garbage(HOUR, HOUR).await, []);
        ports.clock.advance(2 * MINUTE);
        let garbage = ports.take_garbage(HOUR, HOUR).await;
        assert_eq!(garbage, [(position.key.to_string(), "abandoned-upload".to_owned())]);
        refused!(ports.uploads.status(&repository, id).await, IndexError::UploadUnknown);
        refused!(ports.uploads.begin_append(&repository, id, None).await, IndexError::UploadUnknown);
        refused!(ports.uploads.begin_finish(&repository, id, None, digest).await, IndexError::UploadUnknown);
        let items = ports.garbage.lease(10, HOUR, HOUR).await.unwrap();
        assert_eq!(items, [], "held");
        ports.clock.advance(2 * HOUR);
        let items = ports.garbage.lease(10, HOUR, HOUR).await.unwrap();
        ports.garbage.acknowledge(&items.iter().map(|item| item.id).collect::<Vec<_>>()).await.unwrap();
    }
}

async fn a_session_at_work_is_not_abandoned(ports: &IndexPorts) {
    let repository = repository("team/app");
    let id = ports.open(&repository).await;
    for n in 1..5 {
        ports.clock.advance(HOUR - MINUTE);
        assert_eq!(ports.take_garbage(HOUR, HOUR).await, []);
        let position = ports.uploads.begin_append(&repository, id, None).await.unwrap();
        ports.clock.advance(HOUR - MINUTE);
        assert_eq!(ports.take_garbage(HOUR, HOUR).await, []);
        ports.uploads.save(id, &position, n, state("more")).await.unwrap();
    }
    assert_eq!(ports.uploads.status(&repository, id).await.unwrap(), 4);
}

async fn a_completed_session_leaves_no_garbage(ports: &IndexPorts) {
    let repository = repository("team/app");
    ports.push_image(&repository, "image", &["v1"]).await;
    for _ in 0..3 {
        ports.clock.advance(20 * HOUR);
        assert_eq!(ports.take_garbage(MINUTE, MINUTE).await, []);
    }
}

async fn an_item_is_held_by_one_worker_at_a_time(ports: &IndexPorts) {
    cancel(ports, 5).await;
    let first = ports.garbage.lease(2, HOUR, HOUR).await.unwrap();
    let second = ports.garbage.lease(10, 2 * HOUR, HOUR).await.unwrap();
    assert_eq!((first.len(), second.len()), (2, 3));
    let ids: HashSet<u64> = first.iter().chain(&second).map(|item| item.id).collect();
    let keys: HashSet<_> = first.iter().chain(&second).map(|item| item.key).collect();
    assert_eq!((ids.len(), keys.len()), (5, 5));
    assert_eq!(ports.garbage.lease(10, HOUR, HOUR).await.unwrap(), []);
    ports.clock.advance(HOUR + MINUTE);
    let mut back = ports.garbage.lease(10, HOUR, HOUR).await.unwrap();
    back.sort_by_key(|item| item.id);
    let mut expected = first;
    expected.sort_by_key(|item| item.id);
    assert_eq!(back, expected, "not acknowledged in time");
    assert_eq!(ports.garbage.lease(0, HOUR, HOUR).await.unwrap(), []);
}

async fn acknowledged_items_are_forgotten(ports: &IndexPorts) {
    cancel(ports, 3).await;
    let items = ports.garbage.lease(10, HOUR, HOUR).await.unwrap();
    let ids: Vec<u64> = items.iter().map(|item| item.id).collect();
    for _ in 0..2 {
        ports.garbage.acknowledge(&[ids[0], ids[1], u64::MAX, 0]).await.unwrap();
    }
    ports.garbage.acknowledge(&[]).await.unwrap();
    ports.clock.advance(2 * HOUR);
    let left = ports.garbage.lease(10, HOUR, HOUR).await.unwrap();
    assert_eq!(left.iter().map(|item| item.id).collect::<Vec<_>>(), ids[2..]);
}

/// A worker that stalls must not acknowledge what was queued after its own item was done by another.
async fn a_late_acknowledgement_names_nothing_newer(ports: &IndexPorts) {
    cancel(ports, 1).await;
    let stalled = ports.garbage.lease(1, MINUTE, HOUR).await.unwrap();
    ports.clock.advance(2 * MINUTE);
    let other = ports.garbage.lease(1, MINUTE, HOUR).await.unwrap();
    ports.garbage.acknowledge(&[other[0].id]).await.unwrap();
    cancel(ports, 1).await;
    ports.garbage.acknowledge(&[stalled[0].id]).await.unwrap();
    assert_eq!(ports.garbage.lease(1, MINUTE, HOUR).await.unwrap().len(), 1);
}

async fn concurrent_workers_share_the_work(ports: &IndexPorts) {
    cancel(ports, 40).await;
    let shares = join_all((0..8).map(|_| ports.garbage.lease(7, HOUR, HOUR))).await;
    let ids: Vec<u64> = shares.into_iter().flat_map(Result::unwrap).map(|item| item.id).collect();
    assert_eq!(ids.len(), 40);
    assert_eq!(ids.into_iter().collect::<HashSet<_>>().len(), 40);
}

async fn a_client_that_comes_back_wins_or_loses_whole(ports: &IndexPorts) {
    let repository = repository("team/app");
    let mut sessions: Vec<UploadId> = Vec::new();
    for _ in 0..16 {
        sessions.push(ports.open(&repository).await);
    }
    ports.clock.advance(2 * HOUR);
    let back = join_all(sessions.iter().map(|id| ports.uploads.begin_append(&repository, *id, None)));
    let (back, garbage) = join(back, ports.garbage.lease(100, HOUR, HOUR)).await;
    let garbage: HashSet<_> = garbage.unwrap().into_iter().map(|item| item.key).collect();
    let mut won = 0;
    for (id, outcome) in sessions.iter().zip(back) {
        match outcome {
            Ok(position) => {
                won += 1;
                assert!(!garbage.contains(&position.key));
                ports.uploads.save(*id, &position, 1, state("1")).await.unwrap();
            }
            Err(IndexError::UploadUnknown) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(won + garbage.len(), sessions.len());
}
