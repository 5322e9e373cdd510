//! Objects in memory.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use crate::{
    Durability, ListQuery, ListScope, ObjectEntry, ObjectError, ObjectKey, ObjectMeta, ObjectRead, ObjectStore,
    ObjectWriter, WriterState,
};

const STATE_V1: &[u8] = &[1];

/// Objects in memory, gone with the last handle. Keeps the whole contract but durability.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    shared: Arc<Mutex<Contents>>,
}

#[derive(Debug, Default)]
struct Contents {
    sealed: BTreeMap<ObjectKey, Sealed>,
    uploads: BTreeMap<ObjectKey, Upload>,
}

#[derive(Debug)]
struct Sealed {
    bytes: Bytes,
    modified: SystemTime,
}

#[derive(Debug)]
struct Upload {
    epoch: u64,
    /// Counts writers, to tell one from another of the same epoch.
    turn: u64,
    bytes: BytesMut,
    modified: SystemTime,
}

impl MemoryStore {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        // Whatever a panic interrupted, a test is about to fail on it anyway.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    /// Takes the upload over at `state`, as the latest writer.
    fn claim(&mut self, key: &ObjectKey, epoch: u64, state: &WriterState) -> Result<&mut Upload, ObjectError> {
        if state.driver != STATE_V1 && *state != WriterState::start() {
            return Err(ObjectError::InvalidState { key: key.clone() });
        }
        if epoch == 0 {
            return Err(ObjectError::Fenced { key: key.clone(), epoch });
        }
        if self.sealed.contains_key(key) {
            return Err(ObjectError::AlreadySealed { key: key.clone() });
        }
        let lost = || ObjectError::Discarded { key: key.clone(), offset: state.offset, source: None };
        let upload = match self.uploads.entry(key.clone()) {
            Entry::Vacant(_) if state.offset > 0 => return Err(lost()),
            Entry::Vacant(entry) => {
                entry.insert(Upload { epoch, turn: 0, bytes: BytesMut::new(), modified: SystemTime::now() })
            }
            Entry::Occupied(entry) => entry.into_mut(),
        };
        if epoch < upload.epoch {
            return Err(ObjectError::Fenced { key: key.clone(), epoch });
        }
        (upload.epoch, upload.turn) = (epoch, upload.turn + 1);
        match usize::try_from(state.offset) {
            Ok(offset) if offset <= upload.bytes.len() => upload.bytes.truncate(offset),
            _ => return Err(lost()),
        }
        Ok(upload)
    }
}

#[async_trait]
impl ObjectStore for MemoryStore {
    async fn open_writer(
        &self,
        key: &ObjectKey,
        epoch: u64,
        resume: &WriterState,
    ) -> Result<Box<dyn ObjectWriter>, ObjectError> {
        let turn = self.contents().claim(key, epoch, resume)?.turn;
        let store = self.clone();
        Ok(Box::new(MemoryWriter { store, key: key.clone(), epoch, turn, offset: resume.offset, kept: resume.offset }))
    }

    async fn seal(&self, key: &ObjectKey, epoch: u64, state: &WriterState) -> Result<(), ObjectError> {
        let mut contents = self.contents();
        if contents.sealed.get(key).is_some_and(|sealed| sealed.bytes.len() as u64 == state.offset) {
            return Ok(());
        }
        let bytes = std::mem::take(&mut contents.claim(key, epoch, state)?.bytes).freeze();
        contents.uploads.remove(key);
        contents.sealed.insert(key.clone(), Sealed { bytes, modified: SystemTime::now() });
        Ok(())
    }

    async fn abort(&self, key: &ObjectKey, epoch: u64, _state: &WriterState) -> Result<(), ObjectError> {
        match self.contents().uploads.entry(key.clone()) {
            Entry::Occupied(upload) if epoch < upload.get().epoch => {
                return Err(ObjectError::Fenced { key: key.clone(), epoch });
            }
            Entry::Occupied(upload) => _ = upload.remove(),
            Entry::Vacant(_) => {}
        }
        Ok(())
    }

    async fn open(&self, key: &ObjectKey) -> Result<ObjectRead, ObjectError> {
        let contents = self.contents();
        let sealed = contents.sealed.get(key).ok_or_else(|| ObjectError::NotFound { key: key.clone() })?;
        Ok(ObjectRead::Bytes(sealed.bytes.clone()))
    }

    async fn stat(&self, key: &ObjectKey) -> Result<ObjectMeta, ObjectError> {
        let contents = self.contents();
        let sealed = contents.sealed.get(key).ok_or_else(|| ObjectError::NotFound { key: key.clone() })?;
        Ok(ObjectMeta { size: sealed.bytes.len() as u64, modified: sealed.modified })
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), ObjectError> {
        self.contents().sealed.remove(key);
        Ok(())
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<ObjectEntry>, ObjectError> {
        let contents = self.contents();
        let facts = |bytes: usize, modified| ObjectMeta { size: bytes as u64, modified };
        let all: Vec<(&ObjectKey, ObjectMeta)> = match query.scope {
            ListScope::Sealed => contents.sealed.iter().map(|(k, s)| (k, facts(s.bytes.len(), s.modified))).collect(),
            ListScope::Unsealed => {
                contents.uploads.iter().map(|(k, u)| (k, facts(u.bytes.len(), u.modified))).collect()
            }
        };
        Ok(all
            .into_iter()
            .filter(|(key, _)| {
                key.as_str().starts_with(&query.prefix)
                    && query.after.as_ref().is_none_or(|after| key.as_str() > after.as_str())
            })
            .take(query.limit)
            .map(|(key, meta)| ObjectEntry { key: key.clone(), meta })
            .collect())
    }
}

#[derive(Debug)]
struct MemoryWriter {
    store: MemoryStore,
    key: ObjectKey,
    epoch: u64,
    turn: u64,
    offset: u64,
    /// Bytes of the last durable checkpoint.
    kept: u64,
}

impl MemoryWriter {
    /// The upload, as long as this writer is the latest.
    fn upload<T>(&self, act: impl FnOnce(&mut Upload) -> T) -> Result<T, ObjectError> {
        match self.store.contents().uploads.get_mut(&self.key) {
            Some(upload) if (upload.epoch, upload.turn) == (self.epoch, self.turn) => Ok(act(upload)),
            _ => Err(ObjectError::Fenced { key: self.key.clone(), epoch: self.epoch }),
        }
    }
}

#[async_trait]
impl ObjectWriter for MemoryWriter {
    fn offset(&self) -> u64 {
        self.offset
    }

    async fn write(&mut self, chunks: Vec<Bytes>) -> Result<(), ObjectError> {
        self.offset = self.upload(|upload| {
            chunks.iter().for_each(|chunk| upload.bytes.extend_from_slice(chunk));
            upload.modified = SystemTime::now();
            upload.bytes.len() as u64
        })?;
        Ok(())
    }

    async fn checkpoint(&mut self, durability: Durability) -> Result<WriterState, ObjectError> {
        let offset = self.upload(|upload| upload.bytes.len() as u64)?;
        if durability == Durability::Durable {
            self.kept = offset;
        }
        Ok(WriterState { offset, driver: STATE_V1.into() })
    }

    async fn read_back(&mut self) -> Result<ObjectRead, ObjectError> {
        self.upload(|upload| ObjectRead::Bytes(Bytes::copy_from_slice(&upload.bytes)))
    }

    async fn take_back(self: Box<Self>) -> Result<(), ObjectError> {
        let kept = usize::try_from(self.kept).unwrap_or(usize::MAX);
        self.upload(|upload| upload.bytes.truncate(kept))?;
        if kept == 0 {
            self.store.abort(&self.key, self.epoch, &WriterState::start()).await?;
        }
        Ok(())
    }
}
