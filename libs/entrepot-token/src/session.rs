//! Signed upload `Location`s: an open session authorises its own requests.
//!
//! A token lives five minutes and an upload may take an hour. The right to push was checked when
//! the session was opened; from then on the signature in its `Location` proves that right, for
//! this session of this repository and nothing else. It dies with the session.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entrepot_core::{RepositoryName, UploadId};

/// Signs and checks upload sessions; the same on every gateway that shares the secret.
#[derive(Clone)]
pub struct SessionSigner(hmac::Key);

impl SessionSigner {
    /// A signer with a key derived from the deployment's internal secret.
    pub fn new(secret: &[u8]) -> Self {
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"entrepot upload session v1");
        Self(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()))
    }

    /// The signature of a session, safe in a URL.
    pub fn sign(&self, repository: &RepositoryName, id: UploadId) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, &message(repository, id)))
    }

    /// True when `signature` is that of this session; takes the same time for any wrong one.
    pub fn verify(&self, repository: &RepositoryName, id: UploadId, signature: &str) -> bool {
        let Ok(tag) = URL_SAFE_NO_PAD.decode(signature) else { return false };
        hmac::verify(&self.0, &message(repository, id), &tag).is_ok()
    }
}

impl std::fmt::Debug for SessionSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionSigner")
    }
}

/// The id has a fixed length, so no two pairs make the same message.
fn message(repository: &RepositoryName, id: UploadId) -> Vec<u8> {
    format!("{id}/{repository}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_fits_one_session_of_one_repository() {
        let signer = SessionSigner::new(b"secret");
        let (id, repository) = (UploadId::random(), "a/b".parse::<RepositoryName>().unwrap());
        let signature = signer.sign(&repository, id);
        assert!(signer.verify(&repository, id, &signature));
        assert!(!signer.verify(&"a/c".parse().unwrap(), id, &signature));
        assert!(!signer.verify(&repository, UploadId::random(), &signature));
        assert!(!SessionSigner::new(b"other").verify(&repository, id, &signature));
        for bad in ["", "x", &signature[1..], &format!("{signature}A")] {
            assert!(!signer.verify(&repository, id, bad), "{bad}");
        }
    }
}
