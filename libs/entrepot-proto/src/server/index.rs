use std::sync::Arc;

use entrepot_core::PageOf;
use entrepot_core::ports::index::{IndexError, ManifestIndex, Referrer, Visibility};
use prost::Message;
use tonic::{Request, Response, Status};

use crate::error::to_status;
use crate::pb::index::v1 as pb;
use crate::wire::{parse, parse_all, required};

/// Most bytes of referrers in one answer: annotations can make a page of them far larger than a message.
const MAX_REFERRERS_BYTES: usize = 4 << 20;

pub(super) struct Server {
    pub(super) index: Arc<dyn ManifestIndex>,
}

#[tonic::async_trait]
impl pb::manifest_index_server::ManifestIndex for Server {
    async fn resolve(&self, request: Request<pb::ResolveRequest>) -> Result<Response<pb::ResolveResponse>, Status> {
        let request = request.into_inner();
        let repository = parse(&request.repository, "repository")?;
        let reference = required(request.reference, "reference")?;
        let digest = self.index.resolve(&repository, &reference).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(pb::ResolveResponse { digest: Some(digest.into()) }))
    }

    async fn get_manifest(
        &self,
        request: Request<pb::GetManifestRequest>,
    ) -> Result<Response<pb::GetManifestResponse>, Status> {
        let request = request.into_inner();
        let repository = parse(&request.repository, "repository")?;
        let digest = required(request.digest, "digest")?;
        let manifest = self.index.get_manifest(&repository, digest).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(manifest.into()))
    }

    async fn put_manifest(
        &self,
        request: Request<pb::PutManifestRequest>,
    ) -> Result<Response<pb::PutManifestResponse>, Status> {
        let request = request.into_inner();
        let repository = parse(&request.repository, "repository")?;
        let manifest = required(request.manifest, "manifest")?;
        let tags = parse_all(&request.tags, "tags")?;
        let missing = match self.index.put_manifest(&repository, manifest, tags).await {
            Ok(()) => Vec::new(),
            Err(IndexError::ReferencesMissing(digests)) => digests.into_iter().map(Into::into).collect(),
            Err(error) => return Err(to_status(&error)),
        };
        Ok(Response::new(pb::PutManifestResponse { missing }))
    }

    async fn delete_manifest(
        &self,
        request: Request<pb::DeleteManifestRequest>,
    ) -> Result<Response<pb::DeleteManifestResponse>, Status> {
        let request = request.into_inner();
        let repository = parse(&request.repository, "repository")?;
        let reference = required(request.reference, "reference")?;
        self.index.delete_manifest(&repository, &reference).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(pb::DeleteManifestResponse {}))
    }

    async fn list_tags(&self, request: Request<pb::ListTagsRequest>) -> Result<Response<pb::ListTagsResponse>, Status> {
        let request = request.into_inner();
        let repository = parse(&request.repository, "repository")?;
        let page = required(request.page, "page")?;
        let tags = self.index.list_tags(&repository, page).await.map_err(|error| to_status(&error))?;
        let names = tags.items.iter().map(ToString::to_string).collect();
        Ok(Response::new(pb::ListTagsResponse { tags: names, next: tags.next }))
    }

    async fn list_repositories(
        &self,
        request: Request<pb::ListRepositoriesRequest>,
    ) -> Result<Response<pb::ListRepositoriesResponse>, Status> {
        let request = request.into_inner();
        let visibility: Visibility = required(request.visibility, "visibility")?;
        let page = required(request.page, "page")?;
        let found = self.index.list_repositories(&visibility, page).await.map_err(|error| to_status(&error))?;
        let repositories = found.items.iter().map(ToString::to_string).collect();
        Ok(Response::new(pb::ListRepositoriesResponse { repositories, next: found.next }))
    }

    async fn list_referrers(
        &self,
        request: Request<pb::ListReferrersRequest>,
    ) -> Result<Response<pb::ListReferrersResponse>, Status> {
        let request = request.into_inner();
        let repository = parse(&request.repository, "repository")?;
        let subject = required(request.subject, "subject")?;
        let page = required(request.page, "page")?;
        let found = self.index.list_referrers(&repository, subject, request.artifact_type.as_deref(), page).await;
        Ok(Response::new(bounded(found.map_err(|error| to_status(&error))?)))
    }
}

/// As much of a page as fits a message; the rest is the next page.
fn bounded(page: PageOf<Referrer>) -> pb::ListReferrersResponse {
    let mut response = pb::ListReferrersResponse { referrers: Vec::with_capacity(page.items.len()), next: page.next };
    let mut bytes = 0;
    let mut last = None;
    for referrer in page.items {
        let digest = referrer.digest;
        let entry = pb::Referrer::from(referrer);
        bytes += entry.encoded_len();
        if bytes > MAX_REFERRERS_BYTES && last.is_some() {
            response.next = last;
            break;
        }
        response.referrers.push(entry);
        last = Some(digest.to_string());
    }
    response
}
