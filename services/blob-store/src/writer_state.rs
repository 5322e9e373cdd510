//! What the index keeps of an upload between two requests.
//!
//! ```text
//! u8 version = 1 | u64 offset | u32 length, notes of the storage driver
//!               | u8 algorithm (1 sha256, 2 sha512) | u8 hash format = 1 | midstate, fixed length
//! ```
//! The last line is missing where the hash can be made only at the end.
//!
//! Numbers are big-endian. The bytes come back from a database that others can write to, so they
//! are read as fixed fields and never by a general deserializer.

use bytes::{BufMut, Bytes, BytesMut};
use entrepot_core::Algorithm;
use entrepot_core::ports::blobs::{BlobError, WriterPosition};
use entrepot_object::WriterState;

use crate::hasher::Hasher;

const VERSION: u8 = 1;
/// Changes when the hash library writes midstates in another way.
const HASH_FORMAT: u8 = 1;

/// Where an upload stands.
#[derive(Debug)]
pub(crate) struct Saved {
    /// For the storage driver.
    pub(crate) writer: WriterState,
    /// The hash so far; `None` if this version cannot read it and the bytes must be hashed again.
    pub(crate) hasher: Option<Hasher>,
}

impl Saved {
    /// Reads the state of a position.
    pub(crate) fn decode(position: &WriterPosition) -> Result<Self, BlobError> {
        if position.state.is_empty() {
            return match position.offset {
                0 => Ok(Self { writer: WriterState::start(), hasher: Some(Hasher::new(position.algorithm)) }),
                _ => Err(BlobError::BadState),
            };
        }
        let (offset, driver, hash) = fields(&position.state).ok_or(BlobError::BadState)?;
        if offset != position.offset {
            return Err(BlobError::BadState);
        }
        let writer = WriterState { offset, driver: Bytes::copy_from_slice(driver) };
        Ok(Self { writer, hasher: read_hash(hash) })
    }

    /// The hash so far, if it is of `algorithm`.
    pub(crate) fn take_hasher(&mut self, algorithm: Algorithm) -> Option<Hasher> {
        if self.writer.offset == 0 {
            return Some(Hasher::new(algorithm));
        }
        self.hasher.take().filter(|hasher| hasher.algorithm() == algorithm)
    }
}

/// Writes a state.
pub(crate) fn encode(writer: &WriterState, hasher: Option<&Hasher>) -> Bytes {
    let mut bytes = BytesMut::with_capacity(256 + writer.driver.len());
    bytes.put_u8(VERSION);
    bytes.put_u64(writer.offset);
    bytes.put_u32(u32::try_from(writer.driver.len()).expect("notes of a driver are a few KiB"));
    bytes.put_slice(&writer.driver);
    if let Some(hasher) = hasher {
        bytes.put_u8(match hasher.algorithm() {
            Algorithm::Sha256 => 1,
            Algorithm::Sha512 => 2,
        });
        bytes.put_u8(HASH_FORMAT);
        bytes.put_slice(&hasher.midstate());
    }
    bytes.freeze()
}

/// Offset, driver notes and hash part; `None` if the lengths do not add up.
fn fields(state: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    let (&[version], rest) = state.split_first_chunk::<1>()?;
    let (offset, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (driver, hash) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    (version == VERSION).then_some((u64::from_be_bytes(*offset), driver, hash))
}

fn read_hash(hash: &[u8]) -> Option<Hasher> {
    let (&[algorithm, format], midstate) = hash.split_first_chunk()?;
    let algorithm = match algorithm {
        1 => Algorithm::Sha256,
        2 => Algorithm::Sha512,
        _ => return None,
    };
    (format == HASH_FORMAT).then(|| Hasher::resume(algorithm, midstate)).flatten()
}

#[cfg(test)]
mod tests;
