use async_trait::async_trait;
use entrepot_core::{Digest, RepositoryName};
use entrepot_sql::{Row, Transaction, Tx, params};

use super::link;
use crate::column;
use crate::error::Failure;
use crate::repository;

/// Links a blob of one repository, or of any of the tenant, into another, while holding the source: false when there
/// is none.
pub(crate) struct MountBlob {
    pub(crate) repository: RepositoryName,
    pub(crate) from: Option<RepositoryName>,
    pub(crate) digest: Digest,
}

#[async_trait]
impl Transaction for MountBlob {
    type Output = bool;
    type Error = Failure;

    async fn run(&self, tx: &mut dyn Tx) -> Result<bool, Failure> {
        let digest = column::digest(&self.digest);
        let source = match &self.from {
            Some(from) => find_in_repository(tx, from, &digest).await?,
            None => find_in_tenant(tx, &self.repository, &digest).await?,
        };
        let Some(source) = source else { return Ok(false) };
        let target = repository::ensure(tx, &self.repository).await?;
        link::confirm(tx, target, &digest, source.get("blob")?).await?;
        Ok(true)
    }
}

async fn find_in_repository(tx: &mut dyn Tx, from: &RepositoryName, digest: &[u8]) -> Result<Option<Row>, Failure> {
    let Some(from) = repository::find(tx, from).await? else { return Ok(None) };
    let source = tx
        .query_opt(
            "SELECT link.blob FROM link JOIN blob ON blob.id = link.blob AND blob.state = 'live'
             WHERE link.tenant = $1 AND link.repository = $2 AND link.digest = $3 {share link, blob}",
            params![from.tenant, from.id, digest],
        )
        .await?;
    Ok(source)
}

/// From the blob's side: its links are few, a tenant's repositories may be many.
async fn find_in_tenant(tx: &mut dyn Tx, target: &RepositoryName, digest: &[u8]) -> Result<Option<Row>, Failure> {
    let source = tx
        .query_opt(
            "SELECT link.blob FROM blob JOIN link ON link.blob = blob.id JOIN tenant ON tenant.id = link.tenant
             WHERE blob.digest = $1 AND blob.state = 'live' AND tenant.name = $2 LIMIT 1 {share link, blob}",
            params![digest, target.tenant().as_str()],
        )
        .await?;
    Ok(source)
}
