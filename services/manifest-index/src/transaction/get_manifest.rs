use async_trait::async_trait;
use bytes::Bytes;
use entrepot_core::ports::index::StoredManifest;
use entrepot_core::{Digest, Tag};
use entrepot_sql::{SqlError, Transaction, Tx, params};

use crate::column;
use crate::error::Failure;
use crate::repository::RepositoryId;

/// A manifest by digest.
pub(crate) struct GetManifest {
    pub(crate) repository: RepositoryId,
    pub(crate) digest: Digest,
}

#[async_trait]
impl Transaction for GetManifest {
    type Output = Option<StoredManifest>;
    type Error = Failure;

    async fn run(&self, tx: &mut dyn Tx) -> Result<Self::Output, Failure> {
        let row = tx
            .query_opt(
                "SELECT media_type, payload FROM manifest WHERE tenant = $1 AND repository = $2 AND digest = $3",
                params![self.repository.tenant, self.repository.id, &column::digest(&self.digest)],
            )
            .await?;
        let Some(row) = row else { return Ok(None) };
        let payload: Bytes = row.get("payload")?;
        let media_type = column::get_parsed(&row, "media_type")?;
        Ok(Some(StoredManifest { digest: self.digest, media_type, payload }))
    }
}

/// Whether a repository has a manifest.
pub(crate) struct ManifestExists {
    pub(crate) repository: RepositoryId,
    pub(crate) digest: Digest,
}

#[async_trait]
impl Transaction for ManifestExists {
    type Output = bool;
    type Error = SqlError;

    async fn run(&self, tx: &mut dyn Tx) -> Result<bool, SqlError> {
        let row = tx
            .query_opt(
                "SELECT 1 FROM manifest WHERE tenant = $1 AND repository = $2 AND digest = $3",
                params![self.repository.tenant, self.repository.id, &column::digest(&self.digest)],
            )
            .await?;
        Ok(row.is_some())
    }
}

/// What a tag points to.
pub(crate) struct ResolveTag {
    pub(crate) repository: RepositoryId,
    pub(crate) tag: Tag,
}

#[async_trait]
impl Transaction for ResolveTag {
    type Output = Option<Digest>;
    type Error = Failure;

    async fn run(&self, tx: &mut dyn Tx) -> Result<Option<Digest>, Failure> {
        let row = tx
            .query_opt(
                "SELECT digest FROM tag WHERE tenant = $1 AND repository = $2 AND name = $3",
                params![self.repository.tenant, self.repository.id, self.tag.as_str()],
            )
            .await?;
        row.map(|row| column::get_digest(&row, "digest")).transpose()
    }
}
