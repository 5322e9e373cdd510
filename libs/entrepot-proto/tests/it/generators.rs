//! Any value of the domain types, the hostile ones included.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use entrepot_core::manifest::{ManifestReference, ReferenceKind};
use entrepot_core::ports::auth::{Credentials, TokenRequest};
use entrepot_core::ports::blobs::WriterPosition;
use entrepot_core::ports::index::{Referrer, Visibility};
use entrepot_core::{
    Action, Actions, Algorithm, Digest, Manifest, MediaType, Page, Principal, Reference, RepositoryName, Resource,
    Scope, StorageKey, Tag, UploadId,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

/// Any text at all, with a taste for what breaks parsers.
pub fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), Just(String::new()), Just("\0\r\n\u{feff}\u{202e}😀".to_owned()), "[a-z/,:.%]{0,40}"]
}

pub fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..600).prop_map(Bytes::from)
}

pub fn algorithm() -> impl Strategy<Value = Algorithm> {
    prop_oneof![Just(Algorithm::Sha256), Just(Algorithm::Sha512)]
}

pub fn digest() -> impl Strategy<Value = Digest> {
    (algorithm(), any::<[u8; 8]>()).prop_map(|(algorithm, seed)| Digest::of(algorithm, &seed))
}

pub fn repository() -> impl Strategy<Value = RepositoryName> {
    "[a-z0-9]{1,8}(/[a-z0-9]{1,8}([._-][a-z0-9]{1,4})?){0,3}".prop_map(|name| name.parse().unwrap())
}

pub fn tag() -> impl Strategy<Value = Tag> {
    "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}".prop_map(|tag| tag.parse().unwrap())
}

pub fn reference() -> impl Strategy<Value = Reference> {
    prop_oneof![tag().prop_map(Reference::Tag), digest().prop_map(Reference::Digest)]
}

pub fn media_type() -> impl Strategy<Value = MediaType> {
    "[a-z]{1,10}/[a-zA-Z0-9][a-z0-9!#$&^_.+-]{0,60}".prop_map(|name| name.parse().unwrap())
}

pub fn annotations() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(text(), text(), 0..6)
}

pub fn key() -> impl Strategy<Value = StorageKey> {
    any::<()>().prop_map(|()| StorageKey::random())
}

pub fn upload_id() -> impl Strategy<Value = UploadId> {
    any::<()>().prop_map(|()| UploadId::random())
}

pub fn position() -> impl Strategy<Value = WriterPosition> {
    (key(), algorithm(), any::<u64>(), any::<u64>(), bytes())
        .prop_map(|(key, algorithm, epoch, offset, state)| WriterPosition { key, algorithm, epoch, offset, state })
}

pub fn page() -> impl Strategy<Value = Page> {
    (option::of(text()), 0..=Page::MAX_LIMIT).prop_map(|(after, limit)| Page { after, limit })
}

pub fn principal() -> impl Strategy<Value = Principal> {
    prop_oneof![Just(Principal::Anonymous), text().prop_map(Principal::User), text().prop_map(Principal::Robot)]
}

pub fn visibility() -> impl Strategy<Value = Visibility> {
    prop_oneof![Just(Visibility::All), vec(text(), 0..5).prop_map(Visibility::Only)]
}

fn manifest_reference() -> impl Strategy<Value = ManifestReference> {
    let kind = prop_oneof![Just(ReferenceKind::Blob), Just(ReferenceKind::ForeignBlob), Just(ReferenceKind::Child)];
    (digest(), any::<u64>(), kind).prop_map(|(digest, size, kind)| ManifestReference { digest, size, kind })
}

pub fn manifest() -> impl Strategy<Value = Manifest> {
    let references = vec(manifest_reference(), 0..6);
    (media_type(), bytes(), digest(), option::of(digest()), option::of(text()), annotations(), references).prop_map(
        |(media_type, payload, digest, subject, artifact_type, annotations, references)| Manifest {
            media_type,
            payload,
            digest,
            subject,
            artifact_type,
            annotations,
            references,
        },
    )
}

pub fn referrer() -> impl Strategy<Value = Referrer> {
    (digest(), media_type(), any::<u64>(), option::of(text()), annotations()).prop_map(
        |(digest, media_type, size, artifact_type, annotations)| Referrer {
            digest,
            media_type,
            size,
            artifact_type,
            annotations,
        },
    )
}

fn actions() -> impl Strategy<Value = Actions> {
    vec(prop_oneof![Just(Action::Pull), Just(Action::Push), Just(Action::Delete)], 0..4)
        .prop_map(|actions| actions.into_iter().collect())
}

pub fn scope() -> impl Strategy<Value = Scope> {
    let resource = prop_oneof![
        repository().prop_map(Resource::Repository),
        repository().prop_map(|name| Resource::Tenant(name.tenant())),
        Just(Resource::Catalog)
    ];
    (resource, actions()).prop_map(|(resource, actions)| Scope { resource, actions })
}

fn credentials() -> impl Strategy<Value = Credentials> {
    prop_oneof![
        Just(Credentials::Anonymous),
        (text(), text()).prop_map(|(name, password)| Credentials::Password { name, password }),
        text().prop_map(Credentials::Refresh),
    ]
}

pub fn token_request() -> impl Strategy<Value = TokenRequest> {
    (credentials(), option::of(text()), vec(scope(), 0..5), any::<bool>(), option::of(any::<IpAddr>())).prop_map(
        |(credentials, service, scopes, offline, peer)| TokenRequest { credentials, service, scopes, offline, peer },
    )
}

/// The wire counts in milliseconds.
pub fn duration() -> impl Strategy<Value = Duration> {
    any::<u64>().prop_map(Duration::from_millis)
}
