//! Bytes that nothing names any more: the port through which gc-worker gets its work.

use std::time::Duration;

use async_trait::async_trait;

use crate::ports::index::IndexError;
use crate::storage_key::StorageKey;

/// One key to delete at blob-store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Garbage {
    /// Names the work item.
    pub id: u64,
    /// What to delete. Terminal: no request will use this key again.
    pub key: StorageKey,
    /// Why it is garbage, for the audit log: `abandoned-upload`, `cancelled-upload`, `duplicate`.
    pub reason: String,
}

/// Work of gc-worker, leased so that any number of workers may run and any may die.
///
/// # Contract
/// - `lease` first turns upload sessions idle for `idle` into dead ones (compare-and-set, so that
///   a client that comes back in the same moment either wins or finds its session gone), then
///   hands out items that no other worker holds. An item comes back when `hold` has passed
///   without an acknowledgement.
/// - A session being completed (`finalizing`) counts as abandoned only after `idle` as well, and
///   a key whose blob row is live is never handed out.
/// - Only the database's clock is used.
#[async_trait]
pub trait GarbageQueue: Send + Sync + 'static {
    /// Takes up to `limit` items for `hold`. Sessions count as abandoned after `idle` without a
    /// byte; completed ones are forgotten after 24 hours.
    async fn lease(&self, limit: u32, hold: Duration, idle: Duration) -> Result<Vec<Garbage>, IndexError>;

    /// The bytes of these items are gone: forgets the items. Unknown ids are ignored.
    async fn acknowledge(&self, ids: &[u64]) -> Result<(), IndexError>;
}
