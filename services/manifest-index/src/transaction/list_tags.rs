use async_trait::async_trait;
use entrepot_core::{Page, PageOf, Tag};
use entrepot_sql::{Transaction, Tx, params};

use super::{one_more, page_of};
use crate::column;
use crate::error::Failure;
use crate::repository::RepositoryId;

/// One page of a repository's tags: a range of the primary key.
pub(crate) struct ListTags {
    pub(crate) repository: RepositoryId,
    pub(crate) page: Page,
}

#[async_trait]
impl Transaction for ListTags {
    type Output = PageOf<Tag>;
    type Error = Failure;

    async fn run(&self, tx: &mut dyn Tx) -> Result<PageOf<Tag>, Failure> {
        // No tag sorts before or equals the empty text.
        let after = self.page.after.as_deref().unwrap_or_default();
        let rows = tx
            .query(
                "SELECT name FROM tag WHERE tenant = $1 AND repository = $2 AND name > $3 ORDER BY name LIMIT $4",
                params![self.repository.tenant, self.repository.id, after, one_more(self.page.limit)],
            )
            .await?;
        let tags: Vec<Tag> = rows.iter().map(|row| column::get_parsed(row, "name")).collect::<Result<_, _>>()?;
        Ok(page_of(tags, self.page.limit, |tag| tag.as_str().to_owned()))
    }
}
