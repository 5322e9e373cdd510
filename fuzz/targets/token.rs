//! No text but a signed token passes, and no signed token passes with one byte changed.
#![no_main]

use std::sync::LazyLock;

use entrepot_core::Principal;
use entrepot_token::{KeySet, Signer, SigningKey, Verifier};
use libfuzzer_sys::fuzz_target;

const NOW: u64 = 1_000_000;

static SETUP: LazyLock<(KeySet, String)> = LazyLock::new(|| {
    let key = SigningKey::generate().unwrap();
    let keys = KeySet::new([key.public()]);
    let scopes = ["repository:team/app:pull,push".parse().unwrap()];
    let token = Signer::new(key, "registry").sign(&Principal::User("alice".into()), &scopes, &[], 0, NOW, 300).unwrap();
    (keys, token)
});

fuzz_target!(|data: &[u8]| {
    let (keys, token) = &*SETUP;
    let verifier = Verifier::new("registry", keys.clone());
    if let Ok(text) = std::str::from_utf8(data) {
        assert!(verifier.verify(text, NOW).is_err());
        assert!(verifier.verify(&format!("{token}{text}"), NOW).is_err() || text.is_empty());
        // A forger who has seen a token: its header and signature around claims of his own.
        let parts: Vec<&str> = token.split('.').collect();
        let forged = format!("{}.{text}.{}", parts[0], parts[2]);
        assert!(verifier.verify(&forged, NOW).is_err());
    }
    let [high, low, byte, ..] = data else { return };
    let at = usize::from(u16::from_be_bytes([*high, *low])) % token.len();
    let mut changed = token.clone().into_bytes();
    changed[at] = *byte;
    let Ok(changed) = String::from_utf8(changed) else { return };
    assert_eq!(verifier.verify(&changed, NOW).is_ok(), changed == *token);
});
