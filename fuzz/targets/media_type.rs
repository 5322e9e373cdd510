//! A media type can be sent back in a header, and means the same when it comes again.
#![no_main]

use entrepot_core::MediaType;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(media_type) = text.parse::<MediaType>() else { return };
    let kept = media_type.as_str();
    assert!(text.contains(kept) && kept.len() <= 255);
    assert!(kept.bytes().all(|byte| byte.is_ascii_graphic()) && !kept.contains(';'));
    assert_eq!(kept.parse::<MediaType>().as_ref(), Ok(&media_type));
});
