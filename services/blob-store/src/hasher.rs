//! A running hash that can be put down and taken up in another process.

use entrepot_core::{Algorithm, Digest};
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest as _, Sha256, Sha512};

/// A hash over the bytes so far.
#[derive(Clone, Debug)]
pub(crate) enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Digest {
        let (algorithm, raw) = match self {
            Self::Sha256(hash) => (Algorithm::Sha256, hash.finalize().to_vec()),
            Self::Sha512(hash) => (Algorithm::Sha512, hash.finalize().to_vec()),
        };
        Digest::from_raw(algorithm, &raw).expect("a hash has the length of its algorithm")
    }

    /// The midstate: the chaining value, the number of blocks and the bytes of the block that is not full.
    /// Its length depends on the algorithm alone.
    pub(crate) fn midstate(&self) -> Vec<u8> {
        match self {
            Self::Sha256(hash) => hash.serialize().to_vec(),
            Self::Sha512(hash) => hash.serialize().to_vec(),
        }
    }

    /// Takes a hash up at its midstate; `None` if the bytes cannot be one.
    pub(crate) fn resume(algorithm: Algorithm, midstate: &[u8]) -> Option<Self> {
        Some(match algorithm {
            Algorithm::Sha256 => {
                Self::Sha256(Sha256::deserialize(&SerializedState::<Sha256>::try_from(midstate).ok()?).ok()?)
            }
            Algorithm::Sha512 => {
                Self::Sha512(Sha512::deserialize(&SerializedState::<Sha512>::try_from(midstate).ok()?).ok()?)
            }
        })
    }
}

#[cfg(test)]
mod tests;
