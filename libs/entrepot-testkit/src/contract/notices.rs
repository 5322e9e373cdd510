//! The contract of [`Notices`].

use std::pin::pin;
use std::sync::Arc;

use entrepot_core::ports::notices::{Notice, Notices};
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use futures_util::stream::BoxStream;

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

    /// Takes all that is on its way to the streams: after this they hear only what is published later.
    async fn settle(&self, streams: &mut [Stream]) {
        let probe = Notice::BlobDeleted(repository("probe"), content("probe").digest);
        self.one.publish(probe.clone());
        for stream in streams {
            while self.next(stream).await != probe {}
        }
    }
}

async fn everybody_hears_every_kind(ports: &NoticePorts) {
    let digest = content("gone").digest;
    let mut streams = [ports.one.subscribe(), ports.other.subscribe()];
    ports.settle(&mut streams).await;
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
    ports.one.publish(Notice::RightsChanged);
    ports.settle(&mut [ports.other.subscribe()]).await;
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
