use std::time::Duration;

use async_trait::async_trait;
use entrepot_core::ports::garbage::Garbage;
use entrepot_sql::{SqlError, Transaction, Tx, params};

use super::{operation, orphan, session};
use crate::column;
use crate::error::Failure;
use crate::retention::{SESSION_MEMORY, milliseconds};

/// Sessions ended or forgotten in one call: bounds how long other writers wait.
const SESSIONS: u32 = 500;

/// Ends abandoned sessions, forgets old ones and old writes, and hands out keys that no other worker holds.
pub(crate) struct LeaseGarbage {
    pub(crate) limit: u32,
    pub(crate) hold: Duration,
    pub(crate) idle: Duration,
}

#[async_trait]
impl Transaction for LeaseGarbage {
    type Output = Vec<Garbage>;
    type Error = Failure;

    async fn run(&self, tx: &mut dyn Tx) -> Result<Vec<Garbage>, Failure> {
        self.end_abandoned(tx).await?;
        forget_sessions(tx).await?;
        operation::forget(tx).await?;
        // A key whose bytes a blob row still stands for is left alone, whatever queued it. The choice is made once, or a
        // plan that makes it again for every row would take more than the limit.
        let rows = tx
            .query(
                "WITH due AS MATERIALIZED (
                     SELECT id FROM garbage WHERE held_until <= {now}
                     AND NOT EXISTS (SELECT 1 FROM blob WHERE blob.key = garbage.key AND blob.state <> 'deleting')
                     ORDER BY held_until LIMIT $2 {update garbage} {skip_locked}
                 ) UPDATE garbage SET held_until = {now} + $1 WHERE id IN (SELECT id FROM due)
                 RETURNING id, key, reason",
                params![milliseconds(self.hold), self.limit],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Garbage { id: row.get("id")?, key: column::get_parsed(row, "key")?, reason: row.get("reason")? })
            })
            .collect()
    }
}

impl LeaseGarbage {
    async fn end_abandoned(&self, tx: &mut dyn Tx) -> Result<(), Failure> {
        // One that a request takes over in this moment is locked by it, and left out.
        let abandoned = tx
            .query(
                "SELECT id, key FROM upload WHERE state IN ('open', 'finalizing') AND updated_at < {now} - $1
                 ORDER BY updated_at LIMIT $2 {update} {skip_locked}",
                params![milliseconds(self.idle), SESSIONS],
            )
            .await?;
        for row in &abandoned {
            session::kill(tx, row.get("id")?).await?;
            orphan::enqueue(tx, column::get_parsed(row, "key")?, orphan::Reason::Abandoned).await?;
        }
        Ok(())
    }
}

/// Sessions that are over stay known for a while: done ones for repeated completions, dead ones so that what a late
/// request wrote is found.
async fn forget_sessions(tx: &mut dyn Tx) -> Result<(), SqlError> {
    tx.execute(
        "WITH old AS MATERIALIZED (
             SELECT id FROM upload WHERE state IN ('done', 'dead') AND updated_at < {now} - $1
             LIMIT $2 {update} {skip_locked}
         ) DELETE FROM upload WHERE id IN (SELECT id FROM old)",
        params![milliseconds(SESSION_MEMORY), SESSIONS],
    )
    .await?;
    Ok(())
}
