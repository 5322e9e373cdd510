//! Blob answers: whole, one range, or one part per requested range.

mod coalesce;
mod parts;
#[cfg(test)]
mod tests;

use axum::body::Body;
use bytes::Bytes;
use entrepot_core::ports::BlobError;
use entrepot_core::ports::blobs::BlobSource;
use entrepot_core::range::{ByteRange, Selection};
use entrepot_core::{ErrorKind, OciCode};
use entrepot_runtime::sendfile::FileSender;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};

use self::parts::Part;
use crate::error::ApiError;
use crate::handlers::{Call, empty};
use crate::location;
use crate::source::{DataClient, Object};

/// Renders `selection` of `object`, which is satisfiable; the caller adds the headers that describe the blob.
pub(crate) async fn respond(
    call: &Call<'_>,
    object: &Object,
    selection: &Selection,
) -> Result<Response<Body>, BlobError> {
    let size = object.size();
    let sender = call.parts.extensions.get::<FileSender>();
    let data = &call.gateway.data;
    match selection {
        Selection::Whole | Selection::Unsatisfiable => {
            Ok(sized(StatusCode::OK, size, data.read(object, 0..size, sender).await?))
        }
        Selection::Single(range) => {
            let body = data.read(object, range.start..range.end, sender).await?;
            let mut response = sized(StatusCode::PARTIAL_CONTENT, range.len(), body);
            response.headers_mut().insert(CONTENT_RANGE, location::header(&range.content_range(size)));
            Ok(response)
        }
        Selection::Multiple(ranges) => multipart(data, object, ranges, sender).await,
    }
}

/// Bytes that sending `selection` of `object` keeps in memory, beyond those on their way to the client.
pub(crate) fn kept(object: &Object, selection: &Selection) -> u64 {
    match (selection, &object.source) {
        (Selection::Multiple(ranges), BlobSource::Url { .. }) => parts::most_kept(ranges),
        _ => 0,
    }
}

/// 416, with the size that the client did not know.
pub(crate) fn unsatisfiable(size: u64) -> ApiError {
    let message = format!("the blob has {size} bytes; the range lies outside");
    ApiError::new(ErrorKind::OutOfRange, OciCode::SizeInvalid, message)
        .with_header(CONTENT_RANGE, &format!("bytes */{size}"))
}

fn sized(status: StatusCode, length: u64, body: Body) -> Response<Body> {
    let mut response = empty(status, [(CONTENT_LENGTH, HeaderValue::from(length))]);
    *response.body_mut() = body;
    response
}

/// `multipart/byteranges` (RFC 9110, 14.6) with a known length, streamed part by part.
async fn multipart(
    data: &DataClient,
    object: &Object,
    ranges: &[ByteRange],
    sender: Option<&FileSender>,
) -> Result<Response<Body>, BlobError> {
    let boundary = format!("{:032x}", rand::random::<u128>());
    let size = object.size();
    let mut length = 0;
    let mut parts = Vec::with_capacity(ranges.len());
    for (position, range) in ranges.iter().enumerate() {
        let line_end = if position == 0 { "" } else { "\r\n" };
        let head = format!(
            "{line_end}--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: {}\r\n\r\n",
            range.content_range(size)
        );
        length += head.len() as u64 + range.len();
        parts.push((Bytes::from(head), *range));
    }
    let tail = Bytes::from(format!("\r\n--{boundary}--\r\n"));
    length += tail.len() as u64;
    let parts = match &object.source {
        BlobSource::Url { .. } => parts::stream(data, object, parts).await?.map_err(axum::Error::new).boxed(),
        BlobSource::File { .. } | BlobSource::Memory(_) => local(data.clone(), object.clone(), parts, sender.cloned()),
    };
    let body = parts.chain(stream::once(async { Ok(tail) }));
    let mut response = sized(StatusCode::PARTIAL_CONTENT, length, Body::from_stream(body));
    let content_type = format!("multipart/byteranges; boundary={boundary}");
    response.headers_mut().insert(CONTENT_TYPE, location::header(&content_type));
    Ok(response)
}

/// Parts of a file or of memory: nothing is gained by reading them together.
fn local(
    data: DataClient,
    object: Object,
    parts: Vec<Part>,
    sender: Option<FileSender>,
) -> BoxStream<'static, Result<Bytes, axum::Error>> {
    stream::iter(parts)
        .then(move |(head, range)| {
            let (data, object, sender) = (data.clone(), object.clone(), sender.clone());
            async move {
                // The status is out already: the connection is cut, never a clean end with a part missing.
                let read = data.read(&object, range.start..range.end, sender.as_ref()).await;
                let body = read.map_err(axum::Error::new)?.into_data_stream();
                Ok::<_, axum::Error>(stream::once(async { Ok(head) }).chain(body))
            }
        })
        .try_flatten()
        .boxed()
}
