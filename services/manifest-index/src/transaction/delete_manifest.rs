use async_trait::async_trait;
use entrepot_core::ports::IndexError;
use entrepot_core::{Digest, Reference, RepositoryName};
use entrepot_sql::{Transaction, Tx, params};

use super::operation::Operation;
use super::{history, review};
use crate::column;
use crate::error::Failure;
use crate::repository::{self, RepositoryId};

/// Removes a manifest with every tag that points to it; refused while an index of the repository lists it.
pub(crate) struct DeleteManifest {
    pub(crate) repository: RepositoryName,
    pub(crate) digest: Digest,
    pub(crate) operation: Operation,
}

#[async_trait]
impl Transaction for DeleteManifest {
    type Output = ();
    type Error = Failure;

    async fn run(&self, tx: &mut dyn Tx) -> Result<(), Failure> {
        let repository = repository::find(tx, &self.repository).await?;
        let repository = repository.ok_or_else(|| IndexError::RepositoryUnknown(self.repository.clone()))?;
        if !self.operation.begin(tx, repository.tenant).await? {
            return Ok(());
        }
        let digest = column::digest(&self.digest);
        self.lock(tx, repository, &digest).await?;
        let params = params![repository.tenant, repository.id, &digest];
        // Held, so that their histories are ours to write; in the order of their names, as a push does.
        tx.query(
            "SELECT name FROM tag WHERE tenant = $1 AND repository = $2 AND digest = $3 ORDER BY name {update}",
            params,
        )
        .await?;
        history::record_deletions(tx, repository, &digest).await?;
        tx.execute("DELETE FROM tag WHERE tenant = $1 AND repository = $2 AND digest = $3", params).await?;
        review::enqueue_dependents(tx, repository, &digest).await?;
        tx.execute("DELETE FROM manifest_child WHERE tenant = $1 AND repository = $2 AND parent = $3", params).await?;
        tx.execute("DELETE FROM manifest_blob WHERE tenant = $1 AND repository = $2 AND manifest = $3", params).await?;
        tx.execute(
            "DELETE FROM gc_review WHERE tenant = $1 AND repository = $2 AND kind = 'manifest' AND digest = $3",
            params,
        )
        .await?;
        tx.execute("DELETE FROM manifest WHERE tenant = $1 AND repository = $2 AND digest = $3", params).await?;
        Ok(())
    }
}

impl DeleteManifest {
    /// Holds the manifest, so that no index and no tag can take it up, and only then looks who needs it.
    async fn lock(&self, tx: &mut dyn Tx, repository: RepositoryId, digest: &[u8]) -> Result<(), Failure> {
        let params = params![repository.tenant, repository.id, digest];
        tx.query_opt("SELECT 1 FROM manifest WHERE tenant = $1 AND repository = $2 AND digest = $3 {update}", params)
            .await?
            .ok_or(IndexError::ManifestUnknown(Reference::Digest(self.digest)))?;
        let parent = tx
            .query_opt(
                "SELECT parent FROM manifest_child WHERE tenant = $1 AND repository = $2 AND child = $3
                 ORDER BY parent LIMIT 1",
                params,
            )
            .await?;
        match parent {
            Some(row) => {
                Err(IndexError::Referenced { digest: self.digest, by: column::get_digest(&row, "parent")? }.into())
            }
            None => Ok(()),
        }
    }
}
