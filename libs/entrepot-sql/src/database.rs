//! The handle that services hold.

use std::sync::Arc;

use crate::{
    Migration, SqlError, Transaction,
    migration::Migrate,
    sqlite::{Sqlite, SqliteOptions},
};

/// A database. Clones share it.
#[derive(Clone)]
pub struct Database {
    engine: Arc<Sqlite>,
    #[cfg(feature = "testing")]
    _directory: Option<Arc<tempfile::TempDir>>,
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
        self.engine.write(transaction).await
    }

    /// Runs a transaction that only reads, over one snapshot of everything committed so far.
    ///
    /// # Errors
    /// The body's own, or [`SqlError`] converted into it; [`SqlError::Statement`] when it tries to write.
    pub async fn read<T: Transaction>(&self, transaction: T) -> Result<T::Output, T::Error> {
        self.engine.read(transaction).await
    }

    /// [`read`](Self::read) for one or two look-ups by key: on SQLite these run on the calling thread, because
    /// handing them to another costs more than they do. A page that is not in memory blocks that thread once.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub async fn read_key<T: Transaction>(&self, transaction: T) -> Result<T::Output, T::Error> {
        self.engine.read_key(transaction).await
    }

    /// Brings the schema of `owner` up to date in one transaction; answers how many migrations that took.
    ///
    /// # Errors
    /// [`SqlError::SchemaTooNew`] and [`SqlError::SchemaChanged`] when the database does not fit this program.
    pub async fn migrate(&self, owner: &'static str, migrations: &'static [Migration]) -> Result<usize, SqlError> {
        self.write(Migrate { owner, migrations }).await
    }

    /// Finishes the transactions already asked for, folds the log into the file and lets other processes in.
    /// Afterwards every call answers [`SqlError::Closed`].
    ///
    /// # Errors
    /// When the log cannot be folded in; nothing is lost, the next start reads it.
    pub async fn close(&self) -> Result<(), SqlError> {
        self.engine.close().await
    }

    /// What the engine counted so far.
    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }
}

impl SqliteOptions {
    /// Opens the database, creating the file (mode 0600) where there is none.
    ///
    /// # Errors
    /// [`SqlError::InUse`] when another process has it, [`SqlError::Corrupt`] when the file is something else.
    pub fn open(self) -> Result<Database, SqlError> {
        Ok(Database {
            engine: Arc::new(Sqlite::open(self)?),
            #[cfg(feature = "testing")]
            _directory: None,
        })
    }
}

#[cfg(feature = "testing")]
impl Database {
    /// An empty database of its own that vanishes with its last clone.
    ///
    /// # Errors
    /// When the temporary directory cannot be written.
    pub fn temporary() -> Result<Self, SqlError> {
        let directory = tempfile::tempdir().map_err(|error| SqlError::Unavailable { source: Arc::new(error) })?;
        let mut database = SqliteOptions::new(directory.path().join("test.db")).open()?;
        database._directory = Some(Arc::new(directory));
        Ok(database)
    }

    /// Moves the clock that `{now}` reads, in every transaction from now on.
    pub fn shift_clock(&self, milliseconds: i64) {
        self.engine.shift_clock(milliseconds);
    }
}
