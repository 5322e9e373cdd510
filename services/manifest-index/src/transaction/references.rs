//! Locking what a manifest references, and recording that it does.

use std::collections::HashSet;

use entrepot_core::Digest;
use entrepot_core::manifest::{ManifestReference, ReferenceKind};
use entrepot_core::ports::IndexError;
use entrepot_sql::{Param, Row, SqlError, Tx};

use crate::column;
use crate::error::Failure;
use crate::repository::RepositoryId;

/// Digests per statement: an image takes one, the largest manifest allowed 625.
const CHUNK: usize = 16;

/// The parameters after tenant and repository that hold a chunk.
macro_rules! chunk {
    () => {
        "($3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)"
    };
}

/// What a manifest will keep, all of it locked and present.
pub(super) struct Edges {
    children: Vec<Vec<u8>>,
    blobs: Vec<Vec<u8>>,
}

/// Locks every reference against deletion for the rest of the transaction: the manifests first, then the links, each
/// in the order of their digests, so that two pushes cannot wait for each other.
///
/// Only links whose blob is live count: one that is on its way out cannot be held any more.
pub(super) async fn lock(
    tx: &mut dyn Tx,
    repository: RepositoryId,
    references: &[ManifestReference],
) -> Result<Edges, Failure> {
    let listed = references.iter().filter(|reference| reference.kind == ReferenceKind::Child);
    let listed: Vec<Digest> = listed.map(|reference| reference.digest).collect();
    let children = find(
        tx,
        repository,
        &listed,
        concat!(
            "SELECT digest FROM manifest WHERE tenant = $1 AND repository = $2 AND digest IN ",
            chunk!(),
            " ORDER BY digest {share}"
        ),
    )
    .await?;
    let rest: Vec<Digest> =
        references.iter().map(|reference| reference.digest).filter(|digest| !children.contains(digest)).collect();
    let blobs = find(
        tx,
        repository,
        &rest,
        concat!(
            "SELECT link.digest FROM link JOIN blob ON blob.id = link.blob AND blob.state = 'live'
             WHERE link.tenant = $1 AND link.repository = $2 AND link.digest IN ",
            chunk!(),
            " ORDER BY link.digest {share link, blob}"
        ),
    )
    .await?;
    let absent = |reference: &&ManifestReference| {
        reference.kind != ReferenceKind::ForeignBlob
            && !children.contains(&reference.digest)
            && !blobs.contains(&reference.digest)
    };
    let missing: Vec<Digest> = references.iter().filter(absent).map(|reference| reference.digest).collect();
    if !missing.is_empty() {
        return Err(IndexError::ReferencesMissing(missing).into());
    }
    Ok(Edges {
        children: children.iter().map(column::digest).collect(),
        blobs: blobs.iter().map(column::digest).collect(),
    })
}

async fn find(
    tx: &mut dyn Tx,
    repository: RepositoryId,
    digests: &[Digest],
    sql: &'static str,
) -> Result<HashSet<Digest>, Failure> {
    let digests: Vec<Vec<u8>> = digests.iter().map(column::digest).collect();
    let mut found = HashSet::new();
    for chunk in digests.chunks(CHUNK) {
        let rows: Vec<Row> = tx.query(sql, &chunk_params(repository, chunk)).await?;
        for row in &rows {
            found.insert(column::get_digest(row, "digest")?);
        }
    }
    Ok(found)
}

/// Records the edges of a manifest; those already there stay.
pub(super) async fn insert(
    tx: &mut dyn Tx,
    repository: RepositoryId,
    manifest: &[u8],
    edges: &Edges,
) -> Result<(), SqlError> {
    for chunk in edges.children.chunks(CHUNK) {
        let mut params = chunk_params(repository, chunk);
        params.push(Param::Blob(manifest));
        tx.execute(
            concat!(
                "INSERT INTO manifest_child (tenant, repository, parent, child)
                 SELECT tenant, repository, CAST($19 AS {bytes}), digest FROM manifest
                 WHERE tenant = $1 AND repository = $2 AND digest IN ",
                chunk!(),
                " ON CONFLICT DO NOTHING"
            ),
            &params,
        )
        .await?;
    }
    for chunk in edges.blobs.chunks(CHUNK) {
        let mut params = chunk_params(repository, chunk);
        params.push(Param::Blob(manifest));
        tx.execute(
            concat!(
                "INSERT INTO manifest_blob (tenant, repository, manifest, digest)
                 SELECT tenant, repository, CAST($19 AS {bytes}), digest FROM link
                 WHERE tenant = $1 AND repository = $2 AND digest IN ",
                chunk!(),
                " ON CONFLICT DO NOTHING"
            ),
            &params,
        )
        .await?;
    }
    Ok(())
}

/// Tenant, repository and up to [`CHUNK`] digests; a shorter chunk repeats its last one, so that one text serves all.
fn chunk_params<'a>(repository: RepositoryId, chunk: &'a [Vec<u8>]) -> Vec<Param<'a>> {
    let digests = chunk.iter().chain(std::iter::repeat_n(&chunk[chunk.len() - 1], CHUNK - chunk.len()));
    [Param::Int(repository.tenant), Param::Int(repository.id)].into_iter().chain(digests.map(Param::from)).collect()
}
