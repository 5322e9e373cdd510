//! Keys that no row names but the garbage queue.

use entrepot_core::StorageKey;
use entrepot_sql::{SqlError, Tx, params};

use crate::column;

/// Why a key is garbage, as the audit log names it.
#[derive(Clone, Copy)]
pub(super) enum Reason {
    /// The session was idle for too long.
    Abandoned,
    /// The client cancelled the session, or its content did not have the digest.
    Cancelled,
    /// The digest was stored under another key already.
    Duplicate,
}

/// Hands a key to the garbage queue.
///
/// A key that is queued already gets a new id: a worker that holds the old one may have deleted the bytes before the
/// last of them were written, so its acknowledgement must not count.
pub(super) async fn enqueue(tx: &mut dyn Tx, key: StorageKey, reason: Reason) -> Result<(), SqlError> {
    let reason = match reason {
        Reason::Abandoned => "abandoned-upload",
        Reason::Cancelled => "cancelled-upload",
        Reason::Duplicate => "duplicate",
    };
    tx.execute(
        "INSERT INTO garbage (id, key, reason, queued_at, held_until) VALUES ($1, $2, $3, {now}, {now})
         ON CONFLICT (key) DO UPDATE SET id = excluded.id",
        params![column::fresh_id(), &key.to_string(), reason],
    )
    .await?;
    Ok(())
}
