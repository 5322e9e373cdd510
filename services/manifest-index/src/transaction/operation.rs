//! What keeps a write from taking effect twice.
//!
//! When the answer of a commit got lost the write runs again, and meanwhile others may have built on what it did: a tag
//! that was moved on must not be moved back. So each such write inserts its name in its own transaction. The key is
//! unique: a second run waits until the first is committed or undone, and then knows which of the two it was.

use entrepot_sql::{SqlError, Tx, params};
use uuid::Uuid;

use crate::retention::{OPERATION_MEMORY, milliseconds};

/// The name of one write, however often its body runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation(Uuid);

/// Forgotten in one call: bounds how long other writers wait.
const FORGOTTEN: u32 = 20_000;

impl Operation {
    /// A name for a new write. Random in 122 bits: one that another had before would not take effect at all.
    pub(crate) fn new() -> Self {
        Self(Uuid::new_v4())
    }

    /// Records that this write takes effect with this transaction; false where it has in an earlier one, and there is
    /// nothing left to do.
    pub(super) async fn begin(self, tx: &mut dyn Tx, tenant: i64) -> Result<bool, SqlError> {
        let recorded = tx
            .execute(
                "INSERT INTO operation (tenant, id, done_at) VALUES ($1, $2, {now}) ON CONFLICT (tenant, id) DO NOTHING",
                params![tenant, self.0.as_bytes().as_slice()],
            )
            .await?;
        Ok(recorded == 1)
    }
}

/// Forgets writes that nobody can be in doubt about any more.
pub(super) async fn forget(tx: &mut dyn Tx) -> Result<(), SqlError> {
    tx.execute(
        "WITH old AS MATERIALIZED (
             SELECT tenant, id FROM operation WHERE done_at < {now} - $1 ORDER BY done_at
             LIMIT $2 {update} {skip_locked}
         ) DELETE FROM operation WHERE (tenant, id) IN (SELECT tenant, id FROM old)",
        params![milliseconds(OPERATION_MEMORY), FORGOTTEN],
    )
    .await?;
    Ok(())
}
