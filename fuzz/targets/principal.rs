//! A principal is written as it is read.
#![no_main]

use entrepot_core::Principal;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(principal) = text.parse::<Principal>() else { return };
    assert_eq!(principal.to_string(), text);
    assert_eq!(matches!(principal, Principal::Anonymous), text == "anonymous");
});
