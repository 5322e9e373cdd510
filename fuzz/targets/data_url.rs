//! Nobody guesses a signed URL, and the parts of a true one fit nothing else.
#![no_main]

use std::sync::LazyLock;

use entrepot_core::StorageKey;
use entrepot_token::DataUrlSigner;
use libfuzzer_sys::fuzz_target;

const KEY: &str = "data/67/67e55044-10b1-426f-9247-bb680e5fe0c8";

static SIGNER: LazyLock<DataUrlSigner> = LazyLock::new(|| DataUrlSigner::new(&[7; 32]).unwrap());

fuzz_target!(|text: &str| {
    let key: StorageKey = KEY.parse().unwrap();
    let (exp, sig) = text.split_once('&').unwrap_or((text, ""));
    assert!(SIGNER.verify("GET", &key, exp, sig, 0).is_err());
    let query = SIGNER.sign("GET", &key, 1000);
    let true_sig = query.split_once("sig=").map_or("", |(_, rest)| rest.split('&').next().unwrap_or(rest));
    assert!(SIGNER.verify("GET", &key, "1000", true_sig, 999).is_ok());
    assert!(SIGNER.verify("GET", &key, exp, true_sig, 0).is_err() || exp == "1000");
    assert!(SIGNER.verify("GET", &key, "1000", text, 0).is_err() || text == true_sig);
    assert!(SIGNER.verify("PUT", &key, "1000", true_sig, 0).is_err());
});
