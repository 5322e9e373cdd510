//! The adapters joined over in-memory HTTP/2: what goes in at one port comes out at the other.
#![allow(clippy::unwrap_used, clippy::result_large_err, missing_docs, unreachable_pub, reason = "tests")]

mod admission;
mod balancing;
mod bodies;
mod failures;
mod fakes;
mod generators;
mod health;
mod large;
mod pipe;
mod replicas;
mod rotation;
mod round_trips;
mod traces;
mod windows;

use std::time::Duration;

/// Looks until it holds.
async fn poll(what: &str, mut holds: impl FnMut() -> bool) {
    poll_async(what, async || holds()).await;
}

/// Looks until there is something.
async fn poll_some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    poll(what, || {
        found = look();
        found.is_some()
    })
    .await;
    found.unwrap()
}

/// Asks until it holds.
async fn poll_async(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(replicas::DEADLINE, asking).await.is_ok(), "never: {what}");
}
