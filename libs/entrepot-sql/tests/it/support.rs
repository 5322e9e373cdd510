//! Transactions from closures, and a way to make several wait for one commit.

use async_trait::async_trait;
use entrepot_sql::{Database, Migration, SqlError, Transaction, Tx, params};
use futures_util::future::BoxFuture;

pub(crate) const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    name: "items",
    sql: "CREATE TABLE parent (id {int} NOT NULL PRIMARY KEY) {strict};
          CREATE TABLE item (
              name {text} NOT NULL PRIMARY KEY,
              size {int} NOT NULL CONSTRAINT size_positive CHECK (size > 0),
              parent {int} REFERENCES parent (id) ON DELETE RESTRICT DEFERRABLE INITIALLY DEFERRED,
              body {bytes}
          ) {keyed}",
}];

/// A transaction from a closure.
pub(crate) struct Work<F>(pub(crate) F);

#[async_trait]
impl<F, T> Transaction for Work<F>
where
    F: for<'a> Fn(&'a mut dyn Tx) -> BoxFuture<'a, Result<T, SqlError>> + Send + Sync + 'static,
    T: Send + 'static,
{
    type Output = T;
    type Error = SqlError;

    async fn run(&self, tx: &mut dyn Tx) -> Result<T, SqlError> {
        (self.0)(tx).await
    }
}

pub(crate) fn work<F, T>(body: F) -> Work<F>
where
    F: for<'a> Fn(&'a mut dyn Tx) -> BoxFuture<'a, Result<T, SqlError>> + Send + Sync + 'static,
    T: Send + 'static,
{
    Work(body)
}

/// Inserts an item, fails the body afterwards if asked to.
pub(crate) struct Insert {
    pub(crate) name: String,
    pub(crate) size: i64,
    pub(crate) parent: Option<i64>,
    pub(crate) fail: bool,
}

pub(crate) fn insert(name: impl Into<String>) -> Insert {
    Insert { name: name.into(), size: 1, parent: None, fail: false }
}

#[async_trait]
impl Transaction for Insert {
    type Output = ();
    type Error = SqlError;

    async fn run(&self, tx: &mut dyn Tx) -> Result<(), SqlError> {
        tx.execute(
            "INSERT INTO item (name, parent, size) VALUES ($1, $3, $2)",
            params![&self.name, self.size, self.parent],
        )
        .await?;
        if self.fail { Err(SqlError::NoRow { sql: "asked to fail" }) } else { Ok(()) }
    }
}

/// The names of all items.
pub(crate) struct Names;

#[async_trait]
impl Transaction for Names {
    type Output = Vec<String>;
    type Error = SqlError;

    async fn run(&self, tx: &mut dyn Tx) -> Result<Vec<String>, SqlError> {
        let rows = tx.query("SELECT name FROM item ORDER BY name", &[]).await?;
        rows.iter().map(|row| row.get("name")).collect()
    }
}

pub(crate) async fn names(database: &Database) -> Vec<String> {
    database.read(Names).await.unwrap()
}

pub(crate) async fn database() -> Database {
    let database = Database::temporary().await.unwrap();
    database.migrate("test", MIGRATIONS).await.unwrap();
    database
}
