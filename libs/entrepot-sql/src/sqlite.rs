//! SQLite: one writer thread that shares commits, and readers that see what is committed.

mod connection;
mod error;
mod readers;
mod writer;

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use tokio::sync::{mpsc, oneshot};

use self::{
    connection::{Connection, run_body},
    readers::Readers,
    writer::{Command, Pending, Writer},
};
use crate::{SqlError, Stats, Transaction};

/// How many transactions may wait for the writer before callers do.
const QUEUE: usize = 1024;

/// Where a SQLite database is and how much it may use.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    path: PathBuf,
    readers: usize,
    max_pages: Option<u32>,
    shared: bool,
}

impl SqliteOptions {
    /// A database file; `-wal`, `-shm` and `.lock` files appear beside it.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), readers: 4, max_pages: None, shared: false }
    }

    /// Lets other processes that ask for the same open the file too, such as a command beside the running registry.
    /// Only for owners that remember nothing between two transactions.
    #[must_use]
    pub fn shared(mut self) -> Self {
        self.shared = true;
        self
    }

    /// How many reads may run at once (4). Each connection is opened when first needed.
    #[must_use]
    pub fn readers(mut self, readers: usize) -> Self {
        self.readers = readers.max(1);
        self
    }

    /// The greatest size of the file in pages of 4 KiB, beyond which writes answer [`SqlError::NoSpace`].
    #[must_use]
    pub fn max_pages(mut self, pages: u32) -> Self {
        self.max_pages = Some(pages);
        self
    }
}

/// What the writer has done, and the shift of the clock that all connections read.
#[derive(Default)]
struct Shared {
    transactions: AtomicU64,
    commits: AtomicU64,
    clock_shift: AtomicI64,
}

/// An open SQLite database.
pub(crate) struct Sqlite {
    writer: mpsc::Sender<Command>,
    readers: Arc<Readers>,
    shared: Arc<Shared>,
}

impl Sqlite {
    pub(crate) fn open(options: SqliteOptions) -> Result<Self, SqlError> {
        let lock = lock(&options.path, options.shared)?;
        create(&options.path).map_err(unavailable)?;
        let shared = Arc::new(Shared::default());
        let connection = Connection::writer(&options, Arc::clone(&shared))?;
        let (sender, queue) = mpsc::channel(QUEUE);
        let writer = Writer::new(connection, queue, Arc::clone(&shared), lock);
        std::thread::Builder::new().name("sqlite-writer".into()).spawn(move || writer.run()).map_err(unavailable)?;
        let readers = Arc::new(Readers::new(options, Arc::clone(&shared)));
        Ok(Self { writer: sender, readers, shared })
    }

    pub(crate) async fn write<T: Transaction>(&self, transaction: T) -> Result<T::Output, T::Error> {
        let (pending, outcome) = Pending::new(transaction);
        self.writer.send(Command::Run(Box::new(pending))).await.map_err(|_| SqlError::Closed)?;
        outcome.await.map_err(|_| SqlError::Closed)?
    }

    pub(crate) async fn read<T: Transaction>(&self, transaction: T) -> Result<T::Output, T::Error> {
        let mut reader = Readers::acquire(&self.readers).await?;
        let task = move || reader.run(|connection| run_body(&transaction, connection));
        match tokio::task::spawn_blocking(task).await {
            Ok(outcome) => outcome,
            Err(_) => Err(SqlError::Closed.into()),
        }
    }

    pub(crate) async fn read_key<T: Transaction>(&self, transaction: T) -> Result<T::Output, T::Error> {
        let mut reader = Readers::acquire(&self.readers).await?;
        reader.run(|connection| run_body(&transaction, connection))
    }

    pub(crate) async fn close(&self) -> Result<(), SqlError> {
        self.readers.close().await;
        let (done, outcome) = oneshot::channel();
        self.writer.send(Command::Close(done)).await.map_err(|_| SqlError::Closed)?;
        outcome.await.map_err(|_| SqlError::Closed)?
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            transactions: self.shared.transactions.load(Ordering::Relaxed),
            commits: self.shared.commits.load(Ordering::Relaxed),
        }
    }

    #[cfg(feature = "testing")]
    pub(crate) fn shift_clock(&self, milliseconds: i64) {
        self.shared.clock_shift.fetch_add(milliseconds, Ordering::Relaxed);
    }
}

fn unavailable(error: io::Error) -> SqlError {
    SqlError::Unavailable { source: Arc::new(error) }
}

/// Holds other processes off for as long as the file stays open. SQLite itself would let a second writer in, whose
/// migrations and clock this process could not know.
fn lock(path: &Path, shared: bool) -> Result<File, SqlError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = private(&name).map_err(unavailable)?;
    match if shared { file.try_lock_shared() } else { file.try_lock() } {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SqlError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(unavailable(error)),
    }
}

/// Creates the file so that only its owner can read it (SQLite gives its other files the same mode), and makes its
/// name durable, which SQLite does only for those others.
fn create(path: &Path) -> io::Result<()> {
    private(path.as_os_str())?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

fn private(path: &std::ffi::OsStr) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
