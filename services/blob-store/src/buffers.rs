//! The memory that a large body passes through: a few buffers per upload, used again and again.
//!
//! Received bytes are copied here while the processor still has them at hand, so that the receive buffer is free
//! for the next read. What an upload holds is bounded, and what all of them hold, whatever their clients and their
//! disk do; it lies where the disk can take it from without the page cache in between.

mod memory;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
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
pub(crate) const UNIT: usize = BUFFER / 16;

/// Buffers that are kept when no upload uses them.
const SPARE: usize = 2;

/// Which upload asks for buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// One of which no byte is acknowledged: its client loses nothing when it is refused.
    New,
    /// One that goes on. Refusing it would cost all that its client has sent, gigabytes perhaps.
    UnderWay,
}

impl Entry {
    /// How long it waits for the sure buffers.
    const fn patience(self) -> Duration {
        match self {
            // Long enough for a burst to pass, and shorter than any client waits for an answer.
            Self::New => Duration::from_secs(1),
            // Whoever has buffers gets on with its client or is cut off when that has stalled for a minute
            // (`body_stall`), so a wait of several says that they are held by clients that are slow and not gone, and may be so
            // for hours. Meanwhile nobody reads this one's body, and nobody notices if its own client has gone: that is why
            // there is an end.
            Self::UnderWay => Duration::from_secs(5 * 60),
        }
    }
}

/// The way home of an upload's buffers: a sure one comes back itself, of another only the word that it has.
type Home = mpsc::Sender<Option<Memory>>;

/// The buffers that all uploads of a process may have together.
///
/// # Who gets what
/// An upload holds the sure ones for as long as it takes, and others only out of the first half: uploads that stall keep
/// what they have, and the other half lets those in that come later. Of these others what nobody fills, hashes or writes
/// at the moment is let go as soon as an upload waits to be let in.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    permits: Arc<Semaphore>,
    /// All there is, in units.
    all: usize,
    /// Buffers beyond the sure ones that their upload does not use at the moment.
    idle: Arc<Mutex<Vec<(Home, Memory)>>>,
    /// Memory of uploads that have ended, for the next: small blobs would spend their time on getting it from the system.
    spare: Arc<Mutex<Vec<Block>>>,
}

impl Pool {
    /// As many as fit into `bytes`, and enough for one upload.
    pub(crate) fn new(bytes: u64) -> Self {
        let units = usize::try_from(bytes / UNIT as u64).unwrap_or(usize::MAX);
        let all = units.clamp(SURE * units_of(BUFFER), Semaphore::MAX_PERMITS);
        Self { permits: Arc::new(Semaphore::new(all)), all, idle: Arc::default(), spare: Arc::default() }
    }

    /// The buffers of an upload, of `size` bytes each: two, and up to `most` while half of the memory is free.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`] when others hold all of them for longer than `entry` has patience.
    pub(crate) async fn enter(&self, most: usize, size: usize, entry: Entry) -> Result<Buffers, BlobError> {
        let size = size.min(BUFFER);
        let mut sure = pin!(Arc::clone(&self.permits).acquire_many_owned((SURE * units_of(size)) as u32));
        let sure = poll_fn(|context| {
            if let Poll::Ready(sure) = sure.as_mut().poll(context) {
                return Poll::Ready(sure);
            }
            // In this order: whatever comes home from now on finds somebody who waits.
            drop(std::mem::take(&mut *self.idle()));
            sure.as_mut().poll(context)
        });
        match timeout(entry.patience(), sure).await {
            Ok(Ok(sure)) => Ok(Buffers::new(self.clone(), sure, most, size)),
            Ok(Err(_)) | Err(_) => {
                Err(BlobError::Unavailable("uploads under way hold all of the memory for uploads".into()))
            }
        }
    }
}

impl Pool {
    /// Keeps a buffer for the upload that it came home to, unless that has ended or others wait.
    fn keep(&self, memory: Memory, home: &Home) {
        let mut idle = self.idle();
        // Looked at while it is held: whoever ends or begins to wait later looks here.
        if !home.is_closed() && !memory.is_wanted() {
            idle.push((home.clone(), memory));
        }
    }

    /// A buffer that was [kept](Self::keep) for this upload and not let go.
    fn take_back(&self, home: &Home) -> Option<Memory> {
        let mut idle = self.idle();
        let place = idle.iter().position(|(of, _)| of.same_channel(home))?;
        Some(idle.swap_remove(place).1)
    }

    /// Lets all go that was kept for this upload.
    fn forget(&self, home: &Home) {
        self.idle().retain(|(of, _)| !of.same_channel(home));
    }

    /// Held for a moment, by nothing that panics.
    fn idle(&self) -> MutexGuard<'_, Vec<(Home, Memory)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

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
    /// What has come back; `None` for a buffer that the pool keeps, or has let go.
    free: mpsc::Receiver<Option<Memory>>,
    home: Home,
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
            if let Some(memory) = self.returned(back) {
                return Ok(self.filling(memory, capacity));
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
                Ok(back) => {
                    if let Some(memory) = self.returned(back) {
                        return Ok(Some(self.filling(memory, capacity)));
                    }
                }
                Err(_) => return Ok(self.make()?.map(|memory| self.filling(memory, capacity))),
            }
        }
    }

    /// A buffer that came back, unless others have got it.
    fn returned(&mut self, back: Option<Memory>) -> Option<Memory> {
        let memory = back.or_else(|| self.pool.take_back(&self.home));
        if memory.is_none() {
            self.unmade += 1;
        }
        memory
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
            // Others are let in by the other half, whether the client that fills this one goes on or not.
            None if self.pool.permits.available_permits() < units + self.pool.all / 2 => return Ok(None),
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

impl Drop for Buffers {
    fn drop(&mut self) {
        // In this order: whatever comes home from now on is not kept.
        self.free.close();
        self.pool.forget(&self.home);
    }
}

/// A buffer that is being filled.
pub(crate) struct Filling {
    memory: Memory,
    length: usize,
    capacity: usize,
    home: Home,
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
    home: Home,
}

impl AsRef<[u8]> for Filled {
    fn as_ref(&self) -> &[u8] {
        self.memory.as_ref().map_or(&[], |memory| &memory.bytes()[..self.length])
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        let Some(memory) = self.memory.take() else { return };
        let back = match memory.is_sure() {
            true => Some(memory),
            false => {
                memory.pool().keep(memory, &self.home);
                None
            }
        };
        // The upload may have ended; there is always room for all of its buffers.
        let _ = self.home.try_send(back);
    }
}

#[cfg(test)]
mod tests;
