//! No text is both tag and digest.
#![no_main]

use entrepot_core::{Digest, Reference, Tag};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (tag, digest) = (text.parse::<Tag>().is_ok(), text.parse::<Digest>().is_ok());
    assert!(!(tag && digest));
    match text.parse::<Reference>() {
        Ok(reference) => {
            assert_eq!(reference.to_string(), text);
            assert_eq!(matches!(reference, Reference::Tag(_)), tag);
        }
        Err(_) => assert!(!tag && !digest),
    }
});
