//! The port for the blobs of a repository. Nothing here is answered from memory.

use async_trait::async_trait;
use entrepot_core::ports::index::{IndexError, LocatedBlob};
use entrepot_core::ports::uploads::BlobLinks;
use entrepot_core::{Digest, RepositoryName};

use crate::index::Index;
use crate::transaction::locate_blob::{FoundBlob, LocateBlob};
use crate::transaction::mount_blob::MountBlob;
use crate::transaction::operation::Operation;
use crate::transaction::renew_lease::RenewLease;
use crate::transaction::unlink_blob::UnlinkBlob;

#[async_trait]
impl BlobLinks for Index {
    async fn locate(&self, repository: &RepositoryName, digest: Digest) -> Result<LocatedBlob, IndexError> {
        Ok(self.find_blob(repository, digest).await?.blob)
    }

    async fn stat(&self, repository: &RepositoryName, digest: Digest) -> Result<LocatedBlob, IndexError> {
        let found = self.find_blob(repository, digest).await?;
        if found.lease_is_long {
            return Ok(found.blob);
        }
        self.write(RenewLease { repository: repository.clone(), digest }, ()).await
    }

    async fn mount(
        &self,
        repository: &RepositoryName,
        from: Option<&RepositoryName>,
        digest: Digest,
    ) -> Result<bool, IndexError> {
        self.write(MountBlob { repository: repository.clone(), from: from.cloned(), digest }, ()).await
    }

    async fn unlink(&self, repository: &RepositoryName, digest: Digest) -> Result<(), IndexError> {
        self.write(UnlinkBlob { repository: repository.clone(), digest, operation: Operation::new() }, ()).await
    }
}

impl Index {
    async fn find_blob(&self, repository: &RepositoryName, digest: Digest) -> Result<FoundBlob, IndexError> {
        let found = match self.repository(repository).await? {
            Some(repository) => self.read_key(LocateBlob { repository, digest }).await?,
            None => None,
        };
        found.ok_or(IndexError::BlobUnknown(digest))
    }
}
