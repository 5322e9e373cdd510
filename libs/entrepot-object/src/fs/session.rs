//! Who may write a key: one writer at a time, the latest of the highest epoch.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use super::file::UploadFile;
use super::{Inner, layout};
use crate::{ObjectError, ObjectKey};

/// Every key with an unsealed upload.
pub(super) type Sessions = Mutex<HashMap<ObjectKey, Arc<Session>>>;

/// Right to write: good until a later one is given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) epoch: u64,
    count: u64,
}

/// One unsealed upload.
///
/// `latest` is raised before `upload` is locked and looked at after, so once a newer turn holds
/// the lock no older one can start, and none is under way: blocking work keeps the lock until it ends,
/// whether or not somebody still waits for its answer.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) key: ObjectKey,
    latest: Mutex<Turn>,
    upload: Arc<AsyncMutex<Upload>>,
}

/// What only the holder of the lock may touch.
#[derive(Debug)]
pub(super) struct Upload {
    phase: Phase,
    /// Epoch in the file's name; none while there is no file.
    named: Option<u64>,
    /// The directory entry is not known to be on disk.
    name_dirty: bool,
    /// Bytes of the last checkpoint.
    kept: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Sealed,
    Gone,
}

/// The lock on an upload, free to move to a blocking thread.
pub(super) type UploadGuard = OwnedMutexGuard<Upload>;

impl Session {
    /// A key that has no file.
    fn new(key: ObjectKey) -> Self {
        Self::with(key, 0, None)
    }

    /// An upload that an earlier process left on disk.
    pub(super) fn found(key: ObjectKey, epoch: u64) -> Self {
        Self::with(key, epoch, Some(epoch))
    }

    fn with(key: ObjectKey, epoch: u64, named: Option<u64>) -> Self {
        let upload = Upload { phase: Phase::Open, named, name_dirty: true, kept: 0 };
        Self { key, latest: Mutex::new(Turn { epoch, count: 0 }), upload: Arc::new(AsyncMutex::new(upload)) }
    }

    fn latest(&self) -> MutexGuard<'_, Turn> {
        // The guarded value is two plain numbers: a panic elsewhere cannot leave it half changed.
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the right to write, which fences whoever has it.
    pub(super) fn claim(&self, epoch: u64) -> Result<Turn, ObjectError> {
        let mut latest = self.latest();
        if epoch < latest.epoch {
            return Err(ObjectError::Fenced { key: self.key.clone(), epoch });
        }
        *latest = Turn { epoch, count: latest.count + 1 };
        Ok(*latest)
    }

    /// Waits until nobody writes, then makes sure that `turn` is still the latest.
    pub(super) async fn lock(&self, turn: Turn) -> Result<UploadGuard, ObjectError> {
        let upload = Arc::clone(&self.upload).lock_owned().await;
        if *self.latest() == turn { Ok(upload) } else { Err(self.fenced(turn)) }
    }

    /// The same for a writer at `offset`, whose file must still be the upload's.
    pub(super) async fn lock_open(&self, turn: Turn, offset: u64) -> Result<UploadGuard, ObjectError> {
        let upload = self.lock(turn).await?;
        match upload.phase {
            Phase::Open => Ok(upload),
            Phase::Sealed => Err(ObjectError::AlreadySealed { key: self.key.clone() }),
            Phase::Gone => Err(ObjectError::Discarded { key: self.key.clone(), offset, source: None }),
        }
    }

    fn fenced(&self, turn: Turn) -> ObjectError {
        ObjectError::Fenced { key: self.key.clone(), epoch: turn.epoch }
    }
}

/// The blocking half of the store: every function takes the lock and lets go of it when done.
impl Inner {
    fn table(&self) -> MutexGuard<'_, HashMap<ObjectKey, Arc<Session>>> {
        // Insertions and removals are single calls: a panic elsewhere cannot leave them half done.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keys with an upload.
    pub(super) fn count(&self) -> usize {
        self.table().len()
    }

    /// The session of `key`, a fresh one if it has no upload.
    pub(super) fn session(&self, key: &ObjectKey) -> Arc<Session> {
        Arc::clone(self.table().entry(key.clone()).or_insert_with(|| Arc::new(Session::new(key.clone()))))
    }

    /// Ends a session. Waiters that hold it already see the phase.
    fn close(&self, session: &Session, upload: &mut Upload, phase: Phase) {
        upload.phase = phase;
        upload.named = None;
        let mut table = self.table();
        // A late waiter may end a session that has a successor.
        if table.get(&session.key).is_some_and(|current| std::ptr::eq(&raw const **current, session)) {
            table.remove(&session.key);
        }
    }

    /// Opens the file at `offset` for `turn` and drops what lies behind.
    pub(super) fn open_upload(
        &self,
        session: &Session,
        mut upload: UploadGuard,
        turn: Turn,
        offset: u64,
    ) -> Result<UploadFile, ObjectError> {
        let file = self.file_for(session, &mut upload, turn, offset)?;
        file.set_len(offset).map_err(|e| ObjectError::from_io("truncate", &session.key, e))?;
        upload.kept = offset;
        Ok(UploadFile::new(file, self.disk.path(&layout::upload_path(&session.key, turn.epoch))))
    }

    /// The upload's file under the name of `turn`, holding `offset` bytes or more.
    fn file_for(&self, session: &Session, upload: &mut Upload, turn: Turn, offset: u64) -> Result<File, ObjectError> {
        let key = &session.key;
        let lost = || ObjectError::Discarded { key: key.clone(), offset, source: None };
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => lost(),
            _ => ObjectError::from_io("open upload", key, source),
        };
        if upload.phase == Phase::Gone {
            return Err(lost());
        }
        if upload.phase == Phase::Sealed || (upload.named.is_none() && self.is_sealed(key)?) {
            self.close(session, upload, Phase::Sealed);
            return Err(ObjectError::AlreadySealed { key: key.clone() });
        }
        let path = layout::upload_path(key, turn.epoch);
        let file = match upload.named {
            Some(epoch) => {
                if epoch != turn.epoch {
                    self.disk.rename(&layout::upload_path(key, epoch), &path).map_err(failed)?;
                    upload.name_dirty = true;
                }
                upload.named = Some(turn.epoch);
                self.disk.reopen(&path).map_err(failed)?
            }
            None if offset == 0 => {
                let file = self.disk.create(&path).map_err(|e| {
                    self.close(session, upload, Phase::Gone);
                    failed(e)
                })?;
                upload.named = Some(turn.epoch);
                file
            }
            None => {
                self.close(session, upload, Phase::Gone);
                return Err(lost());
            }
        };
        if file.metadata().map_err(failed)?.len() < offset { Err(lost()) } else { Ok(file) }
    }

    fn is_sealed(&self, key: &ObjectKey) -> Result<bool, ObjectError> {
        match self.disk.stat_object(key) {
            Ok(_) => Ok(true),
            Err(ObjectError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes everything in `file` up to `offset` durable, and its name.
    pub(super) fn flush(
        &self,
        session: &Session,
        mut upload: UploadGuard,
        file: &File,
        offset: u64,
    ) -> Result<(), ObjectError> {
        let synced =
            self.disk.sync(file).and_then(|()| if upload.name_dirty { self.disk.sync_uploads() } else { Ok(()) });
        synced.map_err(|e| self.discard(session, &mut upload, offset, e))?;
        upload.name_dirty = false;
        upload.kept = offset;
        Ok(())
    }

    /// Takes back what a failed write left, up to the last checkpoint.
    pub(super) fn roll_back(&self, session: &Session, upload: &Upload, file: &File, source: io::Error) -> ObjectError {
        if let Err(error) = file.set_len(upload.kept) {
            tracing::warn!(object.key = %session.key, error = %error, "could not take back a failed write");
        }
        ObjectError::from_io("write", &session.key, source)
    }

    /// Gives the upload up after a failed flush: the kernel may have dropped pages it reported once.
    fn discard(&self, session: &Session, upload: &mut Upload, offset: u64, source: io::Error) -> ObjectError {
        if let Some(epoch) = upload.named
            && let Err(error) = self.disk.remove(&layout::upload_path(&session.key, epoch))
        {
            tracing::warn!(object.key = %session.key, error = %error, "could not remove a discarded upload");
        }
        self.close(session, upload, Phase::Gone);
        ObjectError::Discarded { key: session.key.clone(), offset, source: Some(source) }
    }

    /// Turns the upload into the object.
    pub(super) fn seal(
        &self,
        session: &Session,
        mut upload: UploadGuard,
        turn: Turn,
        size: u64,
    ) -> Result<(), ObjectError> {
        let key = &session.key;
        let file = match self.file_for(session, &mut upload, turn, size) {
            Ok(file) => file,
            Err(ObjectError::AlreadySealed { .. }) if self.disk.stat_object(key)?.size == size => {
                // The first try may have died between the rename and its flush.
                return self.disk.sync_parents(key).map_err(|e| ObjectError::from_io("seal", key, e));
            }
            Err(error) => return Err(error),
        };
        if let Err(error) = file.set_len(size).and_then(|()| self.disk.sync(&file)) {
            return Err(self.discard(session, &mut upload, size, error));
        }
        let failed = |source| ObjectError::from_io("seal", key, source);
        self.disk.make_parents(key).map_err(failed)?;
        self.disk.rename(&layout::upload_path(key, turn.epoch), key.as_str()).map_err(failed)?;
        // The session ends only after the flush: a repeat that comes now waits here, and does not take the object
        // for one that will stay.
        let Err(source) = self.disk.sync_parent(key) else {
            self.close(session, &mut upload, Phase::Sealed);
            return Ok(());
        };
        match self.disk.remove(key.as_str()) {
            Ok(()) => self.close(session, &mut upload, Phase::Gone),
            Err(error) => {
                tracing::warn!(object.key = %key, error = %error, "could not remove an object whose seal failed");
                // The session stays: a fresh one would answer a repeat with a success that a power cut can undo.
                upload.phase = Phase::Gone;
            }
        }
        Err(ObjectError::Discarded { key: key.clone(), offset: size, source: Some(source) })
    }

    /// Frees what a writer that gives up left behind the last checkpoint.
    pub(super) fn take_back(&self, session: &Session, mut upload: UploadGuard, file: &File) -> Result<(), ObjectError> {
        let failed = |source| ObjectError::from_io("truncate", &session.key, source);
        match upload.named {
            // The session stays, to refuse older writers and to let a newer one that waits for it begin again.
            Some(epoch) if upload.kept == 0 => {
                self.disk.remove(&layout::upload_path(&session.key, epoch)).map_err(failed)?;
                upload.named = None;
                upload.name_dirty = true;
                Ok(())
            }
            _ => file.set_len(upload.kept).map_err(failed),
        }
    }

    /// Drops the upload.
    pub(super) fn abort(&self, session: &Session, mut upload: UploadGuard) -> Result<(), ObjectError> {
        if upload.phase != Phase::Open {
            return Ok(());
        }
        if let Some(epoch) = upload.named {
            self.disk
                .remove(&layout::upload_path(&session.key, epoch))
                .map_err(|e| ObjectError::from_io("abort", &session.key, e))?;
        }
        self.close(session, &mut upload, Phase::Gone);
        Ok(())
    }
}
