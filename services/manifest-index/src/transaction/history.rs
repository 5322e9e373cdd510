//! Every change of a tag leaves a row.

use entrepot_sql::{SqlError, Tx, params};

use crate::repository::RepositoryId;

/// Records that a tag points to `digest` now, or nowhere. The caller holds the tag's row, so versions do not collide.
pub(super) async fn record(
    tx: &mut dyn Tx,
    repository: RepositoryId,
    tag: &str,
    digest: Option<&[u8]>,
) -> Result<(), SqlError> {
    tx.execute(
        "INSERT INTO tag_history (tenant, repository, name, version, digest, changed_at)
         SELECT CAST($1 AS {int}), CAST($2 AS {int}), $3, coalesce(max(version), 0) + 1, CAST($4 AS {bytes}), {now}
         FROM tag_history WHERE tenant = $1 AND repository = $2 AND name = $3",
        params![repository.tenant, repository.id, tag, digest],
    )
    .await?;
    Ok(())
}

/// Records the deletion of every tag of a manifest. The caller holds their rows.
pub(super) async fn record_deletions(
    tx: &mut dyn Tx,
    repository: RepositoryId,
    manifest: &[u8],
) -> Result<(), SqlError> {
    tx.execute(
        "INSERT INTO tag_history (tenant, repository, name, version, digest, changed_at)
         SELECT tag.tenant, tag.repository, tag.name,
                (SELECT coalesce(max(past.version), 0) + 1 FROM tag_history AS past
                 WHERE past.tenant = tag.tenant AND past.repository = tag.repository AND past.name = tag.name),
                NULL, {now}
         FROM tag WHERE tag.tenant = $1 AND tag.repository = $2 AND tag.digest = $3",
        params![repository.tenant, repository.id, manifest],
    )
    .await?;
    Ok(())
}
