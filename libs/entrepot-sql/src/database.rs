//! The handle that services hold.

use std::sync::Arc;

use crate::{
    Migration, SqlError, Transaction,
    migration::Migrate,
    postgres::{Ping, Postgres, PostgresOptions},
    sqlite::{Sqlite, SqliteOptions},
};

/// A database. Clones share it.
#[derive(Clone)]
pub struct Database {
    pub(crate) engine: Engine,
    /// What goes away with the last clone.
    #[cfg(feature = "testing")]
    pub(crate) guard: Option<Arc<dyn std::any::Any + Send + Sync>>,
}

/// Where the transactions run.
#[derive(Clone)]
pub(crate) enum Engine {
    Sqlite(Arc<Sqlite>),
    Postgres(Arc<Postgres>),
}

/// Counts since the database was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Writing transactions that ran to their end, undone ones included.
    pub transactions: u64,
    /// Commits that made them durable; fewer than transactions when callers write at the same time.
    pub commits: u64,
}

impl Database {
    /// Runs a transaction that may write. The answer means that it is durable; dropping the future does not stop it.
    ///
    /// # Errors
    /// The body's own, or [`SqlError`] converted into it.
    pub async fn write<T: Transaction>(&self, transaction: T) -> Result<T::Output, T::Error> {
        match &self.engine {
            Engine::Sqlite(engine) => engine.write(transaction).await,
            Engine::Postgres(engine) => engine.write(transaction).await,
        }
    }

    /// Runs a transaction that only reads, over one snapshot of everything committed so far.
    ///
    /// # Errors
    /// The body's own, or [`SqlError`] converted into it; [`SqlError::Statement`] when it tries to write.
    pub async fn read<T: Transaction>(&self, transaction: T) -> Result<T::Output, T::Error> {
        match &self.engine {
            Engine::Sqlite(engine) => engine.read(transaction).await,
            Engine::Postgres(engine) => engine.read(transaction).await,
        }
    }

    /// [`read`](Self::read) for one or two look-ups by key: on SQLite these run on the calling thread, because
    /// handing them to another costs more than they do. A page that is not in memory blocks that thread once. On
    /// PostgreSQL each is one trip to the server, with a snapshot of its own.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub async fn read_key<T: Transaction>(&self, transaction: T) -> Result<T::Output, T::Error> {
        match &self.engine {
            Engine::Sqlite(engine) => engine.read_key(transaction).await,
            Engine::Postgres(engine) => engine.read_key(transaction).await,
        }
    }

    /// Whether transactions can run now. On PostgreSQL over one connection more than requests may use; where a server does not
    /// answer, the question takes seconds.
    ///
    /// # Errors
    /// Why they cannot.
    pub async fn ping(&self) -> Result<(), SqlError> {
        match &self.engine {
            Engine::Sqlite(engine) => engine.read_key(Ping).await,
            Engine::Postgres(engine) => engine.ping().await,
        }
    }

    /// Brings the schema of `owner` up to date in one transaction; answers how many migrations that took.
    ///
    /// # Errors
    /// [`SqlError::SchemaTooNew`] and [`SqlError::SchemaChanged`] when the database does not fit this program.
    pub async fn migrate(&self, owner: &'static str, migrations: &'static [Migration]) -> Result<usize, SqlError> {
        match &self.engine {
            Engine::Sqlite(engine) => engine.write(Migrate { owner, migrations }).await,
            Engine::Postgres(engine) => engine.migrate(owner, migrations).await,
        }
    }

    /// What a service does before it serves: [`migrate`](Self::migrate) where it is alone with its database or was told to
    /// ([`PostgresOptions::migrate`]); elsewhere it only looks whether the schema has all it needs. A newer one
    /// has, unless a step says otherwise ([`Migration::CONTRACT`]).
    ///
    /// # Errors
    /// [`SqlError::SchemaTooOld`], or as for [`migrate`](Self::migrate).
    pub async fn prepare(&self, owner: &'static str, migrations: &'static [Migration]) -> Result<usize, SqlError> {
        match &self.engine {
            Engine::Sqlite(engine) => engine.write(Migrate { owner, migrations }).await,
            Engine::Postgres(engine) => engine.prepare(owner, migrations).await,
        }
    }

    /// Finishes the transactions already asked for. On SQLite, folds the log into the file and lets other processes in.
    /// Afterwards every call answers [`SqlError::Closed`].
    ///
    /// # Errors
    /// When the log cannot be folded in; nothing is lost, the next start reads it.
    pub async fn close(&self) -> Result<(), SqlError> {
        match &self.engine {
            Engine::Sqlite(engine) => engine.close().await,
            Engine::Postgres(engine) => engine.close().await,
        }
    }

    /// What the engine counted so far.
    pub fn stats(&self) -> Stats {
        match &self.engine {
            Engine::Sqlite(engine) => engine.stats(),
            Engine::Postgres(engine) => engine.stats(),
        }
    }

    pub(crate) fn new(engine: Engine) -> Self {
        Self {
            engine,
            #[cfg(feature = "testing")]
            guard: None,
        }
    }
}

impl PostgresOptions {
    /// A database that is connected to when it is first used.
    pub fn open(self) -> Database {
        Database::new(Engine::Postgres(Arc::new(Postgres::open(&self))))
    }
}

impl SqliteOptions {
    /// Opens the database, creating the file (mode 0600) where there is none.
    ///
    /// # Errors
    /// [`SqlError::InUse`] when another process has it, [`SqlError::Corrupt`] when the file is something else.
    pub fn open(self) -> Result<Database, SqlError> {
        Ok(Database::new(Engine::Sqlite(Arc::new(Sqlite::open(self)?))))
    }
}

#[cfg(feature = "testing")]
impl Database {
    /// An empty database of its own that vanishes with its last clone. With the feature `postgres-tests` it is on the
    /// PostgreSQL server that `ENTREPOT_TEST_POSTGRES` names, otherwise on SQLite.
    ///
    /// # Errors
    /// When the temporary directory cannot be written, or the server does not answer.
    pub async fn temporary() -> Result<Self, SqlError> {
        if cfg!(feature = "postgres-tests") {
            return crate::postgres::testing::temporary().await;
        }
        let directory = tempfile::tempdir().map_err(|error| SqlError::Unavailable { source: Arc::new(error) })?;
        let mut database = SqliteOptions::new(directory.path().join("test.db")).open()?;
        database.guard = Some(Arc::new(directory));
        Ok(database)
    }

    /// Moves the clock that `{now}` reads, in every transaction from now on.
    pub fn shift_clock(&self, milliseconds: i64) {
        match &self.engine {
            Engine::Sqlite(engine) => engine.shift_clock(milliseconds),
            Engine::Postgres(engine) => engine.shift_clock(milliseconds),
        }
    }
}
