//! The port for manifests, tags and referrers.

use async_trait::async_trait;
use entrepot_core::ports::index::{IndexError, ManifestIndex, Referrer, StoredManifest, Visibility};
use entrepot_core::{Digest, Manifest, Page, PageOf, Reference, RepositoryName, Tag};

use crate::cache::{Lookup, Scope};
use crate::index::{Index, distinct};
use crate::transaction::delete_manifest::DeleteManifest;
use crate::transaction::delete_tag::DeleteTag;
use crate::transaction::get_manifest::{GetManifest, ManifestExists, ResolveTag};
use crate::transaction::list_referrers::ListReferrers;
use crate::transaction::list_repositories::ListRepositories;
use crate::transaction::list_tags::ListTags;
use crate::transaction::operation::Operation;
use crate::transaction::put_manifest::PutManifest;

/// What an entry takes beside the text in it.
const ENTRY_BYTES: usize = 256;

#[async_trait]
impl ManifestIndex for Index {
    async fn resolve(&self, repository: &RepositoryName, reference: &Reference) -> Result<Digest, IndexError> {
        let unknown = || IndexError::ManifestUnknown(reference.clone());
        match reference {
            Reference::Tag(tag) => self.resolve_tag(repository, tag).await?.ok_or_else(unknown),
            Reference::Digest(digest) => {
                if let Lookup::Fresh(_) = self.manifests.lookup(repository, digest) {
                    return Ok(*digest);
                }
                let id = self.known_repository(repository).await?;
                let exists = self.read_key(ManifestExists { repository: id, digest: *digest }).await?;
                if exists { Ok(*digest) } else { Err(unknown()) }
            }
        }
    }

    async fn get_manifest(&self, repository: &RepositoryName, digest: Digest) -> Result<StoredManifest, IndexError> {
        let ticket = match self.manifests.lookup(repository, &digest) {
            Lookup::Fresh(manifest) => return Ok(manifest),
            Lookup::Miss(ticket) => ticket,
        };
        let id = self.known_repository(repository).await?;
        let found = self.read_key(GetManifest { repository: id, digest }).await?;
        let manifest = found.ok_or(IndexError::ManifestUnknown(Reference::Digest(digest)))?;
        let bytes = manifest.payload.len() + ENTRY_BYTES;
        self.manifests.offer(ticket, repository, digest, manifest.clone(), bytes);
        Ok(manifest)
    }

    async fn put_manifest(
        &self,
        repository: &RepositoryName,
        manifest: Manifest,
        tags: Vec<Tag>,
    ) -> Result<(), IndexError> {
        let tags = distinct(tags);
        let mark = self.tags.mark(repository, Scope::Keys(tags.clone()));
        let operation = Operation::new();
        self.write(PutManifest { repository: repository.clone(), manifest, tags, operation }, mark).await
    }

    async fn delete_manifest(&self, repository: &RepositoryName, reference: &Reference) -> Result<(), IndexError> {
        let (repository, operation) = (repository.clone(), Operation::new());
        match reference {
            Reference::Tag(tag) => {
                let mark = self.tags.mark(&repository, Scope::Keys(vec![tag.clone()]));
                self.write(DeleteTag { repository, tag: tag.clone(), operation }, mark).await
            }
            Reference::Digest(digest) => {
                let manifests = self.manifests.mark(&repository, Scope::Keys(vec![*digest]));
                // Which tags point to it is known only inside the transaction.
                let tags = self.tags.mark(&repository, Scope::Repository);
                self.write(DeleteManifest { repository, digest: *digest, operation }, (manifests, tags)).await
            }
        }
    }

    async fn list_tags(&self, repository: &RepositoryName, page: Page) -> Result<PageOf<Tag>, IndexError> {
        let repository = self.known_repository(repository).await?;
        // One short range of a key: handing it to another thread would cost more than it does.
        self.read_key(ListTags { repository, page }).await
    }

    async fn list_repositories(
        &self,
        visibility: &Visibility,
        page: Page,
    ) -> Result<PageOf<RepositoryName>, IndexError> {
        self.read(ListRepositories { visibility: visibility.clone(), page }).await
    }

    async fn list_referrers(
        &self,
        repository: &RepositoryName,
        subject: Digest,
        artifact_type: Option<&str>,
        page: Page,
    ) -> Result<PageOf<Referrer>, IndexError> {
        let Some(repository) = self.repository(repository).await? else {
            return Ok(PageOf { items: Vec::new(), next: None });
        };
        let artifact_type = artifact_type.map(str::to_owned);
        self.read(ListReferrers { repository, subject, artifact_type, page }).await
    }
}

impl Index {
    async fn resolve_tag(&self, repository: &RepositoryName, tag: &Tag) -> Result<Option<Digest>, IndexError> {
        let ticket = match self.tags.lookup(repository, tag) {
            Lookup::Fresh(digest) => return Ok(Some(digest)),
            Lookup::Miss(ticket) => ticket,
        };
        let id = self.known_repository(repository).await?;
        let found = self.read_key(ResolveTag { repository: id, tag: tag.clone() }).await?;
        if let Some(digest) = found {
            let bytes = repository.as_str().len() + tag.as_str().len() + ENTRY_BYTES;
            self.tags.offer(ticket, repository, tag.clone(), digest, bytes);
        }
        Ok(found)
    }
}
