//! A digest has one spelling, in text, raw and in JSON.
#![no_main]

use entrepot_core::Digest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(digest) = text.parse::<Digest>() else {
        assert!(serde_json::from_value::<Digest>(text.into()).is_err());
        return;
    };
    assert_eq!(digest.to_string(), text);
    assert_eq!(Digest::from_raw(digest.algorithm(), digest.raw()), Some(digest));
    assert!(text.ends_with(&digest.hex()) && digest.hex().len() == digest.algorithm().size() * 2);
    assert_eq!(serde_json::from_str::<Digest>(&serde_json::to_string(&digest).unwrap()).unwrap(), digest);
});
