//! Bytes: the port of blob-store.

use std::fs::File;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::digest::{Algorithm, Digest};
use crate::error::{Cause, Classify, ErrorKind, OciCode};
use crate::page::{Page, PageOf};
use crate::storage_key::StorageKey;

/// The bytes of a request body as they arrive.
pub type ByteStream = BoxStream<'static, Result<Bytes, BodyError>>;

/// Why a body ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The client went away, or sent fewer bytes than announced.
    #[error("the connection ended before the body did")]
    Cut,
    /// Nothing came for too long.
    #[error("the body stalled")]
    Stalled,
    /// More bytes than announced or allowed.
    #[error("the body is longer than announced")]
    TooLong,
}

/// Where a writer stands in the object of an upload session.
///
/// `state` is opaque outside blob-store (hash midstates, later S3 parts), versioned, and empty
/// before the first byte. Whoever saved it last may continue, in any process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriterPosition {
    /// Key of the object.
    pub key: StorageKey,
    /// What the bytes are hashed with: the algorithm the client announced, else sha256.
    pub algorithm: Algorithm,
    /// Fencing number given by the index: a higher one cuts lower ones off.
    pub epoch: u64,
    /// Bytes acknowledged so far.
    pub offset: u64,
    /// Opaque state at `offset`.
    pub state: Bytes,
}

/// What an append or a seal of an upload left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Bytes stored so far, all durable.
    pub offset: u64,
    /// Opaque state at `offset`, for the next [`WriterPosition`].
    pub state: Bytes,
}

/// Where the bytes of an object can be read.
#[derive(Clone, Debug)]
pub enum BlobSource {
    /// An open file on this machine.
    File {
        /// The file; never written again.
        file: Arc<File>,
        /// Its size in bytes.
        size: u64,
    },
    /// Bytes in memory (the memory driver).
    Memory(Bytes),
    /// A signed URL of blob-store's data port (or, later, of S3), to be streamed from.
    Url {
        /// Absolute URL, valid for a limited time, for GET with or without a single range.
        url: String,
        /// Size of the object in bytes.
        size: u64,
    },
}

impl BlobSource {
    /// Size of the object in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::File { size, .. } | Self::Url { size, .. } => *size,
            Self::Memory(bytes) => bytes.len() as u64,
        }
    }
}

/// Stores bytes under keys; knows neither repositories nor digests beyond checking one.
///
/// # Contract
/// - A key is written by one upload session and never again after [`BlobStore::seal`] or
///   [`BlobStore::delete`].
/// - `append` answers only after every byte it counts is durable; the hash is computed while the
///   bytes pass, never by reading them again.
/// - When `append` or `seal` fails, nothing beyond `position.offset` counts: the same position may
///   be tried again, unless the error is [`BlobError::DigestMismatch`].
/// - A call with a higher epoch ends the writing of a lower one before its own first byte; the
///   lower one fails with [`BlobError::Fenced`]. Bytes of two writers never mix.
/// - `seal` is idempotent: sealing a sealed key with the same digest answers the same again.
/// - `delete` of an absent key succeeds, so that any worker may repeat it. It also ends and
///   removes an unfinished write under the key.
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Appends `body` at `position`.
    ///
    /// The bytes are hashed with `position.algorithm` as they pass. A client may still name a digest
    /// of another algorithm at the end: then, and only then, `seal` reads the earlier bytes again.
    async fn append(&self, position: WriterPosition, body: ByteStream) -> Result<Appended, BlobError>;

    /// Appends `body` (often empty), checks that all bytes together have digest `expected`, and
    /// makes the object final and durable. Returns its size.
    async fn seal(&self, position: WriterPosition, body: ByteStream, expected: Digest) -> Result<u64, BlobError>;

    /// Where to read a sealed object.
    async fn open(&self, key: StorageKey) -> Result<BlobSource, BlobError>;

    /// Removes an object or unfinished write.
    async fn delete(&self, key: StorageKey) -> Result<(), BlobError>;

    /// Keys of sealed objects in order, for inventory.
    async fn list(&self, page: Page) -> Result<PageOf<StorageKey>, BlobError>;
}

/// Why blob-store did not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// No object under the key.
    #[error("no object is stored under the key")]
    NotFound,
    /// The bytes have another digest. Nothing is kept.
    #[error("the content has digest {actual}, not {expected}")]
    DigestMismatch {
        /// What the client announced.
        expected: Digest,
        /// What the bytes have.
        actual: Digest,
    },
    /// The position is not where the stored bytes end.
    #[error("the upload stands at offset {offset}")]
    OffsetMismatch {
        /// Where it stands.
        offset: u64,
    },
    /// A newer request took the upload over.
    #[error("a newer request continues this upload")]
    Fenced,
    /// The request body broke off.
    #[error("the body could not be read to its end")]
    Body(#[source] BodyError),
    /// Writer state this version cannot read.
    #[error("the saved state of the upload cannot be read")]
    BadState,
    /// The store is full.
    #[error("the storage has no room left")]
    NoSpace,
    /// The store does not answer.
    #[error("the storage does not answer")]
    Unavailable(#[source] Cause),
    /// A fault.
    #[error("the storage failed")]
    Internal(#[source] Cause),
}

impl Classify for BlobError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound => ErrorKind::NotFound,
            Self::DigestMismatch { .. } | Self::Body(_) => ErrorKind::Invalid,
            Self::OffsetMismatch { .. } => ErrorKind::OutOfRange,
            Self::Fenced => ErrorKind::Conflict,
            Self::NoSpace => ErrorKind::NoSpace,
            Self::Unavailable(_) => ErrorKind::Unavailable,
            Self::BadState | Self::Internal(_) => ErrorKind::Internal,
        }
    }

    fn oci_code(&self) -> OciCode {
        match self {
            Self::NotFound => OciCode::BlobUnknown,
            Self::DigestMismatch { .. } => OciCode::DigestInvalid,
            Self::OffsetMismatch { .. } | Self::Fenced => OciCode::BlobUploadInvalid,
            Self::Body(_) => OciCode::SizeInvalid,
            Self::NoSpace | Self::Unavailable(_) => OciCode::Unavailable,
            Self::BadState | Self::Internal(_) => OciCode::Unknown,
        }
    }
}
