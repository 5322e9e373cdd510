//! Completing an upload, whether or not its client still waits for the answer.

use std::sync::Arc;

use entrepot_core::ports::blobs::{ByteStream, WriterPosition};
use entrepot_core::ports::index::LocatedBlob;
use entrepot_core::ports::notices::{Notice, Notices};
use entrepot_core::ports::uploads::Finish;
use entrepot_core::ports::{BlobError, BlobStore, IndexError, UploadIndex};
use entrepot_core::{Digest, RepositoryName, StorageKey, UploadId};
use entrepot_runtime::shutdown::Hold;
use entrepot_runtime::telemetry::Chain;

use crate::outlive::outliving;

use crate::admission::Permit;

/// An upload session and what works on it.
pub(super) struct Held {
    pub(super) uploads: Arc<dyn UploadIndex>,
    pub(super) blobs: Arc<dyn BlobStore>,
    pub(super) notices: Arc<dyn Notices>,
    pub(super) repository: RepositoryName,
    pub(super) id: UploadId,
}

impl Held {
    /// Gives the session back after a request that failed; what a newer request has taken over stays its own.
    async fn release(&self, position: &WriterPosition, keep: bool) {
        if let Err(error) = self.uploads.release(&self.repository, self.id, Some(position.epoch), keep).await {
            let error = Chain(&error);
            tracing::warn!(%error, upload.id = %self.id, "a failed upload could not be released");
        } else if !keep {
            self.notices.publish(Notice::GarbageQueued);
        }
    }

    /// The acknowledged bytes are gone (the disk failed to keep them): nothing is left to go on from.
    pub(super) async fn lost(&self, position: &WriterPosition) -> IndexError {
        self.release(position, false).await;
        IndexError::UploadUnknown
    }
}

/// Why an upload was not completed.
#[derive(Debug)]
pub(super) enum Failed {
    Index(IndexError),
    Blob(BlobError),
}

impl From<IndexError> for Failed {
    fn from(error: IndexError) -> Self {
        Self::Index(error)
    }
}

/// A request to complete an upload.
pub(super) struct Completion {
    pub(super) held: Held,
    /// Where the client says that the body starts.
    pub(super) offset: Option<u64>,
    pub(super) digest: Digest,
    /// Whether the client knows where to go on after a body that broke off.
    pub(super) resumable: bool,
    /// The place of its bytes, which are in memory for as long as this works on them, whether somebody waits for it or not.
    pub(super) _permit: Option<Permit>,
    /// A gateway that drains waits for it: its connection, which would be waited for, may be gone.
    pub(super) _hold: Hold,
}

impl Completion {
    /// Takes the session over, seals its bytes and records them. Answers the key of lost bytes that they replace.
    ///
    /// It goes on when the request is dropped together with its connection: a session that nobody gives back would take no
    /// chunk until its completion is given up.
    pub(super) async fn run(self, body: ByteStream) -> Result<Option<StorageKey>, Failed> {
        outliving(async move { self.complete(body).await }).await
    }

    async fn complete(&self, body: ByteStream) -> Result<Option<StorageKey>, Failed> {
        let Held { uploads, blobs, repository, id, .. } = &self.held;
        let (position, known) = match uploads.begin_finish(repository, *id, self.offset, self.digest).await? {
            Finish::Write { position, known } => (position, known),
            // The first answer was lost; the blob is there.
            Finish::Done(done) if done == self.digest => return Ok(None),
            Finish::Done(_) => return Err(IndexError::UploadUnknown.into()),
        };
        let (sealed, lost) = tokio::join!(blobs.seal(position.clone(), body, self.digest), self.lost(known));
        match sealed {
            Ok(size) => {
                uploads.finish(*id, &position, self.digest, size, lost).await?;
                Ok(lost)
            }
            Err(BlobError::NotFound) => Err(self.held.lost(&position).await.into()),
            Err(error) => {
                // Wrong bytes end the session, and so does a cut body whose sender was never told where to go on.
                let keep = self.resumable && !matches!(error, BlobError::DigestMismatch { .. });
                self.held.release(&position, keep).await;
                Err(Failed::Blob(error))
            }
        }
    }
}

impl Completion {
    /// The key of the object that stands for the digest, if its bytes are gone: using it would lose the ones that are
    /// just being sent too. Looked at while these are stored, so that it takes no time of its own.
    async fn lost(&self, known: Option<LocatedBlob>) -> Option<StorageKey> {
        let LocatedBlob { key, size } = known?;
        let stored = match self.held.blobs.open(key).await {
            Ok(source) if source.size() == size => return None,
            Ok(source) => source.size(),
            Err(BlobError::NotFound) => 0,
            // Whether they are gone is not known, so they are not.
            Err(_) => return None,
        };
        tracing::error!(blob.digest = %self.digest, blob.key = %key, size, stored, "bytes are lost and pushed again");
        Some(key)
    }
}

#[cfg(test)]
mod tests;
