use async_trait::async_trait;
use entrepot_sql::{Transaction, Tx, params};

use crate::error::Failure;

/// Forgets keys whose bytes are gone. Ids that are not queued are ignored: another worker was faster.
pub(crate) struct AcknowledgeGarbage {
    pub(crate) ids: Vec<u64>,
}

#[async_trait]
impl Transaction for AcknowledgeGarbage {
    type Output = ();
    type Error = Failure;

    async fn run(&self, tx: &mut dyn Tx) -> Result<(), Failure> {
        // Ids are never above what the database can store, so others are not queued either.
        let mut ids: Vec<i64> = self.ids.iter().filter_map(|id| i64::try_from(*id).ok()).collect();
        // In order: two workers with the same keys cannot wait for each other.
        ids.sort_unstable();
        for id in ids {
            tx.execute("DELETE FROM garbage WHERE id = $1", params![id]).await?;
        }
        Ok(())
    }
}
