//! Numbered schema changes, applied once and remembered with their checksum.

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use crate::{Row, SqlError, Transaction, Tx, params};

/// One step of a schema. Once released its text never changes.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Counts up from 1 without gaps.
    pub version: i64,
    /// A few words, for people. A step that takes away what the release before needs begins with
    /// [`CONTRACT`](Self::CONTRACT).
    pub name: &'static str,
    /// Statements with [fragments](crate::dialect), without parameters.
    pub sql: &'static str,
}

impl Migration {
    /// How the name of a step begins after which programs that do not know it cannot work. All other steps only add, so
    /// that the replicas of the release before go on working while they are replaced.
    pub const CONTRACT: &str = "contract: ";
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
        let applied = applied(tx, self.owner).await?;
        for (position, row) in applied.iter().enumerate() {
            let Some(migration) = self.migrations.get(position) else {
                let known = self.migrations.last().map_or(0, |last| last.version);
                return Err(SqlError::SchemaTooNew { owner: self.owner, found: row.version, known });
            };
            row.check(self.owner, migration)?;
        }
        Ok(applied.len())
    }
}

/// A step that was applied to this database.
pub(crate) struct Applied {
    pub(crate) version: i64,
    name: String,
    checksum: String,
}

impl Applied {
    /// Refuses a step that is not the one the program has at its place.
    pub(crate) fn check(&self, owner: &'static str, migration: &Migration) -> Result<(), SqlError> {
        if self.version == migration.version && self.checksum == checksum(migration) {
            return Ok(());
        }
        Err(SqlError::SchemaChanged { owner, version: self.version })
    }

    /// Whether programs that do not know this step cannot work after it.
    pub(crate) fn contracts(&self) -> bool {
        self.name.starts_with(Migration::CONTRACT)
    }
}

/// The steps applied so far, in order.
pub(crate) async fn applied(tx: &mut dyn Tx, owner: &str) -> Result<Vec<Applied>, SqlError> {
    let rows = tx
        .query(
            "SELECT version, name, checksum FROM schema_migrations WHERE owner = $1 ORDER BY version",
            params![owner],
        )
        .await?;
    let read = |row: &Row| {
        Ok(Applied { version: row.get("version")?, name: row.get("name")?, checksum: row.get("checksum")? })
    };
    rows.iter().map(read).collect()
}

/// Over the text before expansion, so that it is the same on every engine.
fn checksum(migration: &Migration) -> String {
    hex::encode(Sha256::digest(migration.sql))
}
