use std::sync::Arc;

use entrepot_core::ports::uploads::BlobLinks;
use tonic::{Request, Response, Status};

use crate::error::to_status;
use crate::pb::index::v1 as pb;
use crate::wire::{parse, required};

pub(super) struct Server {
    pub(super) links: Arc<dyn BlobLinks>,
}

#[tonic::async_trait]
impl pb::blob_links_server::BlobLinks for Server {
    async fn locate(&self, request: Request<pb::LocateRequest>) -> Result<Response<pb::LocateResponse>, Status> {
        let request = request.into_inner();
        let repository = parse(&request.repository, "repository")?;
        let digest = required(request.digest, "digest")?;
        let blob = self.links.locate(&repository, digest).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(pb::LocateResponse { blob: Some(blob.into()) }))
    }

    async fn stat(&self, request: Request<pb::StatRequest>) -> Result<Response<pb::StatResponse>, Status> {
        let request = request.into_inner();
        let repository = parse(&request.repository, "repository")?;
        let digest = required(request.digest, "digest")?;
        let blob = self.links.stat(&repository, digest).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(pb::StatResponse { blob: Some(blob.into()) }))
    }

    async fn mount(&self, request: Request<pb::MountRequest>) -> Result<Response<pb::MountResponse>, Status> {
        let request = request.into_inner();
        let repository = parse(&request.repository, "repository")?;
        let from = request.from.map(|from| parse(&from, "from")).transpose()?;
        let digest = required(request.digest, "digest")?;
        let mounted = self.links.mount(&repository, from.as_ref(), digest).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(pb::MountResponse { mounted }))
    }

    async fn unlink(&self, request: Request<pb::UnlinkRequest>) -> Result<Response<pb::UnlinkResponse>, Status> {
        let request = request.into_inner();
        let repository = parse(&request.repository, "repository")?;
        let digest = required(request.digest, "digest")?;
        self.links.unlink(&repository, digest).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(pb::UnlinkResponse {}))
    }
}
