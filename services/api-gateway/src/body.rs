//! Request bodies on their way to blob-store.

use std::error::Error;

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use entrepot_core::ports::BlobError;
use entrepot_core::ports::blobs::{BodyError, ByteStream};
use entrepot_runtime::BoxError;
use entrepot_runtime::serve::RequestBodyError;
use futures_util::{Stream, StreamExt, stream};

use crate::error::ApiError;
use crate::room::Share;

/// The body as a stream of bytes that must add up to `announced`, when that is known.
///
/// HTTP itself enforces `Content-Length`; `announced` comes from a chunk's `Content-Range`.
pub(crate) fn stream(body: Body, announced: Option<u64>) -> ByteStream {
    let bytes = body.into_data_stream().map(|chunk| chunk.map_err(|error| broken(error.into_inner())));
    match announced {
        None => bytes.boxed(),
        Some(announced) => exactly(bytes, announced).boxed(),
    }
}

fn exactly(
    bytes: impl Stream<Item = Result<Bytes, BodyError>> + Send + Unpin + 'static,
    announced: u64,
) -> impl Stream<Item = Result<Bytes, BodyError>> + Send {
    stream::unfold((bytes, Some(announced)), |(mut bytes, left)| async move {
        let left = left?;
        match bytes.next().await {
            Some(Ok(chunk)) => match left.checked_sub(chunk.len() as u64) {
                Some(left) => Some((Ok(chunk), (bytes, Some(left)))),
                None => Some((Err(BodyError::TooLong), (bytes, None))),
            },
            Some(Err(error)) => Some((Err(error), (bytes, None))),
            None if left > 0 => Some((Err(BodyError::Cut), (bytes, None))),
            None => None,
        }
    })
}

/// Reads a whole body of at most `limit` bytes, as far as there is `room`.
pub(crate) async fn read(
    body: Body,
    limit: usize,
    room: &mut Share,
    too_large: impl FnOnce() -> ApiError,
) -> Result<Bytes, ApiError> {
    let mut chunks = body.into_data_stream();
    let mut whole = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| BlobError::Body(broken(error.into_inner())))?;
        let length = whole.len() + chunk.len();
        if length > limit {
            return Err(too_large());
        }
        room.grow(length).await?;
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

/// A client that is still there is told that it was too slow.
fn broken(error: BoxError) -> BodyError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&*error);
    while let Some(error) = cause {
        if matches!(error.downcast_ref(), Some(RequestBodyError::Stalled(_))) {
            return BodyError::Stalled;
        }
        cause = error.source();
    }
    BodyError::Cut
}

/// Takes what is left of a small refused body off the connection, so that the client reads the
/// answer instead of a reset; a large one is cut off.
pub(crate) async fn discard(mut body: BodyDataStream) {
    const ENOUGH: usize = 1 << 20;
    let mut seen = 0;
    while let Some(Ok(chunk)) = body.next().await {
        seen += chunk.len();
        if seen > ENOUGH {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn collect(parts: &[&'static str], announced: u64) -> Vec<Result<Bytes, BodyError>> {
        let parts: Vec<_> = parts.iter().map(|part| Ok(Bytes::from_static(part.as_bytes()))).collect();
        exactly(stream::iter(parts), announced).collect().await
    }

    #[test]
    fn a_slow_client_and_one_that_left() {
        let stalled = RequestBodyError::Stalled(std::time::Duration::from_secs(60));
        assert_eq!(broken(axum::Error::new(axum::Error::new(stalled)).into()), BodyError::Stalled);
        assert_eq!(broken("reset".into()), BodyError::Cut);
    }

    #[tokio::test]
    async fn a_chunk_must_have_the_announced_length() {
        assert!(collect(&["ab", "c"], 3).await.iter().all(Result::is_ok));
        assert_eq!(collect(&["ab"], 3).await.last(), Some(&Err(BodyError::Cut)));
        assert_eq!(collect(&["ab", "cd", "e"], 3).await.last(), Some(&Err(BodyError::TooLong)));
        assert!(collect(&[], 0).await.is_empty());
    }
}
