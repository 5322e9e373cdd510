//! One way to write SQL transactions, run by whichever engine holds the data.
//!
//! A [`Transaction`] is a value with a body. The body sees only a [`Tx`], so the same text and the same
//! decisions run on every engine; [`Database`] chooses where. On one machine that is SQLite: one writer thread
//! that commits many transactions with one sync to disk, and a pool of readers that never block it. In a fleet it is
//! PostgreSQL: any number of processes, and row locks where SQLite has only the one writer.
//!
//! SQL is written once, with `$1..$n` for parameters and a few [fragments](dialect) in braces where engines
//! differ, above all `{now}`: the database's clock is the only clock that decides anything.
//!
//! ```
//! use entrepot_sql::{params, Database, Migration, SqlError, Transaction, Tx};
//!
//! const MIGRATIONS: &[Migration] = &[Migration {
//!     version: 1,
//!     name: "tags",
//!     sql: "CREATE TABLE tag (name {text} NOT NULL PRIMARY KEY, digest {text} NOT NULL, moved_at {int} NOT NULL) {keyed}",
//! }];
//!
//! struct MoveTag { name: String, digest: String }
//!
//! #[async_trait::async_trait]
//! impl Transaction for MoveTag {
//!     type Output = Option<String>;
//!     type Error = SqlError;
//!
//!     async fn run(&self, tx: &mut dyn Tx) -> Result<Option<String>, SqlError> {
//!         let old = tx.query_opt("SELECT digest FROM tag WHERE name = $1 {update}", params![&self.name]).await?;
//!         tx.execute(
//!             "INSERT INTO tag (name, digest, moved_at) VALUES ($1, $2, {now})
//!              ON CONFLICT (name) DO UPDATE SET digest = excluded.digest, moved_at = excluded.moved_at",
//!             params![&self.name, &self.digest],
//!         ).await?;
//!         old.map(|row| row.get("digest")).transpose()
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), SqlError> {
//! let database = Database::temporary().await?; // in a service: SqliteOptions::new(path).open()?
//! database.migrate("example", MIGRATIONS).await?;
//! let old = database.write(MoveTag { name: "latest".into(), digest: "sha256:aa".into() }).await?;
//! assert_eq!(old, None); // on disk by now
//! database.close().await
//! # }
//! ```

mod database;
pub mod dialect;
mod error;
mod migration;
mod postgres;
mod row;
mod sqlite;
mod transaction;
mod value;

pub use database::{Database, Stats};
pub use error::{Cause, ConstraintKind, SqlError};
pub use migration::Migration;
#[cfg(feature = "testing")]
pub use postgres::testing;
pub use postgres::{PostgresOptions, PostgresUrlError};
pub use row::{Column, Row};
pub use sqlite::SqliteOptions;
pub use transaction::{Transaction, Tx};
pub use value::{FromValue, Param, Value, list};
