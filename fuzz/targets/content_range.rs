//! A chunk has at least one byte and ends within what can be counted.
#![no_main]

use entrepot_core::content_range::ContentRange;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(range) = text.parse::<ContentRange>() else { return };
    assert!(range.length > 0);
    let last = range.start.checked_add(range.length - 1).unwrap();
    assert_eq!(format!("{}-{last}", range.start).parse(), Ok(range));
});
