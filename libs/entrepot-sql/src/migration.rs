//! Numbered schema changes, applied once and remembered with their checksum.

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use crate::{SqlError, Transaction, Tx, params};

/// One step of a schema. Once released its text never changes.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Counts up from 1 without gaps.
    pub version: i64,
    /// A few words, for people.
    pub name: &'static str,
    /// Statements with [fragments](crate::dialect), without parameters.
    pub sql: &'static str,
}

/// Brings the schema of one owner up to date; answers how many steps that took.
pub(crate) struct Migrate {
    pub(crate) owner: &'static str,
    pub(crate) migrations: &'static [Migration],
}

#[async_trait]
impl Transaction for Migrate {
    type Output = usize;
    type Error = SqlError;

    async fn run(&self, tx: &mut dyn Tx) -> Result<usize, SqlError> {
        tx.batch(
            "CREATE TABLE IF NOT EXISTS schema_migrations (
                owner {text} NOT NULL,
                version {int} NOT NULL,
                name {text} NOT NULL,
                checksum {text} NOT NULL,
                applied_at {int} NOT NULL,
                PRIMARY KEY (owner, version)
            ) {keyed}",
        )
        .await?;
        let applied = self.check_applied(tx).await?;
        let pending = &self.migrations[applied..];
        for migration in pending {
            tx.batch(migration.sql).await?;
            tx.execute(
                "INSERT INTO schema_migrations (owner, version, name, checksum, applied_at)
                 VALUES ($1, $2, $3, $4, {now})",
                params![self.owner, migration.version, migration.name, &checksum(migration)],
            )
            .await?;
        }
        Ok(pending.len())
    }
}

impl Migrate {
    /// Compares what was applied with what the program knows; answers how many steps were applied.
    async fn check_applied(&self, tx: &mut dyn Tx) -> Result<usize, SqlError> {
        let rows = tx
            .query(
                "SELECT version, checksum FROM schema_migrations WHERE owner = $1 ORDER BY version",
                params![self.owner],
            )
            .await?;
        for (position, row) in rows.iter().enumerate() {
            let version: i64 = row.get("version")?;
            let Some(migration) = self.migrations.get(position) else {
                let known = self.migrations.last().map_or(0, |last| last.version);
                return Err(SqlError::SchemaTooNew { owner: self.owner, found: version, known });
            };
            if version != migration.version || row.get::<&str>("checksum")? != checksum(migration) {
                return Err(SqlError::SchemaChanged { owner: self.owner, version });
            }
        }
        Ok(rows.len())
    }
}

/// Over the text before expansion, so that it is the same on every engine.
fn checksum(migration: &Migration) -> String {
    hex::encode(Sha256::digest(migration.sql))
}
