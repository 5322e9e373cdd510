//! One pass over a body: received, hashed and written at the same time.
//!
//! The reactor receives a batch while one blocking thread hashes the batch before it and another writes it, so a
//! push takes as long as the slowest of the three. Blocking threads are held for one batch at a
//! time, never for the length of an upload: slow clients cannot use them up.

use bytes::{Bytes, BytesMut};
use entrepot_core::ports::blobs::{BlobError, ByteStream};
use entrepot_object::ObjectWriter;
use futures_util::StreamExt;
use futures_util::future::try_join3;
use tokio::sync::mpsc;

use crate::blobs::{failed, spawn};
use crate::hasher::Hasher;

/// Bytes handed on at a time: large enough that a system call and a change of thread are lost in the
/// half millisecond it takes to hash them. Four at most are in flight per upload.
const BATCH: usize = 1 << 20;

/// A smaller body is hashed where it is received: 30 µs, about what a change of threads costs.
const INLINE: usize = 64 << 10;

/// Smaller chunks are copied together: a body that arrives byte by byte must cost neither a
/// descriptor per byte in memory nor one per byte in a system call.
const SMALL: usize = 4 << 10;

/// The body of a request, batch by batch.
pub(crate) struct Intake {
    body: ByteStream,
    ahead: Option<Vec<Bytes>>,
    ended: bool,
}

impl Intake {
    pub(crate) fn new(body: ByteStream) -> Self {
        Self { body, ahead: None, ended: false }
    }

    /// Whether there is not one byte; waits for the first batch to tell.
    pub(crate) async fn is_empty(&mut self) -> Result<bool, BlobError> {
        if self.ahead.is_none() {
            self.ahead = self.receive().await?;
        }
        Ok(self.ahead.is_none())
    }

    /// Reads the rest and forgets it, so that a client that sends is not cut off before its answer.
    pub(crate) async fn drain(mut self) {
        while !self.ended && matches!(self.body.next().await, Some(Ok(_))) {}
    }

    async fn next(&mut self) -> Result<Option<Vec<Bytes>>, BlobError> {
        match self.ahead.take() {
            Some(batch) => Ok(Some(batch)),
            None => self.receive().await,
        }
    }

    /// The next [`BATCH`] or what there is before the end; `None` at the end.
    async fn receive(&mut self) -> Result<Option<Vec<Bytes>>, BlobError> {
        let (mut chunks, mut small, mut length) = (Vec::new(), BytesMut::new(), 0);
        while length < BATCH && !self.ended {
            match self.body.next().await {
                Some(chunk) => {
                    let chunk = chunk.map_err(BlobError::Body)?;
                    length += chunk.len();
                    if chunk.len() < SMALL {
                        small.extend_from_slice(&chunk);
                        continue;
                    }
                    chunks.extend((!small.is_empty()).then(|| small.split().freeze()));
                    chunks.push(chunk);
                }
                None => self.ended = true,
            }
        }
        chunks.extend((!small.is_empty()).then(|| small.freeze()));
        Ok((!chunks.is_empty()).then_some(chunks))
    }
}

/// Passes the whole body through `hasher` to `writer`.
pub(crate) async fn pump(
    intake: &mut Intake,
    writer: &mut dyn ObjectWriter,
    mut hasher: Hasher,
) -> Result<Hasher, BlobError> {
    let Some(first) = intake.next().await? else { return Ok(hasher) };
    if intake.ended && first.iter().map(Bytes::len).sum::<usize>() <= INLINE {
        first.iter().for_each(|chunk| hasher.update(chunk));
        writer.write(first).await.map_err(failed)?;
        return Ok(hasher);
    }
    let (to_hash, hashing) = mpsc::channel(1);
    let (to_disk, writing) = mpsc::channel(1);
    let receive = async move {
        let mut batch = Some(first);
        while let Some(chunks) = batch {
            if to_hash.send(chunks.clone()).await.is_err() || to_disk.send(chunks).await.is_err() {
                // The side that hung up says why.
                return Ok(());
            }
            batch = intake.next().await?;
        }
        Ok(())
    };
    let ((), hasher, ()) = try_join3(receive, hash(hasher, hashing), write(writer, writing)).await?;
    Ok(hasher)
}

async fn hash(mut hasher: Hasher, mut batches: mpsc::Receiver<Vec<Bytes>>) -> Result<Hasher, BlobError> {
    while let Some(batch) = batches.recv().await {
        hasher = spawn(move || {
            batch.iter().for_each(|chunk| hasher.update(chunk));
            hasher
        })
        .await?;
    }
    Ok(hasher)
}

async fn write(writer: &mut dyn ObjectWriter, mut batches: mpsc::Receiver<Vec<Bytes>>) -> Result<(), BlobError> {
    while let Some(batch) = batches.recv().await {
        writer.write(batch).await.map_err(failed)?;
    }
    Ok(())
}
