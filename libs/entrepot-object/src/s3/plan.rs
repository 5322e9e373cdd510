//! How large the parts of an upload are.

/// S3 takes so many parts per object.
pub(super) const MAX_PARTS: usize = 10_000;

/// The smallest part that S3 takes before another one.
pub(super) const LEAST: usize = 5 << 20;
/// Parts grow until they are this large.
const LARGEST: usize = 64 << 20;
/// After so many parts the next ones are twice as large.
const STEP: usize = 1000;

/// Sizes of parts by their number: small ones first, so that an ordinary layer goes out early and takes little
/// memory, and larger ones later, so that 10,000 of them reach any layer there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    first: usize,
}

impl Plan {
    /// Parts of `first` bytes at first.
    pub(super) fn new(first: usize) -> Self {
        Self { first: first.max(1) }
    }

    /// Bytes of the part at `index`, counted from 0.
    pub(super) fn size(self, index: usize) -> usize {
        let doublings = u32::try_from(index / STEP).unwrap_or(u32::MAX).min(6);
        self.first.saturating_mul(1 << doublings).min(LARGEST.max(self.first))
    }

    /// Bytes from which on the part at `index` may be sent although others follow.
    ///
    /// A client that sends chunk by chunk cuts a part with each chunk, and so does want of memory. While parts are
    /// small a short one costs nothing; later it would use up the numbers that a large object needs.
    pub(super) fn least(self, index: usize) -> usize {
        if index < STEP { LEAST.min(self.first) } else { self.size(index) }
    }
}

#[cfg(test)]
mod tests;
