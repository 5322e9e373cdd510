//! Content too large to be held in memory: made while it is sent, hashed while it is received.

use std::io::{Read, Write};

use anyhow::Result;
use sha2::{Digest as _, Sha256};

/// Bytes that are quick to make, never repeat, and are the same every time.
#[derive(Clone, Debug)]
pub struct Content {
    state: u64,
    left: u64,
}

impl Content {
    /// `left` bytes, a multiple of eight.
    #[must_use]
    pub fn of(left: u64) -> Self {
        Self { state: 0x9e37_79b9_7f4a_7c15, left }
    }
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        // Whole words only, so that the bytes do not depend on the sizes of the reads.
        let room = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX)) & !7;
        for word in buffer[..room].chunks_exact_mut(8) {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            word.copy_from_slice(&self.state.to_le_bytes());
        }
        self.left -= room as u64;
        Ok(room)
    }
}

/// Hashes what is written to it.
struct Hash(Sha256);

impl Write for Hash {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The digest of everything that `content` gives, and its length.
///
/// # Errors
/// When reading fails.
pub fn digest_of(content: &mut impl Read) -> Result<(String, u64)> {
    let mut hash = Hash(Sha256::new());
    let mut buffer = vec![0; 1 << 20];
    let mut total = 0;
    loop {
        let count = content.read(&mut buffer)?;
        if count == 0 {
            return Ok((format!("sha256:{}", hex::encode(hash.0.finalize())), total));
        }
        hash.write_all(&buffer[..count])?;
        total += count as u64;
    }
}
