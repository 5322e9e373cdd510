use std::collections::BTreeSet;

use async_trait::async_trait;
use entrepot_core::{Manifest, RepositoryName, Tag};
use entrepot_sql::{SqlError, Transaction, Tx, params};

use super::operation::Operation;
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
    pub(crate) operation: Operation,
}

#[async_trait]
impl Transaction for PutManifest {
    type Output = ();
    type Error = Failure;

    async fn run(&self, tx: &mut dyn Tx) -> Result<(), Failure> {
        let repository = repository::ensure(tx, &self.repository).await?;
        if !self.operation.begin(tx, repository.tenant).await? {
            return Ok(());
        }
        let edges = references::lock(tx, repository, &self.manifest.references).await?;
        let digest = column::digest(&self.manifest.digest);
        self.insert(tx, repository, &digest).await?;
        references::insert(tx, repository, &digest, &edges).await?;
        // In the order of their names, and what they left after the last: two pushes of the same tags cannot wait for
        // each other.
        let mut tags: Vec<&str> = self.tags.iter().map(Tag::as_str).collect();
        tags.sort_unstable();
        let mut left = BTreeSet::new();
        for tag in tags {
            left.extend(point(tx, repository, tag, &digest).await?);
        }
        for old in &left {
            review::enqueue(tx, repository, review::Kind::Manifest, old).await?;
        }
        // Also when it was there: a client that pushes it again relies on it again.
        if self.tags.is_empty() {
            review::enqueue(tx, repository, review::Kind::Manifest, &digest).await?;
        }
        Ok(())
    }
}

impl PutManifest {
    /// Stores the manifest, or holds the one that is there: what follows adds edges to it.
    async fn insert(&self, tx: &mut dyn Tx, repository: RepositoryId, digest: &[u8]) -> Result<(), Failure> {
        let params = params![repository.tenant, repository.id, digest];
        // One that is in the way of the insertion may be deleted before it can be held.
        while !self.insert_new(tx, repository, digest).await? {
            let held = "SELECT 1 FROM manifest WHERE tenant = $1 AND repository = $2 AND digest = $3 {share}";
            if tx.query_opt(held, params).await?.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// Answers whether there was none.
    async fn insert_new(&self, tx: &mut dyn Tx, repository: RepositoryId, digest: &[u8]) -> Result<bool, Failure> {
        let manifest = &self.manifest;
        let annotations =
            serde_json::to_string(&manifest.annotations).map_err(|_| Malformed { column: "annotations" })?;
        let subject = manifest.subject.as_ref().map(column::digest);
        let made = tx
            .execute(
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
        Ok(made == 1)
    }
}

/// Points a tag at a stored manifest; answers the one it leaves.
async fn point(
    tx: &mut dyn Tx,
    repository: RepositoryId,
    tag: &str,
    digest: &[u8],
) -> Result<Option<bytes::Bytes>, SqlError> {
    let RepositoryId { tenant, id } = repository;
    let old = loop {
        let made = tx
            .execute(
                "INSERT INTO tag (tenant, repository, name, digest, moved_at) VALUES ($1, $2, $3, $4, {now})
                 ON CONFLICT DO NOTHING",
                params![tenant, id, tag, digest],
            )
            .await?;
        if made == 1 {
            break None;
        }
        let held = tx
            .query_opt(
                "SELECT digest FROM tag WHERE tenant = $1 AND repository = $2 AND name = $3 {update}",
                params![tenant, id, tag],
            )
            .await?;
        // None where it was deleted between the two: then there is room.
        let Some(held) = held else { continue };
        let old: bytes::Bytes = held.get("digest")?;
        if old == digest {
            return Ok(None);
        }
        tx.execute(
            "UPDATE tag SET digest = $4, moved_at = {now} WHERE tenant = $1 AND repository = $2 AND name = $3",
            params![tenant, id, tag, digest],
        )
        .await?;
        break Some(old);
    };
    history::record(tx, repository, tag, Some(digest)).await?;
    Ok(old)
}
