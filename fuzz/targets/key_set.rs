//! A key set that is accepted is published the same again.
#![no_main]

use entrepot_token::KeySet;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(keys) = KeySet::from_json(text) else { return };
    let again = KeySet::from_json(&keys.to_json()).unwrap();
    assert!(again.ids().eq(keys.ids()));
    assert!(keys.ids().all(|id| keys.get(id).is_some()));
});
