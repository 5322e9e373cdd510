//! Objects as files of one directory.
//!
//! ```text
//! <root>/.lock                            held as long as the store is open: one process per directory
//! <root>/.uploads/data+ab+<uuid>@<epoch>  unsealed bytes; the name remembers the highest epoch
//! <root>/data/ab/<uuid>                   a sealed object, never written again
//! ```
//! A new writer renames the upload to its epoch, so that a request of an older epoch that comes
//! late is refused even by a process that was started in between.

mod disk;
mod file;
mod layout;
mod listing;
mod session;
mod writer;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::{Resource, getrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::disk::Disk;
#[cfg(feature = "testing")]
pub use self::disk::{FaultHook, FsOp};
use self::session::{Session, Sessions, Turn};
use self::writer::FsWriter;
use crate::{
    ListQuery, ObjectEntry, ObjectError, ObjectKey, ObjectMeta, ObjectRead, ObjectStore, ObjectWriter, OpenError,
    WriterState,
};

/// Most writers at work at the same time unless set otherwise, however many files may be open.
const MAX_WRITERS: usize = 4096;

/// How long a writer waits for another to end. Long enough for a burst of small blobs to pass, and
/// shorter than any client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// How to open an [`FsStore`].
#[derive(Clone, Debug)]
pub struct FsOptions {
    max_writers: usize,
    #[cfg(feature = "testing")]
    faults: Option<FaultHook>,
}

impl Default for FsOptions {
    fn default() -> Self {
        Self {
            max_writers: writers_within(getrlimit(Resource::Nofile).current),
            #[cfg(feature = "testing")]
            faults: None,
        }
    }
}

impl FsOptions {
    /// Most writers at work at the same time; one more waits a second, and is then refused as
    /// [`ObjectError::Busy`]. By default a quarter of the files that the process may have open, and at most 4,096.
    #[must_use]
    pub fn max_writers(mut self, writers: usize) -> Self {
        self.max_writers = writers;
        self
    }

    /// Calls `hook` before every system call that changes the disk; what it returns is taken for the
    /// answer of the system. It may block, which is how a test stalls a disk.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn faults(mut self, hook: FaultHook) -> Self {
        self.faults = Some(hook);
        self
    }
}

/// Writers for a limit of open files. Each holds up to two descriptors, and a quarter leaves room for its
/// socket and for a reader.
fn writers_within(open_files: Option<u64>) -> usize {
    let quarter = open_files.map_or(MAX_WRITERS, |limit| usize::try_from(limit / 4).unwrap_or(MAX_WRITERS));
    quarter.clamp(1, MAX_WRITERS)
}

/// Objects as files of one directory of a local filesystem.
///
/// Files are 0600, directories 0700. The directory is held by a lock file until the store, its
/// writers and what they have under way are gone. Clones of the handle are cheap.
#[derive(Clone, Debug)]
pub struct FsStore {
    inner: Arc<Inner>,
}

/// What writers and blocking tasks share.
#[derive(Debug)]
struct Inner {
    disk: Disk,
    sessions: Sessions,
    writers: Arc<Semaphore>,
}

impl FsStore {
    /// Opens `root`, making it if it is missing, and finds the unsealed uploads in it. Blocks for
    /// the time of one directory listing: call it while starting.
    ///
    /// # Errors
    /// [`OpenError::InUse`] while another store holds the directory.
    pub fn open(root: impl Into<PathBuf>, options: FsOptions) -> Result<Self, OpenError> {
        #[cfg(feature = "testing")]
        let disk = Disk::open(root.into(), options.faults)?;
        #[cfg(not(feature = "testing"))]
        let disk = Disk::open(root.into())?;
        let mut sessions = HashMap::new();
        for upload in disk.uploads().map_err(|source| disk.open_error("list uploads of", source))? {
            if disk.stat_object(&upload.key).is_ok() {
                // A power cut brought the old name back: one more name of a file that must not change.
                disk.remove(&layout::upload_path(&upload.key, upload.epoch))
                    .map_err(|source| disk.open_error("tidy uploads of", source))?;
                continue;
            }
            let session = Arc::new(Session::found(upload.key.clone(), upload.epoch));
            sessions.insert(upload.key, session);
        }
        let writers = Arc::new(Semaphore::new(options.max_writers));
        Ok(Self { inner: Arc::new(Inner { disk, sessions: Mutex::new(sessions), writers }) })
    }
}

impl FsStore {
    /// Unsealed uploads the store knows of: what a gauge of open uploads shows.
    pub fn open_sessions(&self) -> usize {
        self.inner.count()
    }

    /// The right to be one of the writers at work.
    async fn permit(&self, key: &ObjectKey) -> Result<OwnedSemaphorePermit, ObjectError> {
        match tokio::time::timeout(PATIENCE, Arc::clone(&self.inner.writers).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(ObjectError::Busy { action: "write", key: key.clone() }),
        }
    }

    fn claim(&self, key: &ObjectKey, epoch: u64) -> Result<(Arc<Session>, Turn), ObjectError> {
        if epoch == 0 {
            return Err(ObjectError::Fenced { key: key.clone(), epoch });
        }
        let session = self.inner.session(key);
        let turn = session.claim(epoch)?;
        Ok((session, turn))
    }
}

/// Runs blocking work. It runs to its end even if the caller is dropped.
async fn blocking<T: Send + 'static>(
    action: &'static str,
    key: String,
    work: impl FnOnce() -> Result<T, ObjectError> + Send + 'static,
) -> Result<T, ObjectError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(stopped) => match stopped.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(cancelled) => Err(ObjectError::Io { action, key, source: std::io::Error::other(cancelled) }),
        },
    }
}

#[async_trait]
impl ObjectStore for FsStore {
    async fn open_writer(
        &self,
        key: &ObjectKey,
        epoch: u64,
        resume: &WriterState,
    ) -> Result<Box<dyn ObjectWriter>, ObjectError> {
        layout::check_state(key, resume)?;
        let permit = self.permit(key).await?;
        let (session, turn) = self.claim(key, epoch)?;
        let upload = session.lock(turn).await?;
        let (inner, offset) = (Arc::clone(&self.inner), resume.offset);
        let file = {
            let session = Arc::clone(&session);
            blocking("open", key.to_string(), move || inner.open_upload(&session, upload, turn, offset)).await?
        };
        Ok(Box::new(FsWriter::new(Arc::clone(&self.inner), session, turn, file, offset, permit)))
    }

    async fn seal(&self, key: &ObjectKey, epoch: u64, state: &WriterState) -> Result<(), ObjectError> {
        // A repeat may know the size alone.
        if !state.driver.is_empty() {
            layout::check_state(key, state)?;
        }
        let (session, turn) = self.claim(key, epoch)?;
        let upload = session.lock(turn).await?;
        let (inner, size) = (Arc::clone(&self.inner), state.offset);
        blocking("seal", key.to_string(), move || inner.seal(&session, upload, turn, size)).await
    }

    async fn abort(&self, key: &ObjectKey, epoch: u64, _state: &WriterState) -> Result<(), ObjectError> {
        let (session, turn) = self.claim(key, epoch)?;
        let upload = session.lock(turn).await?;
        let inner = Arc::clone(&self.inner);
        blocking("abort", key.to_string(), move || inner.abort(&session, upload)).await
    }

    async fn open(&self, key: &ObjectKey) -> Result<ObjectRead, ObjectError> {
        // A name the kernel knows opens in microseconds; only a cold one is worth a thread.
        if let Some(found) = self.inner.disk.open_cached(key) {
            return found;
        }
        let (inner, wanted) = (Arc::clone(&self.inner), key.clone());
        blocking("open", key.to_string(), move || inner.disk.open_object(&wanted)).await
    }

    async fn stat(&self, key: &ObjectKey) -> Result<ObjectMeta, ObjectError> {
        let (inner, wanted) = (Arc::clone(&self.inner), key.clone());
        blocking("stat", key.to_string(), move || inner.disk.stat_object(&wanted)).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), ObjectError> {
        let (inner, wanted) = (Arc::clone(&self.inner), key.clone());
        blocking("delete", key.to_string(), move || inner.disk.remove_object(&wanted)).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<ObjectEntry>, ObjectError> {
        let (inner, query) = (Arc::clone(&self.inner), query.clone());
        blocking("list", query.prefix.clone(), move || listing::page(&inner.disk, &query)).await
    }
}

#[cfg(test)]
mod tests;
