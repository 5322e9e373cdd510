//! The contracts of the ports, as tests.
//!
//! Each suite is one function that takes a maker of fresh, empty ports and runs every case on its own. The same suite
//! runs over the implementation itself and over its remote adapters, which is what makes the two interchangeable.

pub mod blobs;
pub mod garbage;
pub mod index;
pub mod links;
pub mod notices;
pub mod rights;
pub mod tokens;
pub mod uploads;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use entrepot_core::ports::blobs::WriterPosition;
use entrepot_core::ports::uploads::Finish;
use entrepot_core::ports::{BlobLinks, GarbageQueue, IndexError, ManifestIndex, UploadIndex};
use entrepot_core::{Algorithm, Digest, Manifest, Page, Principal, Reference, RepositoryName, Tag, UploadId};

use crate::builders::{Content, ManifestBuilder, content};

/// The clock of the database under test.
pub trait Clock: Send + Sync + 'static {
    /// Moves it forward.
    fn advance(&self, by: Duration);
}

/// The ports of one manifest-index, empty at first.
#[derive(Clone)]
pub struct IndexPorts {
    /// Manifests, tags, referrers.
    pub manifests: Arc<dyn ManifestIndex>,
    /// Upload sessions.
    pub uploads: Arc<dyn UploadIndex>,
    /// Blobs of repositories.
    pub links: Arc<dyn BlobLinks>,
    /// Keys to delete.
    pub garbage: Arc<dyn GarbageQueue>,
    /// The clock they all read.
    pub clock: Arc<dyn Clock>,
}

/// Runs cases one after the other, each on ports of its own.
macro_rules! run {
    ($fresh:expr, $($case:ident),* $(,)?) => {
        $(Box::pin($case(&$fresh().await)).await;)*
    };
}
pub(crate) use run;

/// A repository name.
pub fn repository(name: &str) -> RepositoryName {
    name.parse().unwrap()
}

/// A tag.
pub fn tag(name: &str) -> Tag {
    name.parse().unwrap()
}

/// A reference by tag.
pub fn by_tag(name: &str) -> Reference {
    Reference::Tag(tag(name))
}

/// A page after a name, of a size.
pub fn page(after: Option<&str>, limit: u64) -> Page {
    Page::new(after.map(str::to_owned), Some(limit))
}

impl IndexPorts {
    /// Opens a session.
    pub async fn open(&self, repository: &RepositoryName) -> UploadId {
        self.uploads.open(repository, &Principal::Anonymous, Algorithm::Sha256).await.unwrap()
    }

    /// Takes a session over for its completion.
    pub async fn begin_finish(&self, repository: &RepositoryName, id: UploadId, digest: Digest) -> WriterPosition {
        match self.uploads.begin_finish(repository, id, None, digest).await.unwrap() {
            Finish::Write { position, .. } => position,
            Finish::Done(digest) => panic!("the session is done with {digest}"),
        }
    }

    /// Pushes a blob as far as the index sees it.
    pub async fn push_blob(&self, repository: &RepositoryName, content: &Content) {
        let id = self.open(repository).await;
        let position = self.begin_finish(repository, id, content.digest).await;
        self.uploads.finish(id, &position, content.digest, content.bytes.len() as u64, None).await.unwrap();
    }

    /// Pushes a config and one layer, both made from `name`, and answers a manifest of them that is not pushed yet.
    pub async fn image_of(&self, repository: &RepositoryName, name: &str) -> Manifest {
        let (config, layer) = (content(&format!("config {name}")), content(&format!("layer {name}")));
        self.push_blob(repository, &config).await;
        self.push_blob(repository, &layer).await;
        ManifestBuilder::image(&config, &[layer]).build()
    }

    /// Pushes an image made from `name` under tags.
    pub async fn push_image(&self, repository: &RepositoryName, name: &str, tags: &[&str]) -> Manifest {
        let manifest = self.image_of(repository, name).await;
        self.put(repository, &manifest, tags).await.unwrap();
        manifest
    }

    /// Pushes a manifest under tags.
    pub async fn put(&self, repository: &RepositoryName, manifest: &Manifest, tags: &[&str]) -> Result<(), IndexError> {
        let tags = tags.iter().map(|name| tag(name)).collect();
        self.manifests.put_manifest(repository, manifest.clone(), tags).await
    }

    /// What a tag points to.
    pub async fn resolve(&self, repository: &RepositoryName, name: &str) -> Option<Digest> {
        match self.manifests.resolve(repository, &by_tag(name)).await {
            Ok(digest) => Some(digest),
            Err(IndexError::ManifestUnknown(reference)) if reference == by_tag(name) => None,
            Err(IndexError::RepositoryUnknown(unknown)) if unknown == *repository => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Takes everything that is garbage now: keys as text, with the reason of each, sorted.
    pub async fn take_garbage(&self, hold: Duration, idle: Duration) -> Vec<(String, String)> {
        let items = self.garbage.lease(1000, hold, idle).await.unwrap();
        let mut items: Vec<_> = items.into_iter().map(|item| (item.key.to_string(), item.reason)).collect();
        items.sort();
        items
    }
}

/// Opaque bytes of blob-store.
fn state(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// Asserts what a call was refused with.
macro_rules! refused {
    ($call:expr, $pattern:pat $(if $guard:expr)?) => {
        match $call {
            Err($pattern) $(if $guard)? => {}
            other => panic!("expected {}, got {other:?}", stringify!($pattern $(if $guard)?)),
        }
    };
}
pub(crate) use refused;
