//! Databases for tests, and ways to look into and to break what runs on them.

mod explore;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, ConnectOptions, postgres::PgConnection, raw_sql};
use tokio::sync::Notify;

pub use explore::{Arena, Case, Verdict, Verify};

use super::{Postgres, PostgresOptions, error};
use crate::{Database, Row, SqlError, Transaction, Tx, database::Engine, dialect::Expanded, params};

/// The variable that names the server: a URL whose user may make schemas and look at all sessions.
const SERVER: &str = "ENTREPOT_TEST_POSTGRES";

/// Where the server of the tests is.
///
/// # Panics
/// When no server is named: these tests are only built where one is wanted, and then one that is missing is a failure.
pub fn url() -> String {
    let url = std::env::var(SERVER);
    url.unwrap_or_else(|_| panic!("{SERVER} has to name a PostgreSQL server; `cargo xtask engines` starts one"))
}

fn options() -> PostgresOptions {
    let options = PostgresOptions::parse(&url()).unwrap_or_else(|error| panic!("{SERVER} {error}"));
    // A suite may ask for a thousand things at once of a machine that has other work.
    options
        .max_connections(8)
        .acquire_timeout(Duration::from_secs(60))
        .statement_timeout(Duration::from_secs(30))
        .migrate(true)
}

/// An empty schema of its own.
pub(crate) async fn temporary() -> Result<Database, SqlError> {
    let schema = Schema::make().await?;
    let options = schema.options.clone();
    let mut database = options.open();
    database.guard = Some(Arc::new(schema));
    Ok(database)
}

/// A schema that is dropped with the last database on it.
struct Schema {
    options: PostgresOptions,
}

impl Schema {
    async fn make() -> Result<Self, SqlError> {
        let name = format!("test_{:016x}", rand::random::<u64>());
        let mut options = options().schema(&name);
        options.hosts = options.hosts.into_iter().map(|host| host.application_name(&name)).collect();
        run(&options, format!("CREATE SCHEMA {name}")).await?;
        Ok(Self { options })
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        let schema = &self.options.schema;
        let sql = format!("SET client_min_messages = error; SET lock_timeout = '5s'; DROP SCHEMA {schema} CASCADE");
        drop_by(self.options.clone(), sql);
    }
}

/// In a thread of its own: a runtime may be what drops it, and no runtime waits inside another.
fn drop_by(options: PostgresOptions, sql: String) {
    let dropping = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map(|runtime| runtime.block_on(run(&options, sql)))
    });
    if !matches!(dropping.join(), Ok(Ok(Ok(())))) {
        tracing::warn!("what a test made on the database server was left behind");
    }
}

async fn run(options: &PostgresOptions, sql: String) -> Result<(), SqlError> {
    let mut connection = connect(options).await?;
    let done = raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await;
    done.map(|_| ()).map_err(unavailable)
}

async fn connect(options: &PostgresOptions) -> Result<PgConnection, SqlError> {
    options.hosts[0].connect().await.map_err(unavailable)
}

fn unavailable(error: sqlx::Error) -> SqlError {
    SqlError::Unavailable { source: error::cause(error) }
}

/// What is done to the transactions of one handle.
#[derive(Clone, Default)]
pub struct Tampering {
    /// Guards that are taken away.
    pub flaws: Vec<Flaw>,
    /// Where the transactions stop and wait.
    pub pauses: Option<Pauses>,
    /// Commits whose answer gets lost.
    pub lost_answers: LostAnswers,
}

impl Tampering {
    pub(super) async fn reach(&self, sql: &'static str) {
        if let Some(pauses) = &self.pauses {
            pauses.reach(sql).await;
        }
    }
}

/// A guard that statements do without.
#[derive(Clone, Copy, Debug)]
pub enum Flaw {
    /// Statements that hold this part of a text take no locks.
    Unlocked(&'static str),
    /// Statements that hold the first text have the second in its place.
    Replaced(&'static str, &'static str),
}

/// How many of the next commits are made and then not answered.
#[derive(Clone, Default)]
pub struct LostAnswers(Arc<AtomicUsize>);

impl LostAnswers {
    /// Loses the answers of so many commits from now on.
    pub fn lose(&self, commits: usize) {
        self.0.store(commits, Ordering::SeqCst);
    }

    pub(super) fn take(&self) -> bool {
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }
}

/// Stops transactions before a statement, until they are told to go on.
#[derive(Clone, Default)]
pub struct Pauses(Arc<Stop>);

#[derive(Default)]
struct Stop {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// How many statements, the commit being one of them, are let through before all wait.
    allowed: Option<usize>,
    /// Statements that wait: those that hold this.
    at: Option<&'static str>,
    reached: Vec<&'static str>,
}

impl State {
    /// Whether a statement waits, being the one of this number.
    fn holds(&self, place: usize, sql: &str) -> bool {
        self.allowed.is_some_and(|allowed| place > allowed) || self.at.is_some_and(|part| sql.contains(part))
    }
}

impl Pauses {
    /// Begins again: `allowed` statements are let through, or all, and the count starts from none.
    pub fn begin(&self, allowed: Option<usize>) {
        *self.state() = State { allowed, ..State::default() };
        self.0.changed.notify_waiters();
    }

    /// Begins again: everything is let through until a statement that holds this part of its text.
    pub fn begin_until(&self, part: &'static str) {
        *self.state() = State { at: Some(part), ..State::default() };
        self.0.changed.notify_waiters();
    }

    /// Lets everything through, what waits now included.
    pub fn release(&self) {
        let mut state = self.state();
        (state.allowed, state.at) = (None, None);
        drop(state);
        self.0.changed.notify_waiters();
    }

    /// Whether a transaction waits.
    pub fn is_holding(&self) -> bool {
        let state = self.state();
        state.reached.iter().enumerate().any(|(before, sql)| state.holds(before + 1, sql))
    }

    /// The statements reached so far, the commit being `COMMIT`.
    pub fn reached(&self) -> Vec<&'static str> {
        self.state().reached.clone()
    }

    async fn reach(&self, sql: &'static str) {
        let place = {
            let mut state = self.state();
            state.reached.push(sql);
            state.reached.len()
        };
        loop {
            // Made before looking, so that no change is missed between.
            let changed = self.0.changed.notified();
            if !self.state().holds(place, sql) {
                return;
            }
            changed.await;
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PostgresOptions {
    /// The same schema on the servers of `other`.
    #[must_use]
    pub fn at(mut self, other: &Self) -> Self {
        self.hosts = other.hosts.iter().map(|host| host.clone().application_name(&self.schema)).collect();
        self
    }
}

impl Postgres {
    pub(crate) fn shift_clock(&self, milliseconds: i64) {
        self.clock_shift.fetch_add(milliseconds, Ordering::Relaxed);
    }

    /// Expands a statement without the guards that it is to do without.
    pub(super) fn expand_flawed(&self, sql: &str) -> Result<Expanded, String> {
        let (mut dialect, mut text) = (self.dialect, sql.to_owned());
        for flaw in &self.tampering.flaws {
            match flaw {
                Flaw::Unlocked(part) if sql.contains(part) => (dialect.share, dialect.update) = (None, None),
                Flaw::Unlocked(_) => {}
                Flaw::Replaced(part, other) => text = text.replace(part, other),
            }
        }
        dialect.expand(&text)
    }
}

impl Database {
    /// Another handle on the same schema and clock, with connections of its own, as a second process has. Its
    /// transactions are tampered with.
    ///
    /// # Panics
    /// When this is not a [temporary](Database::temporary) database on PostgreSQL.
    pub fn replica(&self, tampering: Tampering) -> Self {
        self.replica_with(tampering, |options| options)
    }

    /// [`replica`](Self::replica) with other options.
    ///
    /// # Panics
    /// As there.
    pub fn replica_with(
        &self,
        tampering: Tampering,
        configure: impl FnOnce(PostgresOptions) -> PostgresOptions,
    ) -> Self {
        let schema = self.guard.as_ref().and_then(|guard| guard.downcast_ref::<Schema>());
        let (Engine::Postgres(engine), Some(schema)) = (&self.engine, schema) else {
            panic!("only a temporary database on PostgreSQL has replicas");
        };
        let mut replica = Postgres::open(&configure(schema.options.clone()));
        replica.clock_shift = Arc::clone(&engine.clock_shift);
        replica.tampering = tampering;
        Self { engine: Engine::Postgres(Arc::new(replica)), guard: self.guard.clone() }
    }

    /// How many sessions on this schema, its replicas' included, wait for a lock.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn waiting_for_locks(&self) -> Result<i64, SqlError> {
        let row = self.read_key(Waiting(self.schema_name())).await?;
        row.get("waiting")
    }

    /// The schema on PostgreSQL.
    pub fn schema_name(&self) -> String {
        match &self.engine {
            Engine::Postgres(engine) => engine.schema.clone(),
            Engine::Sqlite(_) => String::new(),
        }
    }
}

/// Each session carries its schema as the name of its application.
struct Waiting(String);

#[async_trait]
impl Transaction for Waiting {
    type Output = Row;
    type Error = SqlError;

    async fn run(&self, tx: &mut dyn Tx) -> Result<Row, SqlError> {
        let sql =
            "SELECT count(*) AS waiting FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'";
        tx.query_one(sql, params![&self.0]).await
    }
}

/// An empty database of its own, for tests of whole programs; dropped with this.
pub struct Scratch {
    name: String,
}

impl Scratch {
    /// Makes one.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn make() -> Result<Self, SqlError> {
        let name = format!("test_{:016x}", rand::random::<u64>());
        run(&options(), format!("CREATE DATABASE {name}")).await?;
        Ok(Self { name })
    }

    /// What a program is given to use it.
    pub fn url(&self) -> String {
        let url = url();
        let (server, _) = url.rsplit_once('/').unwrap_or((&url, ""));
        format!("{server}/{}", self.name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop_by(options(), format!("DROP DATABASE {} WITH (FORCE)", self.name));
    }
}
