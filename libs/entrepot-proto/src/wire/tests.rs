use std::time::Duration;

use entrepot_core::ports::auth::TokenRequest;
use entrepot_core::ports::blobs::WriterPosition;
use entrepot_core::ports::garbage::Garbage;
use entrepot_core::ports::index::{LocatedBlob, Referrer, StoredManifest, Visibility};
use entrepot_core::ports::uploads::Finish;
use entrepot_core::{Digest, Manifest, Page, Principal, Reference};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::pb;

/// Reads `bytes` as a message and that as a domain type: whatever they hold, it is a value or an error.
fn read<M: Message + Default, T: TryFrom<M>>(bytes: &[u8]) -> Option<T> {
    T::try_from(M::decode(bytes).ok()?).ok()
}

/// Bytes that are mostly well-formed fields: a number or a short length-delimited piece.
fn fields() -> impl Strategy<Value = Vec<u8>> {
    let number = (1u8..8, any::<u64>()).prop_map(|(tag, value)| {
        let mut bytes = vec![tag << 3];
        prost::encoding::encode_varint(value, &mut bytes);
        bytes
    });
    let piece = (1u8..8, vec(any::<u8>(), 0..70)).prop_map(|(tag, value)| {
        let mut bytes = vec![tag << 3 | 2, value.len() as u8];
        bytes.extend(value);
        bytes
    });
    let nested = (1u8..8, vec(0u8..4, 32..=32)).prop_map(|(tag, hash)| {
        let mut digest = vec![8, 1, 18, 32];
        digest.extend(hash);
        let mut bytes = vec![tag << 3 | 2, digest.len() as u8];
        bytes.extend(digest);
        bytes
    });
    vec(prop_oneof![number, piece, nested], 0..6).prop_map(|fields| fields.concat())
}

proptest! {
    #[test]
    fn no_message_panics(bytes in prop_oneof![vec(any::<u8>(), 0..200), fields()]) {
        if let Some(digest) = read::<pb::core::v1::Digest, Digest>(&bytes) {
            prop_assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
        }
        if let Some(page) = read::<pb::core::v1::Page, Page>(&bytes) {
            prop_assert!(page.limit <= Page::MAX_LIMIT);
        }
        read::<pb::core::v1::Principal, Principal>(&bytes);
        read::<pb::blob::v1::WriterPosition, WriterPosition>(&bytes);
        read::<pb::index::v1::Reference, Reference>(&bytes);
        read::<pb::index::v1::Manifest, Manifest>(&bytes);
        read::<pb::index::v1::GetManifestResponse, StoredManifest>(&bytes);
        read::<pb::index::v1::Referrer, Referrer>(&bytes);
        read::<pb::index::v1::Visibility, Visibility>(&bytes);
        read::<pb::index::v1::BeginFinishResponse, Finish>(&bytes);
        read::<pb::index::v1::LocatedBlob, LocatedBlob>(&bytes);
        read::<pb::gc::v1::Garbage, Garbage>(&bytes);
        read::<pb::auth::v1::TokenRequest, TokenRequest>(&bytes);
    }
}

fn digest(algorithm: i32, length: usize) -> pb::core::v1::Digest {
    pb::core::v1::Digest { algorithm, hash: vec![0; length].into() }
}

#[test]
fn malformed_fields_are_named() {
    for wrong in [digest(0, 32), digest(3, 32), digest(-1, 32)] {
        assert_eq!(Digest::try_from(wrong), Err(WireError("algorithm")));
    }
    for wrong in [digest(1, 0), digest(1, 31), digest(1, 33), digest(1, 64), digest(2, 32)] {
        assert_eq!(Digest::try_from(wrong), Err(WireError("digest.hash")));
    }
    assert_eq!(required::<pb::core::v1::Digest, Digest>(None, "here"), Err(WireError("here")));
    assert_eq!(parse::<entrepot_core::StorageKey>("data/../x", "key"), Err(WireError("key")));
    let status = tonic::Status::from(WireError("key"));
    assert_eq!(
        (status.code(), status.message()),
        (tonic::Code::InvalidArgument, "the field key is missing or malformed")
    );
}

#[test]
fn an_action_of_a_newer_peer_grants_nothing() {
    let resource = Some(pb::auth::v1::scope::Resource::Repository("a".to_owned()));
    let scope = pb::auth::v1::Scope { resource, actions: vec![1, 99, 0] };
    assert_eq!(entrepot_core::Scope::try_from(scope).unwrap().to_string(), "repository:a:pull");
}

#[test]
fn a_short_time_does_not_become_none() {
    assert_eq!(millis(Duration::ZERO), 0);
    assert_eq!(millis(Duration::from_nanos(1)), 1);
    assert_eq!(millis(Duration::from_millis(1500)), 1500);
    assert_eq!(millis(Duration::MAX), u64::MAX);
}

#[test]
fn a_change_of_an_unknown_kind_is_one_of_everybodys() {
    use crate::pb::auth::v1::{ListChangesResponse, list_changes_response::Change};
    use entrepot_core::ports::auth::RightsChanges;

    let change = Change { subject: None, generation: 3 };
    let response = ListChangesResponse { changes: vec![change], cursor: 3, more: false };
    assert_eq!(RightsChanges::from(response).changes[0].subject, Principal::Anonymous);
}
