//! The memory that a large body passes through: a few buffers per upload, used again and again.
//!
//! Received bytes are copied here while the processor still has them at hand, so that the receive buffer is free
//! for the next read. What an upload holds is bounded, and what all of them hold, whatever their clients and their
//! disk do; it lies where the disk can take it from without the page cache in between.

mod memory;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes};
use entrepot_core::ports::blobs::BlobError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use memory::{Block, Memory};

/// Size of a buffer: one large page, and large enough that a system call and a change of thread are lost in the
/// millisecond it takes to hash it.
pub(crate) const BUFFER: usize = 2 << 20;

/// Buffers of one upload: two being filled, two being hashed, and two that a disk takes in one request while the next two
/// wait for it.
pub(crate) const BUFFERS: usize = 8;

/// Buffers that an upload has for sure once it has begun: one is filled while the other is hashed and written.
pub(crate) const SURE: usize = 2;

/// What memory is counted by: the smallest buffer there is.
pub(crate) const UNIT: usize = BUFFER / 4;

/// Buffers that are kept when no upload uses them.
const SPARE: usize = 2;

/// How long an upload waits for those. Long enough for a burst to pass, and shorter than any client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// The buffers that all uploads of a process may have together.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    permits: Arc<Semaphore>,
    /// Memory of uploads that have ended, for the next: small blobs would spend their time on getting it from the system.
    spare: Arc<Mutex<Vec<Block>>>,
}

impl Pool {
    /// As many as fit into `bytes`, and enough for one upload.
    pub(crate) fn new(bytes: u64) -> Self {
        let units = usize::try_from(bytes / UNIT as u64).unwrap_or(usize::MAX);
        let permits = Arc::new(Semaphore::new(units.clamp(SURE * units_of(BUFFER), Semaphore::MAX_PERMITS)));
        Self { permits, spare: Arc::default() }
    }

    /// The buffers of an upload, of `size` bytes each: two, and up to `most` while there are enough.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`] when others hold all of them.
    pub(crate) async fn enter(&self, most: usize, size: usize) -> Result<Buffers, BlobError> {
        let size = size.min(BUFFER);
        let sure = Arc::clone(&self.permits).acquire_many_owned((SURE * units_of(size)) as u32);
        match timeout(PATIENCE, sure).await {
            Ok(Ok(sure)) => Ok(Buffers::new(self.clone(), sure, most, size)),
            Ok(Err(_)) | Err(_) => {
                Err(BlobError::Unavailable("uploads under way hold all of the memory for uploads".into()))
            }
        }
    }
}

impl Pool {
    /// Held for a moment, by nothing that panics.
    fn spare(&self) -> MutexGuard<'_, Vec<Block>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn units_of(size: usize) -> usize {
    size.div_ceil(UNIT)
}

/// The buffers of one upload, made when they are first needed.
pub(crate) struct Buffers {
    pool: Pool,
    /// For those of the sure ones that are not made yet.
    sure: OwnedSemaphorePermit,
    unmade: usize,
    size: usize,
    /// What has come back; `None` for a buffer that was given to others.
    free: mpsc::Receiver<Option<Memory>>,
    home: mpsc::Sender<Option<Memory>>,
}

impl Buffers {
    fn new(pool: Pool, sure: OwnedSemaphorePermit, most: usize, size: usize) -> Self {
        let (home, free) = mpsc::channel(BUFFERS);
        Self { pool, sure, unmade: most.clamp(SURE, BUFFERS), size, free, home }
    }

    /// An empty buffer for `capacity` bytes, or for as many as fit; waits while all are in use.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`] when the system has no memory.
    pub(crate) async fn next(&mut self, capacity: usize) -> Result<Filling, BlobError> {
        loop {
            if let Some(filling) = self.at_hand(capacity)? {
                return Ok(filling);
            }
            // One of the sure ones comes back at least.
            let back = self.free.recv().await.expect("a sender is at hand");
            match back {
                Some(memory) => return Ok(self.filling(memory, capacity)),
                None => self.unmade += 1,
            }
        }
    }

    /// Like [`Buffers::next`], if that would not wait.
    ///
    /// # Errors
    /// As of [`Buffers::next`].
    pub(crate) fn at_hand(&mut self, capacity: usize) -> Result<Option<Filling>, BlobError> {
        loop {
            match self.free.try_recv() {
                Ok(Some(memory)) => return Ok(Some(self.filling(memory, capacity))),
                Ok(None) => self.unmade += 1,
                Err(_) => return Ok(self.make()?.map(|memory| self.filling(memory, capacity))),
            }
        }
    }

    fn filling(&self, memory: Memory, capacity: usize) -> Filling {
        Filling { memory, length: 0, capacity: capacity.min(self.size), home: self.home.clone() }
    }

    /// One more buffer, if this upload may have it.
    fn make(&mut self) -> Result<Option<Memory>, BlobError> {
        if self.unmade == 0 {
            return Ok(None);
        }
        let units = units_of(self.size);
        let (permit, sure) = match self.sure.split(units) {
            Some(permit) => (permit, true),
            None => match Arc::clone(&self.pool.permits).try_acquire_many_owned(units as u32) {
                Ok(permit) => (permit, false),
                Err(_) => return Ok(None),
            },
        };
        let memory = Memory::new(&self.pool, self.size, permit, sure)
            .map_err(|error| BlobError::Unavailable(format!("there is no memory for the upload: {error}").into()))?;
        self.unmade -= 1;
        Ok(Some(memory))
    }
}

/// A buffer that is being filled.
pub(crate) struct Filling {
    memory: Memory,
    length: usize,
    capacity: usize,
    home: mpsc::Sender<Option<Memory>>,
}

impl Filling {
    pub(crate) fn is_full(&self) -> bool {
        self.length == self.capacity
    }

    /// Moves as many bytes as there is room for from the front of `source`.
    pub(crate) fn take(&mut self, source: &mut impl Buf) {
        let count = source.remaining().min(self.capacity - self.length);
        source.copy_to_slice(&mut self.memory.bytes_mut()[self.length..self.length + count]);
        self.length += count;
    }

    /// The bytes; `None` if there are none. The memory comes back when the last clone is dropped.
    pub(crate) fn freeze(self) -> Option<Bytes> {
        let filled = Filled { memory: Some(self.memory), length: self.length, home: self.home };
        (self.length > 0).then(|| Bytes::from_owner(filled))
    }
}

/// The owner of a buffer's bytes.
struct Filled {
    /// `None` only while it is dropped.
    memory: Option<Memory>,
    length: usize,
    home: mpsc::Sender<Option<Memory>>,
}

impl AsRef<[u8]> for Filled {
    fn as_ref(&self) -> &[u8] {
        self.memory.as_ref().map_or(&[], |memory| &memory.bytes()[..self.length])
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            // The upload may have ended; there is always room for all of its buffers.
            let _ = self.home.try_send((!memory.is_wanted()).then_some(memory));
        }
    }
}

#[cfg(test)]
mod tests;
