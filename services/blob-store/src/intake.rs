//! The body of a request, batch by batch.

use std::mem;

use bytes::{Bytes, BytesMut};
use entrepot_core::ports::blobs::{BlobError, ByteStream};
use futures_util::StreamExt;

use crate::buffers::Filling;

/// A body no longer than this is small: hashing it takes 30 µs, about what a change of threads costs.
const SMALL: usize = 64 << 10;

/// The body of a request.
pub(crate) struct Intake {
    body: ByteStream,
    /// Read before it was known what to do with it: at most [`SMALL`], copied together, for a body that arrives byte
    /// by byte must not cost a descriptor per byte.
    ahead: BytesMut,
    /// The latest chunk, after what is ahead.
    chunk: Bytes,
    ended: bool,
}

impl Intake {
    pub(crate) fn new(body: ByteStream) -> Self {
        Self { body, ahead: BytesMut::new(), chunk: Bytes::new(), ended: false }
    }

    /// Whether there is not one byte; waits for the first to tell.
    pub(crate) async fn is_empty(&mut self) -> Result<bool, BlobError> {
        self.look_ahead().await?;
        Ok(self.ahead.is_empty() && self.chunk.is_empty())
    }

    /// The whole body if it is small; waits until that is known.
    pub(crate) async fn small(&mut self) -> Result<Option<Bytes>, BlobError> {
        self.look_ahead().await?;
        if self.ahead.len() + self.chunk.len() > SMALL {
            return Ok(None);
        }
        let chunk = mem::take(&mut self.chunk);
        if self.ahead.is_empty() {
            return Ok(Some(chunk));
        }
        self.ahead.extend_from_slice(&chunk);
        Ok(Some(mem::take(&mut self.ahead).freeze()))
    }

    /// Fills a buffer, up to the end of the body if that comes first.
    pub(crate) async fn fill(&mut self, buffer: &mut Filling) -> Result<(), BlobError> {
        buffer.take(&mut self.ahead);
        buffer.take(&mut self.chunk);
        while !buffer.is_full() && !self.ended {
            self.receive().await?;
            buffer.take(&mut self.chunk);
        }
        Ok(())
    }

    /// Reads the rest and forgets it, so that a client that sends is not cut off before its answer.
    pub(crate) async fn drain(mut self) {
        while !self.ended && self.receive().await.is_ok() {}
    }

    /// Reads until the body is over, or known not to be small.
    async fn look_ahead(&mut self) -> Result<(), BlobError> {
        while !self.ended && self.ahead.len() + self.chunk.len() <= SMALL {
            self.ahead.extend_from_slice(&self.chunk);
            self.receive().await?;
        }
        Ok(())
    }

    /// The next chunk; only called when the last has been used up.
    async fn receive(&mut self) -> Result<(), BlobError> {
        // An empty chunk too holds on to the memory that the next is received into.
        self.chunk = Bytes::new();
        match self.body.next().await {
            Some(chunk) => self.chunk = chunk.map_err(BlobError::Body)?,
            None => self.ended = true,
        }
        Ok(())
    }
}
