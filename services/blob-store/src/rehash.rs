//! Stored bytes hashed once more, where the hash that ran along is not known.

use std::os::unix::fs::FileExt;

use entrepot_core::Algorithm;
use entrepot_core::ports::blobs::BlobError;
use entrepot_object::{Frames, ObjectError, ObjectRead, ObjectWriter, RemoteObject};
use entrepot_runtime::telemetry::Chain;
use futures_util::StreamExt;

use crate::blobs::{failed, spawn};
use crate::hasher::Hasher;

/// Read buffer for files, and what is collected of a remote object before a thread hashes it.
const READ_BUFFER: usize = 1 << 20;
/// So often reading a remote object may break off before another [`READ_BUFFER`] of it has come. What can be told only
/// by its bytes stays unknown otherwise, and reading all of a large one again may break off again.
const TRIES: u32 = 3;

/// The hash at the writer's offset: the known one, or the stored bytes hashed again. `None` where the store does not
/// show them before they are sealed.
pub(crate) async fn hasher_at(
    known: Option<Hasher>,
    algorithm: Algorithm,
    writer: &mut dyn ObjectWriter,
) -> Result<Option<Hasher>, BlobError> {
    match known {
        Some(hasher) => Ok(Some(hasher)),
        None => match writer.read_back().await {
            Ok(read) => hash_again(algorithm, read).await.map(Some),
            Err(ObjectError::Unreadable { .. }) => Ok(None),
            Err(error) => Err(failed(error)),
        },
    }
}

/// Hashes stored bytes from the start.
pub(crate) async fn hash_again(algorithm: Algorithm, read: ObjectRead) -> Result<Hasher, BlobError> {
    let mut hasher = Hasher::new(algorithm);
    if let ObjectRead::Remote(object) = read {
        return hash_remote(hasher, &object).await;
    }
    spawn(move || match read {
        ObjectRead::Bytes(bytes) => {
            hasher.update(&bytes);
            Ok(hasher)
        }
        ObjectRead::File { file, size } => {
            let mut buffer = vec![0; READ_BUFFER];
            let mut offset = 0;
            while offset < size {
                let part = usize::try_from(size - offset).map_or(READ_BUFFER, |left| left.min(READ_BUFFER));
                file.read_exact_at(&mut buffer[..part], offset).map_err(|e| BlobError::Unavailable(e.into()))?;
                hasher.update(&buffer[..part]);
                offset += part as u64;
            }
            Ok(hasher)
        }
        other => Err(BlobError::Internal(format!("no way to read {other:?}").into())),
    })
    .await?
}

async fn hash_remote(mut hasher: Hasher, object: &RemoteObject) -> Result<Hasher, BlobError> {
    let (mut offset, mut progress, mut tries) = (0, 0, 0);
    loop {
        let error = match object.read(offset..object.size()).await {
            Ok(frames) => {
                let (so_far, hashed, broken) = hash_frames(hasher, frames).await?;
                (hasher, offset) = (so_far, offset + hashed);
                match broken {
                    None => return Ok(hasher),
                    Some(error) => BlobError::Unavailable(error.into()),
                }
            }
            Err(error) => failed(error),
        };
        if offset - progress >= READ_BUFFER as u64 {
            (progress, tries) = (offset, 0);
        }
        tries += 1;
        if tries == TRIES || !matches!(error, BlobError::Unavailable(_)) {
            return Err(error);
        }
        tracing::debug!(error = %Chain(&error), offset, "an object is read on from where its answer broke off");
    }
}

/// Hashes the frames; how many bytes those were, and the error they ended with.
async fn hash_frames(
    mut hasher: Hasher,
    mut frames: Frames,
) -> Result<(Hasher, u64, Option<std::io::Error>), BlobError> {
    let (mut waiting, mut size, mut hashed) = (Vec::new(), 0, 0);
    loop {
        let (frame, broken) = match frames.next().await {
            Some(Ok(frame)) => (Some(frame), None),
            Some(Err(error)) => (None, Some(error)),
            None => (None, None),
        };
        let ended = frame.is_none();
        size += frame.as_ref().map_or(0, bytes::Bytes::len);
        waiting.extend(frame);
        if ended || size >= READ_BUFFER {
            hashed += size as u64;
            let batch = std::mem::take(&mut waiting);
            size = 0;
            hasher = spawn(move || {
                batch.iter().for_each(|frame| hasher.update(frame));
                hasher
            })
            .await?;
        }
        if ended {
            return Ok((hasher, hashed, broken));
        }
    }
}
