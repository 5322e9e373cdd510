//! Notices within a process, and beyond it.

use std::sync::Mutex;

use entrepot_core::ports::notices::{Notice, Notices};
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};

use crate::wire::{self, Sender};

/// Notices that a subscriber may be behind, and that may wait for Redis.
const WAITING: usize = 1024;

/// Notices within one process.
#[derive(Debug)]
pub struct LocalNotices(broadcast::Sender<Notice>);

impl LocalNotices {
    /// Without subscribers yet.
    pub fn new() -> Self {
        Self(broadcast::Sender::new(WAITING))
    }
}

impl Default for LocalNotices {
    fn default() -> Self {
        Self::new()
    }
}

impl Notices for LocalNotices {
    fn publish(&self, notice: Notice) {
        // An error says that nobody listens.
        let _ = self.0.send(notice);
    }

    fn subscribe(&self) -> BoxStream<'static, Notice> {
        let next = async |mut receiver: broadcast::Receiver<Notice>| {
            let notice = match receiver.recv().await {
                Ok(notice) => notice,
                // It was too slow: what it missed may have been anything.
                Err(RecvError::Lagged(_)) => Notice::Missed,
                Err(RecvError::Closed) => return None,
            };
            Some((notice, receiver))
        };
        stream::unfold(self.0.subscribe(), next).boxed()
    }
}

/// Notices to and from all processes on one Redis. Made by [`Redis::notices`](crate::Redis::notices).
#[derive(Debug)]
pub struct RedisNotices {
    local: LocalNotices,
    sender: Sender,
    queue: mpsc::Sender<String>,
    queued: Mutex<Option<mpsc::Receiver<String>>>,
}

impl RedisNotices {
    pub(crate) fn new() -> Self {
        metrics::describe_counter!(DROPPED, "Notices to other processes that were given up, Redis being away or slow.");
        let (queue, queued) = mpsc::channel(WAITING);
        Self { local: LocalNotices::new(), sender: Sender::random(), queue, queued: Mutex::new(Some(queued)) }
    }

    /// What waits to be sent; the link takes it once.
    pub(crate) fn take_queue(&self) -> Option<mpsc::Receiver<String>> {
        self.queued.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }

    pub(crate) fn encode(&self, notice: &Notice) -> Option<String> {
        wire::encode(self.sender, notice)
    }

    /// A message came from Redis.
    pub(crate) fn received(&self, message: &[u8]) {
        match wire::decode(message) {
            Some((sender, _)) if sender == self.sender => {}
            Some((_, notice)) => self.local.publish(notice),
            None => tracing::debug!("a notice of a kind that this version does not know"),
        }
    }

    /// Messages may have gone by unheard.
    pub(crate) fn missed(&self) {
        self.local.publish(Notice::Missed);
    }
}

/// Notices given up.
pub(crate) const DROPPED: &str = "entrepot_redis_dropped_notices_total";

impl Notices for RedisNotices {
    fn publish(&self, notice: Notice) {
        if let Some(message) = self.encode(&notice)
            && self.queue.try_send(message).is_err()
        {
            metrics::counter!(DROPPED).increment(1);
        }
        self.local.publish(notice);
    }

    fn subscribe(&self) -> BoxStream<'static, Notice> {
        self.local.subscribe()
    }
}
