//! Request bodies as parts of a client stream, with an end that is said, not inferred.
//!
//! tonic reports a stream that its client cancelled as one that ended well, so the end of the
//! stream proves nothing: only [`pb::BodyEnd`] with the right length does.

use bytes::Bytes;
use entrepot_core::ports::blobs::{BodyError, ByteStream};
use futures_util::stream::{self, Stream, StreamExt};
use tonic::Streaming;

use crate::pb::blob::v1 as pb;
use crate::pb::blob::v1::body_part::Part;

/// Largest chunk: larger pieces are sent as several messages, without copying.
pub(crate) const MAX_CHUNK_BYTES: usize = 256 << 10;

struct Sending {
    body: ByteStream,
    pending: Bytes,
    sent: u64,
    ended: bool,
}

/// The parts to send for `body`: taken from it only as fast as the peer accepts them.
pub(crate) fn send(body: ByteStream) -> impl Stream<Item = pb::BodyPart> + Send + 'static {
    let start = Sending { body, pending: Bytes::new(), sent: 0, ended: false };
    stream::unfold(start, |mut state| async move {
        if state.ended {
            return None;
        }
        let part = state.next().await;
        state.ended = !matches!(part, Part::Chunk(_));
        Some((pb::BodyPart { part: Some(part) }, state))
    })
}

impl Sending {
    async fn next(&mut self) -> Part {
        while self.pending.is_empty() {
            match self.body.next().await {
                Some(Ok(bytes)) => self.pending = bytes,
                Some(Err(error)) => return Part::Failure(pb::BodyFailure::from(error).into()),
                None => return Part::End(pb::BodyEnd { length: self.sent }),
            }
        }
        let chunk = self.pending.split_to(self.pending.len().min(MAX_CHUNK_BYTES));
        self.sent += chunk.len() as u64;
        Part::Chunk(chunk)
    }
}

struct Receiving<M> {
    messages: Streaming<M>,
    received: u64,
    ended: bool,
}

/// The body whose parts `messages` holds from here on.
pub(crate) fn receive<M: Into<Option<pb::BodyPart>> + Send + 'static>(messages: Streaming<M>) -> ByteStream {
    let start = Receiving { messages, received: 0, ended: false };
    stream::unfold(start, |mut state| async move {
        if state.ended {
            return None;
        }
        let item = state.next().await;
        state.ended = !matches!(item, Some(Ok(_)));
        item.map(|item| (item, state))
    })
    .boxed()
}

impl<M: Into<Option<pb::BodyPart>>> Receiving<M> {
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        let part = match self.messages.message().await {
            Ok(Some(message)) => message.into().and_then(|body| body.part),
            Ok(None) | Err(_) => None,
        };
        match part {
            Some(Part::Chunk(chunk)) => {
                self.received += chunk.len() as u64;
                Some(Ok(chunk))
            }
            Some(Part::End(end)) if end.length == self.received => None,
            Some(Part::Failure(failure)) => Some(Err(pb::BodyFailure::try_from(failure).unwrap_or_default().into())),
            Some(Part::End(_)) | None => Some(Err(BodyError::Cut)),
        }
    }
}

impl From<pb::AppendRequest> for Option<pb::BodyPart> {
    fn from(request: pb::AppendRequest) -> Self {
        match request.part? {
            pb::append_request::Part::Body(body) => Some(body),
            pb::append_request::Part::Position(_) => None,
        }
    }
}

impl From<pb::SealRequest> for Option<pb::BodyPart> {
    fn from(request: pb::SealRequest) -> Self {
        match request.part? {
            pb::seal_request::Part::Body(body) => Some(body),
            pb::seal_request::Part::Start(_) => None,
        }
    }
}
