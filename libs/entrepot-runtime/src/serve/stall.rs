//! Responses that an HTTP/2 client does not take.
//!
//! Over HTTP/1.1 such a client blocks its socket, which [`super::io::Guarded`] times. A stream of HTTP/2 without window
//! blocks nothing: what it was given waits in memory while the connection lives on. So what a stream hands out is
//! followed until it is written, and a stream of which nothing is written for too long is reset.

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use tokio::time::{Instant, sleep_until};

tokio::task_local! {
    /// That of the stream whose task runs: hyper makes the tasks, so nothing can be handed to them.
    static CLOCK: Arc<StreamClock>;
}

/// What of one stream waits for its client.
#[derive(Debug)]
pub(super) struct StreamClock {
    waiting: Mutex<Waiting>,
    all_taken: AtomicWaker,
}

#[derive(Debug)]
struct Waiting {
    pieces: usize,
    /// When the first of them was handed out, or one was last taken.
    since: Instant,
}

impl StreamClock {
    fn new() -> Arc<Self> {
        let waiting = Mutex::new(Waiting { pieces: 0, since: Instant::now() });
        Arc::new(Self { waiting, all_taken: AtomicWaker::new() })
    }

    /// That of the stream being served; `None` over HTTP/1.1.
    pub(super) fn current() -> Option<Arc<Self>> {
        CLOCK.try_with(Arc::clone).ok()
    }

    /// `bytes` that count as waiting until they are dropped, which is when they are written or given up.
    pub(super) fn follow(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        let mut waiting = self.lock();
        if waiting.pieces == 0 {
            waiting.since = Instant::now();
        }
        waiting.pieces += 1;
        drop(waiting);
        Bytes::from_owner(Piece { bytes, clock: Arc::clone(self) })
    }

    pub(super) fn is_all_taken(&self) -> bool {
        self.lock().pieces == 0
    }

    /// Ready when nothing waits for the client.
    pub(super) fn poll_all_taken(&self, cx: &Context<'_>) -> Poll<()> {
        self.all_taken.register(cx.waker());
        if self.is_all_taken() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Completes when something has waited for `limit` and nothing was taken.
    async fn stalled(&self, limit: Duration) {
        loop {
            let now = Instant::now();
            let deadline = {
                let waiting = self.lock();
                if waiting.pieces == 0 { now + limit } else { waiting.since + limit }
            };
            if deadline <= now {
                return;
            }
            sleep_until(deadline).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes on their way to a client.
struct Piece {
    bytes: Bytes,
    clock: Arc<StreamClock>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let mut waiting = self.clock.lock();
        waiting.pieces -= 1;
        waiting.since = Instant::now();
        let all_taken = waiting.pieces == 0;
        drop(waiting);
        if all_taken {
            self.clock.all_taken.wake();
        }
    }
}

/// Runs the streams of HTTP/2 connections, each with a clock, and drops one that stalls: its end is then a reset.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streams {
    pub(super) write_stall: Duration,
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let (clock, limit) = (StreamClock::new(), self.write_stall);
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = CLOCK.scope(Arc::clone(&clock), stream) => {}
                () = clock.stalled(limit) => tracing::debug!("a stream was reset: its client takes nothing of the response"),
            }
        });
    }
}
