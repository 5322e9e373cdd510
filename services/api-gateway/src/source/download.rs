//! Bytes of a URL, whatever happens on the way.
//!
//! The object never changes, so what broke off goes on where it ended: the client notices nothing but time. What is
//! handed out is exactly what was asked for, or ends in an error; never in a short body that looks whole.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use entrepot_core::error::Cause;
use entrepot_core::ports::BlobError;
use entrepot_core::ports::blobs::BlobSource;
use entrepot_runtime::telemetry;
use futures_util::{Stream, stream};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::Object;
use super::client::{DataClient, Refused};

/// Longest silence of the storage in the middle of a body; time in which the client takes nothing does not count.
const STALL: Duration = Duration::from_secs(30);
/// How often one request is sent in all, as long as it is refused with a promise.
const ATTEMPTS: u32 = 3;
/// Pauses between them: a random part of this, doubled each time.
const BACKOFF: Duration = Duration::from_millis(100);
/// Broken bodies in a row.
const BREAKS: u32 = 4;
/// Bytes after which a break is not in a row with the last one.
const PROGRESS: u64 = 1 << 20;

/// A range of an object on its way.
pub(crate) struct Download {
    client: DataClient,
    object: Object,
    body: Incoming,
    at: u64,
    end: u64,
    breaks: u32,
    since_break: u64,
}

impl Download {
    /// Asks for `range`, which is not empty. Once this has answered, the object is there.
    ///
    /// # Errors
    /// [`BlobError::NotFound`] when it is not, [`BlobError::Unavailable`] when storage does not give it.
    pub(crate) async fn begin(client: DataClient, mut object: Object, range: Range<u64>) -> Result<Self, BlobError> {
        let body = request(&client, &mut object, range.clone()).await?;
        Ok(Self { client, object, body, at: range.start, end: range.end, breaks: 0, since_break: 0 })
    }

    /// The next bytes, `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        loop {
            if self.at == self.end {
                return Ok(None);
            }
            let cause: Cause = match tokio::time::timeout(STALL, self.body.frame()).await {
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(bytes) if !bytes.is_empty() => return Ok(Some(self.count(bytes))),
                    Ok(_) | Err(_) => continue,
                },
                Ok(Some(Err(error))) => error.into(),
                Ok(None) => "the body ended before its length".into(),
                Err(_) => format!("nothing came for {STALL:?}").into(),
            };
            self.resume(cause).await?;
        }
    }

    /// All of it, bytes by bytes. Dropping it ends the reading at the storage, too.
    pub(crate) fn into_stream(self) -> impl Stream<Item = Result<Bytes, BlobError>> + Send {
        stream::try_unfold(
            self,
            |mut download| async move { Ok(download.next().await?.map(|bytes| (bytes, download))) },
        )
    }

    fn count(&mut self, mut bytes: Bytes) -> Bytes {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        bytes.truncate(left);
        let length = bytes.len() as u64;
        self.at += length;
        self.since_break += length;
        bytes
    }

    async fn resume(&mut self, cause: Cause) -> Result<(), BlobError> {
        self.breaks = if self.since_break >= PROGRESS { 1 } else { self.breaks + 1 };
        self.since_break = 0;
        let (key, at) = (self.object.key, self.at);
        if self.breaks > BREAKS {
            tracing::warn!(blob.key = %key, at, error = %telemetry::Chain(&*cause), "a download broke off for good");
            return Err(BlobError::Unavailable(cause));
        }
        tracing::debug!(blob.key = %key, at, error = %telemetry::Chain(&*cause), "a download broke off and goes on");
        metrics::counter!("entrepot_storage_resumed_reads_total").increment(1);
        pause(self.breaks).await;
        self.body = request(&self.client, &mut self.object, self.at..self.end).await?;
        Ok(())
    }
}

/// Asks until there is an answer: again where storage is busy, once with a fresh URL where the old one is not taken.
async fn request(client: &DataClient, object: &mut Object, range: Range<u64>) -> Result<Incoming, BlobError> {
    let mut renewed = false;
    let mut attempt = 1;
    loop {
        let BlobSource::Url { url, size } = &object.source else {
            return Err(BlobError::Internal("the storage of this object has changed".into()));
        };
        match client.get(url, &range, *size).await {
            Ok(body) => return Ok(body),
            Err(Refused::Gone) => return Err(BlobError::NotFound),
            Err(Refused::Signature(status)) if renewed => {
                return Err(BlobError::Unavailable(format!("the storage answered {status} to a fresh URL").into()));
            }
            Err(Refused::Signature(_)) => {
                renewed = true;
                object.renew().await?;
            }
            Err(Refused::Later(cause)) if attempt < ATTEMPTS => {
                tracing::debug!(error = %telemetry::Chain(&*cause), attempt, "the storage is asked again");
                pause(attempt).await;
                attempt += 1;
            }
            Err(Refused::Later(cause) | Refused::Wrong(cause)) => return Err(BlobError::Unavailable(cause)),
        }
    }
}

async fn pause(attempt: u32) {
    tokio::time::sleep((BACKOFF * (1 << attempt.min(6))).mul_f64(rand::random())).await;
}
