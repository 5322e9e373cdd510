use async_trait::async_trait;
use entrepot_core::{Manifest, RepositoryName, Tag};
use entrepot_sql::{SqlError, Transaction, Tx, params};

use super::{history, references, review};
use crate::column;
use crate::error::{Failure, Malformed};
use crate::repository::{self, RepositoryId};

/// Stores a manifest and points tags at it: references locked and present, or nothing at all.
///
/// A manifest that is stored already keeps the type it was first pushed with, so that what its digest means cannot
/// change for those who pinned it; edges to content that has come since are added.
pub(crate) struct PutManifest {
    pub(crate) repository: RepositoryName,
    pub(crate) manifest: Manifest,
    pub(crate) tags: Vec<Tag>,
}

#[async_trait]
impl Transaction for PutManifest {
    type Output = ();
    type Error = Failure;

    async fn run(&self, tx: &mut dyn Tx) -> Result<(), Failure> {
        let repository = repository::ensure(tx, &self.repository).await?;
        let edges = references::lock(tx, repository, &self.manifest.references).await?;
        let digest = column::digest(&self.manifest.digest);
        self.insert(tx, repository, &digest).await?;
        references::insert(tx, repository, &digest, &edges).await?;
        for tag in &self.tags {
            point(tx, repository, tag, &digest).await?;
        }
        // Also when it was there: a client that pushes it again relies on it again.
        if self.tags.is_empty() {
            review::enqueue(tx, repository, review::Kind::Manifest, &digest).await?;
        }
        Ok(())
    }
}

impl PutManifest {
    async fn insert(&self, tx: &mut dyn Tx, repository: RepositoryId, digest: &[u8]) -> Result<(), Failure> {
        let manifest = &self.manifest;
        let annotations =
            serde_json::to_string(&manifest.annotations).map_err(|_| Malformed { column: "annotations" })?;
        let subject = manifest.subject.as_ref().map(column::digest);
        tx.execute(
            "INSERT INTO manifest (tenant, repository, digest, media_type, size, subject, artifact_type, pushed_at,
                                       annotations, payload)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, {now}, $8, $9) ON CONFLICT DO NOTHING",
            params![
                repository.tenant,
                repository.id,
                digest,
                manifest.media_type.as_str(),
                entrepot_sql::Param::unsigned(manifest.payload.len() as u64)?,
                subject.as_ref(),
                manifest.artifact_type.as_ref(),
                &annotations,
                &manifest.payload,
            ],
        )
        .await?;
        Ok(())
    }
}

/// Points a tag at a stored manifest; the one it leaves is reviewed.
async fn point(tx: &mut dyn Tx, repository: RepositoryId, tag: &Tag, digest: &[u8]) -> Result<(), SqlError> {
    let made = tx
        .execute(
            "INSERT INTO tag (tenant, repository, name, digest, moved_at) VALUES ($1, $2, $3, $4, {now})
             ON CONFLICT DO NOTHING",
            params![repository.tenant, repository.id, tag.as_str(), digest],
        )
        .await?;
    if made == 0 {
        let row = tx
            .query_one(
                "SELECT digest FROM tag WHERE tenant = $1 AND repository = $2 AND name = $3 {update}",
                params![repository.tenant, repository.id, tag.as_str()],
            )
            .await?;
        let old: bytes::Bytes = row.get("digest")?;
        if old == digest {
            return Ok(());
        }
        tx.execute(
            "UPDATE tag SET digest = $4, moved_at = {now} WHERE tenant = $1 AND repository = $2 AND name = $3",
            params![repository.tenant, repository.id, tag.as_str(), digest],
        )
        .await?;
        review::enqueue(tx, repository, review::Kind::Manifest, &old).await?;
    }
    history::record(tx, repository, tag.as_str(), Some(digest)).await
}
