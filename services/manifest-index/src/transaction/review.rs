//! Reviews: what lost an edge that kept it, for gc to look at when the delay is over.

use entrepot_sql::{SqlError, Tx, params};

use crate::repository::RepositoryId;
use crate::retention::{REVIEW_DELAY, milliseconds};

/// What is to be looked at.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// A manifest that lost a tag, a parent or its subject, or was born without.
    Manifest,
    /// A link that lost a manifest, or has only its lease.
    Link,
    /// The blob rows of a digest that lost a link.
    Blob,
}

/// Enqueues one review. A pending one starts its delay again.
pub(super) async fn enqueue(
    tx: &mut dyn Tx,
    repository: RepositoryId,
    kind: Kind,
    digest: &[u8],
) -> Result<(), SqlError> {
    let kind = match kind {
        Kind::Manifest => "manifest",
        Kind::Link => "link",
        Kind::Blob => "blob",
    };
    tx.execute(
        "INSERT INTO gc_review (tenant, repository, kind, digest, review_after) VALUES ($1, $2, $3, $4, {now} + $5)
         ON CONFLICT (tenant, repository, kind, digest) DO UPDATE SET review_after = excluded.review_after",
        params![repository.tenant, repository.id, kind, digest, milliseconds(REVIEW_DELAY)],
    )
    .await?;
    Ok(())
}

/// Enqueues all that a manifest keeps: its children, its links, and the manifests that have it as their subject. In one
/// order everywhere, so that two deletions cannot wait for each other.
pub(super) async fn enqueue_dependents(
    tx: &mut dyn Tx,
    repository: RepositoryId,
    manifest: &[u8],
) -> Result<(), SqlError> {
    let params = params![repository.tenant, repository.id, manifest, milliseconds(REVIEW_DELAY)];
    tx.execute(
        "INSERT INTO gc_review (tenant, repository, kind, digest, review_after)
         SELECT $1, $2, 'manifest', kept.digest, {now} + $4 FROM (
             SELECT child AS digest FROM manifest_child WHERE tenant = $1 AND repository = $2 AND parent = $3
             UNION
             SELECT digest FROM manifest WHERE tenant = $1 AND repository = $2 AND subject = $3
         ) AS kept WHERE true ORDER BY kept.digest
         ON CONFLICT (tenant, repository, kind, digest) DO UPDATE SET review_after = excluded.review_after",
        params,
    )
    .await?;
    tx.execute(
        "INSERT INTO gc_review (tenant, repository, kind, digest, review_after)
         SELECT tenant, repository, 'link', digest, {now} + $4 FROM manifest_blob
         WHERE tenant = $1 AND repository = $2 AND manifest = $3 ORDER BY digest
         ON CONFLICT (tenant, repository, kind, digest) DO UPDATE SET review_after = excluded.review_after",
        params,
    )
    .await?;
    Ok(())
}
