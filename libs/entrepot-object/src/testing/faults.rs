//! Faults on purpose: a decorator that makes any store fail, fill up or stall.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::oneshot;

use crate::{
    Durability, ListQuery, ObjectEntry, ObjectError, ObjectKey, ObjectMeta, ObjectRead, ObjectStore, ObjectWriter,
    WriterState,
};

/// Operations a fault can be set on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// [`ObjectStore::open_writer`]
    OpenWriter,
    /// [`ObjectWriter::write`]
    Write,
    /// [`ObjectWriter::checkpoint`]
    Checkpoint,
    /// [`ObjectStore::seal`]
    Seal,
    /// [`ObjectStore::abort`]
    Abort,
    /// [`ObjectStore::open`], [`ObjectStore::stat`] and [`ObjectWriter::read_back`]
    Read,
    /// [`ObjectStore::delete`]
    Delete,
    /// [`ObjectStore::list`]
    List,
}

#[derive(Debug)]
enum Fault {
    /// Fail once this many more of the operation have passed.
    Fail { op: Op, after: usize },
    /// Hold the next of the operation.
    Stall { op: Op, reached: oneshot::Sender<()>, release: oneshot::Receiver<()> },
}

/// Faults to come, shared between a test and its [`FaultStore`]. Empty at first.
#[derive(Debug, Default)]
pub struct Faults {
    queue: Mutex<VecDeque<Fault>>,
    space: Mutex<Option<u64>>,
}

/// A stall that has been set; dropping it releases the operation.
#[derive(Debug)]
pub struct Stall {
    reached: oneshot::Receiver<()>,
    _release: oneshot::Sender<()>,
}

impl Stall {
    /// Waits until the operation is being held.
    pub async fn reached(&mut self) {
        // An error means that the faults are gone, and with them what could be held.
        let _ = (&mut self.reached).await;
    }
}

impl Faults {
    /// Makes the `nth` next `op`, counted from 1, fail without reaching the store.
    pub fn fail_nth(&self, op: Op, nth: usize) {
        self.queue().push_back(Fault::Fail { op, after: nth.saturating_sub(1) });
    }

    /// Makes the next `op` wait before it reaches the store.
    pub fn stall(&self, op: Op) -> Stall {
        let (reached_tx, reached) = oneshot::channel();
        let (release, release_rx) = oneshot::channel();
        self.queue().push_back(Fault::Stall { op, reached: reached_tx, release: release_rx });
        Stall { reached, _release: release }
    }

    /// Leaves room for `bytes` more written bytes; `None` for as many as there is.
    pub fn space(&self, bytes: Option<u64>) {
        *self.space.lock().unwrap_or_else(PoisonError::into_inner) = bytes;
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Fault>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn strike(&self, op: Op, key: &str) -> Result<(), ObjectError> {
        match self.due(op) {
            Some(Fault::Fail { .. }) => {
                let source = io::Error::other("injected fault");
                Err(ObjectError::Io { action: "reach the store for", key: key.to_owned(), source })
            }
            Some(Fault::Stall { reached, release, .. }) => {
                // Either side may have gone; then nobody waits and nothing has to.
                let _ = reached.send(());
                let _ = release.await;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The fault that hits this operation, taken off the queue.
    fn due(&self, op: Op) -> Option<Fault> {
        let mut queue = self.queue();
        let mut due = None;
        for (at, fault) in queue.iter_mut().enumerate() {
            let (hits, after) = match fault {
                Fault::Fail { op: hit, after } => {
                    (*hit == op, std::mem::replace(after, after.saturating_sub(usize::from(*hit == op))))
                }
                Fault::Stall { op: hit, .. } => (*hit == op, 0),
            };
            if hits && after == 0 && due.is_none() {
                due = Some(at);
            }
        }
        due.and_then(|at| queue.remove(at))
    }

    fn take_space(&self, key: &ObjectKey, bytes: u64) -> Result<(), ObjectError> {
        let mut space = self.space.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(left) = space.as_mut() {
            *left = left
                .checked_sub(bytes)
                .ok_or_else(|| ObjectError::NoSpace { key: key.clone(), source: io::ErrorKind::StorageFull.into() })?;
        }
        Ok(())
    }
}

/// A store that fails as its [`Faults`] say and passes everything else on.
#[derive(Clone, Debug)]
pub struct FaultStore {
    inner: Arc<dyn ObjectStore>,
    faults: Arc<Faults>,
}

impl FaultStore {
    /// Wraps `inner`; set the faults through what is returned beside it.
    pub fn new(inner: Arc<dyn ObjectStore>) -> (Self, Arc<Faults>) {
        let faults = Arc::<Faults>::default();
        (Self { inner, faults: Arc::clone(&faults) }, faults)
    }
}

#[async_trait]
impl ObjectStore for FaultStore {
    fn copies(&self) -> bool {
        self.inner.copies()
    }

    async fn open_writer(
        &self,
        key: &ObjectKey,
        epoch: u64,
        resume: &WriterState,
    ) -> Result<Box<dyn ObjectWriter>, ObjectError> {
        self.faults.strike(Op::OpenWriter, key.as_str()).await?;
        let inner = self.inner.open_writer(key, epoch, resume).await?;
        Ok(Box::new(FaultWriter { inner, key: key.clone(), faults: Arc::clone(&self.faults) }))
    }

    async fn seal(&self, key: &ObjectKey, epoch: u64, state: &WriterState) -> Result<(), ObjectError> {
        self.faults.strike(Op::Seal, key.as_str()).await?;
        self.inner.seal(key, epoch, state).await
    }

    async fn abort(&self, key: &ObjectKey, epoch: u64, state: &WriterState) -> Result<(), ObjectError> {
        self.faults.strike(Op::Abort, key.as_str()).await?;
        self.inner.abort(key, epoch, state).await
    }

    async fn open(&self, key: &ObjectKey) -> Result<ObjectRead, ObjectError> {
        self.faults.strike(Op::Read, key.as_str()).await?;
        self.inner.open(key).await
    }

    async fn stat(&self, key: &ObjectKey) -> Result<ObjectMeta, ObjectError> {
        self.faults.strike(Op::Read, key.as_str()).await?;
        self.inner.stat(key).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), ObjectError> {
        self.faults.strike(Op::Delete, key.as_str()).await?;
        self.inner.delete(key).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<ObjectEntry>, ObjectError> {
        self.faults.strike(Op::List, &query.prefix).await?;
        self.inner.list(query).await
    }
}

#[derive(Debug)]
struct FaultWriter {
    inner: Box<dyn ObjectWriter>,
    key: ObjectKey,
    faults: Arc<Faults>,
}

#[async_trait]
impl ObjectWriter for FaultWriter {
    fn offset(&self) -> u64 {
        self.inner.offset()
    }

    async fn write(&mut self, chunks: Vec<Bytes>) -> Result<(), ObjectError> {
        self.faults.strike(Op::Write, self.key.as_str()).await?;
        self.faults.take_space(&self.key, chunks.iter().map(|chunk| chunk.len() as u64).sum())?;
        self.inner.write(chunks).await
    }

    async fn checkpoint(&mut self, durability: Durability) -> Result<WriterState, ObjectError> {
        self.faults.strike(Op::Checkpoint, self.key.as_str()).await?;
        self.inner.checkpoint(durability).await
    }

    async fn read_back(&mut self) -> Result<ObjectRead, ObjectError> {
        self.faults.strike(Op::Read, self.key.as_str()).await?;
        self.inner.read_back().await
    }

    async fn take_back(self: Box<Self>) -> Result<(), ObjectError> {
        self.inner.take_back().await
    }
}
