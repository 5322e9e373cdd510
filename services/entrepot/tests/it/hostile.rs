//! Input that no honest client sends.

use std::io::{Read, Write};

use bytes::Bytes;
use entrepot::testing::TestRegistry;
use entrepot_core::MediaType;
use entrepot_testkit::builders::content;
use serde_json::json;

use crate::support::{both, noise, push_blob, push_image, push_manifest};

both!(open:
    names_that_climb,
    names_with_what_only_a_socket_can_send,
    headers_cannot_be_injected,
    manifests_nested_too_deep,
    p12_manifest_of_more_than_4_mib,
    manifest_of_4_mib_is_served,
);

/// Sends bytes as they are and reads the answer to its end.
fn raw(registry: &TestRegistry, request: &[u8]) -> String {
    let mut stream = registry.connect();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is as good as its end.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn names_that_climb(registry: TestRegistry) {
    let blob = content("innocent");
    for name in [
        "..",
        "../..",
        "a/../b",
        "a//b",
        "%2e%2e",
        "a%2Fb",
        "a/..%2f..",
        ".git",
        "a/.hidden",
        "-a",
        "a_",
        "A",
        "a b%20",
        "a%00",
        "é",
    ] {
        let name = name.replace(' ', "%20").replace('é', "%C3%A9");
        registry.get(&format!("/v2/{name}/tags/list")).error(400, "NAME_INVALID");
        registry.post(&format!("/v2/{name}/blobs/uploads/")).error(400, "NAME_INVALID");
        let call = registry.call("POST", &format!("/v2/{name}/blobs/uploads/?digest={}", blob.digest));
        call.body(blob.bytes.clone()).send().error(400, "NAME_INVALID");
        let call = registry.call("PUT", &format!("/v2/{name}/manifests/v1")).body("{}");
        call.send().error(400, "NAME_INVALID");
    }
    for (target, code) in [
        ("/v2/app/manifests/..%2f..%2f..%2fetc%2fpasswd", "TAG_INVALID"),
        ("/v2/app/manifests/..", "TAG_INVALID"),
        ("/v2/app/blobs/sha256:..%2f..%2fetc%2fpasswd", "DIGEST_INVALID"),
        ("/v2/app/blobs/..%2f..%2fsecret", "DIGEST_INVALID"),
    ] {
        registry.get(target).error(400, code);
    }
    registry.get("/v2/app/blobs/uploads/..%2f..%2fsecret").error(404, "BLOB_UPLOAD_UNKNOWN");
    assert_eq!(registry.stored_files(), []);
    assert_eq!(registry.get("/v2/_catalog").json(), json!({"repositories": []}));
}

fn names_with_what_only_a_socket_can_send(registry: TestRegistry) {
    for target in
        ["/v2/\u{e9}/tags/list", "/v2/a\tb/tags/list", "/v2/a\0b/tags/list", "/v2/<script>/tags/list", "//v2/", "*"]
    {
        let answer =
            raw(&registry, format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 4"), "{target:?}: {answer}");
    }
    registry.get("/v2/").expect(200);
}

fn headers_cannot_be_injected(registry: TestRegistry) {
    let manifest = push_image(&registry, "app", "v1", "image");
    push_manifest(&registry, "app", "v2", &manifest);
    let digest = manifest.digest;
    let evil = "%0d%0aX-Injected:%20yes";
    let (tag, type_) = (format!("v1{evil}"), MediaType::OCI_MANIFEST);
    let put = |target: &str| {
        let call = registry.call("PUT", target).header("content-type", type_);
        call.body(manifest.payload.clone()).send()
    };
    let mut answers = vec![
        put(&format!("/v2/app/manifests/{tag}")),
        put(&format!("/v2/app/manifests/{digest}?tag={tag}")),
        registry.post(&format!("/v2/app/blobs/uploads/?digest={digest}{evil}")),
        registry.post(&format!("/v2/app/blobs/uploads/?mount={digest}&from=a{evil}")),
        registry.post(&format!("/v2/app/blobs/uploads/?digest-algorithm=sha256{evil}")),
        registry.post(&format!("/v2/app{evil}/blobs/uploads/")),
        registry.get(&format!("/v2/app/tags/list?n=1&last=a{evil}")),
        registry.get(&format!("/v2/app/tags/list?n=1{evil}")),
        registry.get(&format!("/v2/_catalog?last={evil}")),
        registry.get(&format!("/v2/app/referrers/{digest}?artifactType=a{evil}&n=1")),
    ];
    // One page of several, so that the filter comes back in Link.
    for n in ["1", "2"] {
        let config = content("{}");
        push_blob(&registry, "app", &config);
        let type_ = "a\r\nX-Injected: yes";
        let referrer = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST, "artifactType": type_, "layers": [],
            "config": {"mediaType": "application/x", "digest": config.digest, "size": 2}, "annotations": {"n": n},
            "subject": {"mediaType": MediaType::OCI_MANIFEST, "digest": digest, "size": 1}});
        let call =
            registry.call("PUT", &format!("/v2/app/manifests/r{n}")).header("content-type", MediaType::OCI_MANIFEST);
        answers.push(call.body(referrer.to_string()).send());
    }
    answers.push(registry.get(&format!("/v2/app/referrers/{digest}?artifactType=a{evil}&n=1")));
    for answer in answers {
        assert!(answer.find("x-injected").is_none(), "{answer:?}");
        let values = answer.headers.values().map(|value| String::from_utf8_lossy(value.as_bytes()));
        assert!(values.into_iter().all(|value| !value.contains(['\r', '\n'])), "{answer:?}");
    }
}

fn manifests_nested_too_deep(registry: TestRegistry) {
    for depth in [33, 10_000, 1_000_000] {
        let body = format!("{{\"schemaVersion\":2,\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        let call = registry.call("PUT", "/v2/app/manifests/v1").header("content-type", MediaType::OCI_MANIFEST);
        call.body(body).send().error(400, "MANIFEST_INVALID");
    }
    let twice = "{\"schemaVersion\":2,\"schemaVersion\":2,\"manifests\":[]}";
    let call = registry.call("PUT", "/v2/app/manifests/v1").header("content-type", MediaType::OCI_INDEX);
    call.body(twice).send().error(400, "MANIFEST_INVALID");
    registry.get("/v2/app/manifests/v1").error(404, "NAME_UNKNOWN");
}

const LIMIT: usize = 4 << 20;

/// An index padded with spaces to `size` bytes.
fn padded(size: usize) -> Bytes {
    let mut text =
        json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": []}).to_string().into_bytes();
    text.resize(size, b' ');
    text.into()
}

fn p12_manifest_of_more_than_4_mib(registry: TestRegistry) {
    let put = || registry.call("PUT", "/v2/app/manifests/v1").header("content-type", MediaType::OCI_INDEX);
    put().body(padded(LIMIT + 1)).send().error(413, "SIZE_INVALID");
    let body = padded(LIMIT + 1);
    let chunks = body.chunks(64 << 10).map(Bytes::copy_from_slice).collect();
    put().chunked(chunks).send().error(413, "SIZE_INVALID");
    registry.get("/v2/app/manifests/v1").error(404, "NAME_UNKNOWN");
    // Whatever the bytes are: they are not read.
    put().body(noise(LIMIT + 1)).send().error(413, "SIZE_INVALID");
}

fn manifest_of_4_mib_is_served(registry: TestRegistry) {
    let body = padded(LIMIT);
    let call = registry.call("PUT", "/v2/app/manifests/v1").header("content-type", MediaType::OCI_INDEX);
    call.body(body.clone()).send().expect(201);
    assert_eq!(registry.get("/v2/app/manifests/v1").expect(200).body, body);
}
