use async_trait::async_trait;
use entrepot_core::ports::IndexError;
use entrepot_core::{Digest, RepositoryName};
use entrepot_sql::{Transaction, Tx, params};

use super::operation::Operation;
use super::review;
use crate::column;
use crate::error::Failure;
use crate::repository;

/// Takes a blob out of a repository; refused while a manifest of it needs the blob.
pub(crate) struct UnlinkBlob {
    pub(crate) repository: RepositoryName,
    pub(crate) digest: Digest,
    pub(crate) operation: Operation,
}

#[async_trait]
impl Transaction for UnlinkBlob {
    type Output = ();
    type Error = Failure;

    async fn run(&self, tx: &mut dyn Tx) -> Result<(), Failure> {
        let unknown = || IndexError::BlobUnknown(self.digest);
        let repository = repository::find(tx, &self.repository).await?.ok_or_else(unknown)?;
        if !self.operation.begin(tx, repository.tenant).await? {
            return Ok(());
        }
        let digest = column::digest(&self.digest);
        let params = params![repository.tenant, repository.id, &digest];
        // Held first: a manifest that takes the blob up either is seen below or finds no link.
        tx.query_opt("SELECT 1 FROM link WHERE tenant = $1 AND repository = $2 AND digest = $3 {update}", params)
            .await?
            .ok_or_else(unknown)?;
        let user = tx
            .query_opt(
                "SELECT manifest FROM manifest_blob WHERE tenant = $1 AND repository = $2 AND digest = $3
                 ORDER BY manifest LIMIT 1",
                params,
            )
            .await?;
        if let Some(row) = user {
            let by = column::get_digest(&row, "manifest")?;
            return Err(IndexError::Referenced { digest: self.digest, by }.into());
        }
        tx.execute("DELETE FROM link WHERE tenant = $1 AND repository = $2 AND digest = $3", params).await?;
        tx.execute(
            "DELETE FROM gc_review WHERE tenant = $1 AND repository = $2 AND kind = 'link' AND digest = $3",
            params,
        )
        .await?;
        review::enqueue(tx, repository, review::Kind::Blob, &digest).await?;
        Ok(())
    }
}
