//! What every error has in common.

use entrepot::testing::TestRegistry;
use entrepot_testkit::builders::content;

use crate::support::{both, open_upload, push_blob, push_image};

both!(open:
    p41_every_error_has_the_oci_form,
    methods_that_a_path_does_not_take,
    head_errors_have_no_body,
    the_trace_of_the_caller_is_named,
    faults_never_show_their_cause,
);

fn p41_every_error_has_the_oci_form(registry: TestRegistry) {
    push_blob(&registry, "app", &content("x"));
    let digest = content("nowhere").digest;
    for (target, status, code) in [
        ("/".to_owned(), 404, "NAME_UNKNOWN"),
        ("/v1/repositories".to_owned(), 404, "NAME_UNKNOWN"),
        ("/v2/app".to_owned(), 404, "NAME_UNKNOWN"),
        ("/v2/BAD/tags/list".to_owned(), 400, "NAME_INVALID"),
        (format!("/v2/{}/tags/list", "a".repeat(300)), 400, "NAME_INVALID"),
        ("/v2/app/manifests/.bad".to_owned(), 400, "TAG_INVALID"),
        ("/v2/app/manifests/sha256:bad".to_owned(), 400, "DIGEST_INVALID"),
        ("/v2/app/blobs/md5:d41d8cd98f00b204e9800998ecf8427e".to_owned(), 400, "DIGEST_INVALID"),
        (format!("/v2/app/blobs/{digest}"), 404, "BLOB_UNKNOWN"),
        (format!("/v2/app/manifests/{digest}"), 404, "MANIFEST_UNKNOWN"),
        ("/v2/app/blobs/uploads/nonsense".to_owned(), 404, "BLOB_UPLOAD_UNKNOWN"),
        ("/v2/app/blobs/uploads/00000000-0000-4000-8000-000000000000".to_owned(), 404, "BLOB_UPLOAD_UNKNOWN"),
    ] {
        let answer = registry.get(&target);
        answer.error(status, code);
        assert_eq!(answer.header("docker-distribution-api-version"), "registry/2.0");
    }
}

fn methods_that_a_path_does_not_take(registry: TestRegistry) {
    let digest = content("x").digest;
    let upload = open_upload(&registry, "app");
    for (target, allowed) in [
        ("/v2/", "GET, HEAD"),
        ("/v2/_catalog", "GET, HEAD"),
        ("/v2/app/tags/list", "GET, HEAD"),
        ("/v2/app/manifests/v1", "GET, HEAD, PUT, DELETE"),
        (&format!("/v2/app/blobs/{digest}"), "GET, HEAD, DELETE"),
        ("/v2/app/blobs/uploads/", "POST"),
        (&upload, "GET, HEAD, PATCH, PUT, DELETE"),
        (&format!("/v2/app/referrers/{digest}"), "GET, HEAD"),
    ] {
        for method in ["GET", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"] {
            if !allowed.split(", ").any(|allowed| allowed == method) {
                let answer = registry.call(method, target).send();
                answer.error(405, "UNSUPPORTED");
                assert_eq!(answer.header("allow"), allowed, "{method} {target}");
            }
        }
    }
}

fn head_errors_have_no_body(registry: TestRegistry) {
    let digest = content("x").digest;
    for (target, status) in [
        ("/v2/app/manifests/v1".to_owned(), 404),
        (format!("/v2/app/blobs/{digest}"), 404),
        ("/v2/BAD/manifests/v1".to_owned(), 400),
        ("/v2/app/blobs/uploads/".to_owned(), 405),
    ] {
        assert!(registry.head(&target).expect(status).body.is_empty());
    }
}

fn the_trace_of_the_caller_is_named(registry: TestRegistry) {
    push_image(&registry, "app", "v1", "image");
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    for target in ["/v2/app/manifests/v2", "/v2/BAD/tags/list"] {
        let call = registry.call("GET", target).header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
        let answer = call.send();
        assert_eq!(answer.json()["errors"][0]["detail"]["traceId"], trace, "{target}");
    }
    // Without one, or with nonsense, each request has its own.
    let own = |header: &str| {
        let call = registry.call("GET", "/v2/app/manifests/v2").header("traceparent", header);
        call.send().error(404, "MANIFEST_UNKNOWN")["detail"]["traceId"].as_str().unwrap().to_owned()
    };
    assert_ne!(own("nonsense"), own("00-00000000000000000000000000000000-0000000000000000-01"));
}

/// A link that leads to itself, where the bytes should be, is a fault of the storage.
fn faults_never_show_their_cause(registry: TestRegistry) {
    let blob = content("spoilt");
    push_blob(&registry, "app", &blob);
    let [(file, _)] = registry.stored_files().try_into().unwrap();
    let path = registry.data_dir().join("blobs").join(&file);
    std::fs::remove_file(&path).unwrap();
    let target = format!("/v2/app/blobs/{}", blob.digest);
    registry.get(&target).error(404, "BLOB_UNKNOWN");
    std::os::unix::fs::symlink(&path, &path).unwrap();

    let answer = registry.get(&target);
    let error = answer.error(503, "UNAVAILABLE");
    assert!(!answer.header("retry-after").is_empty());
    let text = answer.json().to_string();
    let key = file.file_name().unwrap().to_str().unwrap();
    for secret in [key, registry.data_dir().to_str().unwrap(), "os error", "symbolic", "data port", "127.0.0.1"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    let trace = error["detail"]["traceId"].as_str().unwrap();
    assert!(error["message"].as_str().unwrap().contains(trace), "docker shows the message only: {text}");
}
