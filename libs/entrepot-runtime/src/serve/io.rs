use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    time::{Sleep, sleep, sleep_until},
};

/// What a connection is at, shared by its IO and its requests.
#[derive(Debug, Default)]
pub(super) struct Activity {
    in_flight: AtomicUsize,
    begun: AtomicU64,
    body_unread: AtomicBool,
    /// A request has begun while the process drains.
    leaving: Notify,
}

/// How long a client that still sends a body nobody reads may take to notice its answer.
const LINGER: Duration = Duration::from_secs(5);

/// A request from its head to the end of its response.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Activity>);

impl Activity {
    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
        InFlight(self.clone())
    }

    /// Nothing is asked that is not answered.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) == 0
    }

    /// How many requests have begun, if all of them are answered.
    pub(super) fn idle_at(&self) -> Option<u64> {
        self.is_idle().then(|| self.begun.load(Ordering::Relaxed))
    }

    /// Lets [`Activity::may_leave`] complete.
    pub(super) fn leave(&self) {
        self.leaving.notify_one();
    }

    /// Completes once a request has begun: before that or with the first at the latest. To be called when the drain has
    /// begun, after which each request calls [`Activity::leave`].
    ///
    /// A connection that was told to go away before its first request would be of no use to its client, who might open
    /// one after the other.
    pub(super) async fn may_leave(&self) {
        if self.begun.load(Ordering::Relaxed) == 0 {
            self.leaving.notified().await;
        }
    }

    /// A request was answered before its body had come.
    pub(super) fn leave_body_unread(&self) {
        self.body_unread.store(true, Ordering::Relaxed);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection's IO with deadlines: for taking a response, and for sending a request head.
pub(super) struct Guarded<T> {
    inner: T,
    /// Bytes read before the protocol was known.
    first: Bytes,
    write_stall: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    heads: Option<HeadClock>,
    lingering: Option<Pin<Box<Sleep>>>,
}

/// Times a request head from its first byte. It only runs while no request is in flight, when whatever arrives is a head.
struct HeadClock {
    limit: Duration,
    activity: Arc<Activity>,
    started: Option<Instant>,
    /// Requests begun when the clock started; one more means the head is complete.
    begun: u64,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<T> Guarded<T> {
    pub(super) fn new(inner: T, first: Bytes, write_stall: Duration) -> Self {
        Self { inner, first, write_stall, stalled: None, heads: None, lingering: None }
    }

    /// Gives each request head `limit`, the first one counted from `started`.
    pub(super) fn time_heads(&mut self, limit: Duration, activity: Arc<Activity>, started: Instant) {
        self.heads = Some(HeadClock { limit, activity, started: Some(started), begun: 0, timer: None });
    }

    fn limit_stall(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let limit = self.write_stall;
        let timer = self.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl HeadClock {
    fn observe(&mut self, cx: &mut Context<'_>, read: &Poll<io::Result<()>>, bytes: usize) -> Poll<io::Error> {
        let begun = self.activity.begun.load(Ordering::Relaxed);
        if self.activity.in_flight.load(Ordering::Relaxed) > 0 || begun != self.begun {
            self.begun = begun;
            self.started = None;
            self.timer = None;
        }
        if self.activity.in_flight.load(Ordering::Relaxed) > 0 {
            return Poll::Pending;
        }
        if bytes > 0 {
            self.started.get_or_insert_with(Instant::now);
        }
        let Some(started) = self.started.filter(|_| read.is_pending()) else {
            return Poll::Pending;
        };
        let deadline = started + self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline.into())));
        timer.as_mut().poll(cx).map(|()| io::ErrorKind::TimedOut.into())
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Guarded<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let read = if this.first.is_empty() {
            Pin::new(&mut this.inner).poll_read(cx, buf)
        } else {
            let count = this.first.len().min(buf.remaining());
            buf.put_slice(&this.first[..count]);
            this.first.advance(count);
            if this.first.is_empty() {
                this.first = Bytes::new();
            }
            Poll::Ready(Ok(()))
        };
        let bytes = buf.filled().len() - before;
        match this.heads.as_mut().map(|heads| heads.observe(cx, &read, bytes)) {
            Some(Poll::Ready(late)) => Poll::Ready(Err(late)),
            Some(Poll::Pending) | None => read,
        }
    }
}

impl<T: AsyncRead + Unpin> Guarded<T> {
    /// Discards what a client still sends of a body that nobody wants. Closing with unread bytes would make the kernel
    /// reset the connection, and the client might lose the answer that tells it why.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let unread = |heads: &HeadClock| heads.activity.body_unread.load(Ordering::Relaxed);
        if !self.heads.as_ref().is_some_and(unread) {
            return Poll::Ready(());
        }
        let timer = self.lingering.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        if timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut scratch = [0; 8 << 10];
        loop {
            let mut discarded = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.inner).poll_read(cx, &mut discarded)) {
                Ok(()) if !discarded.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.limit_stall(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.limit_stall(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx).map_ok(|()| 0);
        self.limit_stall(cx, flushed).map_ok(|_| ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.inner).poll_shutdown(cx).map_ok(|()| 0);
        ready!(self.limit_stall(cx, shut))?;
        self.poll_linger(cx).map(Ok)
    }
}
