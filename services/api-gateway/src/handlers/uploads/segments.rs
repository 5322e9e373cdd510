//! A body in segments, each of which can be stored and acknowledged before the next has come.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use entrepot_core::ports::blobs::{BodyError, ByteStream};
use futures_util::stream::Fuse;
use futures_util::{Stream, StreamExt};

/// The body of a request. Its segments are read one after another, by whoever has the latest.
pub(super) struct Segments(Arc<Mutex<Rest>>);

/// What has not been read.
struct Rest {
    /// Asked again after its end, by whoever wants to know whether there is more.
    body: Fuse<ByteStream>,
    /// Received, and of the next segment.
    ahead: Bytes,
    /// Bytes that the segment under way may still take.
    room: u64,
}

impl Segments {
    pub(super) fn new(body: ByteStream) -> Self {
        Self(Arc::new(Mutex::new(Rest { body: body.fuse(), ahead: Bytes::new(), room: 0 })))
    }

    /// The next `length` bytes, or as many as there are. The segment before it must have been read to its end.
    pub(super) fn next(&self, length: u64) -> ByteStream {
        self.rest().room = length;
        Segment(Arc::clone(&self.0)).boxed()
    }

    /// Whether there is more; waits for a byte to tell.
    pub(super) async fn has_more(&self) -> Result<bool, BodyError> {
        std::future::poll_fn(|context| {
            let mut rest = self.rest();
            while rest.ahead.is_empty() {
                match ready!(rest.body.poll_next_unpin(context)) {
                    Some(Ok(bytes)) => rest.ahead = bytes,
                    Some(Err(error)) => return Poll::Ready(Err(error)),
                    None => return Poll::Ready(Ok(false)),
                }
            }
            Poll::Ready(Ok(true))
        })
        .await
    }

    fn rest(&self) -> MutexGuard<'_, Rest> {
        lock(&self.0)
    }
}

/// Held while a body is asked for its next bytes, which panics in no known way and leaves nothing half-done if it does.
fn lock(rest: &Mutex<Rest>) -> MutexGuard<'_, Rest> {
    rest.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Segment(Arc<Mutex<Rest>>);

impl Stream for Segment {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut rest = lock(&self.0);
        if rest.room == 0 {
            return Poll::Ready(None);
        }
        let mut bytes = std::mem::take(&mut rest.ahead);
        if bytes.is_empty() {
            bytes = match ready!(rest.body.poll_next_unpin(context)) {
                Some(Ok(bytes)) => bytes,
                end => {
                    rest.room = 0;
                    return Poll::Ready(end);
                }
            };
        }
        if let Ok(room) = usize::try_from(rest.room)
            && bytes.len() > room
        {
            rest.ahead = bytes.split_off(room);
        }
        rest.room -= bytes.len() as u64;
        Poll::Ready(Some(Ok(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{TryStreamExt, stream};
    use proptest::prelude::*;

    use super::*;

    async fn split(pieces: Vec<Result<Bytes, BodyError>>, length: u64) -> (Vec<Vec<u8>>, Result<(), BodyError>) {
        // One that panics when it is asked after its end.
        let body = stream::unfold(pieces.into_iter(), |mut pieces| async { Some((pieces.next()?, pieces)) });
        let segments = Segments::new(body.boxed());
        let mut split = Vec::new();
        loop {
            match segments.next(length).map_ok(|bytes| bytes.to_vec()).try_concat().await {
                Ok(segment) => split.push(segment),
                Err(error) => return (split, Err(error)),
            }
            match segments.has_more().await {
                Ok(true) => {}
                end => return (split, end.map(drop)),
            }
        }
    }

    #[tokio::test]
    async fn an_error_is_told_where_it_is() {
        let piece = |text: &'static str| Ok(Bytes::from_static(text.as_bytes()));
        let cut = Err(BodyError::Cut);
        let (segments, end) = split(vec![piece("abc"), piece("d"), cut.clone()], 4).await;
        assert_eq!((segments, end), (vec![b"abcd".to_vec()], Err(BodyError::Cut)));
        let (segments, end) = split(vec![piece("abc"), cut], 4).await;
        assert_eq!((segments, end), (vec![], Err(BodyError::Cut)));
    }

    proptest! {
        #[test]
        fn they_are_the_body(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..10), length in 1_u64..30) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let whole = pieces.concat();
            let bodies = pieces.into_iter().map(|piece| Ok(Bytes::from(piece))).collect();
            let (segments, end) = runtime.block_on(split(bodies, length));
            prop_assert_eq!(end, Ok(()));
            prop_assert_eq!(segments.concat(), whole.clone());
            // Full but for the last, which is empty only where there is nothing at all.
            let (last, full) = segments.split_last().unwrap();
            prop_assert!(full.iter().all(|segment| segment.len() as u64 == length));
            prop_assert!(whole.is_empty() || (1..=length).contains(&(last.len() as u64)));
        }
    }
}
