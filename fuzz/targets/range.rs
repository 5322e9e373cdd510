//! Whatever is asked for, what is sent lies in the blob and is no more than the blob.
#![no_main]

use entrepot_core::range::{ByteRange, RangeSet, Selection};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|header: &str| {
    let Some(ranges) = RangeSet::parse(header) else { return };
    // Sizes are stored as signed numbers.
    for size in [0, 1, 10, 1000, 1 << 40, i64::MAX as u64] {
        match ranges.select(size) {
            Selection::Whole => {}
            Selection::Unsatisfiable => {}
            Selection::Single(part) => check(part, size),
            Selection::Multiple(parts) => {
                assert!(parts.len() > 1 && parts.len() <= RangeSet::MAX_RANGES);
                assert!(parts.iter().map(|part| u128::from(part.len())).sum::<u128>() <= u128::from(size));
                parts.into_iter().for_each(|part| check(part, size));
            }
        }
    }
});

fn check(part: ByteRange, size: u64) {
    assert!(part.start < part.end && part.end <= size && !part.is_empty());
    assert_eq!(part.content_range(size), format!("bytes {}-{}/{size}", part.start, part.start + part.len() - 1));
}
