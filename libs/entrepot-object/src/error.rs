//! What can go wrong, by what a caller can do about it.

use std::io;
use std::path::PathBuf;

use crate::ObjectKey;

/// Why an operation on an [`ObjectStore`](crate::ObjectStore) failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// There is no sealed object of this key.
    #[error("no object {key}")]
    NotFound {
        /// The key asked for.
        key: ObjectKey,
    },
    /// The object is final: it takes no more bytes.
    #[error("object {key} is already sealed")]
    AlreadySealed {
        /// The key asked for.
        key: ObjectKey,
    },
    /// A newer writer has the key. Stop; the newer writer decides what becomes of the upload.
    #[error("a newer writer has taken over {key} from epoch {epoch}")]
    Fenced {
        /// The key written to.
        key: ObjectKey,
        /// The epoch that is too old.
        epoch: u64,
    },
    /// The bytes written so far are lost. Abort, and start again under a new key.
    #[error("bytes of upload {key} are lost up to offset {offset}")]
    Discarded {
        /// The key written to.
        key: ObjectKey,
        /// The offset that should have been there.
        offset: u64,
        /// The failure that lost them, where it has just happened.
        #[source]
        source: Option<io::Error>,
    },
    /// The writer state was not made by this driver, or is damaged.
    #[error("writer state of {key} is not one of this store")]
    InvalidState {
        /// The key written to.
        key: ObjectKey,
    },
    /// This store cannot give bytes back before they are sealed.
    #[error("what was written to {key} cannot be read before it is sealed")]
    Unreadable {
        /// The key written to.
        key: ObjectKey,
    },
    /// Storage is full or over quota. Nothing past the last checkpoint was kept.
    #[error("no space left to write {key}")]
    NoSpace {
        /// The key written to.
        key: ObjectKey,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// There is too much to do already, or the store is being left alone for a while. Try again later.
    #[error("too busy to {action} {key}")]
    Busy {
        /// What was tried.
        action: &'static str,
        /// The key it was tried on.
        key: ObjectKey,
    },
    /// Anything else. Whether the operation happened is unknown; every operation may be repeated.
    #[error("could not {action} {key}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The key, or the prefix of a listing.
        key: String,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
}

impl ObjectError {
    /// Sorts a failed system call on `key` into a variant.
    pub(crate) fn from_io(action: &'static str, key: &ObjectKey, source: io::Error) -> Self {
        let too_many = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { key: key.clone(), source },
            io::ErrorKind::NotFound => Self::NotFound { key: key.clone() },
            _ if too_many.contains(&source.raw_os_error()) => Self::Busy { action, key: key.clone() },
            _ => Self::Io { action, key: key.to_string(), source },
        }
    }
}

/// Why a directory could not be opened as a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process works in the directory: stop it or choose another directory.
    #[error("data directory {dir} is in use by another process")]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory cannot be made, read or written.
    #[error("could not {action} data directory {dir}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The directory.
        dir: PathBuf,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
}
