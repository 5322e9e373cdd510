//! Pages of keys.

use std::collections::BTreeMap;

use super::fault::Fault;
use super::{Inner, TAILS};
use crate::{ListQuery, ObjectEntry, ObjectKey, ObjectMeta};

impl Inner {
    /// One page of objects.
    pub(super) async fn sealed(&self, query: &ListQuery) -> Result<Vec<ObjectEntry>, Fault> {
        let mut entries = Vec::new();
        let mut after = query.after.clone();
        while entries.len() < query.limit {
            let page = self.bucket.list(&query.prefix, after.as_deref(), query.limit - entries.len()).await?;
            after = page.items.last().map(|found| found.key.clone());
            // The driver's own objects have names that no key has.
            entries.extend(
                page.items.into_iter().filter_map(|f| Some(ObjectEntry { key: f.key.parse().ok()?, meta: f.meta })),
            );
            if !page.more || after.is_none() {
                break;
            }
        }
        Ok(entries)
    }

    /// One page of keys with multipart uploads or tails.
    pub(super) async fn unsealed(&self, query: &ListQuery) -> Result<Vec<ObjectEntry>, Fault> {
        let mut found = BTreeMap::<ObjectKey, ObjectMeta>::new();
        self.add_uploads(query, &mut found).await?;
        self.add_tails(query, &mut found).await?;
        Ok(found.into_iter().take(query.limit).map(|(key, meta)| ObjectEntry { key, meta }).collect())
    }

    async fn add_uploads(&self, query: &ListQuery, found: &mut BTreeMap<ObjectKey, ObjectMeta>) -> Result<(), Fault> {
        let mut after = query.after.clone();
        loop {
            let page = self.bucket.uploads(&query.prefix, after.as_deref()).await?;
            after = page.items.last().map(|upload| upload.key.clone());
            for upload in page.items {
                let Some(key) = wanted(query, &upload.key) else { continue };
                let size = match self.bucket.size_of_upload(&upload.key, &upload.id).await {
                    // Sealed or aborted meanwhile.
                    Err(Fault::NoUpload | Fault::Missing) => continue,
                    other => other?,
                };
                let meta = found.entry(key).or_insert(ObjectMeta { size: 0, modified: upload.begun });
                meta.size += size;
            }
            if !page.more || after.is_none() || found.len() >= query.limit {
                return Ok(());
            }
        }
    }

    async fn add_tails(&self, query: &ListQuery, found: &mut BTreeMap<ObjectKey, ObjectMeta>) -> Result<(), Fault> {
        let prefix = format!("{TAILS}{}", query.prefix);
        // `"` follows the `!` between a key and the rest of a tail's name.
        let mut after = query.after.as_ref().map(|after| format!("{TAILS}{after}\""));
        let mut keys = 0;
        loop {
            let page = self.bucket.list(&prefix, after.as_deref(), 1000).await?;
            after = page.items.last().map(|tail| tail.key.clone());
            for tail in page.items {
                let key = tail.key.strip_prefix(TAILS).and_then(|key| key.split_once('!'));
                let Some(key) = key.and_then(|(key, _)| wanted(query, key)) else { continue };
                let meta = found.entry(key).or_insert_with(|| {
                    keys += 1;
                    ObjectMeta { size: 0, modified: tail.meta.modified }
                });
                meta.size += tail.meta.size;
            }
            if !page.more || after.is_none() || keys > query.limit {
                return Ok(());
            }
        }
    }
}

fn wanted(query: &ListQuery, key: &str) -> Option<ObjectKey> {
    let fits = key.starts_with(&query.prefix) && query.after.as_deref().is_none_or(|after| key > after);
    fits.then(|| key.parse().ok()).flatten()
}
