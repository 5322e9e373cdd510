//! One connection, its statements, and the body of a transaction running on it.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use rusqlite::{
    CachedStatement, OpenFlags, ToSql,
    types::{ToSqlOutput, ValueRef},
};

use super::{Shared, SqliteOptions, error};
use crate::{
    Param, Row, SqlError, Transaction, Tx, Value,
    dialect::{Expanded, SQLITE},
};

/// More than all statements of a service.
const STATEMENTS: usize = 256;

/// A connection that runs statements in our dialect.
pub(super) struct Connection {
    raw: rusqlite::Connection,
    /// By address and length: the texts are `'static`.
    expanded: HashMap<(usize, usize), Arc<Expanded>>,
    shared: Arc<Shared>,
    /// The last failure, for when SQLite undid the whole transaction with it.
    failure: Option<SqlError>,
}

impl Connection {
    pub(super) fn writer(options: &SqliteOptions, shared: Arc<Shared>) -> Result<Self, SqlError> {
        let connection = Self::open(options, OpenFlags::SQLITE_OPEN_READ_WRITE, shared)?;
        let mut settings = String::from(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA foreign_keys = ON;
             PRAGMA cache_size = -2048;
             PRAGMA wal_autocheckpoint = 1000;
             PRAGMA journal_size_limit = 67108864;",
        );
        if let Some(pages) = options.max_pages {
            settings.push_str(&format!("PRAGMA max_page_count = {pages};"));
        }
        connection.settings(&settings)?;
        Ok(connection)
    }

    pub(super) fn reader(options: &SqliteOptions, shared: Arc<Shared>) -> Result<Self, SqlError> {
        let connection = Self::open(options, OpenFlags::SQLITE_OPEN_READ_ONLY, shared)?;
        // Mapped pages need no copy in the cache, so a small one is enough.
        connection.settings("PRAGMA mmap_size = 268435456; PRAGMA cache_size = -512;")?;
        Ok(connection)
    }

    fn open(options: &SqliteOptions, access: OpenFlags, shared: Arc<Shared>) -> Result<Self, SqlError> {
        // A connection never leaves the thread that uses it without a lock or a queue between.
        let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let raw = rusqlite::Connection::open_with_flags(&options.path, flags).map_err(error::open)?;
        raw.busy_timeout(Duration::from_secs(5)).map_err(error::open)?;
        raw.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(Self { raw, expanded: HashMap::new(), shared, failure: None })
    }

    fn settings(&self, pragmas: &str) -> Result<(), SqlError> {
        self.raw.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY;").map_err(error::open)?;
        self.raw.execute_batch(pragmas).map_err(error::open)
    }

    /// Runs a statement of the engine's own, such as `COMMIT`.
    pub(super) fn control(&self, sql: &'static str) -> Result<(), SqlError> {
        let run = || self.raw.prepare_cached(sql)?.execute([]);
        run().map(|_| ()).map_err(|error| error::statement(sql, error))
    }

    /// Whether a transaction is open; SQLite ends one by itself on some failures.
    pub(super) fn in_transaction(&self) -> bool {
        !self.raw.is_autocommit()
    }

    pub(super) fn take_failure(&mut self) -> Option<SqlError> {
        self.failure.take()
    }

    /// Folds the log into the file and empties it, then closes.
    pub(super) fn close(self) -> Result<(), SqlError> {
        const CHECKPOINT: &str = "PRAGMA wal_checkpoint(TRUNCATE)";
        let folded = self.raw.query_row(CHECKPOINT, [], |_| Ok(()));
        folded.map_err(|error| error::statement(CHECKPOINT, error))?;
        self.raw.close().map_err(|(_, error)| error::open(error))
    }

    fn expand(&mut self, sql: &'static str) -> Result<Arc<Expanded>, SqlError> {
        let key = (sql.as_ptr() as usize, sql.len());
        if let Some(known) = self.expanded.get(&key) {
            return Ok(Arc::clone(known));
        }
        let expanded = SQLITE.expand(sql).map_err(|reason| SqlError::statement(sql, reason))?;
        let expanded = Arc::new(expanded);
        self.expanded.insert(key, Arc::clone(&expanded));
        Ok(expanded)
    }

    /// Prepares a statement, binds its parameters and hands it to `run`; remembers a failure.
    fn with_statement<T>(
        &mut self,
        sql: &'static str,
        params: &[Param<'_>],
        run: impl FnOnce(&mut CachedStatement<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, SqlError> {
        let expanded = self.expand(sql)?;
        if expanded.params != params.len() {
            let reason = format!("it has {} parameters and got {}", expanded.params, params.len());
            return Err(SqlError::statement(sql, reason));
        }
        let clock_shift = expanded.shifts_clock.then(|| self.shared.clock_shift.load(Ordering::Relaxed));
        let attempt = || {
            let mut statement = self.raw.prepare_cached(&expanded.sql)?;
            for (position, param) in params.iter().enumerate() {
                statement.raw_bind_parameter(position + 1, param)?;
            }
            if let Some(shift) = clock_shift {
                statement.raw_bind_parameter(params.len() + 1, shift)?;
            }
            run(&mut statement)
        };
        let outcome = attempt().map_err(|error| error::statement(sql, error));
        outcome.inspect_err(|error| self.failure = Some(error.clone()))
    }

    fn run_batch(&mut self, sql: &'static str) -> Result<(), SqlError> {
        let expanded = SQLITE.expand(sql).map_err(|reason| SqlError::statement(sql, reason))?;
        if expanded.params > 0 || expanded.shifts_clock {
            return Err(SqlError::statement(sql, "a batch takes no parameters and no clock".into()));
        }
        let outcome = self.raw.execute_batch(&expanded.sql).map_err(|error| error::statement(sql, error));
        outcome.inspect_err(|error| self.failure = Some(error.clone()))
    }
}

#[async_trait]
impl Tx for Connection {
    async fn execute(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<u64, SqlError> {
        self.with_statement(sql, params, |statement| statement.raw_execute().map(|changed| changed as u64))
    }

    async fn query(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>, SqlError> {
        self.with_statement(sql, params, collect)
    }

    async fn batch(&mut self, sql: &'static str) -> Result<(), SqlError> {
        self.run_batch(sql)
    }
}

fn collect(statement: &mut CachedStatement<'_>) -> rusqlite::Result<Vec<Row>> {
    let columns: Arc<[Box<str>]> = statement.column_names().map(Box::from).collect();
    let mut rows = statement.raw_query();
    let mut collected = Vec::new();
    while let Some(row) = rows.next()? {
        let values =
            (0..columns.len()).map(|position| value(row.get_ref(position)?)).collect::<rusqlite::Result<_>>()?;
        collected.push(Row { columns: Arc::clone(&columns), values });
    }
    Ok(collected)
}

fn value(value: ValueRef<'_>) -> rusqlite::Result<Value> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(int) => Value::Int(int),
        ValueRef::Text(_) => Value::Text(value.as_str()?.to_owned()),
        ValueRef::Blob(blob) => Value::Blob(Bytes::copy_from_slice(blob)),
        ValueRef::Real(_) => return Err(rusqlite::Error::InvalidQuery),
    })
}

impl ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Param::Null => ValueRef::Null,
            Param::Int(int) => ValueRef::Integer(int),
            Param::Text(text) => ValueRef::Text(text.as_bytes()),
            Param::Blob(blob) => ValueRef::Blob(blob),
        }))
    }
}

/// Runs a body to its end. Its statements are always ready, so a body that is not waits for something else.
pub(super) fn run_body<T: Transaction>(body: &T, connection: &mut Connection) -> Result<T::Output, T::Error> {
    connection.failure = None;
    // After a panic the transaction is rolled back, and a connection has no other state to be left half changed.
    let outcome = catch_unwind(AssertUnwindSafe(|| body.run(connection).now_or_never()));
    let fault = match outcome {
        // Other engines refuse everything after a failed statement; so that bodies behave the same here, it is final.
        Ok(Some(Ok(_))) if connection.failure.is_some() => "went on after a statement had failed",
        Ok(Some(outcome)) => return outcome,
        Ok(None) => "waited for something other than its statements",
        Err(_) => "panicked",
    };
    Err(SqlError::Body { fault }.into())
}
