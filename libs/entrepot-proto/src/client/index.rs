use async_trait::async_trait;
use entrepot_core::ports::index::{IndexError, ManifestIndex, Referrer, StoredManifest, Visibility};
use entrepot_core::{Digest, Manifest, Page, PageOf, Reference, RepositoryName, Tag};

use super::{Connection, Intercepted, Peer};
use crate::pb::index::v1 as pb;
use crate::pb::index::v1::manifest_index_client::ManifestIndexClient;
use crate::wire::{convert_all, parse_all, required};

/// [`ManifestIndex`] at a peer.
#[derive(Debug)]
pub struct ManifestIndexGrpcClient {
    peer: Peer<IndexError>,
}

impl ManifestIndexGrpcClient {
    /// Calls the peer at the end of `connection`.
    pub fn new(connection: &Connection) -> Self {
        Self { peer: connection.peer() }
    }

    fn client(&self) -> ManifestIndexClient<Intercepted> {
        ManifestIndexClient::new(self.peer.channel())
            .max_decoding_message_size(crate::MAX_MESSAGE_BYTES)
            .max_encoding_message_size(crate::MAX_MESSAGE_BYTES)
    }
}

#[async_trait]
impl ManifestIndex for ManifestIndexGrpcClient {
    async fn resolve(&self, repository: &RepositoryName, reference: &Reference) -> Result<Digest, IndexError> {
        let request = pb::ResolveRequest { repository: repository.to_string(), reference: Some(reference.into()) };
        let response: pb::ResolveResponse = self.peer.unary(self.client().resolve(request)).await?;
        self.peer.checked(required(response.digest, "digest"))
    }

    async fn get_manifest(&self, repository: &RepositoryName, digest: Digest) -> Result<StoredManifest, IndexError> {
        let request = pb::GetManifestRequest { repository: repository.to_string(), digest: Some(digest.into()) };
        let response = self.peer.unary(self.client().get_manifest(request)).await?;
        self.peer.checked(response.try_into())
    }

    async fn put_manifest(
        &self,
        repository: &RepositoryName,
        manifest: Manifest,
        tags: Vec<Tag>,
    ) -> Result<(), IndexError> {
        let request = pb::PutManifestRequest {
            repository: repository.to_string(),
            manifest: Some(manifest.into()),
            tags: tags.iter().map(ToString::to_string).collect(),
        };
        let response: pb::PutManifestResponse = self.peer.unary(self.client().put_manifest(request)).await?;
        let missing: Vec<Digest> = self.peer.checked(convert_all(response.missing))?;
        if missing.is_empty() { Ok(()) } else { Err(IndexError::ReferencesMissing(missing)) }
    }

    async fn delete_manifest(&self, repository: &RepositoryName, reference: &Reference) -> Result<(), IndexError> {
        let request =
            pb::DeleteManifestRequest { repository: repository.to_string(), reference: Some(reference.into()) };
        let pb::DeleteManifestResponse {} = self.peer.unary(self.client().delete_manifest(request)).await?;
        Ok(())
    }

    async fn list_tags(&self, repository: &RepositoryName, page: Page) -> Result<PageOf<Tag>, IndexError> {
        let request = pb::ListTagsRequest { repository: repository.to_string(), page: Some(page.into()) };
        let response: pb::ListTagsResponse = self.peer.unary(self.client().list_tags(request)).await?;
        let items = self.peer.checked(parse_all(&response.tags, "tags"))?;
        Ok(PageOf { items, next: response.next })
    }

    async fn list_repositories(
        &self,
        visibility: &Visibility,
        page: Page,
    ) -> Result<PageOf<RepositoryName>, IndexError> {
        let request = pb::ListRepositoriesRequest { visibility: Some(visibility.into()), page: Some(page.into()) };
        let response: pb::ListRepositoriesResponse = self.peer.unary(self.client().list_repositories(request)).await?;
        let items = self.peer.checked(parse_all(&response.repositories, "repositories"))?;
        Ok(PageOf { items, next: response.next })
    }

    async fn list_referrers(
        &self,
        repository: &RepositoryName,
        subject: Digest,
        artifact_type: Option<&str>,
        page: Page,
    ) -> Result<PageOf<Referrer>, IndexError> {
        let request = pb::ListReferrersRequest {
            repository: repository.to_string(),
            subject: Some(subject.into()),
            artifact_type: artifact_type.map(ToOwned::to_owned),
            page: Some(page.into()),
        };
        let response: pb::ListReferrersResponse = self.peer.unary(self.client().list_referrers(request)).await?;
        let items = self.peer.checked(convert_all(response.referrers))?;
        Ok(PageOf { items, next: response.next })
    }
}
