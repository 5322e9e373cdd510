//! The memory of one buffer.

use std::io;

use entrepot_object::WRITE_ALIGNMENT;
use memmap2::{Advice, MmapMut};
use tokio::sync::OwnedSemaphorePermit;

use super::{BUFFER, Pool, SPARE};

/// Bytes of one mapping, aligned for the disk; those of a whole [`BUFFER`] are one large page where the system has such.
///
/// The disk then gets one piece where it would get 512 that it takes in several requests, and the first use is one page
/// fault instead of 512.
#[derive(Debug)]
pub(super) struct Block {
    map: MmapMut,
    start: usize,
    size: usize,
}

impl Block {
    fn new(size: usize) -> io::Result<Self> {
        // Address space is all that the part takes that is skipped to begin at a large page.
        let alignment = if size == BUFFER { BUFFER } else { WRITE_ALIGNMENT };
        let map = MmapMut::map_anon(size + alignment)?;
        let start = map.as_ptr().align_offset(alignment);
        if size == BUFFER {
            // A system without large pages has small ones.
            let _ = map.advise_range(Advice::HugePage, start, size);
        }
        Ok(Self { map, start, size })
    }
}

/// One buffer of an upload.
#[derive(Debug)]
pub(super) struct Memory {
    /// `None` only while it is dropped.
    block: Option<Block>,
    _permit: OwnedSemaphorePermit,
    pool: Pool,
    /// Whether it is one of those that its upload has for sure.
    sure: bool,
}

impl Memory {
    /// # Errors
    /// The system has none.
    pub(super) fn new(pool: &Pool, size: usize, permit: OwnedSemaphorePermit, sure: bool) -> io::Result<Self> {
        let spare = pool.spare().pop().filter(|block| block.size == size);
        let block = spare.map_or_else(|| Block::new(size), Ok)?;
        Ok(Self { block: Some(block), _permit: permit, pool: pool.clone(), sure })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.block.as_ref().map_or(&[], |block| &block.map[block.start..block.start + block.size])
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        self.block.as_mut().map_or(&mut [], |block| &mut block.map[block.start..block.start + block.size])
    }

    pub(super) fn pool(&self) -> Pool {
        self.pool.clone()
    }

    pub(super) fn is_sure(&self) -> bool {
        self.sure
    }

    /// Others may need it more: their uploads cannot even begin. Whoever waits holds all that is free.
    pub(super) fn is_wanted(&self) -> bool {
        self.pool.permits.available_permits() == 0
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let mut spare = self.pool.spare();
        if spare.len() < SPARE {
            spare.extend(self.block.take());
        }
    }
}
