use async_trait::async_trait;
use entrepot_core::ports::IndexError;
use entrepot_core::{Reference, RepositoryName, Tag};
use entrepot_sql::{Transaction, Tx, params};

use super::operation::Operation;
use super::{history, review};
use crate::column;
use crate::error::Failure;
use crate::repository;

/// Removes a tag; the manifest it pointed to stays, and is reviewed.
pub(crate) struct DeleteTag {
    pub(crate) repository: RepositoryName,
    pub(crate) tag: Tag,
    pub(crate) operation: Operation,
}

#[async_trait]
impl Transaction for DeleteTag {
    type Output = ();
    type Error = Failure;

    async fn run(&self, tx: &mut dyn Tx) -> Result<(), Failure> {
        let repository = repository::find(tx, &self.repository).await?;
        let repository = repository.ok_or_else(|| IndexError::RepositoryUnknown(self.repository.clone()))?;
        if !self.operation.begin(tx, repository.tenant).await? {
            return Ok(());
        }
        let removed = tx
            .query_opt(
                "DELETE FROM tag WHERE tenant = $1 AND repository = $2 AND name = $3 RETURNING digest",
                params![repository.tenant, repository.id, self.tag.as_str()],
            )
            .await?;
        let removed = removed.ok_or_else(|| IndexError::ManifestUnknown(Reference::Tag(self.tag.clone())))?;
        let digest = column::digest(&column::get_digest(&removed, "digest")?);
        history::record(tx, repository, self.tag.as_str(), None).await?;
        review::enqueue(tx, repository, review::Kind::Manifest, &digest).await?;
        Ok(())
    }
}
