use async_trait::async_trait;
use entrepot_core::ports::IndexError;
use entrepot_core::ports::index::LocatedBlob;
use entrepot_core::{Digest, RepositoryName};
use entrepot_sql::{Transaction, Tx, params};

use super::locate_blob::located;
use crate::column;
use crate::error::Failure;
use crate::repository;
use crate::retention::{LEASE, milliseconds};

/// Confirms a blob of a repository for another lease, if it is still live.
pub(crate) struct RenewLease {
    pub(crate) repository: RepositoryName,
    pub(crate) digest: Digest,
}

#[async_trait]
impl Transaction for RenewLease {
    type Output = LocatedBlob;
    type Error = Failure;

    async fn run(&self, tx: &mut dyn Tx) -> Result<LocatedBlob, Failure> {
        let unknown = || IndexError::BlobUnknown(self.digest);
        let repository = repository::find(tx, &self.repository).await?.ok_or_else(unknown)?;
        let digest = column::digest(&self.digest);
        let row = tx
            .query_opt(
                "SELECT blob.size, blob.key FROM link JOIN blob ON blob.id = link.blob AND blob.state = 'live'
                 WHERE link.tenant = $1 AND link.repository = $2 AND link.digest = $3 {update link} {share blob}",
                params![repository.tenant, repository.id, &digest],
            )
            .await?
            .ok_or_else(unknown)?;
        tx.execute(
            "UPDATE link SET lease_until = {now} + $4 WHERE tenant = $1 AND repository = $2 AND digest = $3",
            params![repository.tenant, repository.id, &digest, milliseconds(LEASE)],
        )
        .await?;
        located(&row)
    }
}
