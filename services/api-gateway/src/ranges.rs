//! Blob answers: whole, one range, or one part per requested range.

use axum::body::Body;
use bytes::Bytes;
use entrepot_core::ports::blobs::BlobSource;
use entrepot_core::range::{ByteRange, Selection};
use entrepot_core::{ErrorKind, OciCode};
use entrepot_runtime::sendfile::FileSender;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};

use crate::error::ApiError;
use crate::handlers::{Call, empty};
use crate::location;
use crate::source::DataClient;

/// Renders `selection` of `source`; the caller adds the headers that describe the blob.
pub(crate) async fn respond(
    call: &Call<'_>,
    source: BlobSource,
    selection: Selection,
) -> Result<Response<Body>, ApiError> {
    let size = source.size();
    let sender = call.parts.extensions.get::<FileSender>();
    let data = &call.gateway.data;
    match selection {
        Selection::Whole => Ok(sized(StatusCode::OK, size, data.read(&source, 0..size, sender).await?)),
        Selection::Single(range) => {
            let body = data.read(&source, range.start..range.end, sender).await?;
            let mut response = sized(StatusCode::PARTIAL_CONTENT, range.len(), body);
            response.headers_mut().insert(CONTENT_RANGE, location::header(&range.content_range(size)));
            Ok(response)
        }
        Selection::Multiple(ranges) => Ok(multipart(data, source, ranges, sender.cloned())),
        Selection::Unsatisfiable => {
            let error = ApiError::new(
                ErrorKind::OutOfRange,
                OciCode::SizeInvalid,
                format!("the blob has {size} bytes; the range lies outside"),
            );
            Err(error.with_header(CONTENT_RANGE, &format!("bytes */{size}")))
        }
    }
}

fn sized(status: StatusCode, length: u64, body: Body) -> Response<Body> {
    let mut response = empty(status, [(CONTENT_LENGTH, HeaderValue::from(length))]);
    *response.body_mut() = body;
    response
}

/// `multipart/byteranges` (RFC 9110, 14.6) with a known length, streamed part by part.
fn multipart(
    data: &DataClient,
    source: BlobSource,
    ranges: Vec<ByteRange>,
    sender: Option<FileSender>,
) -> Response<Body> {
    let boundary = format!("{:032x}", rand::random::<u128>());
    let size = source.size();
    let mut length = 0;
    let mut parts = Vec::with_capacity(ranges.len());
    for (position, range) in ranges.into_iter().enumerate() {
        let line_end = if position == 0 { "" } else { "\r\n" };
        let head = format!(
            "{line_end}--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: {}\r\n\r\n",
            range.content_range(size)
        );
        length += head.len() as u64 + range.len();
        parts.push((Bytes::from(head), range));
    }
    let tail = Bytes::from(format!("\r\n--{boundary}--\r\n"));
    length += tail.len() as u64;
    let data = data.clone();
    let body = stream::iter(parts)
        .then(move |(head, range)| {
            let (data, source, sender) = (data.clone(), source.clone(), sender.clone());
            async move { Ok::<_, axum::Error>(part(&data, &source, head, range, sender.as_ref()).await) }
        })
        .try_flatten()
        .chain(stream::once(async { Ok(tail) }));
    let mut response = sized(StatusCode::PARTIAL_CONTENT, length, Body::from_stream(body));
    let content_type = format!("multipart/byteranges; boundary={boundary}");
    response.headers_mut().insert(CONTENT_TYPE, location::header(&content_type));
    response
}

async fn part(
    data: &DataClient,
    source: &BlobSource,
    head: Bytes,
    range: ByteRange,
    sender: Option<&FileSender>,
) -> BoxStream<'static, Result<Bytes, axum::Error>> {
    match data.read(source, range.start..range.end, sender).await {
        Ok(body) => stream::once(async { Ok(head) }).chain(body.into_data_stream()).boxed(),
        // The status is out already: the connection is cut, never a clean end with a part missing.
        Err(error) => stream::once(async { Err(axum::Error::new(error)) }).boxed(),
    }
}
