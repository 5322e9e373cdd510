//! One pass over a body: received, hashed and written at the same time.
//!
//! The reactor fills a buffer while one blocking thread hashes those before it and another writes them, so a push
//! takes as long as the slowest of the three. A blocking thread stays as long as there is something to do and no
//! longer: a fast upload does not pay a change of threads per buffer, and slow clients cannot use the threads up.

use bytes::Bytes;
use entrepot_core::ports::blobs::BlobError;
use entrepot_object::ObjectWriter;
use futures_util::future::try_join3;
use tokio::sync::mpsc;

use crate::blobs::{failed, spawn};
use crate::buffers::{BUFFER, BUFFERS, Pool};
use crate::hasher::Hasher;
use crate::intake::Intake;

/// Passes the whole body through `hasher` to `writer`.
pub(crate) async fn pump(
    intake: &mut Intake,
    writer: &mut dyn ObjectWriter,
    mut hasher: Hasher,
    pool: &Pool,
) -> Result<Hasher, BlobError> {
    if let Some(bytes) = intake.small().await? {
        hasher.update(&bytes);
        if !bytes.is_empty() {
            writer.write(vec![bytes]).await.map_err(failed)?;
        }
        return Ok(hasher);
    }
    let mut buffers = pool.enter().await?;
    // There is a place for every buffer, so sending never waits.
    let (to_hash, hashing) = mpsc::channel(BUFFERS);
    let (to_disk, writing) = mpsc::channel(BUFFERS);
    let past_boundary = writer.offset() % BUFFER as u64;
    let receive = async move {
        // After the first, every buffer begins at a multiple of its size, as suits a disk.
        let mut capacity = BUFFER - usize::try_from(past_boundary).unwrap_or(0);
        loop {
            let mut buffer = buffers.next(capacity).await;
            capacity = BUFFER;
            intake.fill(&mut buffer).await?;
            let Some(bytes) = buffer.freeze() else { return Ok(()) };
            if to_hash.send(bytes.clone()).await.is_err() || to_disk.send(bytes).await.is_err() {
                // The side that hung up says why.
                return Ok(());
            }
        }
    };
    let ((), hasher, ()) = try_join3(receive, hash(hasher, hashing), write(writer, writing)).await?;
    Ok(hasher)
}

async fn hash(mut hasher: Hasher, mut batches: mpsc::Receiver<Bytes>) -> Result<Hasher, BlobError> {
    while let Some(first) = batches.recv().await {
        (hasher, batches) = spawn(move || {
            let mut next = Some(first);
            while let Some(batch) = next {
                hasher.update(&batch);
                drop(batch);
                next = batches.try_recv().ok();
            }
            (hasher, batches)
        })
        .await?;
    }
    Ok(hasher)
}

async fn write(writer: &mut dyn ObjectWriter, mut batches: mpsc::Receiver<Bytes>) -> Result<(), BlobError> {
    loop {
        let mut waiting = Vec::with_capacity(BUFFERS);
        if batches.recv_many(&mut waiting, BUFFERS).await == 0 {
            return Ok(());
        }
        writer.write(waiting).await.map_err(failed)?;
    }
}
