use entrepot_core::ports::blobs::{Appended, BlobSource, BodyError, WriterPosition};
use entrepot_core::{PageOf, StorageKey};

use super::core::algorithm;
use super::{WireError, parse, parse_all};
use crate::pb::blob::v1 as pb;
use crate::pb::core::v1::DigestAlgorithm;

impl From<WriterPosition> for pb::WriterPosition {
    fn from(position: WriterPosition) -> Self {
        let WriterPosition { key, algorithm, epoch, offset, state } = position;
        Self { key: key.to_string(), algorithm: DigestAlgorithm::from(algorithm).into(), epoch, offset, state }
    }
}

impl TryFrom<pb::WriterPosition> for WriterPosition {
    type Error = WireError;

    fn try_from(position: pb::WriterPosition) -> Result<Self, WireError> {
        Ok(Self {
            key: parse(&position.key, "position.key")?,
            algorithm: algorithm(position.algorithm)?,
            epoch: position.epoch,
            offset: position.offset,
            state: position.state,
        })
    }
}

impl From<BodyError> for pb::BodyFailure {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Cut => Self::Cut,
            BodyError::Stalled => Self::Stalled,
            BodyError::TooLong => Self::TooLong,
        }
    }
}

impl From<pb::BodyFailure> for BodyError {
    fn from(failure: pb::BodyFailure) -> Self {
        match failure {
            pb::BodyFailure::Stalled => Self::Stalled,
            pb::BodyFailure::TooLong => Self::TooLong,
            // A reason of a newer peer is still a body that did not reach its end.
            pb::BodyFailure::Cut | pb::BodyFailure::Unspecified => Self::Cut,
        }
    }
}

impl From<Appended> for pb::AppendResponse {
    fn from(appended: Appended) -> Self {
        Self { offset: appended.offset, state: appended.state }
    }
}

impl From<pb::AppendResponse> for Appended {
    fn from(response: pb::AppendResponse) -> Self {
        Self { offset: response.offset, state: response.state }
    }
}

impl From<pb::OpenResponse> for BlobSource {
    fn from(response: pb::OpenResponse) -> Self {
        Self::Url { url: response.url, size: response.size }
    }
}

impl From<PageOf<StorageKey>> for pb::ListResponse {
    fn from(page: PageOf<StorageKey>) -> Self {
        Self { keys: page.items.iter().map(ToString::to_string).collect(), next: page.next }
    }
}

impl TryFrom<pb::ListResponse> for PageOf<StorageKey> {
    type Error = WireError;

    fn try_from(response: pb::ListResponse) -> Result<Self, WireError> {
        Ok(Self { items: parse_all(&response.keys, "keys")?, next: response.next })
    }
}
