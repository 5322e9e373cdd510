//! Memory for request bodies that are read whole.

use std::sync::Arc;
use std::time::Duration;

use entrepot_core::manifest::MAX_MANIFEST_BYTES;
use entrepot_core::{ErrorKind, OciCode};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ApiError;

/// What one permit stands for.
const UNIT: usize = 64 << 10;
/// All manifests being read at once: 32 of the largest, two thousand of the usual size.
const TOTAL: usize = 128 << 20;
/// How long a request waits for its turn before it is told to come back.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bounds the bytes of manifests being read and parsed.
pub(crate) struct Room(Arc<Semaphore>);

impl Room {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(TOTAL / UNIT)))
    }

    /// Waits for room for the body that `headers` announce; one of unknown length counts as the largest.
    pub(crate) async fn reserve(&self, headers: &HeaderMap) -> Result<OwnedSemaphorePermit, ApiError> {
        let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        let bytes = announced.unwrap_or(MAX_MANIFEST_BYTES).min(MAX_MANIFEST_BYTES);
        let units = u32::try_from(bytes.div_ceil(UNIT).max(1)).unwrap_or(u32::MAX);
        match tokio::time::timeout(PATIENCE, Arc::clone(&self.0).acquire_many_owned(units)).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(ApiError::new(
                ErrorKind::TooManyRequests,
                OciCode::TooManyRequests,
                "too many manifests are being pushed at once; try again",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_largest_bodies_fill_it_and_leave_again() {
        let room = Room::new();
        let mut held = Vec::new();
        for _ in 0..TOTAL / MAX_MANIFEST_BYTES {
            held.push(room.reserve(&HeaderMap::new()).await.unwrap());
        }
        let mut small = HeaderMap::new();
        small.insert(CONTENT_LENGTH, 2.into());
        assert!(room.reserve(&small).await.is_err());
        held.pop();
        assert!(room.reserve(&small).await.is_ok());
    }
}
