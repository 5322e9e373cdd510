//! The contract of [`Notices`].

use std::pin::pin;
use std::sync::Arc;

use entrepot_core::ports::notices::{Notice, Notices};
use futures_util::future::{Either, select};
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};

use super::{repository, run};
use crate::builders::content;

/// Two ends of one registry: what one publishes the other hears, and so does itself.
#[derive(Clone)]
pub struct NoticePorts {
    /// One process.
    pub one: Arc<dyn Notices>,
    /// Another, or the same.
    pub other: Arc<dyn Notices>,
    /// Completes after the longest time that a notice takes.
    pub patience: Arc<dyn Fn() -> futures_util::future::BoxFuture<'static, ()> + Send + Sync>,
}

/// Runs every case on ports of its own.
pub async fn all(fresh: impl AsyncFn() -> NoticePorts) {
    run!(fresh, everybody_hears_every_kind, what_came_before_is_not_heard_again, publishing_to_nobody_is_no_fault);
}

type Stream = BoxStream<'static, Notice>;

impl NoticePorts {
    /// The next notice, which must come.
    async fn next(&self, stream: &mut Stream) -> Notice {
        match select(pin!(stream.next()), (self.patience)()).await {
            Either::Left((notice, _)) => notice.expect("a subscription does not end"),
            Either::Right(_) => panic!("no notice came"),
        }
    }

    /// Publishes until the subscription is known to work, and takes all that came of it.
    async fn settle(&self, stream: &mut Stream) {
        while stream.next().now_or_never().is_some() {}
        self.one.publish(Notice::GarbageQueued);
        while self.next(stream).await != Notice::GarbageQueued {}
    }
}

async fn everybody_hears_every_kind(ports: &NoticePorts) {
    let digest = content("gone").digest;
    let mut streams = [ports.one.subscribe(), ports.other.subscribe()];
    for stream in &mut streams {
        ports.settle(stream).await;
    }
    let [first, _] = &mut streams;
    // The probe of the second subscription.
    assert_eq!(ports.next(first).await, Notice::GarbageQueued);
    for notice in [
        Notice::ManifestDeleted(repository("team/app"), digest),
        Notice::BlobDeleted(repository("library/alpine"), digest),
        Notice::RightsChanged,
        Notice::GarbageQueued,
    ] {
        ports.one.publish(notice.clone());
        for stream in &mut streams {
            assert_eq!(ports.next(stream).await, notice);
        }
        ports.other.publish(notice.clone());
        for stream in &mut streams {
            assert_eq!(ports.next(stream).await, notice);
        }
    }
}

async fn what_came_before_is_not_heard_again(ports: &NoticePorts) {
    let mut witness = ports.other.subscribe();
    ports.settle(&mut witness).await;
    ports.one.publish(Notice::RightsChanged);
    assert_eq!(ports.next(&mut witness).await, Notice::RightsChanged);
    let mut late = ports.other.subscribe();
    ports.one.publish(Notice::GarbageQueued);
    let first = ports.next(&mut late).await;
    let first = if first == Notice::Missed { ports.next(&mut late).await } else { first };
    assert_eq!(first, Notice::GarbageQueued);
}

async fn publishing_to_nobody_is_no_fault(ports: &NoticePorts) {
    for _ in 0..10_000 {
        ports.one.publish(Notice::RightsChanged);
    }
}
