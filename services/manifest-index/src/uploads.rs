//! The port for upload sessions.

use async_trait::async_trait;
use bytes::Bytes;
use entrepot_core::ports::blobs::WriterPosition;
use entrepot_core::ports::index::IndexError;
use entrepot_core::ports::uploads::{Finish, UploadIndex};
use entrepot_core::{Algorithm, Digest, Principal, RepositoryName, StorageKey, UploadId};

use crate::index::Index;
use crate::transaction::begin_append::BeginAppend;
use crate::transaction::begin_finish::BeginFinish;
use crate::transaction::finish_upload::FinishUpload;
use crate::transaction::open_upload::OpenUpload;
use crate::transaction::release_upload::ReleaseUpload;
use crate::transaction::save_upload::SaveUpload;
use crate::transaction::session::{FoundEpoch, UploadOwner, UploadStatus};

#[async_trait]
impl UploadIndex for Index {
    async fn open(
        &self,
        repository: &RepositoryName,
        principal: &Principal,
        algorithm: Algorithm,
    ) -> Result<UploadId, IndexError> {
        let id = UploadId::random();
        let open = OpenUpload {
            id,
            repository: repository.clone(),
            principal: principal.clone(),
            key: StorageKey::random(),
            algorithm,
        };
        self.write(open, ()).await?;
        Ok(id)
    }

    async fn owner(&self, repository: &RepositoryName, id: UploadId) -> Result<Principal, IndexError> {
        self.read_key(UploadOwner { repository: repository.clone(), id }).await
    }

    async fn status(&self, repository: &RepositoryName, id: UploadId) -> Result<u64, IndexError> {
        self.read_key(UploadStatus { repository: repository.clone(), id }).await
    }

    async fn begin_append(
        &self,
        repository: &RepositoryName,
        id: UploadId,
        offset: Option<u64>,
    ) -> Result<WriterPosition, IndexError> {
        let found = FoundEpoch::default();
        self.write(BeginAppend { repository: repository.clone(), id, offset, found }, ()).await
    }

    async fn save(&self, id: UploadId, before: &WriterPosition, offset: u64, state: Bytes) -> Result<(), IndexError> {
        self.write(SaveUpload { id, before: before.clone(), offset, state }, ()).await?
    }

    async fn begin_finish(
        &self,
        repository: &RepositoryName,
        id: UploadId,
        offset: Option<u64>,
        digest: Digest,
    ) -> Result<Finish, IndexError> {
        let found = FoundEpoch::default();
        self.write(BeginFinish { repository: repository.clone(), id, offset, digest, found }, ()).await
    }

    async fn finish(
        &self,
        id: UploadId,
        position: &WriterPosition,
        digest: Digest,
        size: u64,
        lost: Option<StorageKey>,
    ) -> Result<(), IndexError> {
        self.write(FinishUpload { id, position: position.clone(), digest, size, lost }, ()).await?
    }

    async fn release(
        &self,
        repository: &RepositoryName,
        id: UploadId,
        epoch: Option<u64>,
        keep: bool,
    ) -> Result<(), IndexError> {
        self.remove(ReleaseUpload { repository: repository.clone(), id, epoch, keep }, ()).await
    }
}
