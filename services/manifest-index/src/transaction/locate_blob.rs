use async_trait::async_trait;
use entrepot_core::Digest;
use entrepot_core::ports::index::LocatedBlob;
use entrepot_sql::{Row, Transaction, Tx, params};

use crate::column;
use crate::error::Failure;
use crate::repository::RepositoryId;
use crate::retention::{LEASE, milliseconds};

/// Finds a live blob of a repository.
pub(crate) struct LocateBlob {
    pub(crate) repository: RepositoryId,
    pub(crate) digest: Digest,
}

/// A blob, and whether at least half of its lease is left.
pub(crate) struct FoundBlob {
    pub(crate) blob: LocatedBlob,
    pub(crate) lease_is_long: bool,
}

#[async_trait]
impl Transaction for LocateBlob {
    type Output = Option<FoundBlob>;
    type Error = Failure;

    async fn run(&self, tx: &mut dyn Tx) -> Result<Self::Output, Failure> {
        let row = tx
            .query_opt(
                "SELECT blob.size, blob.key, CASE WHEN link.lease_until >= {now} + $4 THEN 1 ELSE 0 END AS long
                 FROM link JOIN blob ON blob.id = link.blob AND blob.state = 'live'
                 WHERE link.tenant = $1 AND link.repository = $2 AND link.digest = $3",
                params![
                    self.repository.tenant,
                    self.repository.id,
                    &column::digest(&self.digest),
                    milliseconds(LEASE / 2)
                ],
            )
            .await?;
        row.map(|row| Ok(FoundBlob { blob: located(&row)?, lease_is_long: row.get("long")? })).transpose()
    }
}

/// Reads `size` and `key`.
pub(super) fn located(row: &Row) -> Result<LocatedBlob, Failure> {
    Ok(LocatedBlob { size: row.get("size")?, key: column::get_parsed(row, "key")? })
}
