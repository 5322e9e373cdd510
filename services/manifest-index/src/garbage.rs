//! The port for keys that nothing names any more.

use std::time::Duration;

use async_trait::async_trait;
use entrepot_core::ports::garbage::{Garbage, GarbageQueue};
use entrepot_core::ports::index::IndexError;

use crate::index::Index;
use crate::transaction::acknowledge_garbage::AcknowledgeGarbage;
use crate::transaction::lease_garbage::LeaseGarbage;

#[async_trait]
impl GarbageQueue for Index {
    async fn lease(&self, limit: u32, hold: Duration, idle: Duration) -> Result<Vec<Garbage>, IndexError> {
        self.write(LeaseGarbage { limit, hold, idle }, ()).await
    }

    async fn acknowledge(&self, ids: &[u64]) -> Result<(), IndexError> {
        self.write(AcknowledgeGarbage { ids: ids.to_vec() }, ()).await
    }
}
