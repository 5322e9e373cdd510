//! Writing the link from a repository to a blob.

use entrepot_sql::{SqlError, Tx, params};

use super::review;
use crate::repository::RepositoryId;
use crate::retention::{LEASE, milliseconds};

/// Links a live blob, with a new lease. Nothing but the lease may hold the link, so it is reviewed after it.
pub(super) async fn confirm(
    tx: &mut dyn Tx,
    repository: RepositoryId,
    digest: &[u8],
    blob: i64,
) -> Result<(), SqlError> {
    let RepositoryId { tenant, id } = repository;
    let replaced = tx
        .query_opt(
            "SELECT blob FROM link WHERE tenant = $1 AND repository = $2 AND digest = $3 AND blob <> $4 {update}",
            params![tenant, id, digest, blob],
        )
        .await?;
    if replaced.is_some() {
        review::enqueue(tx, repository, review::Kind::Blob, digest).await?;
    }
    tx.execute(
        "INSERT INTO link (tenant, repository, digest, blob, lease_until) VALUES ($1, $2, $3, $4, {now} + $5)
         ON CONFLICT (tenant, repository, digest)
         DO UPDATE SET blob = excluded.blob, lease_until = excluded.lease_until",
        params![tenant, id, digest, blob, milliseconds(LEASE)],
    )
    .await?;
    review::enqueue(tx, repository, review::Kind::Link, digest).await
}
