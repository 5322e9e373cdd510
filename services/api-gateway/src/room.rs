//! Memory for request bodies that are read whole.

use std::sync::Arc;
use std::time::Duration;

use entrepot_core::{ErrorKind, OciCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ApiError;

/// What one permit stands for.
const UNIT: usize = 64 << 10;
/// What every body may have without asking: more than most manifests are.
const FREE: usize = 64 << 10;
/// All manifests being read at once, without what is free: 32 of the largest.
const TOTAL: usize = 128 << 20;
/// How long a request waits for its turn before it is told to come back.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bounds the bytes of manifests being read and parsed.
pub(crate) struct Room(Arc<Semaphore>);

impl Room {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(TOTAL / UNIT)))
    }

    /// The part of a body of which nothing has come yet.
    pub(crate) fn enter(&self) -> Share {
        Share { room: Arc::clone(&self.0), held: None }
    }
}

/// What one body takes up. It grows with the bytes that arrive: what a client announces costs it nothing.
pub(crate) struct Share {
    room: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl Share {
    /// Waits until there is room for `bytes` in all.
    pub(crate) async fn grow(&mut self, bytes: usize) -> Result<(), ApiError> {
        let wanted = bytes.saturating_sub(FREE).div_ceil(UNIT);
        let more = wanted.saturating_sub(self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits));
        if more == 0 {
            return Ok(());
        }
        let units = u32::try_from(more).unwrap_or(u32::MAX);
        match tokio::time::timeout(PATIENCE, Arc::clone(&self.room).acquire_many_owned(units)).await {
            Ok(Ok(permit)) => match &mut self.held {
                Some(held) => held.merge(permit),
                None => self.held = Some(permit),
            },
            Ok(Err(_)) | Err(_) => {
                return Err(ApiError::new(
                    ErrorKind::TooManyRequests,
                    OciCode::TooManyRequests,
                    "too many manifests are being pushed at once; try again",
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use entrepot_core::manifest::MAX_MANIFEST_BYTES;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_largest_bodies_fill_it_and_leave_again() {
        let room = Room::new();
        let mut held = Vec::new();
        while room.0.available_permits() > 0 {
            let mut share = room.enter();
            for bytes in [1, FREE, FREE + 1, MAX_MANIFEST_BYTES / 2, MAX_MANIFEST_BYTES] {
                let left = MAX_MANIFEST_BYTES.min(room.0.available_permits() * UNIT + FREE);
                share.grow(bytes.min(left)).await.unwrap();
            }
            held.push(share);
        }
        assert!(held.len() >= TOTAL / MAX_MANIFEST_BYTES);
        room.enter().grow(FREE).await.unwrap();
        assert!(room.enter().grow(FREE + 1).await.is_err());
        held.pop();
        assert!(room.enter().grow(FREE + 1).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_that_do_not_come_take_nothing() {
        let room = Room::new();
        let idle: Vec<Share> = std::iter::repeat_with(|| room.enter()).take(1000).collect();
        room.enter().grow(MAX_MANIFEST_BYTES).await.unwrap();
        drop(idle);
    }
}
