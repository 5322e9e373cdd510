//! Nobody guesses the signature of an upload session.
#![no_main]

use std::sync::LazyLock;

use entrepot_core::{RepositoryName, UploadId};
use entrepot_token::SessionSigner;
use libfuzzer_sys::fuzz_target;

static SIGNER: LazyLock<SessionSigner> = LazyLock::new(|| SessionSigner::new(&[7; 32]));

fuzz_target!(|text: &str| {
    let id: UploadId = "67e55044-10b1-426f-9247-bb680e5fe0c8".parse().unwrap();
    let repository: RepositoryName = "team/app".parse().unwrap();
    let signature = SIGNER.sign(&repository, id);
    assert!(SIGNER.verify(&repository, id, &signature));
    assert!(!SIGNER.verify(&repository, id, text) || text == signature);
    if let Ok(other) = text.parse::<RepositoryName>() {
        assert!(!SIGNER.verify(&other, id, &signature) || other == repository);
    }
});
