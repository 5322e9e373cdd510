//! Reading blobs whole, with conditions, or not at all.

use std::io::{Read, Write};

use entrepot::testing::TestRegistry;
use entrepot_core::{Algorithm, Digest};
use entrepot_testkit::builders::{Content, content};

use crate::support::{both, noise, push_blob, push_image};

both!(open:
    head_and_get_describe_the_blob,
    p31_blobs_are_never_compressed,
    p13_a_manifest_is_not_a_blob,
    p33a_unknown_blob_says_blob_unknown,
    p35_head_is_answered_here,
    p38_ns_is_ignored,
    conditions,
    p30_a_client_that_hangs_up_is_no_error,
    a_file_of_another_size_is_an_error,
);

fn head_and_get_describe_the_blob(registry: TestRegistry) {
    let blob = content("described");
    push_blob(&registry, "team/app", &blob);
    let target = format!("/v2/team/app/blobs/{}", blob.digest);
    for answer in [registry.head(&target), registry.get(&target)] {
        let answer = answer.expect(200);
        assert_eq!(answer.header("content-length"), "9");
        assert_eq!(answer.header("content-type"), "application/octet-stream");
        assert_eq!(answer.header("docker-content-digest"), blob.digest.to_string());
        assert_eq!(answer.header("etag"), format!("\"{}\"", blob.digest));
        assert_eq!(answer.header("accept-ranges"), "bytes");
        assert!(answer.header("cache-control").contains("no-transform"));
    }
    assert!(registry.head(&target).body.is_empty());
    assert_eq!(registry.get(&target).body, blob.bytes);
    let escaped = target.replace("sha256:", "sha256%3A");
    assert_eq!(registry.get(&escaped).expect(200).body, blob.bytes);
}

fn p31_blobs_are_never_compressed(registry: TestRegistry) {
    let bytes = vec![b'a'; 100_000];
    let blob = Content { digest: Digest::of(Algorithm::Sha256, &bytes), bytes: bytes.into() };
    push_blob(&registry, "app", &blob);
    let call = registry.call("GET", &format!("/v2/app/blobs/{}", blob.digest));
    let answer = call.header("accept-encoding", "zstd, gzip, deflate").send().expect(200);
    assert!(answer.find("content-encoding").is_none());
    assert_eq!(answer.body, blob.bytes);
}

/// containerd asks for unknown digests at blobs first: the 404 must be quick and clean.
fn p13_a_manifest_is_not_a_blob(registry: TestRegistry) {
    let manifest = push_image(&registry, "app", "v1", "image");
    registry.get(&format!("/v2/app/blobs/{}", manifest.digest)).error(404, "BLOB_UNKNOWN");
    registry.head(&format!("/v2/app/blobs/{}", manifest.digest)).expect(404);
    registry.get(&format!("/v2/app/manifests/{}", manifest.digest)).expect(200);
}

/// podman goes on to the next mirror by the code.
fn p33a_unknown_blob_says_blob_unknown(registry: TestRegistry) {
    push_blob(&registry, "app", &content("other"));
    let digest = content("nowhere").digest;
    registry.get(&format!("/v2/app/blobs/{digest}")).error(404, "BLOB_UNKNOWN");
    registry.get(&format!("/v2/no/such/blobs/{digest}")).error(404, "BLOB_UNKNOWN");
    let answer = registry.head(&format!("/v2/app/blobs/{digest}")).expect(404);
    assert!(answer.body.is_empty());
}

/// A URL signed for GET refuses HEAD.
fn p35_head_is_answered_here(registry: TestRegistry) {
    let blob = content("headed");
    push_blob(&registry, "app", &blob);
    let answer = registry.head(&format!("/v2/app/blobs/{}", blob.digest)).expect(200);
    assert!(answer.find("location").is_none());
}

/// containerd names the registry it mirrors.
fn p38_ns_is_ignored(registry: TestRegistry) {
    let manifest = push_image(&registry, "app", "v1", "mirrored");
    let answer = registry.get("/v2/app/manifests/v1?ns=docker.io").expect(200);
    assert_eq!(answer.body, manifest.payload);
    let digest = manifest.references[0].digest;
    registry.get(&format!("/v2/app/blobs/{digest}?ns=docker.io")).expect(200);
}

fn conditions(registry: TestRegistry) {
    let blob = content("0123456789");
    push_blob(&registry, "app", &blob);
    let target = format!("/v2/app/blobs/{}", blob.digest);
    let etag = format!("\"{}\"", blob.digest);
    let get = |name: &str, value: &str| registry.call("GET", &target).header(name, value).send();
    for matching in [etag.clone(), format!("\"other\", {etag}"), format!("W/{etag}"), "*".to_owned()] {
        let answer = get("if-none-match", &matching).expect(304);
        assert!(answer.body.is_empty());
        assert_eq!(answer.header("etag"), etag);
    }
    assert_eq!(get("if-none-match", "\"other\"").expect(200).body, blob.bytes);

    let range = |condition: &str| {
        registry.call("GET", &target).header("range", "bytes=0-3").header("if-range", condition).send()
    };
    assert_eq!(range(&etag).expect(206).body, "0123");
    assert_eq!(range("\"other\"").expect(200).body, blob.bytes);

    // What is not there cannot be unchanged.
    let gone = content("gone");
    let call = registry.call("GET", &format!("/v2/app/blobs/{}", gone.digest));
    call.header("if-none-match", format!("\"{}\"", gone.digest)).send().error(404, "BLOB_UNKNOWN");
}

fn p30_a_client_that_hangs_up_is_no_error(registry: TestRegistry) {
    let bytes = noise(8 << 20);
    let blob = Content { digest: Digest::of(Algorithm::Sha256, &bytes), bytes };
    push_blob(&registry, "app", &blob);
    for start in [0, 1 << 20, 4 << 20] {
        let mut stream = registry.connect();
        let head = format!("GET /v2/app/blobs/{} HTTP/1.1\r\nHost: test\r\nRange: bytes={start}-\r\n\r\n", blob.digest);
        stream.write_all(head.as_bytes()).unwrap();
        let mut some = [0; 64 << 10];
        stream.read_exact(&mut some).unwrap();
        assert!(some.starts_with(b"HTTP/1.1 206"));
    }
    let answer = registry.get(&format!("/v2/app/blobs/{}", blob.digest)).expect(200);
    assert_eq!(answer.body, blob.bytes);
}

/// A disk that lost the end of a file, or all of it.
fn a_file_of_another_size_is_an_error(registry: TestRegistry) {
    for size in [0, 3, 100] {
        let blob = content(&format!("bytes that will be {size}"));
        let before = registry.stored_files();
        push_blob(&registry, "team/app", &blob);
        let (path, _) = registry.stored_files().into_iter().find(|file| !before.contains(file)).unwrap();
        let file = std::fs::File::options().write(true).open(registry.data_dir().join("blobs").join(path)).unwrap();
        file.set_len(size).unwrap();
        let target = format!("/v2/team/app/blobs/{}", blob.digest);
        for range in ["", "bytes=0-1"] {
            registry.call("GET", &target).header("range", range).send().error(500, "UNKNOWN");
        }
        file.set_len(blob.bytes.len() as u64).unwrap();
        assert_eq!(registry.get(&target).expect(200).header("content-length"), blob.bytes.len().to_string());
    }
}
