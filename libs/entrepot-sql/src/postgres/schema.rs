//! Migrations of a schema, by one process at a time.

use std::time::Duration;

use async_trait::async_trait;

use crate::{Migration, SqlError, Transaction, Tx, migration};

/// How long the migrations of others may take.
pub(super) const TURN: Duration = Duration::from_secs(600);

/// Begins a transaction that may change the schema: alone among all that do, after up to [`TURN`], and without a time limit
/// for the statements themselves. A statement that waits for a table makes everybody else wait behind it, so that wait
/// stays bounded; the transaction is tried again by whoever asked for it.
pub(super) fn begin_migration(schema: &str) -> String {
    let turn = TURN.as_secs();
    format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED;
         SET LOCAL statement_timeout = 0;
         SET LOCAL lock_timeout = '{turn}s';
         SELECT pg_advisory_xact_lock(hashtext('entrepot schema {schema}'));
         SET LOCAL lock_timeout = '5s';
         DO $$ BEGIN IF to_regnamespace('{schema}') IS NULL THEN CREATE SCHEMA \"{schema}\"; END IF; END $$"
    )
}

/// Whether the schema is one that this program can work with, without changing anything.
pub(super) struct CheckSchema {
    pub(super) owner: &'static str,
    pub(super) migrations: &'static [Migration],
}

#[async_trait]
impl Transaction for CheckSchema {
    type Output = ();
    type Error = SqlError;

    async fn run(&self, tx: &mut dyn Tx) -> Result<(), SqlError> {
        let known = self.migrations.last().map_or(0, |last| last.version);
        let too_old = |found| SqlError::SchemaTooOld { owner: self.owner, found, known };
        let sql = "SELECT to_regclass('schema_migrations') IS NOT NULL AS present";
        if !tx.query_one(sql, &[]).await?.get::<bool>("present")? {
            return Err(too_old(0));
        }
        let applied = migration::applied(tx, self.owner).await?;
        for (row, migration) in applied.iter().zip(self.migrations) {
            row.check(self.owner, migration)?;
        }
        if applied.len() < self.migrations.len() {
            return Err(too_old(applied.last().map_or(0, |last| last.version)));
        }
        // A newer program's migrations come before its replicas: what they add does not concern this program, but what
        // they take away does.
        match applied[self.migrations.len()..].iter().find(|row| row.contracts()) {
            Some(row) => Err(SqlError::SchemaTooNew { owner: self.owner, found: row.version, known }),
            None => Ok(()),
        }
    }
}
