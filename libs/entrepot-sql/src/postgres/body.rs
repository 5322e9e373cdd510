//! The body of a transaction, running on one connection.

use std::sync::{Arc, atomic::Ordering};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use sqlx::{
    AssertSqlSafe, Executor,
    postgres::{PgArguments, PgConnection},
    query_with, raw_sql,
};

use super::{
    Postgres,
    error::{self, Failed, Verdict},
    pool::{Age, Pooled},
    value,
};
use crate::{Param, Row, SqlError, Tx, dialect::Expanded};

/// How a body runs.
pub(super) enum Kind {
    /// In a transaction.
    Write,
    /// In a transaction that begins with this, once all others of its kind have ended.
    Migrate { begin: String },
    /// In a transaction that sees one snapshot and may not write.
    Read,
    /// Without a transaction, for one look-up: a snapshot of its own, and one trip to the server instead of three.
    Look,
}

impl Kind {
    pub(super) fn writes(&self) -> bool {
        matches!(self, Self::Write | Self::Migrate { .. })
    }
}

/// The statements of one running transaction.
pub(super) struct Body<'c> {
    engine: &'c Postgres,
    connection: &'c mut PgConnection,
    age: Age,
    kind: &'c Kind,
    /// Set by the first failed statement, after which the server refuses all others.
    failure: Option<Verdict>,
}

impl<'c> Body<'c> {
    pub(super) fn new(engine: &'c Postgres, pooled: &'c mut Pooled, kind: &'c Kind) -> Self {
        let (connection, age) = pooled.connection();
        Self { engine, connection, age, kind, failure: None }
    }

    /// What the first failed statement left behind, if one failed.
    pub(super) fn into_failure(self) -> Option<Verdict> {
        self.failure
    }

    /// Remembers a failure.
    fn failed<T>(&mut self, outcome: Result<T, Failed<SqlError>>) -> Result<T, SqlError> {
        outcome.map_err(|failed| {
            self.failure.get_or_insert(failed.verdict);
            failed.error
        })
    }

    async fn run<'a, T>(
        &'a mut self,
        sql: &'static str,
        params: &[Param<'_>],
        run: impl FnOnce(&'a mut PgConnection, Prepared) -> BoxFuture<'a, Result<T, sqlx::Error>>,
    ) -> Result<T, Failed<SqlError>> {
        let prepared = self.prepare(sql, params).map_err(Failed::finally)?;
        let Self { engine, connection, age, kind, .. } = self;
        #[cfg(feature = "testing")]
        engine.tampering.reach(sql).await;
        let outcome = engine.pool.answer(*age, engine.answer_timeout, run(connection, prepared)).await;
        outcome.map_err(error::no_answer)?.map_err(|error| error::statement(sql, error, kind))
    }

    fn prepare(&self, sql: &'static str, params: &[Param<'_>]) -> Result<Prepared, SqlError> {
        let expanded = self.engine.expand(sql)?;
        if expanded.params != params.len() {
            let reason = format!("it has {} parameters and got {}", expanded.params, params.len());
            return Err(SqlError::statement(sql, reason));
        }
        let shift = expanded.shifts_clock.then(|| self.engine.clock_shift.load(Ordering::Relaxed));
        let arguments = value::arguments(params.iter().copied().chain(shift.map(Param::Int)));
        let arguments = arguments.map_err(|error| SqlError::Statement { sql: sql.to_owned(), source: error.into() })?;
        Ok(Prepared { sql: text(&expanded, params), arguments })
    }
}

/// A statement with its parameters bound.
struct Prepared {
    sql: Arc<str>,
    arguments: PgArguments,
}

/// The text to prepare. The type of a `NULL` is the server's guess, and a prepared statement keeps its types, so each
/// combination of `NULL`s is a statement of its own.
fn text(expanded: &Expanded, params: &[Param<'_>]) -> Arc<str> {
    let mut nulls = String::new();
    for (position, _) in params.iter().enumerate().filter(|(_, param)| **param == Param::Null) {
        nulls.push_str(&format!(" ${}", position + 1));
    }
    if nulls.is_empty() { Arc::clone(&expanded.sql) } else { format!("{} /* null:{nulls} */", expanded.sql).into() }
}

#[async_trait]
impl Tx for Body<'_> {
    async fn execute(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<u64, SqlError> {
        if matches!(self.kind, Kind::Look) {
            return self.failed(Err(only_looks(sql)));
        }
        let outcome = self
            .run(sql, params, |connection, Prepared { sql, arguments }| {
                connection.execute(query_with(AssertSqlSafe(sql), arguments))
            })
            .await;
        self.failed(outcome).map(|done| done.rows_affected())
    }

    async fn query(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>, SqlError> {
        if matches!(self.kind, Kind::Look) && !sql.trim_start().starts_with("SELECT") {
            return self.failed(Err(only_looks(sql)));
        }
        let outcome = self
            .run(sql, params, |connection, Prepared { sql, arguments }| {
                connection.fetch_all(query_with(AssertSqlSafe(sql), arguments))
            })
            .await;
        let rows = self.failed(outcome)?;
        let rows = value::rows(&rows).map_err(|reason| Failed::finally(SqlError::statement(sql, reason)));
        self.failed(rows)
    }

    async fn batch(&mut self, sql: &'static str) -> Result<(), SqlError> {
        if !self.kind.writes() {
            return self.failed(Err(only_looks(sql)));
        }
        let expanded = self.engine.dialect.expand(sql).map_err(|reason| SqlError::statement(sql, reason))?;
        if expanded.params > 0 || expanded.shifts_clock {
            let reason = "a batch takes no parameters and no clock".into();
            return self.failed(Err(Failed::finally(SqlError::statement(sql, reason))));
        }
        let outcome = raw_sql(AssertSqlSafe(expanded.sql)).execute(&mut *self.connection).await;
        let outcome = outcome.map(|_| ()).map_err(|error| error::statement(sql, error, self.kind));
        self.failed(outcome)
    }
}

fn only_looks(sql: &str) -> Failed<SqlError> {
    Failed::finally(SqlError::statement(sql, "a read cannot write".into()))
}
