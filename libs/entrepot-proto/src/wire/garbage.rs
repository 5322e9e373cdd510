use entrepot_core::ports::garbage::Garbage;

use super::{WireError, parse};
use crate::pb::gc::v1 as pb;

impl From<Garbage> for pb::Garbage {
    fn from(garbage: Garbage) -> Self {
        Self { id: garbage.id, key: garbage.key.to_string(), reason: garbage.reason }
    }
}

impl TryFrom<pb::Garbage> for Garbage {
    type Error = WireError;

    fn try_from(garbage: pb::Garbage) -> Result<Self, WireError> {
        Ok(Self { id: garbage.id, key: parse(&garbage.key, "items.key")?, reason: garbage.reason })
    }
}
