use entrepot_core::{Algorithm, Digest, Page, Principal};

use super::WireError;
use crate::pb::core::v1 as pb;
use crate::pb::core::v1::principal::{Anonymous, Kind};

impl From<Algorithm> for pb::DigestAlgorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256,
            Algorithm::Sha512 => Self::Sha512,
        }
    }
}

/// Reads the number of an algorithm.
pub(crate) fn algorithm(number: i32) -> Result<Algorithm, WireError> {
    match pb::DigestAlgorithm::try_from(number) {
        Ok(pb::DigestAlgorithm::Sha256) => Ok(Algorithm::Sha256),
        Ok(pb::DigestAlgorithm::Sha512) => Ok(Algorithm::Sha512),
        Ok(pb::DigestAlgorithm::Unspecified) | Err(_) => Err(WireError("algorithm")),
    }
}

impl From<Digest> for pb::Digest {
    fn from(digest: Digest) -> Self {
        Self {
            algorithm: pb::DigestAlgorithm::from(digest.algorithm()).into(),
            hash: bytes::Bytes::copy_from_slice(digest.raw()),
        }
    }
}

impl TryFrom<pb::Digest> for Digest {
    type Error = WireError;

    fn try_from(digest: pb::Digest) -> Result<Self, WireError> {
        Self::from_raw(algorithm(digest.algorithm)?, &digest.hash).ok_or(WireError("digest.hash"))
    }
}

impl From<Page> for pb::Page {
    fn from(page: Page) -> Self {
        Self { after: page.after, limit: page.limit }
    }
}

impl From<pb::Page> for Page {
    fn from(page: pb::Page) -> Self {
        Self::new(page.after, Some(page.limit.into()))
    }
}

impl From<Principal> for pb::Principal {
    fn from(principal: Principal) -> Self {
        let kind = match principal {
            Principal::Anonymous => Kind::Anonymous(Anonymous {}),
            Principal::User(name) => Kind::User(name),
            Principal::Robot(name) => Kind::Robot(name),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<pb::Principal> for Principal {
    type Error = WireError;

    fn try_from(principal: pb::Principal) -> Result<Self, WireError> {
        match principal.kind {
            Some(Kind::Anonymous(Anonymous {})) => Ok(Self::Anonymous),
            Some(Kind::User(name)) => Ok(Self::User(name)),
            Some(Kind::Robot(name)) => Ok(Self::Robot(name)),
            None => Err(WireError("principal")),
        }
    }
}
