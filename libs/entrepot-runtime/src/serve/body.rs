use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep};

use super::{
    io::{Activity, InFlight},
    stall::StreamClock,
};
use crate::{BoxError, shutdown::Hold};

/// Bytes per second that a client must send of a body we wait for.
const MIN_RATE: u64 = 1 << 10;

/// Why a request body ended early.
#[derive(Debug, thiserror::Error)]
pub enum RequestBodyError {
    /// The client sent too little for too long; the request can be answered with 408.
    #[error("the client sent almost nothing for {0:?}")]
    Stalled(Duration),
    /// The connection broke, or the client ended the body before its length.
    #[error("cannot read the request body")]
    Broken(#[source] hyper::Error),
}

/// A request body that gives up on a client which stops sending.
///
/// Only time spent waiting for the client counts, not the time the server takes between reads.
pub struct RequestBody {
    incoming: Incoming,
    activity: Arc<Activity>,
    ended: bool,
    stall: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    waiting_since: Option<Instant>,
    waited: Duration,
    received: u64,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, activity: Arc<Activity>, stall: Duration) -> Self {
        Self {
            incoming,
            activity,
            ended: false,
            stall,
            timer: None,
            waiting_since: None,
            waited: Duration::ZERO,
            received: 0,
        }
    }

    fn enough(&self) -> bool {
        self.received >= MIN_RATE * self.stall.as_secs().max(1)
    }

    fn arrived(&mut self, bytes: usize) {
        self.received += bytes as u64;
        if let Some(since) = self.waiting_since.take() {
            self.waited += since.elapsed();
        }
        self.timer = None;
        if self.enough() {
            self.received = 0;
            self.waited = Duration::ZERO;
        }
    }

    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.waiting_since.get_or_insert_with(Instant::now);
        let left = self.stall.saturating_sub(self.waited);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(left)));
        timer.as_mut().poll(cx)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.arrived(frame.data_ref().map_or(0, Bytes::len));
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(RequestBodyError::Broken(error)))),
            Poll::Ready(None) => {
                self.ended = true;
                Poll::Ready(None)
            }
            Poll::Pending => {
                let stall = self.stall;
                self.poll_stalled(cx).map(|()| Some(Err(RequestBodyError::Stalled(stall))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if !self.ended && !self.incoming.is_end_stream() {
            self.activity.leave_body_unread();
        }
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").field("incoming", &self.incoming).finish_non_exhaustive()
    }
}

/// Most bytes of a response handed to an HTTP/2 stream at once: it is when one of these has been written that its client
/// counts as taking something.
const PIECE: usize = 64 << 10;

/// A response body, or none when the service panicked; the request counts as in flight until it is dropped.
///
/// Over HTTP/2 it ends when all of it has been written, for nothing could reset the stream after its end.
pub(super) struct ResponseBody<B> {
    inner: Option<B>,
    /// What the body has yielded and its stream has not been given yet.
    rest: Bytes,
    clock: Option<Arc<StreamClock>>,
    _in_flight: InFlight,
    /// Of a request that began during the shutdown: its connection may hold nothing any more.
    _hold: Option<Hold>,
}

impl<B> ResponseBody<B> {
    pub(super) fn new(inner: Option<B>, in_flight: InFlight, hold: Option<Hold>) -> Self {
        Self { inner, rest: Bytes::new(), clock: StreamClock::current(), _in_flight: in_flight, _hold: hold }
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = &mut *self;
        let frame = match &mut this.inner {
            Some(inner) if this.rest.is_empty() => ready!(Pin::new(inner).poll_frame(cx)),
            Some(_) | None => None,
        };
        let Some(clock) = &this.clock else { return Poll::Ready(frame) };
        if this.rest.is_empty() {
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => this.rest = data,
                Some(Ok(Err(trailers))) => return Poll::Ready(Some(Ok(trailers))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    this.inner = None;
                    return clock.poll_all_taken(cx).map(|()| None);
                }
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        Poll::Ready(Some(Ok(Frame::data(clock.follow(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
            && self.inner.as_ref().is_none_or(Body::is_end_stream)
            && self.clock.as_ref().is_none_or(|clock| clock.is_all_taken())
    }

    fn size_hint(&self) -> SizeHint {
        let inner = self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let rest = self.rest.len() as u64;
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}
