//! A permit that lasts as long as the answer it was given for.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http::Response;
use http_body::{Frame, SizeHint};

use super::{Class, Permit};
use crate::error::ApiError;

/// Chunks from this size on keep the permit until they are sent; smaller ones fit in a socket's buffer.
const LARGE: usize = 16 << 10;

/// Keeps `permit` for as long as the answer may be in memory. A blob may take hours. Most other answers are small and on
/// their way; one that is not, such as a manifest of megabytes, is a body in memory and counts as that. It does not wait
/// for its turn: those that wait would fill the memory, too.
///
/// # Errors
/// There is no room for its bytes.
pub(crate) fn keep(permit: Permit, response: Response<Body>) -> Result<Response<Body>, ApiError> {
    if permit.ask.class == Class::Blob {
        return Ok(hold(permit, response));
    }
    match http_body::Body::size_hint(response.body()).exact() {
        Some(bytes) if bytes >= LARGE as u64 => Ok(hold(permit.charge_at_once(bytes)?, response)),
        _ => Ok(response),
    }
}

/// Keeps `permit` until the last byte of the answer has gone out, or the client has.
fn hold(permit: Permit, response: Response<Body>) -> Response<Body> {
    response.map(|body| {
        if http_body::Body::is_end_stream(&body) {
            return body;
        }
        Body::new(Held { body, permit: Arc::new(permit) })
    })
}

struct Held {
    body: Body,
    permit: Arc<Permit>,
}

/// Bytes that lie where they lay before, so that a file is still sent by the kernel. A whole blob may be one chunk, and
/// the body is gone long before it is sent: the bytes must keep the permit.
struct Chunk {
    bytes: Bytes,
    _permit: Arc<Permit>,
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(frame.map(|frame| {
            frame.map(|frame| {
                frame.map_data(|bytes| {
                    if bytes.len() < LARGE {
                        return bytes;
                    }
                    Bytes::from_owner(Chunk { bytes, _permit: Arc::clone(&self.permit) })
                })
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
