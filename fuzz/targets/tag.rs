//! A tag is at most 128 harmless characters and is kept as written.
#![no_main]

use entrepot_core::Tag;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(tag) = text.parse::<Tag>() else { return };
    assert_eq!(tag.as_str(), text);
    assert!((1..=Tag::MAX_LEN).contains(&text.len()));
    assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)));
    assert!(!text.starts_with(['.', '-']));
});
