//! Connections that only read, opened when first needed and used by one caller at a time.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Shared, SqliteOptions, connection::Connection};
use crate::SqlError;

pub(super) struct Readers {
    options: SqliteOptions,
    shared: Arc<Shared>,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(options: SqliteOptions, shared: Arc<Shared>) -> Self {
        let permits = Arc::new(Semaphore::new(options.readers));
        Self { options, shared, idle: Mutex::default(), permits }
    }

    /// Waits for a turn. The connection itself is opened by the thread that reads.
    pub(super) async fn acquire(pool: &Arc<Self>) -> Result<Reader, SqlError> {
        let permits = Arc::clone(&pool.permits);
        let permit = permits.acquire_owned().await.map_err(|_| SqlError::Closed)?;
        Ok(Reader { pool: Arc::clone(pool), _permit: permit })
    }

    /// Waits for running reads and refuses new ones.
    pub(super) async fn close(&self) {
        let all = u32::try_from(self.options.readers).unwrap_or(u32::MAX);
        let idle = self.permits.acquire_many(all).await;
        self.permits.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        drop(idle);
    }

    fn take(&self) -> Option<Connection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

/// A turn to read.
pub(super) struct Reader {
    pool: Arc<Readers>,
    _permit: OwnedSemaphorePermit,
}

impl Reader {
    /// Runs `body` over one snapshot.
    pub(super) fn run<T, E: From<SqlError>>(
        &mut self,
        body: impl FnOnce(&mut Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = match self.pool.take() {
            Some(connection) => connection,
            None => Connection::reader(&self.pool.options, Arc::clone(&self.pool.shared))?,
        };
        connection.control("BEGIN")?;
        let outcome = body(&mut connection);
        // Nothing was written: committing is the cheapest way to let go of the snapshot. A connection that cannot
        // is dropped, and SQLite then lets go of it.
        if connection.control("COMMIT").is_ok() {
            self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        outcome
    }
}
