//! One GET of a signed URL.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use entrepot_core::error::Cause;
use entrepot_runtime::telemetry;
use http::header::{CONTENT_RANGE, RANGE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::Empty;
use hyper::body::Incoming;
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

/// Reads signed URLs. Keeps connections between requests; cheap to clone.
#[derive(Clone)]
pub(crate) struct DataClient(Client<Connector, Empty<Bytes>>);

/// Why a URL gave no bytes.
#[derive(Debug)]
pub(super) enum Refused {
    /// There is no such object.
    Gone,
    /// The signature is not taken, most often since its time is over.
    Signature(StatusCode),
    /// It may work in a moment.
    Later(Cause),
    /// It will not get better.
    Wrong(Cause),
}

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

    /// Asks for `range` of an object of `size` bytes; gives its bytes as they come.
    pub(super) async fn get(&self, url: &str, range: &Range<u64>, size: u64) -> Result<Incoming, Refused> {
        let whole = *range == (0..size);
        let mut request = Request::get(url);
        if !whole {
            request = request.header(RANGE, format!("bytes={}-{}", range.start, range.end - 1));
        }
        let mut request = request.body(Empty::new()).map_err(|error| Refused::Wrong(error.into()))?;
        telemetry::inject_headers(request.headers_mut());
        let answer = tokio::time::timeout(ANSWER, self.0.request(request)).await;
        let response =
            answer.map_err(|late| Refused::Later(late.into()))?.map_err(|error| Refused::Later(error.into()))?;
        let expected = if whole { StatusCode::OK } else { StatusCode::PARTIAL_CONTENT };
        match response.status() {
            status if status == expected => check(response, range, size, whole),
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(Refused::Gone),
            // S3 says 400 where the session that signed has ended.
            status @ (StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Err(Refused::Signature(status))
            }
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Err(Refused::Later(format!("the storage answered {status}").into()))
            }
            status => Err(Refused::Wrong(format!("the storage answered {status}").into())),
        }
    }
}

/// Bytes of another place or another length are worse than none.
fn check(response: Response<Incoming>, range: &Range<u64>, size: u64, whole: bool) -> Result<Incoming, Refused> {
    let length = response.body().size_hint().exact();
    if length.is_some_and(|length| length != range.end - range.start) {
        let text =
            format!("the storage sends {} bytes where {} were asked for", length.unwrap_or(0), range.end - range.start);
        return Err(Refused::Wrong(text.into()));
    }
    let expected = format!("bytes {}-{}/{size}", range.start, range.end - 1);
    let said = response.headers().get(CONTENT_RANGE).map(HeaderValue::as_bytes);
    if !whole && said != Some(expected.as_bytes()) {
        return Err(Refused::Wrong(format!("the storage sends another part than {expected}").into()));
    }
    Ok(response.into_body())
}
