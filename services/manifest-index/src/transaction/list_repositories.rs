use async_trait::async_trait;
use entrepot_core::ports::index::Visibility;
use entrepot_core::{Page, PageOf, RepositoryName, TenantName};
use entrepot_sql::{Transaction, Tx, params};

use super::{one_more, page_of};
use crate::column;
use crate::error::Failure;

/// One page of the repositories that the caller may know of.
pub(crate) struct ListRepositories {
    pub(crate) visibility: Visibility,
    pub(crate) page: Page,
}

#[async_trait]
impl Transaction for ListRepositories {
    type Output = PageOf<RepositoryName>;
    type Error = Failure;

    async fn run(&self, tx: &mut dyn Tx) -> Result<PageOf<RepositoryName>, Failure> {
        // The first text after a name: no name holds a character this low.
        let start = self.page.after.as_ref().map(|after| format!("{after}\u{1}")).unwrap_or_default();
        let mut names = Vec::new();
        for (from, to) in ranges(&self.visibility) {
            let missing = one_more(self.page.limit) - i64::try_from(names.len()).unwrap_or(i64::MAX);
            if missing <= 0 {
                break;
            }
            // One bound below, so that the engine begins to read there.
            let from = from.max(start.clone());
            if to <= from {
                continue;
            }
            let rows = tx
                .query(
                    "SELECT name FROM repository WHERE name >= $1 AND name < $2 ORDER BY name LIMIT $3",
                    params![&from, &to, missing],
                )
                .await?;
            for row in &rows {
                names.push(column::get_parsed(row, "name")?);
            }
        }
        if self.sees_library() {
            self.add_library(tx, &start, &mut names).await?;
        }
        Ok(page_of(names, self.page.limit, |name: &RepositoryName| name.as_str().to_owned()))
    }
}

impl ListRepositories {
    fn sees_library(&self) -> bool {
        match &self.visibility {
            Visibility::All => false,
            Visibility::Only(entries) => {
                entries.iter().any(|entry| entry.strip_suffix('/') == Some(TenantName::LIBRARY))
            }
        }
    }

    /// Adds the repositories of the tenant whose names are no range: those of one component lie among all others.
    async fn add_library(&self, tx: &mut dyn Tx, start: &str, names: &mut Vec<RepositoryName>) -> Result<(), Failure> {
        let rows = tx
            .query(
                "SELECT repository.name FROM tenant JOIN repository ON repository.tenant = tenant.id
                 WHERE tenant.name = $1 AND repository.name >= $2 ORDER BY repository.name LIMIT $3",
                params![TenantName::LIBRARY, start, one_more(self.page.limit)],
            )
            .await?;
        for row in &rows {
            names.push(column::get_parsed(row, "name")?);
        }
        names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        names.dedup();
        Ok(())
    }
}

/// The visible names as ranges `[from, to)` that do not overlap, in order: what one gives after the other is sorted.
fn ranges(visibility: &Visibility) -> Vec<(String, String)> {
    let mut ranges: Vec<(String, String)> = match visibility {
        // Names are lower-case ASCII.
        Visibility::All => return vec![(String::new(), "\u{7f}".to_owned())],
        Visibility::Only(entries) => entries.iter().map(|entry| range(entry)).collect(),
    };
    ranges.sort();
    ranges.dedup_by(|next, kept| next.0 < kept.1);
    ranges
}

fn range(entry: &str) -> (String, String) {
    match entry.strip_suffix('/') {
        // '0' follows '/'.
        Some(prefix) => (entry.to_owned(), format!("{prefix}0")),
        // Only the entry itself lies between.
        None => (entry.to_owned(), format!("{entry}\u{1}")),
    }
}

#[cfg(test)]
mod tests;
