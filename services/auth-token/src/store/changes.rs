//! The list of changes of rights.
//!
//! Every transaction that changes what somebody may do [records](record) it before its commit. A token says the
//! [generation](ReadGeneration) that was read before anything else was read for it, so it knows every change up to that
//! one, whatever else was committed meanwhile; a verifier that knows a later change of its principal's refuses it. No
//! clock is compared with another.

use async_trait::async_trait;
use entrepot_core::Principal;
use entrepot_core::ports::auth::{CHANGES_KEPT, RightsChange, RightsChanges};
use entrepot_sql::{Row, SqlError, Transaction, Tx, params};

/// Most changes in one answer.
const PAGE: usize = 1000;

/// Records a change of `subject`. The last thing that a transaction does: it locks the counter until the commit.
pub(crate) async fn record(tx: &mut dyn Tx, subject: &Principal) -> Result<(), SqlError> {
    tx.execute("UPDATE auth_generation SET generation = generation + 1 WHERE id = 1", &[]).await?;
    tx.execute("DELETE FROM auth_change WHERE changed_at <= {now} - $1", params![kept()]).await?;
    tx.execute(
        "INSERT INTO auth_change (subject, generation, changed_at)
         SELECT $1, generation, {now} FROM auth_generation WHERE id = 1
         ON CONFLICT (subject) DO UPDATE SET generation = excluded.generation, changed_at = excluded.changed_at",
        params![&subject.to_string()],
    )
    .await?;
    Ok(())
}

/// The generation of all that is committed.
pub(crate) struct ReadGeneration;

#[async_trait]
impl Transaction for ReadGeneration {
    type Output = u64;
    type Error = SqlError;

    async fn run(&self, tx: &mut dyn Tx) -> Result<u64, SqlError> {
        let row = tx.query_opt("SELECT generation FROM auth_generation WHERE id = 1", &[]).await?;
        row.map_or(Ok(0), |row| generation(&row))
    }
}

/// Changes after a generation. One from before a restore of the database, which counts from a lower number again, starts
/// from the beginning.
pub(crate) struct ListChanges(pub(crate) u64);

#[async_trait]
impl Transaction for ListChanges {
    type Output = RightsChanges;
    type Error = SqlError;

    async fn run(&self, tx: &mut dyn Tx) -> Result<RightsChanges, SqlError> {
        // Before the changes: what is committed between the two is listed and only makes the cursor larger.
        let head = ReadGeneration.run(tx).await?;
        let after = if self.0 > head { 0 } else { self.0 };
        let rows = tx
            .query(
                "SELECT subject, generation FROM auth_change WHERE generation > $1 AND changed_at > {now} - $2
                 ORDER BY generation LIMIT $3",
                params![stored(after), kept(), stored(PAGE as u64)],
            )
            .await?;
        let changes = rows.iter().map(change).collect::<Result<Vec<_>, SqlError>>()?;
        let last = changes.last().map_or(0, |change| change.generation);
        let more = changes.len() == PAGE;
        Ok(RightsChanges { changes, cursor: if more { last } else { head.max(last) }, more })
    }
}

fn change(row: &Row) -> Result<RightsChange, SqlError> {
    let wrong = |_| SqlError::Column { column: "subject".into(), expected: "a principal" };
    let subject = row.get::<&str>("subject")?.parse().map_err(wrong)?;
    Ok(RightsChange { subject, generation: generation(row)? })
}

fn generation(row: &Row) -> Result<u64, SqlError> {
    let wrong = |_| SqlError::Column { column: "generation".into(), expected: "a number that counts up from zero" };
    u64::try_from(row.get::<i64>("generation")?).map_err(wrong)
}

/// As stored: no counter comes near the end of either type.
fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// In milliseconds.
fn kept() -> i64 {
    i64::try_from(CHANGES_KEPT.as_millis()).unwrap_or(i64::MAX)
}
