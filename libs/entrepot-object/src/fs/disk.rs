//! The system calls, relative to one directory.

use std::collections::HashSet;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::layout::{LOCK, UPLOADS, UploadName};
use crate::{ObjectError, ObjectKey, ObjectMeta, ObjectRead, OpenError};

/// Kinds of system calls that a test can make fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "testing"), expect(unreachable_pub, reason = "public for the hook of the testing feature"))]
pub enum FsOp {
    /// Making an upload file.
    Create,
    /// Writing bytes; one call per [`write`](crate::ObjectWriter::write).
    Write,
    /// Opening an upload file past the page cache.
    OpenDirect,
    /// Writing bytes past the page cache, as part of a [`Write`](Self::Write).
    WriteDirect,
    /// Flushing a file.
    Sync,
    /// Flushing a directory.
    SyncDir,
    /// Renaming an upload to a new epoch or to its final name.
    Rename,
    /// Removing a file.
    Remove,
}

/// What a test wants to happen instead of a system call.
#[cfg(feature = "testing")]
#[derive(Clone)]
pub struct FaultHook(pub Arc<dyn Fn(FsOp) -> io::Result<()> + Send + Sync>);

#[cfg(feature = "testing")]
impl std::fmt::Debug for FaultHook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FaultHook")
    }
}

/// One directory, held by its lock file.
#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
    root_dir: File,
    uploads_dir: File,
    /// Directories whose own entry is known to be on disk.
    durable_dirs: Mutex<HashSet<PathBuf>>,
    _lock: File,
    #[cfg(feature = "testing")]
    faults: Option<FaultHook>,
}

impl Disk {
    /// Makes and locks `root`.
    pub(super) fn open(
        root: PathBuf,
        #[cfg(feature = "testing")] faults: Option<FaultHook>,
    ) -> Result<Self, OpenError> {
        let failed = |action| {
            let dir = root.clone();
            move |source| OpenError::Io { action, dir, source }
        };
        let uploads = root.join(UPLOADS);
        DirBuilder::new().recursive(true).mode(0o700).create(&uploads).map_err(failed("create"))?;
        let lock =
            private(OpenOptions::new().write(true).create(true)).open(root.join(LOCK)).map_err(failed("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { dir: root }),
            Err(TryLockError::Error(source)) => return Err(failed("lock")(source)),
        }
        let root_dir = File::open(&root).map_err(failed("open"))?;
        let uploads_dir = File::open(&uploads).map_err(failed("open"))?;
        root_dir.sync_all().map_err(failed("flush"))?;
        // Directories above may be new too. One that we may not even read was not made by us.
        for above in root.canonicalize().map_err(failed("find"))?.ancestors().skip(1) {
            let _ = File::open(above).and_then(|dir| dir.sync_all());
        }
        Ok(Self {
            root,
            root_dir,
            uploads_dir,
            durable_dirs: Mutex::default(),
            _lock: lock,
            #[cfg(feature = "testing")]
            faults,
        })
    }

    /// An error of opening this directory.
    pub(super) fn open_error(&self, action: &'static str, source: io::Error) -> OpenError {
        OpenError::Io { action, dir: self.root.clone(), source }
    }

    /// Root of the store.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    #[cfg(feature = "testing")]
    pub(super) fn before(&self, op: FsOp) -> io::Result<()> {
        self.faults.as_ref().map_or(Ok(()), |hook| hook.0(op))
    }

    #[cfg(not(feature = "testing"))]
    pub(super) fn before(&self, _op: FsOp) -> io::Result<()> {
        Ok(())
    }

    /// Every upload on disk.
    pub(super) fn uploads(&self) -> io::Result<Vec<UploadName>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(self.root.join(UPLOADS))? {
            found.extend(entry?.file_name().to_str().and_then(UploadName::parse));
        }
        Ok(found)
    }

    /// Where a path of the store is.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Makes a file that must not be there.
    pub(super) fn create(&self, path: &str) -> io::Result<File> {
        self.before(FsOp::Create)?;
        private(OpenOptions::new().read(true).write(true).create_new(true)).open(self.root.join(path))
    }

    /// Opens a file to write on.
    pub(super) fn reopen(&self, path: &str) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(self.root.join(path))
    }

    /// Makes the bytes and the size of a file durable.
    pub(super) fn sync(&self, file: &File) -> io::Result<()> {
        self.before(FsOp::Sync)?;
        file.sync_data()
    }

    /// Makes the names of uploads durable.
    pub(super) fn sync_uploads(&self) -> io::Result<()> {
        self.before(FsOp::SyncDir)?;
        self.uploads_dir.sync_all()
    }

    /// Renames within the store.
    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.before(FsOp::Rename)?;
        std::fs::rename(self.root.join(from), self.root.join(to))
    }

    /// Removes a file; one that is not there is success.
    pub(super) fn remove(&self, path: &str) -> io::Result<()> {
        self.before(FsOp::Remove)?;
        match std::fs::remove_file(self.root.join(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Makes the directories above an object, durably.
    pub(super) fn make_parents(&self, key: &ObjectKey) -> io::Result<()> {
        let parents: Vec<&Path> = parents(key).collect();
        let known = |dir: &Path| self.durable_dirs.lock().unwrap_or_else(PoisonError::into_inner).contains(dir);
        for dir in parents.iter().rev().filter(|dir| !known(dir)) {
            match DirBuilder::new().mode(0o700).create(self.root.join(dir)) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                // One that is there may be the work of a process that died before its flush.
                _ => self.sync_dir(dir.parent().unwrap_or(Path::new("")))?,
            }
            self.durable_dirs.lock().unwrap_or_else(PoisonError::into_inner).insert(dir.to_path_buf());
        }
        Ok(())
    }

    /// Makes the name of an object durable.
    pub(super) fn sync_parent(&self, key: &ObjectKey) -> io::Result<()> {
        self.sync_dir(parents(key).next().unwrap_or(Path::new("")))
    }

    /// Makes the name of an object and of every directory above it durable.
    pub(super) fn sync_parents(&self, key: &ObjectKey) -> io::Result<()> {
        self.make_parents(key)?;
        self.sync_parent(key)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.before(FsOp::SyncDir)?;
        File::open(self.root.join(dir))?.sync_all()
    }

    /// Removes an object, durably; one that is not there is success.
    pub(super) fn remove_object(&self, key: &ObjectKey) -> Result<(), ObjectError> {
        let synced = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        match self.remove(key.as_str()).and_then(|()| self.sync_parent(key)) {
            // No directory, no object.
            Err(error) if synced(&error) => Ok(()),
            other => other.map_err(|e| ObjectError::from_io("delete", key, e)),
        }
    }

    /// Opens an object if the kernel has its name in memory; `None` if that needs the disk.
    pub(super) fn open_cached(&self, key: &ObjectKey) -> Option<Result<ObjectRead, ObjectError>> {
        let resolve = ResolveFlags::CACHED | ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match rustix::fs::openat2(&self.root_dir, key.as_str(), flags, Mode::empty(), resolve) {
            Ok(fd) => Some(readable(key, File::from(fd))),
            Err(Errno::NOENT) => Some(Err(ObjectError::NotFound { key: key.clone() })),
            // EAGAIN: not in memory. Anything else, such as a sandbox without openat2, is told by the plain way.
            Err(_) => None,
        }
    }

    /// Opens an object.
    pub(super) fn open_object(&self, key: &ObjectKey) -> Result<ObjectRead, ObjectError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::openat(&self.root_dir, key.as_str(), flags, Mode::empty())
            .map_err(|errno| ObjectError::from_io("open", key, errno.into()))?;
        readable(key, File::from(fd))
    }

    /// Size and age of an object.
    pub(super) fn stat_object(&self, key: &ObjectKey) -> Result<ObjectMeta, ObjectError> {
        let found =
            std::fs::symlink_metadata(self.root.join(key.as_str())).and_then(|meta| Ok((meta.modified()?, meta)));
        match found {
            Ok((modified, meta)) if meta.is_file() => Ok(ObjectMeta { size: meta.len(), modified }),
            Ok(_) => Err(ObjectError::NotFound { key: key.clone() }),
            Err(error) => Err(ObjectError::from_io("stat", key, error)),
        }
    }
}

/// A file that only its owner can read.
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}

/// Directories above a key, nearest first, without the root.
fn parents(key: &ObjectKey) -> impl Iterator<Item = &Path> {
    Path::new(key.as_str()).ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty())
}

/// An opened path as an object; a directory is none.
fn readable(key: &ObjectKey, file: File) -> Result<ObjectRead, ObjectError> {
    let meta = file.metadata().map_err(|e| ObjectError::from_io("open", key, e))?;
    if meta.is_file() {
        Ok(ObjectRead::File { file: Arc::new(file), size: meta.len() })
    } else {
        Err(ObjectError::NotFound { key: key.clone() })
    }
}
