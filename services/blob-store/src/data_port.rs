//! The data port: bytes of sealed objects over plain HTTP, for processes that hold a signed URL.
//!
//! Bulk reads do not go over gRPC, whose framing costs more than the read itself.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use entrepot_core::StorageKey;
use entrepot_core::error::Classify;
use entrepot_core::ports::blobs::{BlobError, BlobSource, BlobStore};
use entrepot_core::range::{ByteRange, RangeSet, Selection};
use entrepot_runtime::sendfile::{FileBody, FileSender};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE, RETRY_AFTER,
};
use http::{HeaderMap, Method, StatusCode, Uri};

use crate::DataUrls;

struct DataPort {
    blobs: Arc<dyn BlobStore>,
    urls: DataUrls,
}

/// Serves `GET` and `HEAD /data/<xx>/<uuid>?exp=…&sig=…`, whole or one range.
///
/// A URL that is wrong or too old is 403, whether or not there is such an object. Several ranges in one
/// request are answered with the whole object.
pub fn data_router(blobs: Arc<dyn BlobStore>, urls: DataUrls) -> Router {
    Router::new().route("/data/{shard}/{id}", get(read)).with_state(Arc::new(DataPort { blobs, urls }))
}

async fn read(
    State(port): State<Arc<DataPort>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    sender: Option<Extension<FileSender>>,
) -> Response {
    let key = uri.path().trim_start_matches('/').parse::<StorageKey>().ok();
    let Some(key) = key.filter(|key| port.urls.verify(key, uri.query().unwrap_or_default()).is_ok()) else {
        return (StatusCode::FORBIDDEN, "the URL is not signed by this store, or has expired\n").into_response();
    };
    match port.blobs.open(key).await {
        Ok(source) => {
            let sender = sender.as_ref().map(|Extension(sender)| sender);
            send(source, &headers, method == Method::HEAD, sender).unwrap_or_else(|error| refuse(key, &error))
        }
        Err(error) => refuse(key, &error),
    }
}

fn refuse(key: StorageKey, error: &BlobError) -> Response {
    let status = StatusCode::from_u16(error.kind().http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status.is_server_error() {
        tracing::error!(object.key = %key, error = error as &dyn std::error::Error, "could not serve an object");
    }
    let mut response = (status, format!("{error}\n")).into_response();
    if error.kind().is_retryable() {
        response.headers_mut().insert(RETRY_AFTER, http::HeaderValue::from_static("5"));
    }
    response
}

/// The answer for an object that exists.
fn send(
    source: BlobSource,
    headers: &HeaderMap,
    head: bool,
    sender: Option<&FileSender>,
) -> Result<Response, BlobError> {
    let size = source.size();
    if let BlobSource::Url { url, .. } = source {
        return Ok((StatusCode::TEMPORARY_REDIRECT, [(LOCATION, url)]).into_response());
    }
    let asked = headers.get(RANGE).and_then(|value| RangeSet::parse(value.to_str().ok()?));
    let (range, partial) = match asked.map_or(Selection::Whole, |ranges| ranges.select(size)) {
        Selection::Whole | Selection::Multiple(_) => (ByteRange { start: 0, end: size }, false),
        Selection::Single(range) => (range, true),
        Selection::Unsatisfiable => {
            let all = format!("bytes */{size}");
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, [(CONTENT_RANGE, all)]).into_response());
        }
    };
    let body = if head { Body::empty() } else { body(source, range, sender)? };
    let mut response = Response::new(body);
    *response.status_mut() = if partial { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let answer = response.headers_mut();
    answer.insert(CONTENT_LENGTH, range.len().into());
    answer.insert(CONTENT_TYPE, http::HeaderValue::from_static("application/octet-stream"));
    answer.insert(ACCEPT_RANGES, http::HeaderValue::from_static("bytes"));
    answer.insert(CACHE_CONTROL, http::HeaderValue::from_static("private, no-store"));
    if partial && let Ok(value) = range.content_range(size).try_into() {
        answer.insert(CONTENT_RANGE, value);
    }
    Ok(response)
}

fn body(source: BlobSource, range: ByteRange, sender: Option<&FileSender>) -> Result<Body, BlobError> {
    match source {
        BlobSource::File { file, .. } => FileBody::new(sender, file, range.start..range.end)
            .map(Body::new)
            .map_err(|error| BlobError::Unavailable(error.into())),
        BlobSource::Memory(bytes) => {
            let index = |offset| usize::try_from(offset).map_err(|e| BlobError::Internal(Box::new(e)));
            Ok(Body::from(bytes.slice(index(range.start)?..index(range.end)?)))
        }
        BlobSource::Url { .. } => Ok(Body::empty()),
    }
}
