//! A manifest keeps its bytes, stays within the limits, and reads the same with the type it was given.
#![no_main]

use bytes::Bytes;
use entrepot_core::manifest::MAX_DESCRIPTORS;
use entrepot_core::{Algorithm, Digest, Manifest, MediaType, strict_json};
use libfuzzer_sys::fuzz_target;

const TYPES: [&str; 6] = [
    MediaType::OCI_MANIFEST,
    MediaType::OCI_INDEX,
    MediaType::OCI_ARTIFACT,
    MediaType::DOCKER_MANIFEST,
    MediaType::DOCKER_LIST,
    "application/vnd.unknown+json",
];

fuzz_target!(|data: &[u8]| {
    let payload = Bytes::copy_from_slice(data);
    let digest = Digest::of(Algorithm::Sha256, data);
    let inferred = Manifest::parse(None, payload.clone(), digest);
    if let Ok(manifest) = &inferred {
        check(manifest, &payload);
        let again = Manifest::parse(Some(&manifest.media_type), payload.clone(), digest).unwrap();
        assert_eq!(format!("{again:?}"), format!("{manifest:?}"));
    }
    for name in TYPES {
        let media_type: MediaType = name.parse().unwrap();
        if let Ok(manifest) = Manifest::parse(Some(&media_type), payload.clone(), digest) {
            assert_eq!(manifest.media_type, media_type);
            check(&manifest, &payload);
        }
    }
});

fn check(manifest: &Manifest, payload: &Bytes) {
    assert_eq!(manifest.payload, payload);
    assert!(strict_json::check(payload).is_ok());
    assert!(manifest.references.len() <= MAX_DESCRIPTORS);
    assert!(manifest.references.is_sorted_by(|left, right| left.digest < right.digest));
    assert!(manifest.artifact_type.as_ref().is_none_or(|text| !text.is_empty()));
}
