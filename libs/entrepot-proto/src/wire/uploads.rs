use entrepot_core::ports::index::LocatedBlob;
use entrepot_core::ports::uploads::Finish;

use super::{WireError, parse};
use crate::pb::index::v1 as pb;
use crate::pb::index::v1::begin_finish_response::Finish as Wire;

impl From<Finish> for pb::BeginFinishResponse {
    fn from(finish: Finish) -> Self {
        let (finish, known) = match finish {
            Finish::Write { position, known } => (Wire::Write(position.into()), known),
            Finish::Done(digest) => (Wire::Done(digest.into()), None),
        };
        Self { finish: Some(finish), known: known.map(Into::into) }
    }
}

impl TryFrom<pb::BeginFinishResponse> for Finish {
    type Error = WireError;

    fn try_from(response: pb::BeginFinishResponse) -> Result<Self, WireError> {
        match response.finish.ok_or(WireError("finish"))? {
            Wire::Write(position) => Ok(Self::Write {
                position: position.try_into()?,
                known: response.known.map(TryInto::try_into).transpose()?,
            }),
            Wire::Done(digest) => Ok(Self::Done(digest.try_into()?)),
        }
    }
}

impl From<LocatedBlob> for pb::LocatedBlob {
    fn from(blob: LocatedBlob) -> Self {
        Self { size: blob.size, key: blob.key.to_string() }
    }
}

impl TryFrom<pb::LocatedBlob> for LocatedBlob {
    type Error = WireError;

    fn try_from(blob: pb::LocatedBlob) -> Result<Self, WireError> {
        Ok(Self { size: blob.size, key: parse(&blob.key, "blob.key")? })
    }
}
