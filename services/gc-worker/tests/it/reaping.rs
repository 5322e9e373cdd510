use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use entrepot_core::StorageKey;
use entrepot_core::ports::garbage::GarbageQueue;
use gc_worker::{Worker, WorkerConfig};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::fakes::{Queue, Store};

const CONFIG: WorkerConfig = WorkerConfig {
    interval: Duration::from_secs(60),
    upload_idle: Duration::from_secs(24 * 3600),
    hold: Duration::from_secs(300),
    batch: 10,
};

/// On paused time this is as long as nothing else happens.
const PATIENCE: Duration = Duration::from_secs(3600);

fn keys(count: usize) -> Vec<StorageKey> {
    (0..count).map(|_| StorageKey::random()).collect()
}

fn start(queue: &Arc<Queue>, store: &Arc<Store>) -> JoinHandle<()> {
    let worker = Worker::new(queue.clone(), store.clone(), CONFIG);
    tokio::spawn(async move { worker.run().await.unwrap() })
}

async fn drained(queue: &Queue) {
    timeout(PATIENCE, queue.left.subscribe().wait_for(|left| *left == 0)).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn workers_delete_everything_once_and_nothing_live_though_one_dies_with_a_lease() {
    let garbage = keys(95);
    let live = keys(20);
    let store = Arc::new(Store::with(&[garbage.clone(), live.clone()].concat()));
    let queue = Arc::new(Queue::with(&garbage));
    let started = Instant::now();

    // Long enough for a lease and three deletions, none acknowledged.
    let doomed = start(&queue, &store);
    assert!(timeout(Duration::from_millis(35), drained(&queue)).await.is_err());
    doomed.abort();
    assert_eq!(*queue.left.borrow(), 95);

    let workers = [start(&queue, &store), start(&queue, &store)];
    drained(&queue).await;
    assert!(started.elapsed() >= CONFIG.hold, "the dead worker's items come back when its lease ends");
    let deletions: Vec<u32> = garbage.iter().map(|key| store.deletions(*key)).collect();
    // Only what the dead worker deleted and could not acknowledge is deleted again.
    assert_eq!(deletions.iter().filter(|count| **count == 1).count(), 92, "{deletions:?}");
    assert_eq!(deletions.iter().filter(|count| **count == 2).count(), 3, "{deletions:?}");
    assert!(live.iter().all(|key| store.deletions(*key) == 0));
    workers.iter().for_each(JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_is_followed_by_the_next_without_a_pause() {
    let garbage = keys(35);
    let (queue, store) = (Arc::new(Queue::with(&garbage)), Arc::new(Store::with(&garbage)));
    let started = Instant::now();
    let worker = start(&queue, &store);
    drained(&queue).await;
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    worker.abort();
}

#[tokio::test(start_paused = true)]
async fn a_poke_starts_a_round_early_and_a_lost_one_costs_only_the_interval() {
    let (queue, store) = (Arc::new(Queue::with(&[])), Arc::new(Store::default()));
    let worker = Worker::new(queue.clone(), store.clone(), CONFIG);
    let poke = worker.poke();
    let task = tokio::spawn(worker.run());
    tokio::time::advance(Duration::from_secs(1)).await;
    let push = || {
        let key = StorageKey::random();
        store.add(key);
        queue.push(key);
        Instant::now()
    };
    let pushed = push();
    poke.poke();
    drained(&queue).await;
    assert!(pushed.elapsed() < Duration::from_secs(1), "{:?}", pushed.elapsed());

    let pushed = push();
    drained(&queue).await;
    assert!(pushed.elapsed() <= CONFIG.interval + Duration::from_secs(1), "{:?}", pushed.elapsed());
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_is_asked_ever_less_often_and_work_goes_on_when_it_is_back() {
    let garbage = keys(3);
    let (queue, store) = (Arc::new(Queue::with(&garbage)), Arc::new(Store::with(&garbage)));
    store.down.store(true, SeqCst);
    let worker = start(&queue, &store);
    assert!(timeout(Duration::from_secs(3000), drained(&queue)).await.is_err());
    store.down.store(false, SeqCst);
    drained(&queue).await;
    assert!(garbage.iter().all(|key| store.deletions(*key) == 1));
    let leases = queue.leases.lock().unwrap().clone();
    let pauses: Vec<Duration> = leases.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.iter().all(|pause| *pause >= Duration::from_millis(500)), "{pauses:?}");
    assert!(pauses.iter().all(|pause| *pause <= CONFIG.interval + Duration::from_secs(1)), "{pauses:?}");
    worker.abort();
}

#[tokio::test(start_paused = true)]
async fn one_key_that_cannot_be_deleted_does_not_hold_up_the_others() {
    let garbage = keys(5);
    let (queue, store) = (Arc::new(Queue::with(&garbage)), Arc::new(Store::with(&garbage)));
    *store.broken.lock().unwrap() = Some(garbage[0]);
    let worker = start(&queue, &store);
    let found = timeout(Duration::from_secs(5), queue.left.subscribe().wait_for(|left| *left == 1)).await.is_ok();
    assert!(found, "{} left", *queue.left.borrow());
    assert!(garbage[1..].iter().all(|key| store.deletions(*key) == 1));

    *store.broken.lock().unwrap() = None;
    drained(&queue).await;
    assert_eq!(store.deletions(garbage[0]), 1);
    worker.abort();
}

#[tokio::test(start_paused = true)]
async fn an_index_that_is_down_or_loses_an_answer_is_asked_again() {
    let garbage = keys(5);
    let (queue, store) = (Arc::new(Queue::with(&garbage)), Arc::new(Store::with(&garbage)));
    queue.down.store(true, SeqCst);
    queue.lost_answers.store(1, SeqCst);
    let worker = start(&queue, &store);
    assert!(timeout(Duration::from_secs(600), drained(&queue)).await.is_err());
    queue.down.store(false, SeqCst);
    drained(&queue).await;
    assert!(garbage.iter().all(|key| store.deletions(*key) == 1));
    assert!(queue.lease(10, CONFIG.hold, CONFIG.upload_idle).await.unwrap().is_empty());
    worker.abort();
}
