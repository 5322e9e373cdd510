//! The port.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use entrepot_core::ports::blobs::{Appended, BlobError, BlobSource, BlobStore, ByteStream, WriterPosition};
use entrepot_core::{Algorithm, Digest, Page, PageOf, StorageKey};
use entrepot_object::{Durability, ListQuery, ListScope, ObjectError, ObjectKey, ObjectRead, ObjectStore, WriterState};
use entrepot_runtime::telemetry::Chain;

use crate::attempt::Attempt;
use crate::buffers::{Entry, Pool};
use crate::hasher::Hasher;
use crate::intake::Intake;
use crate::pipeline::{Passage, pump};
use crate::rehash::{hash_again, hasher_at};
use crate::writer_state::{Saved, encode};

/// The [`BlobStore`] port over an object store. Clones share the store.
#[derive(Clone, Debug)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    memory: Pool,
}

/// What all uploads together may hold in memory unless set otherwise.
const UPLOAD_MEMORY: u64 = 256 << 20;

impl Blobs {
    /// Serves the objects of `store`.
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, memory: Pool::new(UPLOAD_MEMORY) }
    }

    /// Bounds the memory of all uploads together. Each has 4 MiB of it, and up to 16 while half of it is free; over a
    /// bucket 256 KiB. A new one that cannot have its 4, or its quarter, within a second is refused as [`BlobError::Unavailable`];
    /// one that has bytes acknowledged waits some minutes.
    #[must_use]
    pub fn upload_memory(self, bytes: u64) -> Self {
        Self { memory: Pool::new(bytes), ..self }
    }

    /// Seals under `expected`, or removes what has another digest.
    async fn complete(
        &self,
        key: &ObjectKey,
        position: &WriterPosition,
        intake: &mut Intake,
        expected: &Digest,
    ) -> Result<u64, BlobError> {
        let mut saved = Saved::decode(position)?;
        let known = saved.take_hasher(expected.algorithm());
        let (state, hasher) = match known {
            // The usual end of a chunked upload: nothing to write, nothing to open.
            Some(hasher) if intake.is_empty().await? => (saved.writer, Some(hasher)),
            known => {
                let open = Open { key, epoch: position.epoch, from: &saved.writer };
                self.write(open, known, expected.algorithm(), intake, Durability::AtSeal).await?
            }
        };
        let Some(hasher) = hasher else { return self.seal_unseen(key, position.epoch, &state, expected).await };
        let actual = hasher.finish();
        if actual != *expected {
            self.store.abort(key, position.epoch, &state).await.map_err(failed)?;
            return Err(BlobError::DigestMismatch { expected: *expected, actual });
        }
        self.store.seal(key, position.epoch, &state).await.map_err(failed)?;
        Ok(state.offset)
    }

    /// Seals bytes whose hash is not known, where the store shows them only then, and looks.
    ///
    /// Nobody reads the object meanwhile: its key is told to others when this has answered.
    async fn seal_unseen(
        &self,
        key: &ObjectKey,
        epoch: u64,
        state: &WriterState,
        expected: &Digest,
    ) -> Result<u64, BlobError> {
        self.store.seal(key, epoch, state).await.map_err(failed)?;
        let read = self.store.open(key).await.map_err(failed)?;
        let actual = hash_again(expected.algorithm(), read).await?.finish();
        if actual != *expected {
            self.store.delete(key).await.map_err(failed)?;
            return Err(BlobError::DigestMismatch { expected: *expected, actual });
        }
        Ok(state.offset)
    }

    /// Writes the whole body, or leaves nothing of it. The hash is `None` if it can be made only of sealed bytes.
    async fn write(
        &self,
        open: Open<'_>,
        known: Option<Hasher>,
        algorithm: Algorithm,
        intake: &mut Intake,
        durability: Durability,
    ) -> Result<(WriterState, Option<Hasher>), BlobError> {
        let entry = if open.from.offset > 0 { Entry::UnderWay } else { Entry::New };
        let passage = Passage::new(intake, &self.memory, self.store.copies(), entry).await?;
        let writer = self.store.open_writer(open.key, open.epoch, open.from).await.map_err(failed)?;
        let mut attempt = Attempt::new(writer);
        let written = async {
            let hasher = hasher_at(known, algorithm, &mut *attempt).await?;
            let known = hasher.is_some();
            let hasher = hasher.unwrap_or_else(|| Hasher::new(algorithm));
            let hasher = pump(intake, passage, &mut *attempt, hasher).await?;
            Ok((attempt.checkpoint(durability).await.map_err(failed)?, known.then_some(hasher)))
        }
        .await;
        match written {
            Ok(_) => attempt.keep(),
            Err(_) => attempt.give_up().await,
        }
        written
    }

    /// Answers a repeated seal with the size of the object, if that has digest `expected`; else with `error`.
    async fn repeat(&self, key: &ObjectKey, epoch: u64, expected: &Digest, error: BlobError) -> Result<u64, BlobError> {
        let offset = self.sealed_as(key, expected).await?.ok_or(error)?;
        // What can be read need not outlive a power cut yet: the first try may have ended before its last flush.
        self.store.seal(key, epoch, &WriterState { offset, driver: Bytes::new() }).await.map_err(failed)?;
        Ok(offset)
    }

    /// Size of the object if it is sealed and has digest `expected`.
    ///
    /// An object that cannot be read at the moment may be the one: only its absence, or other bytes, are a no.
    async fn sealed_as(&self, key: &ObjectKey, expected: &Digest) -> Result<Option<u64>, BlobError> {
        let read = async {
            let read = self.store.open(key).await.map_err(failed)?;
            let size = read.size();
            Ok((size, hash_again(expected.algorithm(), read).await?.finish()))
        };
        match read.await {
            Ok((size, actual)) => Ok((actual == *expected).then_some(size)),
            Err(BlobError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl BlobStore for Blobs {
    async fn append(&self, position: WriterPosition, body: ByteStream) -> Result<Appended, BlobError> {
        let key = object_key(position.key);
        let mut saved = Saved::decode(&position)?;
        let known = saved.take_hasher(position.algorithm);
        let open = Open { key: &key, epoch: position.epoch, from: &saved.writer };
        let mut intake = Intake::new(body);
        let (state, hasher) = self.write(open, known, position.algorithm, &mut intake, Durability::Durable).await?;
        Ok(Appended { offset: state.offset, state: encode(&state, hasher.as_ref()) })
    }

    async fn seal(&self, position: WriterPosition, body: ByteStream, expected: Digest) -> Result<u64, BlobError> {
        let key = object_key(position.key);
        let mut intake = Intake::new(body);
        match self.complete(&key, &position, &mut intake, &expected).await {
            // What may be a repeat whose first answer was lost.
            Err(error @ (BlobError::Fenced | BlobError::DigestMismatch { .. })) => {
                let size = self.repeat(&key, position.epoch, &expected, error).await?;
                intake.drain().await;
                Ok(size)
            }
            other => other,
        }
    }

    async fn open(&self, key: StorageKey) -> Result<BlobSource, BlobError> {
        match self.store.open(&object_key(key)).await.map_err(failed)? {
            ObjectRead::File { file, size } => Ok(BlobSource::File { file, size }),
            ObjectRead::Bytes(bytes) => Ok(BlobSource::Memory(bytes)),
            ObjectRead::Remote(object) => Ok(BlobSource::Url { url: object.url().to_owned(), size: object.size() }),
            other => Err(BlobError::Internal(format!("no way to serve {other:?}").into())),
        }
    }

    async fn delete(&self, key: StorageKey) -> Result<(), BlobError> {
        let key = object_key(key);
        self.store.abort(&key, u64::MAX, &WriterState::start()).await.map_err(failed)?;
        self.store.delete(&key).await.map_err(failed)
    }

    async fn list(&self, page: Page) -> Result<PageOf<StorageKey>, BlobError> {
        let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
        let query = ListQuery { scope: ListScope::Sealed, prefix: "data/".to_owned(), after: page.after, limit };
        let found = self.store.list(&query).await.map_err(failed)?;
        let next = found.last().filter(|_| found.len() == limit).map(|entry| entry.key.to_string());
        // Objects under other names are not ours to report.
        let items = found.iter().filter_map(|entry| entry.key.as_str().parse().ok()).collect();
        Ok(PageOf { items, next })
    }
}

/// Where to start writing.
#[derive(Clone, Copy)]
struct Open<'a> {
    key: &'a ObjectKey,
    epoch: u64,
    from: &'a WriterState,
}

fn object_key(key: StorageKey) -> ObjectKey {
    key.to_string().parse().expect("a storage key is hexadecimal digits, dashes and slashes")
}

/// Runs work that is too long for the reactor.
pub(crate) async fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, BlobError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => Ok(value),
        Err(stopped) => match stopped.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(cancelled) => Err(BlobError::Unavailable(cancelled.into())),
        },
    }
}

/// The port's word for an error of the store.
pub(crate) fn failed(error: ObjectError) -> BlobError {
    match error {
        ObjectError::NotFound { .. } => BlobError::NotFound,
        // There is nothing left to go on from, whether that has just happened or long ago.
        ObjectError::Discarded { ref source, .. } => {
            if source.is_some() {
                tracing::error!(error = %Chain(&error), "an upload is lost");
            }
            BlobError::NotFound
        }
        // Whoever sealed it came after.
        ObjectError::Fenced { .. } | ObjectError::AlreadySealed { .. } => BlobError::Fenced,
        ObjectError::InvalidState { .. } => BlobError::BadState,
        ObjectError::NoSpace { key, source } => {
            tracing::error!(object.key = %key, error = %source, "no space left for an upload");
            BlobError::NoSpace
        }
        ObjectError::Busy { .. } | ObjectError::Io { .. } => BlobError::Unavailable(error.into()),
        other => BlobError::Internal(other.into()),
    }
}
