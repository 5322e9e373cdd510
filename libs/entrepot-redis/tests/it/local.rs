//! Without Redis.

use std::sync::Arc;
use std::time::Duration;

use entrepot_core::ports::notices::{Notice, Notices};
use entrepot_redis::LocalNotices;
use entrepot_testkit::contract::notices::{self, NoticePorts};
use futures_util::StreamExt;

async fn fresh() -> NoticePorts {
    let one: Arc<dyn Notices> = Arc::new(LocalNotices::new());
    NoticePorts {
        other: Arc::clone(&one),
        one,
        patience: Arc::new(|| Box::pin(tokio::time::sleep(Duration::from_secs(10)))),
    }
}

#[tokio::test]
async fn contract() {
    notices::all(fresh).await;
}

#[tokio::test]
async fn who_is_too_slow_is_told_that_it_missed_something() {
    let notices = LocalNotices::new();
    let mut stream = notices.subscribe();
    for _ in 0..5_000 {
        notices.publish(Notice::GarbageQueued);
    }
    notices.publish(Notice::RightsChanged);
    assert_eq!(stream.next().await, Some(Notice::Missed));
    while stream.next().await != Some(Notice::RightsChanged) {}
}
