//! What the topics share.

use bytes::Bytes;
use entrepot::testing::TestRegistry;
use entrepot::testing::http::Response;
use entrepot_core::{Digest, Manifest};
use entrepot_testkit::builders::{Content, ManifestBuilder, content};

/// Runs each case in both topologies: `both!(open: case, …)` over a new registry in that mode.
macro_rules! both {
    ($mode:ident: $($case:ident),+ $(,)?) => {
        mod local {
            $(#[test]
            fn $case() {
                super::$case(entrepot::testing::TestRegistry::$mode(entrepot::testing::Topology::Local));
            })+
        }
        mod grpc {
            $(#[test]
            fn $case() {
                super::$case(entrepot::testing::TestRegistry::$mode(entrepot::testing::Topology::Grpc));
            })+
        }
    };
}
pub(crate) use both;

/// Pushes a blob in one request.
#[track_caller]
pub(crate) fn push_blob(registry: &TestRegistry, repository: &str, blob: &Content) -> Response {
    let target = format!("/v2/{repository}/blobs/uploads/?digest={}", blob.digest);
    registry.call("POST", &target).body(blob.bytes.clone()).send().expect(201)
}

/// Pushes a manifest under `reference`.
#[track_caller]
pub(crate) fn push_manifest(
    registry: &TestRegistry,
    repository: &str,
    reference: &str,
    manifest: &Manifest,
) -> Response {
    put_manifest(registry, repository, reference, manifest).expect(201)
}

/// Sends a manifest, whatever the answer.
pub(crate) fn put_manifest(
    registry: &TestRegistry,
    repository: &str,
    reference: &str,
    manifest: &Manifest,
) -> Response {
    registry
        .call("PUT", &format!("/v2/{repository}/manifests/{reference}"))
        .header("content-type", manifest.media_type.as_str())
        .body(manifest.payload.clone())
        .send()
}

/// An image of a config and a layer made from `text`, without pushing it.
pub(crate) fn image(text: &str) -> (Manifest, [Content; 2]) {
    let blobs = [content(&format!("{{\"config\":\"{text}\"}}")), content(&format!("layer of {text}"))];
    (ManifestBuilder::image(&blobs[0], &blobs[1..]).build(), blobs)
}

/// Pushes the image of `text` under `reference`.
#[track_caller]
pub(crate) fn push_image(registry: &TestRegistry, repository: &str, reference: &str, text: &str) -> Manifest {
    let (manifest, blobs) = image(text);
    for blob in &blobs {
        push_blob(registry, repository, blob);
    }
    push_manifest(registry, repository, reference, &manifest);
    manifest
}

/// Opens an upload; gives its `Location`.
#[track_caller]
pub(crate) fn open_upload(registry: &TestRegistry, repository: &str) -> String {
    registry.post(&format!("/v2/{repository}/blobs/uploads/")).expect(202).location().to_owned()
}

/// `location` with `digest` appended to its query, as clients complete an upload.
pub(crate) fn completing(location: &str, digest: &Digest) -> String {
    format!("{location}{}digest={digest}", if location.contains('?') { '&' } else { '?' })
}

/// Requires that the blob can be pulled with these bytes.
#[track_caller]
pub(crate) fn assert_blob(registry: &TestRegistry, repository: &str, digest: &Digest, bytes: &Bytes) {
    let answer = registry.get(&format!("/v2/{repository}/blobs/{digest}")).expect(200);
    assert_eq!(answer.body, bytes);
}

/// `size` bytes that do not repeat early.
pub(crate) fn noise(size: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(size).collect()
}
