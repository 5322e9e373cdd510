//! Upload sessions and blob links: the second port of manifest-index.

use async_trait::async_trait;
use bytes::Bytes;

use crate::digest::{Algorithm, Digest};
use crate::ports::blobs::WriterPosition;
use crate::ports::index::{IndexError, LocatedBlob};
use crate::principal::Principal;
use crate::repository::RepositoryName;
use crate::storage_key::StorageKey;
use crate::upload::UploadId;

/// What a request to complete an upload found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The session is this caller's to complete: seal at the position, then [`UploadIndex::finish`].
    Write {
        /// Where to go on.
        position: WriterPosition,
        /// The object that stands for the digest so far, whoever pushed it: to be used instead of this
        /// session's, unless its bytes turn out to be lost. For the ear of the gateway alone.
        known: Option<LocatedBlob>,
    },
    /// It was completed before with this digest: a replay after a lost answer.
    Done(Digest),
}

/// Upload sessions (open → finalizing → done, or → dead) and the links of repositories to blobs.
///
/// # Contract
/// - A session belongs to one repository; with another repository it is unknown.
/// - Each `begin_*` raises the epoch, so that an older request of the same session loses: its
///   later `save` or `finish` fails with [`IndexError::UploadBusy`].
/// - No chunk is taken while a session is being completed, unless it has not changed for 10 minutes:
///   then its completion is given up, and a chunk takes it over at its saved offset.
/// - `finish` is one transaction: blob row, link with lease, session done. When the bytes of the
///   digest are live already, that row is used and the session's own key becomes garbage.
/// - A completed session stays known as `done` for 24 hours, so that a repeated completion answers
///   the same.
/// - A link written or confirmed by `finish`, `mount` or `stat` keeps its blob for the lease (24 h)
///   even while no manifest references it.
#[async_trait]
pub trait UploadIndex: Send + Sync + 'static {
    /// Opens a session; its storage key is committed before the first byte is written.
    async fn open(
        &self,
        repository: &RepositoryName,
        principal: &Principal,
        algorithm: Algorithm,
    ) -> Result<UploadId, IndexError>;

    /// Who opened the session, also of one that is over. A session belongs to its principal: knowing
    /// its id gives nobody else a right to it.
    async fn owner(&self, repository: &RepositoryName, id: UploadId) -> Result<Principal, IndexError>;

    /// Bytes acknowledged so far.
    async fn status(&self, repository: &RepositoryName, id: UploadId) -> Result<u64, IndexError>;

    /// Takes the session over for an append. With `offset`, fails with
    /// [`IndexError::UploadOffset`] unless the upload stands there.
    async fn begin_append(
        &self,
        repository: &RepositoryName,
        id: UploadId,
        offset: Option<u64>,
    ) -> Result<WriterPosition, IndexError>;

    /// Records an append: compare-and-set on `before` (epoch and offset).
    async fn save(&self, id: UploadId, before: &WriterPosition, offset: u64, state: Bytes) -> Result<(), IndexError>;

    /// Takes the session over for completion with `digest` (open → finalizing). A finalizing
    /// session may be taken over again: its first request may be gone.
    async fn begin_finish(
        &self,
        repository: &RepositoryName,
        id: UploadId,
        offset: Option<u64>,
        digest: Digest,
    ) -> Result<Finish, IndexError>;

    /// Completes: the bytes at `position.key` are sealed, have `digest` and `size`.
    ///
    /// `lost` is the key of an object that [`Finish::Write`] named and that blob-store does not have, or
    /// not in full. If it still stands for the digest, these bytes do from now on, in every repository.
    async fn finish(
        &self,
        id: UploadId,
        position: &WriterPosition,
        digest: Digest,
        size: u64,
        lost: Option<StorageKey>,
    ) -> Result<(), IndexError>;

    /// Gives a session back that could not be completed: `keep` reopens it at its saved offset
    /// (the body broke off), otherwise it is dead (wrong digest).
    ///
    /// With the epoch of a request that failed, nothing happens when a newer request has taken the session over since.
    /// Without one it is the cancel of a client, which always counts.
    async fn release(
        &self,
        repository: &RepositoryName,
        id: UploadId,
        epoch: Option<u64>,
        keep: bool,
    ) -> Result<(), IndexError>;
}

/// Blobs of a repository: the third port of manifest-index.
///
/// # Contract
/// As [`UploadIndex`]; answers come from the database, never from a cache.
#[async_trait]
pub trait BlobLinks: Send + Sync + 'static {
    /// Where a blob of the repository lies. Never writes; may be cached for less than the
    /// quarantine of deleted bytes.
    async fn locate(&self, repository: &RepositoryName, digest: Digest) -> Result<LocatedBlob, IndexError>;

    /// Confirms that the repository has the blob, and extends its lease in the same statement
    /// (no write while more than half of it is left). The answer of HEAD: a client that gets it
    /// skips the upload and relies on it.
    async fn stat(&self, repository: &RepositoryName, digest: Digest) -> Result<LocatedBlob, IndexError>;

    /// Links a blob of `from`, or of any repository of the same tenant, into `repository`. False
    /// when no such blob is there: the caller then opens an upload, exactly as if the blob were nowhere.
    async fn mount(
        &self,
        repository: &RepositoryName,
        from: Option<&RepositoryName>,
        digest: Digest,
    ) -> Result<bool, IndexError>;

    /// Removes the link. Refused with [`IndexError::Referenced`] while a manifest of the
    /// repository needs the blob.
    async fn unlink(&self, repository: &RepositoryName, digest: Digest) -> Result<(), IndexError>;
}
