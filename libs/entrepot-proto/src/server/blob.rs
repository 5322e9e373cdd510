use std::sync::Arc;

use entrepot_core::ports::blobs::{BlobSource, BlobStore, WriterPosition};
use entrepot_core::{Digest, StorageKey};
use tonic::{Request, Response, Status, Streaming};

use super::SignUrl;
use crate::body;
use crate::error::to_status;
use crate::pb::blob::v1 as pb;
use crate::pb::blob::v1::{append_request, seal_request};
use crate::wire::{WireError, parse, required};

pub(super) struct Server {
    pub(super) store: Arc<dyn BlobStore>,
    pub(super) signer: Arc<dyn SignUrl>,
}

#[tonic::async_trait]
impl pb::blob_store_server::BlobStore for Server {
    async fn append(
        &self,
        request: Request<Streaming<pb::AppendRequest>>,
    ) -> Result<Response<pb::AppendResponse>, Status> {
        let mut messages = request.into_inner();
        let position = match messages.message().await?.and_then(|first| first.part) {
            Some(append_request::Part::Position(position)) => WriterPosition::try_from(position)?,
            Some(append_request::Part::Body(_)) | None => return Err(WireError("position").into()),
        };
        let appended = self.store.append(position, body::receive(messages)).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(appended.into()))
    }

    async fn seal(&self, request: Request<Streaming<pb::SealRequest>>) -> Result<Response<pb::SealResponse>, Status> {
        let mut messages = request.into_inner();
        let start = match messages.message().await?.and_then(|first| first.part) {
            Some(seal_request::Part::Start(start)) => start,
            Some(seal_request::Part::Body(_)) | None => return Err(WireError("start").into()),
        };
        let position: WriterPosition = required(start.position, "start.position")?;
        let expected: Digest = required(start.expected, "start.expected")?;
        let sealed = self.store.seal(position, body::receive(messages), expected).await;
        let size = sealed.map_err(|error| to_status(&error))?;
        Ok(Response::new(pb::SealResponse { size }))
    }

    async fn open(&self, request: Request<pb::OpenRequest>) -> Result<Response<pb::OpenResponse>, Status> {
        let key: StorageKey = parse(&request.into_inner().key, "key")?;
        let source = self.store.open(key).await.map_err(|error| to_status(&error))?;
        let size = source.size();
        let url = match source {
            BlobSource::Url { url, .. } => url,
            BlobSource::File { .. } | BlobSource::Memory(_) => self.signer.sign_url(key, size),
        };
        Ok(Response::new(pb::OpenResponse { url, size }))
    }

    async fn delete(&self, request: Request<pb::DeleteRequest>) -> Result<Response<pb::DeleteResponse>, Status> {
        let key = parse(&request.into_inner().key, "key")?;
        self.store.delete(key).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(pb::DeleteResponse {}))
    }

    async fn list(&self, request: Request<pb::ListRequest>) -> Result<Response<pb::ListResponse>, Status> {
        let page = required(request.into_inner().page, "page")?;
        let keys = self.store.list(page).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(keys.into()))
    }
}
