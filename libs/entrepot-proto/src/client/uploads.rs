use async_trait::async_trait;
use bytes::Bytes;
use entrepot_core::ports::blobs::WriterPosition;
use entrepot_core::ports::index::IndexError;
use entrepot_core::ports::uploads::{Finish, UploadIndex};
use entrepot_core::{Algorithm, Digest, Principal, RepositoryName, StorageKey, UploadId};

use super::{Connection, Intercepted, Peer};
use crate::pb::core::v1::DigestAlgorithm;
use crate::pb::index::v1 as pb;
use crate::pb::index::v1::upload_index_client::UploadIndexClient;
use crate::wire::{parse, required};

/// [`UploadIndex`] at a peer.
#[derive(Debug)]
pub struct UploadIndexGrpcClient {
    peer: Peer<IndexError>,
}

impl UploadIndexGrpcClient {
    /// Calls the peer at the end of `connection`.
    pub fn new(connection: &Connection) -> Self {
        Self { peer: connection.peer() }
    }

    fn client(&self) -> UploadIndexClient<Intercepted> {
        UploadIndexClient::new(self.peer.channel())
            .max_decoding_message_size(crate::MAX_MESSAGE_BYTES)
            .max_encoding_message_size(crate::MAX_MESSAGE_BYTES)
    }
}

#[async_trait]
impl UploadIndex for UploadIndexGrpcClient {
    async fn open(
        &self,
        repository: &RepositoryName,
        principal: &Principal,
        algorithm: Algorithm,
    ) -> Result<UploadId, IndexError> {
        let request = pb::OpenUploadRequest {
            repository: repository.to_string(),
            principal: Some(principal.clone().into()),
            algorithm: DigestAlgorithm::from(algorithm).into(),
        };
        let response: pb::OpenUploadResponse = self.peer.unary(self.client().open_upload(request)).await?;
        self.peer.checked(parse(&response.upload_id, "upload_id"))
    }

    async fn owner(&self, repository: &RepositoryName, id: UploadId) -> Result<Principal, IndexError> {
        let request = pb::GetUploadOwnerRequest { repository: repository.to_string(), upload_id: id.to_string() };
        let response: pb::GetUploadOwnerResponse = self.peer.unary(self.client().get_upload_owner(request)).await?;
        self.peer.checked(required(response.principal, "principal"))
    }

    async fn status(&self, repository: &RepositoryName, id: UploadId) -> Result<u64, IndexError> {
        let request = pb::GetUploadStatusRequest { repository: repository.to_string(), upload_id: id.to_string() };
        let response: pb::GetUploadStatusResponse = self.peer.unary(self.client().get_upload_status(request)).await?;
        Ok(response.offset)
    }

    async fn begin_append(
        &self,
        repository: &RepositoryName,
        id: UploadId,
        offset: Option<u64>,
    ) -> Result<WriterPosition, IndexError> {
        let request = pb::BeginAppendRequest { repository: repository.to_string(), upload_id: id.to_string(), offset };
        let response: pb::BeginAppendResponse = self.peer.unary(self.client().begin_append(request)).await?;
        self.peer.checked(required(response.position, "position"))
    }

    async fn save(&self, id: UploadId, before: &WriterPosition, offset: u64, state: Bytes) -> Result<(), IndexError> {
        let before = Some(before.clone().into());
        let request = pb::SaveUploadRequest { upload_id: id.to_string(), before, offset, state };
        let pb::SaveUploadResponse {} = self.peer.unary(self.client().save_upload(request)).await?;
        Ok(())
    }

    async fn begin_finish(
        &self,
        repository: &RepositoryName,
        id: UploadId,
        offset: Option<u64>,
        digest: Digest,
    ) -> Result<Finish, IndexError> {
        let request = pb::BeginFinishRequest {
            repository: repository.to_string(),
            upload_id: id.to_string(),
            offset,
            digest: Some(digest.into()),
        };
        let response = self.peer.unary(self.client().begin_finish(request)).await?;
        self.peer.checked(response.try_into())
    }

    async fn finish(
        &self,
        id: UploadId,
        position: &WriterPosition,
        digest: Digest,
        size: u64,
        lost: Option<StorageKey>,
    ) -> Result<(), IndexError> {
        let request = pb::FinishUploadRequest {
            upload_id: id.to_string(),
            position: Some(position.clone().into()),
            digest: Some(digest.into()),
            size,
            lost_key: lost.map(|key| key.to_string()),
        };
        let pb::FinishUploadResponse {} = self.peer.unary(self.client().finish_upload(request)).await?;
        Ok(())
    }

    async fn release(
        &self,
        repository: &RepositoryName,
        id: UploadId,
        epoch: Option<u64>,
        keep: bool,
    ) -> Result<(), IndexError> {
        let request =
            pb::ReleaseUploadRequest { repository: repository.to_string(), upload_id: id.to_string(), epoch, keep };
        let pb::ReleaseUploadResponse {} = self.peer.unary(self.client().release_upload(request)).await?;
        Ok(())
    }
}
