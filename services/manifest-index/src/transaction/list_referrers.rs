use std::collections::BTreeMap;

use async_trait::async_trait;
use entrepot_core::ports::index::Referrer;
use entrepot_core::{Digest, Page, PageOf};
use entrepot_sql::{Row, SqlError, Transaction, Tx, params};

use crate::column;
use crate::error::{Failure, Malformed};
use crate::repository::RepositoryId;

/// Annotations of a page in bytes, beyond which it ends early: each entry may carry half a MiB of them, and an answer
/// must stay a document that clients read (4 MiB).
const PAGE_BYTES: usize = 2 << 20;

/// Rows per statement, which bounds what is read beyond the end of a page.
const ROWS: u32 = 16;

/// One page of the manifests that have a subject.
pub(crate) struct ListReferrers {
    pub(crate) repository: RepositoryId,
    pub(crate) subject: Digest,
    pub(crate) artifact_type: Option<String>,
    pub(crate) page: Page,
}

#[async_trait]
impl Transaction for ListReferrers {
    type Output = PageOf<Referrer>;
    type Error = Failure;

    async fn run(&self, tx: &mut dyn Tx) -> Result<PageOf<Referrer>, Failure> {
        let mut page = PageOf { items: Vec::new(), next: None };
        let mut after = match self.page.after.as_deref().map(str::parse::<Digest>) {
            None => Vec::new(),
            Some(Ok(digest)) => column::digest(&digest),
            // Not a place this list ever named: nothing comes after it.
            Some(Err(_)) => return Ok(page),
        };
        let limit = usize::try_from(self.page.limit).unwrap_or(usize::MAX);
        let mut bytes = 0;
        loop {
            let rows = self.rows(tx, &after).await?;
            for row in &rows {
                let annotations: &str = row.get("annotations")?;
                let full =
                    page.items.len() >= limit || !page.items.is_empty() && bytes + annotations.len() > PAGE_BYTES;
                if full {
                    page.next = page.items.last().map(|last: &Referrer| last.digest.to_string());
                    return Ok(page);
                }
                bytes += annotations.len();
                let referrer = referrer(row)?;
                after = column::digest(&referrer.digest);
                page.items.push(referrer);
            }
            if rows.len() < ROWS as usize {
                return Ok(page);
            }
        }
    }
}

impl ListReferrers {
    async fn rows(&self, tx: &mut dyn Tx, after: &[u8]) -> Result<Vec<Row>, SqlError> {
        let subject = column::digest(&self.subject);
        let RepositoryId { tenant, id } = self.repository;
        match &self.artifact_type {
            None => {
                tx.query(
                    "SELECT digest, media_type, size, artifact_type, annotations FROM manifest
                     WHERE tenant = $1 AND repository = $2 AND subject = $3 AND digest > $4 ORDER BY digest LIMIT $5",
                    params![tenant, id, &subject, after, ROWS],
                )
                .await
            }
            Some(artifact_type) => {
                tx.query(
                    "SELECT digest, media_type, size, artifact_type, annotations FROM manifest
                     WHERE tenant = $1 AND repository = $2 AND subject = $3 AND digest > $4 AND artifact_type = $6
                     ORDER BY digest LIMIT $5",
                    params![tenant, id, &subject, after, ROWS, artifact_type],
                )
                .await
            }
        }
    }
}

fn referrer(row: &Row) -> Result<Referrer, Failure> {
    let annotations: &str = row.get("annotations")?;
    let annotations: BTreeMap<String, String> =
        serde_json::from_str(annotations).map_err(|_| Malformed { column: "annotations" })?;
    Ok(Referrer {
        digest: column::get_digest(row, "digest")?,
        media_type: column::get_parsed(row, "media_type")?,
        size: row.get("size")?,
        artifact_type: row.get("artifact_type")?,
        annotations,
    })
}
