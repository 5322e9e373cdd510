use super::{Blob, PushPayload, manifest, noise, sha256};

#[test]
fn digest_of_the_empty_string_is_the_published_one() {
    assert_eq!(sha256(b""), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

#[test]
fn manifest_has_the_wanted_size_and_names_its_layers() {
    let blob = Blob::new("layer".into());
    let text = manifest(&blob, &[&blob, &blob], 2048);
    assert_eq!(text.len(), 2048);
    let parsed: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(parsed["layers"][1]["digest"], blob.digest);
    assert_eq!(parsed["layers"][1]["size"], 5);
}

#[test]
fn every_push_has_other_content_of_the_same_size() {
    let mut payload = PushPayload::generate(1000);
    let first = payload.renew();
    let second = payload.renew();
    assert_eq!((first.len(), second.len()), (1000, 1000));
    assert_ne!(first, second, "also while the first is still in use");
    assert_eq!(first[8..], second[8..]);
}

#[test]
fn noise_is_reproducible_and_depends_on_the_seed() {
    assert_eq!(noise(100, 1), noise(100, 1));
    assert_ne!(noise(100, 1), noise(100, 2));
}
