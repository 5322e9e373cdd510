//! Names of files.

use crate::{ObjectError, ObjectKey, WriterState};

/// Directory of unsealed uploads. No key starts with a dot, so no key can name it.
pub(super) const UPLOADS: &str = ".uploads";
/// The lock file.
pub(super) const LOCK: &str = ".lock";

/// The driver part of a writer state: files need no notes, only a version.
const STATE_V1: &[u8] = &[1];

/// The state of an upload that stands at `offset`.
pub(super) fn state_at(offset: u64) -> WriterState {
    WriterState { offset, driver: STATE_V1.into() }
}

/// Refuses a state that another driver made.
pub(super) fn check_state(key: &ObjectKey, state: &WriterState) -> Result<(), ObjectError> {
    if state.driver == STATE_V1 || *state == WriterState::start() {
        Ok(())
    } else {
        Err(ObjectError::InvalidState { key: key.clone() })
    }
}

/// An unsealed upload found on disk.
#[derive(Debug)]
pub(super) struct UploadName {
    pub(super) key: ObjectKey,
    pub(super) epoch: u64,
}

impl UploadName {
    /// Reads a file name of the upload directory; none of ours is `None`.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (flat, epoch) = name.rsplit_once('@')?;
        Some(Self { key: flat.replace('+', "/").parse().ok()?, epoch: epoch.parse().ok()? })
    }
}

/// File of an upload, relative to the root. Neither `+` nor `@` occurs in a key.
pub(super) fn upload_path(key: &ObjectKey, epoch: u64) -> String {
    format!("{UPLOADS}/{}@{epoch}", key.as_str().replace('/', "+"))
}
