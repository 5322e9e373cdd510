//! The memory of one piece of a part.

use bytes::{Bytes, BytesMut};
use memmap2::MmapMut;

/// A part is made of pieces of this size, so that a short one takes little memory and a growing one is not moved.
pub(super) const PIECE: usize = 1 << 20;

/// An object of no more than this is not worth a mapping, nor to be counted.
pub(super) const SMALL: usize = 64 << 10;

/// A piece that is being filled.
///
/// One that is not small is mapped from the system and goes straight back to it. An allocator keeps what one thread allocated and
/// another freed for a second and more, which for parts on their way is half as much again as what is in use.
pub(super) enum Piece {
    /// Grows as it has to: of an object that may be small.
    Growing(BytesMut),
    /// Has its full size from the start.
    Mapped(Mapped),
}

pub(super) struct Mapped {
    memory: MmapMut,
    length: usize,
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.memory[..self.length]
    }
}

impl Default for Piece {
    fn default() -> Self {
        Self::Growing(BytesMut::new())
    }
}

impl Piece {
    /// An empty one of the full size.
    pub(super) fn whole() -> Self {
        match MmapMut::map_anon(PIECE) {
            Ok(memory) => Self::Mapped(Mapped { memory, length: 0 }),
            // The system may have no more mappings, and still memory.
            Err(_) => Self::Growing(BytesMut::with_capacity(PIECE)),
        }
    }

    /// Bytes that it takes without growing.
    pub(super) fn space(&self) -> usize {
        match self {
            Self::Growing(bytes) => bytes.capacity() - bytes.len(),
            Self::Mapped(mapped) => mapped.memory.len() - mapped.length,
        }
    }

    /// Appends a copy, for which there must be [space](Self::space), or as much left of a whole piece in one that grows.
    pub(super) fn push(&mut self, chunk: &[u8]) {
        if let Self::Growing(bytes) = self
            && bytes.len() + chunk.len() > SMALL
            && bytes.capacity() < PIECE
        {
            let mut whole = Self::whole();
            whole.append(bytes);
            *self = whole;
        }
        self.append(chunk);
    }

    fn append(&mut self, chunk: &[u8]) {
        match self {
            Self::Growing(bytes) => bytes.extend_from_slice(chunk),
            Self::Mapped(mapped) => {
                let end = mapped.length + chunk.len();
                mapped.memory[mapped.length..end].copy_from_slice(chunk);
                mapped.length = end;
            }
        }
    }

    /// What is in it.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Growing(bytes) => bytes,
            Self::Mapped(mapped) => mapped.as_ref(),
        }
    }

    /// The same, to be shared; the memory is free when the last clone is dropped.
    pub(super) fn freeze(self) -> Bytes {
        match self {
            Self::Growing(bytes) => bytes.freeze(),
            Self::Mapped(mapped) => Bytes::from_owner(mapped),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_was_put_in() {
        for (mut piece, space) in [(Piece::default(), 0), (Piece::whole(), PIECE)] {
            assert_eq!(piece.space(), space);
            piece.push(b"ab");
            piece.push(b"c");
            assert_eq!(piece.bytes(), b"abc");
            assert_eq!(piece.freeze(), "abc");
        }
        let mut full = Piece::default();
        full.push(&[7; SMALL]);
        assert!(matches!(full, Piece::Growing(_)));
        full.push(&vec![8; PIECE - SMALL]);
        assert!(matches!(full, Piece::Mapped(_)));
        assert_eq!(full.space(), 0);
        assert_eq!(full.freeze(), [vec![7; SMALL], vec![8; PIECE - SMALL]].concat());
    }
}
