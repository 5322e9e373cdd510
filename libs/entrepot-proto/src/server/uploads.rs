use std::sync::Arc;

use entrepot_core::Principal;
use entrepot_core::ports::blobs::WriterPosition;
use entrepot_core::ports::uploads::UploadIndex;
use tonic::{Request, Response, Status};

use crate::error::to_status;
use crate::pb::index::v1 as pb;
use crate::wire::core::algorithm;
use crate::wire::{parse, required};

pub(super) struct Server {
    pub(super) uploads: Arc<dyn UploadIndex>,
}

#[tonic::async_trait]
impl pb::upload_index_server::UploadIndex for Server {
    async fn open_upload(
        &self,
        request: Request<pb::OpenUploadRequest>,
    ) -> Result<Response<pb::OpenUploadResponse>, Status> {
        let request = request.into_inner();
        let repository = parse(&request.repository, "repository")?;
        let principal: Principal = required(request.principal, "principal")?;
        let algorithm = algorithm(request.algorithm)?;
        let id = self.uploads.open(&repository, &principal, algorithm).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(pb::OpenUploadResponse { upload_id: id.to_string() }))
    }

    async fn get_upload_owner(
        &self,
        request: Request<pb::GetUploadOwnerRequest>,
    ) -> Result<Response<pb::GetUploadOwnerResponse>, Status> {
        let request = request.into_inner();
        let repository = parse(&request.repository, "repository")?;
        let id = parse(&request.upload_id, "upload_id")?;
        let principal = self.uploads.owner(&repository, id).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(pb::GetUploadOwnerResponse { principal: Some(principal.into()) }))
    }

    async fn get_upload_status(
        &self,
        request: Request<pb::GetUploadStatusRequest>,
    ) -> Result<Response<pb::GetUploadStatusResponse>, Status> {
        let request = request.into_inner();
        let repository = parse(&request.repository, "repository")?;
        let id = parse(&request.upload_id, "upload_id")?;
        let offset = self.uploads.status(&repository, id).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(pb::GetUploadStatusResponse { offset }))
    }

    async fn begin_append(
        &self,
        request: Request<pb::BeginAppendRequest>,
    ) -> Result<Response<pb::BeginAppendResponse>, Status> {
        let request = request.into_inner();
        let repository = parse(&request.repository, "repository")?;
        let id = parse(&request.upload_id, "upload_id")?;
        let begun = self.uploads.begin_append(&repository, id, request.offset).await;
        let position = begun.map_err(|error| to_status(&error))?;
        Ok(Response::new(pb::BeginAppendResponse { position: Some(position.into()) }))
    }

    async fn save_upload(
        &self,
        request: Request<pb::SaveUploadRequest>,
    ) -> Result<Response<pb::SaveUploadResponse>, Status> {
        let request = request.into_inner();
        let id = parse(&request.upload_id, "upload_id")?;
        let before: WriterPosition = required(request.before, "before")?;
        let saved = self.uploads.save(id, &before, request.offset, request.state).await;
        saved.map_err(|error| to_status(&error))?;
        Ok(Response::new(pb::SaveUploadResponse {}))
    }

    async fn begin_finish(
        &self,
        request: Request<pb::BeginFinishRequest>,
    ) -> Result<Response<pb::BeginFinishResponse>, Status> {
        let request = request.into_inner();
        let repository = parse(&request.repository, "repository")?;
        let id = parse(&request.upload_id, "upload_id")?;
        let digest = required(request.digest, "digest")?;
        let begun = self.uploads.begin_finish(&repository, id, request.offset, digest).await;
        Ok(Response::new(begun.map_err(|error| to_status(&error))?.into()))
    }

    async fn finish_upload(
        &self,
        request: Request<pb::FinishUploadRequest>,
    ) -> Result<Response<pb::FinishUploadResponse>, Status> {
        let request = request.into_inner();
        let id = parse(&request.upload_id, "upload_id")?;
        let position: WriterPosition = required(request.position, "position")?;
        let digest = required(request.digest, "digest")?;
        let lost = request.lost_key.map(|key| parse(&key, "lost_key")).transpose()?;
        let finished = self.uploads.finish(id, &position, digest, request.size, lost).await;
        finished.map_err(|error| to_status(&error))?;
        Ok(Response::new(pb::FinishUploadResponse {}))
    }

    async fn release_upload(
        &self,
        request: Request<pb::ReleaseUploadRequest>,
    ) -> Result<Response<pb::ReleaseUploadResponse>, Status> {
        let request = request.into_inner();
        let repository = parse(&request.repository, "repository")?;
        let id = parse(&request.upload_id, "upload_id")?;
        self.uploads.release(&repository, id, request.epoch, request.keep).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(pb::ReleaseUploadResponse {}))
    }
}
