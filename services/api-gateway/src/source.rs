//! Where blob bytes come from: an open file, memory, or blob-store's data port.

use std::ops::Range;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use entrepot_core::ports::BlobError;
use entrepot_core::ports::blobs::BlobSource;
use entrepot_runtime::sendfile::{FileBody, FileSender};
use entrepot_runtime::telemetry;
use http::header::RANGE;
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::connector::Connector;

/// For the head of an answer.
const ANSWER: Duration = Duration::from_secs(10);

/// How long, and how many, connections wait for the next request. Each keeps its read buffer.
const IDLE: Duration = Duration::from_secs(15);
const IDLE_CONNECTIONS: usize = 32;
/// What is read ahead of a client that takes its bytes slowly.
const READ_BUFFER: usize = 64 << 10;

/// Reads from blob-store's data port. Keeps connections between requests.
#[derive(Clone)]
pub(crate) struct DataClient(Client<Connector, Empty<Bytes>>);

impl DataClient {
    pub(crate) fn new(connector: Connector) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .http1_max_buf_size(READ_BUFFER)
            .build(connector);
        Self(client)
    }

    /// A body with exactly the bytes `range` of `source`.
    pub(crate) async fn read(
        &self,
        source: &BlobSource,
        range: Range<u64>,
        sender: Option<&FileSender>,
    ) -> Result<Body, BlobError> {
        match source {
            BlobSource::File { file, .. } => {
                let body =
                    FileBody::new(sender, file.clone(), range).map_err(|error| BlobError::Internal(Box::new(error)))?;
                Ok(Body::new(body))
            }
            BlobSource::Memory(bytes) => Ok(Body::from(slice(bytes, range))),
            BlobSource::Url { url, .. } if range.is_empty() => {
                tracing::trace!(url, "an empty range needs no request");
                Ok(Body::empty())
            }
            BlobSource::Url { url, size } => self.fetch(url, range, *size).await,
        }
    }

    async fn fetch(&self, url: &str, range: Range<u64>, size: u64) -> Result<Body, BlobError> {
        let internal = |error: http::Error| BlobError::Internal(Box::new(error));
        let mut request = Request::get(url);
        let expected = if range == (0..size) {
            StatusCode::OK
        } else {
            request = request.header(RANGE, format!("bytes={}-{}", range.start, range.end - 1));
            StatusCode::PARTIAL_CONTENT
        };
        let mut request = request.body(Empty::new()).map_err(internal)?;
        telemetry::inject_headers(request.headers_mut());
        let answer = tokio::time::timeout(ANSWER, self.0.request(request)).await;
        let answer = answer.map_err(|error| BlobError::Unavailable(Box::new(error)))?;
        let response = answer.map_err(|error| BlobError::Unavailable(Box::new(error)))?;
        match response.status() {
            status if status == expected => Ok(Body::new(response.into_body())),
            StatusCode::NOT_FOUND => Err(BlobError::NotFound),
            status => Err(BlobError::Unavailable(format!("the data port of blob-store answered {status}").into())),
        }
    }
}

fn slice(bytes: &Bytes, range: Range<u64>) -> Bytes {
    // Ranges were cut to the size of these very bytes.
    let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    bytes.slice(at(range.start)..at(range.end))
}
