//! The memory that a large body passes through: a few buffers per upload, used again and again.
//!
//! Received bytes are copied here while the processor still has them at hand, so that the receive buffer is free
//! for the next read. What an upload holds is bounded, whatever its client and its disk do, and lies where the disk
//! can take it from without the page cache in between.

use bytes::{Buf, Bytes};
use entrepot_object::WRITE_ALIGNMENT;
use tokio::sync::mpsc;

/// Size of a buffer: large enough that a system call and a change of thread are lost in the half millisecond it takes
/// to hash it.
pub(crate) const BUFFER: usize = 1 << 20;

/// Buffers of one upload: one being filled, one being hashed, and four that a disk takes in one request while the next four
/// wait for it.
pub(crate) const BUFFERS: usize = 10;

/// The buffers of one upload, made when they are first needed.
pub(crate) struct Buffers {
    unmade: usize,
    free: mpsc::Receiver<Memory>,
    home: mpsc::Sender<Memory>,
}

impl Buffers {
    pub(crate) fn new() -> Self {
        let (home, free) = mpsc::channel(BUFFERS);
        Self { unmade: BUFFERS, free, home }
    }

    /// An empty buffer for `capacity` bytes, at most [`BUFFER`]; waits while all are in use.
    pub(crate) async fn next(&mut self, capacity: usize) -> Filling {
        let memory = match self.free.try_recv() {
            Ok(memory) => memory,
            Err(_) if self.unmade > 0 => {
                self.unmade -= 1;
                Memory::new()
            }
            Err(_) => self.free.recv().await.expect("a sender is at hand"),
        };
        Filling { memory, length: 0, capacity: capacity.min(BUFFER), home: self.home.clone() }
    }
}

/// One buffer, aligned for the disk.
struct Memory {
    bytes: Box<[u8]>,
    start: usize,
}

impl Memory {
    fn new() -> Self {
        let bytes = vec![0; BUFFER + WRITE_ALIGNMENT].into_boxed_slice();
        let start = bytes.as_ptr().align_offset(WRITE_ALIGNMENT);
        Self { bytes, start }
    }
}

/// A buffer that is being filled.
pub(crate) struct Filling {
    memory: Memory,
    length: usize,
    capacity: usize,
    home: mpsc::Sender<Memory>,
}

impl Filling {
    pub(crate) fn is_full(&self) -> bool {
        self.length == self.capacity
    }

    /// Moves as many bytes as there is room for from the front of `source`.
    pub(crate) fn take(&mut self, source: &mut impl Buf) {
        let count = source.remaining().min(self.capacity - self.length);
        let from = self.memory.start + self.length;
        source.copy_to_slice(&mut self.memory.bytes[from..from + count]);
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
    home: mpsc::Sender<Memory>,
}

impl AsRef<[u8]> for Filled {
    fn as_ref(&self) -> &[u8] {
        self.memory.as_ref().map_or(&[], |memory| &memory.bytes[memory.start..memory.start + self.length])
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            // The upload may have ended; there is always room for all of its buffers.
            let _ = self.home.try_send(memory);
        }
    }
}

#[cfg(test)]
mod tests;
