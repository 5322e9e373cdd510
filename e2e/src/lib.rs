//! The registry seen from outside: a harness that starts it (or a stand-in) as real processes, and the
//! pieces that the suites in `tests/it` share.
//!
//! Nothing here depends on a crate of ours: requests are written by [`http`], images by [`image`], and what
//! the registry promised is remembered by the suites themselves.

pub mod api;
pub mod balancer;
pub mod conformance;
pub mod content;
pub mod engines;
pub mod environment;
pub mod faults;
pub mod hammer;
pub mod http;
pub mod image;
pub mod layout;
pub mod linearizability;
pub mod patience;
pub mod poll;
pub mod ports;
pub mod process;
pub mod registry;
pub mod relay;
pub mod tar;
pub mod tcp;
pub mod tls;
pub mod traces;

/// The `sha256:<hex>` digest of `bytes`.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    format!("sha256:{}", hex::encode(sha2::Sha256::digest(bytes)))
}

/// `len` bytes that no compressor shrinks and no two calls repeat.
#[must_use]
pub fn random_bytes(len: usize) -> Vec<u8> {
    use rand::Rng as _;
    let mut bytes = vec![0; len];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}
