//! Repositories, manifests, tags and referrers: the main port of manifest-index.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;

use crate::digest::Digest;
use crate::error::{Cause, Classify, ErrorKind, OciCode};
use crate::manifest::Manifest;
use crate::media_type::MediaType;
use crate::page::{Page, PageOf};
use crate::reference::Reference;
use crate::repository::RepositoryName;
use crate::storage_key::StorageKey;
use crate::tag::Tag;

/// A manifest as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredManifest {
    /// Its digest.
    pub digest: Digest,
    /// The type it was pushed with.
    pub media_type: MediaType,
    /// The bytes as pushed.
    pub payload: Bytes,
}

/// A blob of a repository and where its bytes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocatedBlob {
    /// Size in bytes.
    pub size: u64,
    /// Key at blob-store.
    pub key: StorageKey,
}

/// One entry of a referrers answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrer {
    /// Digest of the referring manifest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: MediaType,
    /// Its size in bytes.
    pub size: u64,
    /// Its artifact type, when it has one.
    pub artifact_type: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// Which repositories a listing may show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// All of them.
    All,
    /// Those whose name equals an entry, or starts with an entry that ends in `/`. `library/` has the
    /// names of one component too: they belong to that tenant.
    Only(Vec<String>),
}

/// Manifests, tags, referrers, and the links from repositories to blobs.
///
/// # Contract
/// - Every write is one transaction, durable before it is answered, and visible to every later
///   read through any replica: after `put_manifest` returned, `resolve` gives the new digest.
/// - `put_manifest` locks every blob link and child manifest that the manifest references, checks
///   that each is present and live, and writes nothing at all when one is not.
/// - An answer about a digest depends only on links of the repository named. Whether another
///   repository has the bytes changes nothing.
/// - Lists are sorted bytewise and walked by the last name seen.
/// - Repeating a write that succeeded succeeds again with the same result.
#[async_trait]
pub trait ManifestIndex: Send + Sync + 'static {
    /// The digest a tag points to, or the digest itself when the manifest exists.
    async fn resolve(&self, repository: &RepositoryName, reference: &Reference) -> Result<Digest, IndexError>;

    /// A manifest by digest.
    async fn get_manifest(&self, repository: &RepositoryName, digest: Digest) -> Result<StoredManifest, IndexError>;

    /// Stores a manifest and points `tags` at it. Creates the repository when it is new.
    async fn put_manifest(
        &self,
        repository: &RepositoryName,
        manifest: Manifest,
        tags: Vec<Tag>,
    ) -> Result<(), IndexError>;

    /// Removes a tag, or a manifest with every tag that points to it.
    ///
    /// A manifest that an index of the repository lists is refused with [`IndexError::Referenced`].
    async fn delete_manifest(&self, repository: &RepositoryName, reference: &Reference) -> Result<(), IndexError>;

    /// Tags of a repository in order.
    async fn list_tags(&self, repository: &RepositoryName, page: Page) -> Result<PageOf<Tag>, IndexError>;

    /// Repositories that hold or held content, in order of their names.
    async fn list_repositories(
        &self,
        visibility: &Visibility,
        page: Page,
    ) -> Result<PageOf<RepositoryName>, IndexError>;

    /// Manifests whose `subject` is `subject`, by digest, of one artifact type or all. Pages are
    /// walked by digest text. An unknown subject or repository has no referrers.
    async fn list_referrers(
        &self,
        repository: &RepositoryName,
        subject: Digest,
        artifact_type: Option<&str>,
        page: Page,
    ) -> Result<PageOf<Referrer>, IndexError>;
}

/// Why manifest-index did not do it. Shared by its three ports.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The repository does not exist.
    #[error("the repository {0} does not exist; it is made by the first push to it")]
    RepositoryUnknown(RepositoryName),
    /// The repository has no such blob.
    #[error("the repository has no blob {0}")]
    BlobUnknown(Digest),
    /// The repository has no such manifest or tag.
    #[error("the repository has no manifest {0}")]
    ManifestUnknown(Reference),
    /// A manifest references content that the repository does not have.
    #[error("the manifest references content that was not pushed to this repository: {}", join(.0))]
    ReferencesMissing(Vec<Digest>),
    /// Something depends on what was to be deleted.
    #[error("{digest} is referenced by the manifest {by}; delete that first")]
    Referenced {
        /// What was to be deleted.
        digest: Digest,
        /// A manifest that needs it.
        by: Digest,
    },
    /// No such upload session in this repository, or it is over.
    #[error("the upload session does not exist or has ended; start the upload again")]
    UploadUnknown,
    /// A chunk does not start where the upload stands.
    #[error("the upload stands at offset {offset}; send the bytes from there")]
    UploadOffset {
        /// Bytes acknowledged.
        offset: u64,
    },
    /// Another request holds the session: it is being completed, or a newer request took over.
    #[error("another request is working on this upload; ask for its status, then go on")]
    UploadBusy,
    /// The database has no room left.
    #[error("the metadata storage has no room left")]
    NoSpace,
    /// The database does not answer.
    #[error("the metadata storage does not answer")]
    Unavailable(#[source] Cause),
    /// A fault.
    #[error("the metadata storage failed")]
    Internal(#[source] Cause),
}

fn join(digests: &[Digest]) -> String {
    const SHOWN: usize = 5;
    let shown = digests.iter().take(SHOWN).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match digests.len().checked_sub(SHOWN) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {more} more"),
    }
}

impl Classify for IndexError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::RepositoryUnknown(_) | Self::BlobUnknown(_) | Self::ManifestUnknown(_) | Self::UploadUnknown => {
                ErrorKind::NotFound
            }
            // The specification asks for 404 here: the blobs named are what is unknown.
            Self::ReferencesMissing(_) => ErrorKind::NotFound,
            Self::Referenced { .. } | Self::UploadBusy => ErrorKind::Conflict,
            Self::UploadOffset { .. } => ErrorKind::OutOfRange,
            Self::NoSpace => ErrorKind::NoSpace,
            Self::Unavailable(_) => ErrorKind::Unavailable,
            Self::Internal(_) => ErrorKind::Internal,
        }
    }

    fn oci_code(&self) -> OciCode {
        match self {
            Self::RepositoryUnknown(_) => OciCode::NameUnknown,
            Self::BlobUnknown(_) => OciCode::BlobUnknown,
            Self::ManifestUnknown(_) => OciCode::ManifestUnknown,
            Self::ReferencesMissing(_) => OciCode::ManifestBlobUnknown,
            Self::Referenced { .. } => OciCode::Denied,
            Self::UploadUnknown => OciCode::BlobUploadUnknown,
            Self::UploadOffset { .. } | Self::UploadBusy => OciCode::BlobUploadInvalid,
            Self::NoSpace | Self::Unavailable(_) => OciCode::Unavailable,
            Self::Internal(_) => OciCode::Unknown,
        }
    }
}
