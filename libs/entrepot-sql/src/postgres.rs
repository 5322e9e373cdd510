//! PostgreSQL: a bounded pool of connections to whichever server takes writes, and transactions that are tried again
//! where a conflict or a lost connection left nothing behind.

mod body;
mod connect;
mod error;
mod hosts;
mod options;
mod ping;
mod pool;
mod schema;
#[cfg(feature = "testing")]
pub mod testing;
mod value;

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{
        Arc, RwLock,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use rand::RngExt;
use sqlx::{AssertSqlSafe, raw_sql};
use tracing::Instrument;

pub(crate) use self::ping::Ping;
use self::{
    body::{Body, Kind},
    error::{Failed, Verdict},
    pool::{Pool, Pooled},
};
pub use self::{hosts::PostgresUrlError, options::PostgresOptions};
use crate::{
    Migration, SqlError, Stats, Transaction,
    dialect::{Dialect, Expanded, POSTGRES},
};

/// How often a transaction begins again after it lost to another.
const CONFLICTS: u32 = 8;

/// How often it begins again after its connection was lost. The pool looks for a server by itself, so this only covers
/// connections that were stale when they were taken and one failover.
const LOSSES: u32 = 2;

/// The pause before the first repetition is up to this; it doubles each time.
const PAUSE: Duration = Duration::from_millis(10);

/// Beyond what the server allows a statement, for the answer to arrive. Then the server counts as gone, if that was not
/// found out before.
const ANSWER_GRACE: Duration = Duration::from_secs(5);

/// Not `READ WRITE`: that would write past an operator who made the server read-only.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";
const BEGIN_READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// An open PostgreSQL database.
pub(crate) struct Postgres {
    pool: Arc<Pool>,
    line: ping::Line,
    schema: String,
    migrates: bool,
    answer_timeout: Duration,
    /// By address and length: the texts are `'static`.
    expanded: RwLock<HashMap<(usize, usize), Arc<Expanded>>>,
    dialect: Dialect,
    transactions: AtomicU64,
    commits: AtomicU64,
    clock_shift: Arc<AtomicI64>,
    #[cfg(feature = "testing")]
    tampering: testing::Tampering,
}

impl Postgres {
    pub(crate) fn open(options: &PostgresOptions) -> Self {
        Self {
            pool: Arc::new(Pool::new(options)),
            line: ping::Line::default(),
            schema: options.schema.clone(),
            migrates: options.migrate,
            answer_timeout: options.statement_timeout + ANSWER_GRACE,
            expanded: RwLock::default(),
            dialect: POSTGRES,
            transactions: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            clock_shift: Arc::default(),
            #[cfg(feature = "testing")]
            tampering: testing::Tampering::default(),
        }
    }

    /// In a task of its own: dropping the future must not stop the transaction.
    pub(crate) async fn write<T: Transaction>(self: &Arc<Self>, transaction: T) -> Result<T::Output, T::Error> {
        self.detached(transaction, Kind::Write).await
    }

    pub(crate) async fn read<T: Transaction>(self: &Arc<Self>, transaction: T) -> Result<T::Output, T::Error> {
        let span = span::<T>("read");
        self.repeat(transaction, Kind::Read).instrument(span).await
    }

    pub(crate) async fn read_key<T: Transaction>(self: &Arc<Self>, transaction: T) -> Result<T::Output, T::Error> {
        let span = span::<T>("read");
        self.repeat(transaction, Kind::Look).instrument(span).await
    }

    /// Applies what is missing, one process at a time.
    pub(crate) async fn migrate(
        self: &Arc<Self>,
        owner: &'static str,
        migrations: &'static [Migration],
    ) -> Result<usize, SqlError> {
        let begin = schema::begin_migration(&self.schema);
        self.detached(crate::migration::Migrate { owner, migrations }, Kind::Migrate { begin }).await
    }

    /// Applies what is missing where this process may, and otherwise only looks whether anything is.
    pub(crate) async fn prepare(
        self: &Arc<Self>,
        owner: &'static str,
        migrations: &'static [Migration],
    ) -> Result<usize, SqlError> {
        if self.migrates {
            return self.migrate(owner, migrations).await;
        }
        self.read(schema::CheckSchema { owner, migrations }).await.map(|()| 0)
    }

    pub(crate) async fn close(&self) -> Result<(), SqlError> {
        self.pool.close().await
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats { transactions: self.transactions.load(Ordering::Relaxed), commits: self.commits.load(Ordering::Relaxed) }
    }

    async fn detached<T: Transaction>(self: &Arc<Self>, transaction: T, kind: Kind) -> Result<T::Output, T::Error> {
        let engine = Arc::clone(self);
        let span = span::<T>("write");
        let task = async move { engine.repeat(transaction, kind).await };
        // The task neither panics nor is aborted, so a failure is a runtime that shuts down.
        tokio::spawn(task.instrument(span)).await.map_err(|_| SqlError::Closed)?
    }

    /// Runs a body until it is settled, or was tried often enough.
    async fn repeat<T: Transaction>(self: &Arc<Self>, body: T, kind: Kind) -> Result<T::Output, T::Error> {
        let work = Arc::new((body, kind));
        let (mut conflicts, mut losses) = (0, 0);
        loop {
            let failed = match self.attempt(&work).await {
                Ok(output) => return Ok(output),
                Err(failed) => failed,
            };
            match failed.verdict {
                Verdict::Conflict if conflicts < CONFLICTS => conflicts += 1,
                Verdict::Lost if losses < LOSSES => losses += 1,
                _ => return Err(failed.error),
            }
            // Full jitter: those that met each other do not meet again.
            let longest = PAUSE * (1 << (conflicts + losses).min(6));
            let pause = longest.mul_f64(rand::rng().random_range(0.0..1.0));
            tokio::time::sleep(pause).await;
        }
    }

    /// On a connection of its own and, from when there is one, in a task of its own: a caller that goes away leaves neither
    /// a connection that has to be closed, nor a server that is silent unnoticed.
    async fn attempt<T: Transaction>(self: &Arc<Self>, work: &Arc<(T, Kind)>) -> Result<T::Output, Failed<T::Error>> {
        let pooled = self.pool.acquire().await.map_err(Failed::finally)?;
        let (engine, work) = (Arc::clone(self), Arc::clone(work));
        let task = async move { engine.attempt_with(pooled, &work.0, &work.1).await };
        // The task neither panics nor is aborted, so a failure is a runtime that shuts down.
        tokio::spawn(task.in_current_span()).await.map_err(|_| Failed::finally(SqlError::Closed))?
    }

    async fn attempt_with<T: Transaction>(
        &self,
        mut pooled: Pooled,
        body: &T,
        kind: &Kind,
    ) -> Result<T::Output, Failed<T::Error>> {
        let outcome = self.attempt_on(&mut pooled, body, kind).await;
        match outcome {
            Ok(output) => {
                pooled.give_back();
                Ok(output)
            }
            Err(failed) => {
                self.end(pooled, &failed.verdict, kind).await;
                Err(failed)
            }
        }
    }

    async fn attempt_on<T: Transaction>(
        &self,
        pooled: &mut Pooled,
        body: &T,
        kind: &Kind,
    ) -> Result<T::Output, Failed<T::Error>> {
        match kind {
            Kind::Write => self.control(pooled, BEGIN, kind).await?,
            Kind::Migrate { begin } => self.control(pooled, begin, kind).await?,
            Kind::Read => self.control(pooled, BEGIN_READ, kind).await?,
            Kind::Look => {}
        }
        let output = self.run_body(pooled, body, kind).await?;
        match kind {
            Kind::Write | Kind::Migrate { .. } => self.commit(pooled).await?,
            Kind::Read => self.control(pooled, "COMMIT", kind).await?,
            Kind::Look => {}
        }
        Ok(output)
    }

    async fn run_body<T: Transaction>(
        &self,
        pooled: &mut Pooled,
        body: &T,
        kind: &Kind,
    ) -> Result<T::Output, Failed<T::Error>> {
        let mut tx = Body::new(self, pooled, kind);
        // After a panic the connection is dropped, and the engine has no other state to be left half changed.
        let outcome = AssertUnwindSafe(body.run(&mut tx)).catch_unwind().await;
        let fault = match (outcome, tx.into_failure()) {
            (Ok(Ok(output)), None) => return Ok(output),
            (Ok(Err(error)), None) => return Err(Failed { error, verdict: Verdict::Final }),
            (Ok(Err(error)), Some(verdict)) => return Err(Failed { error, verdict }),
            (Ok(Ok(_)), Some(_)) => "went on after a statement had failed",
            (Err(_), _) => return Err(Failed::broken(SqlError::Body { fault: "panicked" })),
        };
        Err(Failed::finally(SqlError::Body { fault }))
    }

    async fn commit<E: From<SqlError>>(&self, pooled: &mut Pooled) -> Result<(), Failed<E>> {
        #[cfg(feature = "testing")]
        self.tampering.reach("COMMIT").await;
        let (connection, age) = pooled.connection();
        let commit = raw_sql("COMMIT").execute(connection);
        let outcome = self.pool.answer(age, self.answer_timeout, commit).await;
        outcome.map_err(error::commit_without_answer)?.map_err(error::commit)?;
        #[cfg(feature = "testing")]
        if self.tampering.lost_answers.take() {
            return Err(error::commit_without_answer(pool::NoAnswer));
        }
        self.transactions.fetch_add(1, Ordering::Relaxed);
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Runs a statement of the engine's own.
    async fn control<E: From<SqlError>>(&self, pooled: &mut Pooled, sql: &str, kind: &Kind) -> Result<(), Failed<E>> {
        let limit = match kind {
            Kind::Migrate { .. } => schema::TURN + ANSWER_GRACE,
            _ => self.answer_timeout,
        };
        let (connection, age) = pooled.connection();
        let run = raw_sql(AssertSqlSafe(sql)).execute(connection);
        let outcome = self.pool.answer(age, limit, run).await;
        match outcome.map_err(error::no_answer) {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error::statement(sql, error, kind).into_failed()),
            Err(silence) => Err(silence.into_failed()),
        }
    }

    /// Undoes a transaction that failed. A connection that cannot is dropped, and the server then undoes it.
    async fn end(&self, mut pooled: Pooled, verdict: &Verdict, kind: &Kind) {
        match verdict {
            Verdict::Lost | Verdict::Doubtful => pooled.discard_all(),
            Verdict::Broken => {}
            Verdict::Conflict | Verdict::Final => {
                let undone: Result<(), Failed<SqlError>> = match kind {
                    Kind::Look => Ok(()),
                    _ => self.control(&mut pooled, "ROLLBACK", kind).await,
                };
                if undone.is_ok() {
                    pooled.give_back();
                }
            }
        }
    }

    /// The statement in PostgreSQL's words.
    fn expand(&self, sql: &'static str) -> Result<Arc<Expanded>, SqlError> {
        let key = (sql.as_ptr() as usize, sql.len());
        let known = self.expanded.read().unwrap_or_else(std::sync::PoisonError::into_inner).get(&key).map(Arc::clone);
        if let Some(known) = known {
            return Ok(known);
        }
        let expanded = self.expand_flawed(sql).map_err(|reason| SqlError::statement(sql, reason))?;
        let expanded = Arc::new(expanded);
        let mut cache = self.expanded.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        cache.insert(key, Arc::clone(&expanded));
        Ok(expanded)
    }

    #[cfg(not(feature = "testing"))]
    fn expand_flawed(&self, sql: &str) -> Result<Expanded, String> {
        self.dialect.expand(sql)
    }
}

/// A span of a trace: who asked, from which transaction.
fn span<T>(operation: &'static str) -> tracing::Span {
    let name = std::any::type_name::<T>();
    let name = name.split('<').next_back().unwrap_or(name).trim_end_matches('>');
    let name = name.rsplit("::").next().unwrap_or(name);
    tracing::info_span!(
        "sql",
        otel.name = name,
        otel.kind = "client",
        db.system.name = "postgresql",
        db.operation.name = operation
    )
}
