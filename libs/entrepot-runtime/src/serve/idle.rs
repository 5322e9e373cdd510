//! HTTP/2 connections on which nothing is asked: hyper keeps them for as long as they answer its pings.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

use super::{connection::Graceful, io::Activity};

/// A connection that is ended when it was idle for `limit`, found out at the latest after twice that: gracefully, and for
/// good when the client does not go along with it.
pub(super) struct UntilIdle<C> {
    connection: Pin<Box<C>>,
    activity: Arc<Activity>,
    limit: Duration,
    timer: Pin<Box<Sleep>>,
    /// The requests begun when the timer was set, if none of them was in flight any more.
    idle_at: Option<u64>,
    ending: bool,
}

impl<C> UntilIdle<C> {
    pub(super) fn new(connection: C, activity: Arc<Activity>, limit: Duration) -> Self {
        let idle_at = activity.idle_at();
        let (connection, timer) = (Box::pin(connection), Box::pin(sleep(limit)));
        Self { connection, activity, limit, timer, idle_at, ending: false }
    }
}

impl<C: Graceful> Future for UntilIdle<C> {
    type Output = hyper::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            if let Poll::Ready(served) = this.connection.as_mut().poll(cx) {
                return Poll::Ready(served);
            }
            ready!(this.timer.as_mut().poll(cx));
            let idle_at = this.activity.idle_at();
            if idle_at.is_some() && idle_at == this.idle_at {
                if this.ending {
                    return Poll::Ready(Ok(()));
                }
                this.ending = true;
                this.connection.as_mut().graceful();
            }
            this.idle_at = idle_at;
            this.timer.as_mut().reset(Instant::now() + this.limit);
        }
    }
}

impl<C: Graceful> Graceful for UntilIdle<C> {
    fn graceful(mut self: Pin<&mut Self>) {
        self.connection.as_mut().graceful();
    }
}
