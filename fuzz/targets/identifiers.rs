//! Upload ids and storage keys have one spelling each; a key is no path but its own.
#![no_main]

use entrepot_core::{StorageKey, UploadId};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(id) = text.parse::<UploadId>() {
        assert_eq!(id.to_string(), text);
    }
    if let Ok(key) = text.parse::<StorageKey>() {
        assert_eq!(key.to_string(), text);
        assert!(text.starts_with("data/") && text.len() == "data/xx/".len() + 36);
        assert!(!text.contains("..") && text.matches('/').count() == 2);
    }
});
