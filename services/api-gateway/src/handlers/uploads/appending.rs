//! Storing the body of one request in segments, each acknowledged before the next.

use std::time::Duration;

use entrepot_core::ports::blobs::{Appended, ByteStream, WriterPosition};
use entrepot_core::ports::{BlobError, IndexError};
use entrepot_runtime::telemetry::Chain;
use tokio::time::{Instant, sleep};

use super::completion::{Failed, Held};
use super::segments::Segments;
use crate::config::SegmentSize;

/// How long a save is repeated while the index does not answer: a standby of PostgreSQL takes over in less.
const SAVING: Duration = Duration::from_secs(30);
/// Pauses between: the first, doubled up to the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Appends all of `body` at `position`; the bytes of the upload then.
///
/// The segments are one request, so they share its epoch: were each to take the session over like a request of its own, an
/// old request would cut off a newer one that came between two of them. As it is, its next append or save loses.
pub(super) async fn append_all(
    held: &Held,
    mut position: WriterPosition,
    body: ByteStream,
    segment: SegmentSize,
) -> Result<u64, Failed> {
    let body = Segments::new(body);
    loop {
        let bytes = body.next(segment.left(position.offset));
        let appended = match held.blobs.append(position.clone(), bytes).await {
            Ok(appended) => appended,
            Err(BlobError::NotFound) => return Err(held.lost(&position).await.into()),
            Err(error) => return Err(Failed::Blob(error)),
        };
        save(held, &position, &appended).await?;
        if !body.has_more().await.map_err(|error| Failed::Blob(BlobError::Body(error)))? {
            return Ok(appended.offset);
        }
        (position.offset, position.state) = (appended.offset, appended.state);
    }
}

/// Records an append, however often that takes while the index does not answer: the client could not send these bytes again.
///
/// An answer may have got lost. The index compares epoch and offset, and knows a save that it has made: a repeat changes
/// nothing, also when a newer request has taken the session over since.
async fn save(held: &Held, before: &WriterPosition, appended: &Appended) -> Result<(), IndexError> {
    let until = Instant::now() + SAVING;
    let mut pause = PAUSES.0;
    loop {
        match held.uploads.save(held.id, before, appended.offset, appended.state.clone()).await {
            Err(error @ IndexError::Unavailable(_)) if Instant::now() + pause < until => {
                tracing::debug!(error = %Chain(&error), upload.id = %held.id, "an append is saved again");
            }
            done => return done,
        }
        // Not all at once when the database is back.
        sleep(pause.mul_f64(rand::random_range(0.5..=1.0))).await;
        pause = PAUSES.1.min(pause * 2);
    }
}

#[cfg(test)]
mod tests;
