//! Which reads of storage serve several ranges.
//!
//! A client that pulls lazily asks for hundreds of small ranges at once. Each costs storage a request, so neighbours are
//! read together; what the client gets is still one part for each range, in the order asked.

use std::ops::Range;

use entrepot_core::range::ByteRange;

/// Largest gap that is read and thrown away: storage sends this much in the time of one more request.
const GAP: u64 = 128 << 10;
/// Largest read that is kept in memory, for ranges that overlap or are asked for out of order.
const IN_MEMORY: u64 = 1 << 20;

/// One read, and the ranges it serves: consecutive in the order asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Read {
    /// What is read.
    pub(super) span: Range<u64>,
    /// How many ranges it serves.
    pub(super) parts: usize,
    /// True when each range begins where the one before has ended or later, so that bytes pass through as they come.
    pub(super) in_order: bool,
}

impl Read {
    /// Adds `range` to what is read, if it is near enough.
    fn extend(&mut self, range: &ByteRange) -> bool {
        let behind = self.span.end;
        if self.in_order && range.start >= behind && range.start - behind <= GAP {
            self.span.end = range.end;
            self.parts += 1;
            return true;
        }
        let near = range.start <= behind.saturating_add(GAP) && range.end.saturating_add(GAP) >= self.span.start;
        let span = self.span.start.min(range.start)..behind.max(range.end);
        if !near || span.end - span.start > IN_MEMORY {
            return false;
        }
        self.in_order = false;
        self.span = span;
        self.parts += 1;
        true
    }
}

/// The reads that serve `ranges`, in order.
pub(super) fn coalesce(ranges: &[ByteRange]) -> Vec<Read> {
    let mut reads: Vec<Read> = Vec::new();
    for range in ranges {
        if !reads.last_mut().is_some_and(|last| last.extend(range)) {
            reads.push(Read { span: range.start..range.end, parts: 1, in_order: true });
        }
    }
    reads
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(start: u64, end: u64) -> ByteRange {
        ByteRange { start, end }
    }

    fn read(span: Range<u64>, parts: usize, in_order: bool) -> Read {
        Read { span, parts, in_order }
    }

    #[test]
    fn neighbours_are_read_together() {
        assert_eq!(coalesce(&[range(0, 10), range(10, 20), range(500, 600)]), [read(0..600, 3, true)]);
        let far = 600 + GAP + 1;
        assert_eq!(
            coalesce(&[range(0, 600), range(far, far + 1), range(far + 1 + GAP, far + 2 + GAP)]),
            [read(0..600, 1, true), read(far..far + 2 + GAP, 2, true)]
        );
    }

    #[test]
    fn ranges_in_order_may_be_any_size() {
        let large = 10 << 30;
        assert_eq!(coalesce(&[range(0, large), range(large + 5, large + 9)]), [read(0..large + 9, 2, true)]);
    }

    #[test]
    fn what_is_out_of_order_is_kept_in_memory_or_read_apart() {
        assert_eq!(coalesce(&[range(500, 600), range(0, 1), range(400, 501)]), [read(0..600, 3, false)]);
        assert_eq!(coalesce(&[range(7, 8), range(7, 8)]), [read(7..8, 2, false)]);
        let large = IN_MEMORY + 1;
        assert_eq!(coalesce(&[range(0, large), range(0, 1)]), [read(0..large, 1, true), read(0..1, 1, true)]);
        // What has been in memory once stays bounded, in order or not.
        let reads = coalesce(&[range(10, 20), range(0, 5), range(20, IN_MEMORY + 5)]);
        assert_eq!(reads, [read(0..20, 2, false), read(20..IN_MEMORY + 5, 1, true)]);
    }

    /// A thousand ranges from the end to the beginning, a gap apart: no more is read than with gaps of the largest size.
    #[test]
    fn ranges_made_to_cost() {
        let ranges: Vec<ByteRange> = (0..1100).rev().map(|n| range(n * (GAP + 1), n * (GAP + 1) + 1)).collect();
        let reads = coalesce(&ranges);
        let bytes: u64 = reads.iter().map(|read| read.span.end - read.span.start).sum();
        assert!(bytes <= 1100 * (GAP + 1), "{bytes}");
        assert!(reads.iter().all(|read| read.in_order || read.span.end - read.span.start <= IN_MEMORY));
    }

    fn ranges() -> impl Strategy<Value = Vec<ByteRange>> {
        let near = (0u64..4_000_000, 1u64..300_000).prop_map(|(start, length)| range(start, start + length));
        let small = (0u64..400_000, 1u64..2_000).prop_map(|(start, length)| range(start, start + length));
        let far = (any::<u64>(), 1u64..5_000).prop_map(|(start, length)| range(start / 2, start / 2 + length));
        let mixed = prop::collection::vec(prop_oneof![near, small, far], 1..60);
        (mixed, any::<bool>()).prop_map(|(mut ranges, sorted)| {
            if sorted {
                ranges.sort_by_key(|range| range.start);
            }
            ranges
        })
    }

    proptest! {
        /// Every range lies in the read that serves it, in the order asked; nothing large is kept in memory; what is
        /// read beyond what was asked for is bounded.
        #[test]
        fn reads_serve_every_range(ranges in ranges()) {
            let reads = coalesce(&ranges);
            let mut rest = ranges.as_slice();
            for read in &reads {
                prop_assert!(read.parts > 0 && read.parts <= rest.len());
                let (served, after) = rest.split_at(read.parts);
                rest = after;
                prop_assert!(served.iter().all(|range| read.span.start <= range.start && range.end <= read.span.end));
                prop_assert_eq!(served.iter().map(|range| range.start).min(), Some(read.span.start));
                prop_assert_eq!(served.iter().map(|range| range.end).max(), Some(read.span.end));
                let ordered = served.windows(2).all(|pair| pair[0].end <= pair[1].start);
                prop_assert!(!read.in_order || ordered);
                prop_assert!(read.in_order || read.span.end - read.span.start <= IN_MEMORY);
            }
            prop_assert!(rest.is_empty());
            let asked: u64 = ranges.iter().map(ByteRange::len).sum();
            let read: u64 = reads.iter().map(|read| read.span.end - read.span.start).sum();
            prop_assert!(read <= asked + GAP * ranges.len() as u64);
        }
    }
}
