//! The two traits that separate what a transaction does from the engine that runs it.

use async_trait::async_trait;

use crate::{Param, Row, SqlError};

/// The statements of one running transaction.
///
/// Texts are `'static`, so that no value can ever become part of one and each is prepared once.
#[async_trait]
pub trait Tx: Send {
    /// Runs a statement that returns no rows; answers how many rows it changed.
    async fn execute(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<u64, SqlError>;

    /// Runs a statement that returns rows, `RETURNING` included, and answers all of them.
    async fn query(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>, SqlError>;

    /// Runs several statements without parameters, as migrations do. `{now}` cannot stand here.
    async fn batch(&mut self, sql: &'static str) -> Result<(), SqlError>;

    /// The first row, if there is one.
    async fn query_opt(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<Option<Row>, SqlError> {
        Ok(self.query(sql, params).await?.into_iter().next())
    }

    /// The first row, or [`SqlError::NoRow`].
    async fn query_one(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<Row, SqlError> {
        self.query_opt(sql, params).await?.ok_or(SqlError::NoRow { sql })
    }
}

/// A unit of work that takes effect as a whole or not at all.
///
/// The body may run more than once (after a conflict with another transaction, or when a failure of a neighbour
/// undid a shared commit), so it changes nothing but the database. It awaits nothing but its [`Tx`]: on SQLite
/// every other writer waits for it. `Err` undoes everything the body did. A failed statement is final: the body can
/// only return (use `ON CONFLICT` where a conflict is expected).
#[async_trait]
pub trait Transaction: Send + Sync + 'static {
    /// What the caller gets after the commit.
    type Output: Send + 'static;
    /// Why the body undid itself.
    type Error: From<SqlError> + Send + 'static;

    /// The body.
    async fn run(&self, tx: &mut dyn Tx) -> Result<Self::Output, Self::Error>;
}
