//! Pushing and pulling manifests.

use bytes::Bytes;
use entrepot::testing::TestRegistry;
use entrepot_core::{Algorithm, Digest, MediaType};
use entrepot_testkit::builders::{ManifestBuilder, content};
use serde_json::json;

use crate::support::{both, image, push_blob, push_image, push_manifest, put_manifest};

both!(open:
    p09_head_says_all_that_get_does,
    p10_put_says_the_digest,
    p11_accept_never_changes_what_is_sent,
    p12_content_type_may_have_parameters,
    bytes_are_kept_as_they_came,
    p14_build_cache_of_layers_in_an_index,
    p15_attestations_in_an_index,
    p16_pushing_again_is_created_again,
    p19_tags_of_a_push_by_digest,
    p20_helm_chart,
    p21_cosign_tags,
    a_tag_moves_at_once,
    what_it_references_must_be_there,
    digest_of_the_path_must_fit,
    what_is_no_manifest_is_refused,
    conditions,
);

fn p09_head_says_all_that_get_does(registry: TestRegistry) {
    let manifest = push_image(&registry, "team/app", "v1", "image");
    for reference in ["v1".to_owned(), manifest.digest.to_string()] {
        let target = format!("/v2/team/app/manifests/{reference}");
        for answer in [registry.head(&target), registry.get(&target)] {
            let answer = answer.expect(200);
            assert_eq!(answer.header("content-type"), MediaType::OCI_MANIFEST);
            assert_eq!(answer.header("content-length"), manifest.payload.len().to_string());
            assert_eq!(answer.header("docker-content-digest"), manifest.digest.to_string());
        }
        assert!(registry.head(&target).body.is_empty());
        assert_eq!(registry.get(&target).body, manifest.payload);
    }
    registry.get("/v2/team/app/manifests/v2").error(404, "MANIFEST_UNKNOWN");
    registry.get(&format!("/v2/team/app/manifests/{}", content("x").digest)).error(404, "MANIFEST_UNKNOWN");
    registry.get("/v2/no/such/manifests/v1").error(404, "NAME_UNKNOWN");
}

fn p10_put_says_the_digest(registry: TestRegistry) {
    let (manifest, blobs) = image("image");
    for blob in &blobs {
        push_blob(&registry, "app", blob);
    }
    for reference in ["v1".to_owned(), manifest.digest.to_string()] {
        let answer = push_manifest(&registry, "app", &reference, &manifest);
        assert_eq!(answer.header("docker-content-digest"), manifest.digest.to_string());
        assert_eq!(answer.location(), format!("/v2/app/manifests/{}", manifest.digest));
        assert!(answer.body.is_empty() && answer.find("oci-subject").is_none());
    }
}

fn p11_accept_never_changes_what_is_sent(registry: TestRegistry) {
    let child = push_image(&registry, "app", "child", "image");
    let index = ManifestBuilder::index(std::slice::from_ref(&child)).build();
    push_manifest(&registry, "app", "index", &index);
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    for accept in [MediaType::OCI_MANIFEST, docker, "text/html", "application/json, */*", "nonsense"] {
        let answer = registry.call("GET", "/v2/app/manifests/index").header("accept", accept).send().expect(200);
        assert_eq!(answer.header("content-type"), MediaType::OCI_INDEX, "{accept}");
        assert_eq!(answer.body, index.payload);
    }
}

fn p12_content_type_may_have_parameters(registry: TestRegistry) {
    let (manifest, blobs) = image("image");
    for blob in &blobs {
        push_blob(&registry, "app", blob);
    }
    let content_type = format!("{}; charset=utf-8", MediaType::OCI_MANIFEST);
    let call = registry.call("PUT", "/v2/app/manifests/v1").header("content-type", content_type);
    call.body(manifest.payload.clone()).send().expect(201);
    assert_eq!(registry.get("/v2/app/manifests/v1").header("content-type"), MediaType::OCI_MANIFEST);
}

fn bytes_are_kept_as_they_came(registry: TestRegistry) {
    let config = content("{}");
    push_blob(&registry, "app", &config);
    let payload = format!(
        "{{ \"schemaVersion\" :2,\n\t\"mediaType\": \"{}\", \"x-unknown\": [1.0, 1e3, \"\\u00e9\"], \"layers\": [],\r\n \"config\": {{\"size\": 2, \"mediaType\": \"application/x.unknown\", \"digest\": \"{}\"}}}}\n",
        MediaType::OCI_MANIFEST,
        config.digest,
    );
    let digest = Digest::of(Algorithm::Sha256, payload.as_bytes());
    let call = registry.call("PUT", "/v2/app/manifests/odd").header("content-type", MediaType::OCI_MANIFEST);
    assert_eq!(call.body(payload.clone()).send().expect(201).header("docker-content-digest"), digest.to_string());
    assert_eq!(registry.get("/v2/app/manifests/odd").body, payload);
    let strong = Digest::of(Algorithm::Sha512, payload.as_bytes());
    let call =
        registry.call("PUT", &format!("/v2/app/manifests/{strong}")).header("content-type", MediaType::OCI_MANIFEST);
    assert_eq!(call.body(payload.clone()).send().expect(201).header("docker-content-digest"), strong.to_string());
    assert_eq!(registry.get(&format!("/v2/app/manifests/{strong}")).expect(200).body, payload);
}

/// `BuildKit` lists layers where manifests are expected.
fn p14_build_cache_of_layers_in_an_index(registry: TestRegistry) {
    let layers = [content("cached 1"), content("cached 2")];
    for layer in &layers {
        push_blob(&registry, "app", layer);
    }
    let cache = ManifestBuilder::cache(&layers).build();
    push_manifest(&registry, "app", "buildcache", &cache);
    assert_eq!(registry.get("/v2/app/manifests/buildcache").expect(200).body, cache.payload);
    // They are needed like any other layer.
    registry.delete(&format!("/v2/app/blobs/{}", layers[0].digest)).error(409, "DENIED");
}

fn p15_attestations_in_an_index(registry: TestRegistry) {
    let (amd64, attestation) =
        (push_image(&registry, "app", "a", "amd64"), push_image(&registry, "app", "b", "provenance"));
    let child = |manifest: &entrepot_core::Manifest, os: &str| {
        json!({"mediaType": manifest.media_type, "digest": manifest.digest, "size": manifest.payload.len(),
               "platform": {"os": os, "architecture": os}})
    };
    let index = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX,
                       "manifests": [child(&amd64, "linux"), child(&attestation, "unknown")]});
    let call = registry.call("PUT", "/v2/app/manifests/multi").header("content-type", MediaType::OCI_INDEX);
    call.body(index.to_string()).send().expect(201);
    registry.delete(&format!("/v2/app/manifests/{}", attestation.digest)).error(409, "DENIED");
}

fn p16_pushing_again_is_created_again(registry: TestRegistry) {
    let manifest = push_image(&registry, "app", "v1", "image");
    for reference in ["v1".to_owned(), manifest.digest.to_string(), "v2".to_owned()] {
        push_manifest(&registry, "app", &reference, &manifest);
    }
    push_image(&registry, "app", "v1", "image");
}

fn p19_tags_of_a_push_by_digest(registry: TestRegistry) {
    let (manifest, blobs) = image("image");
    for blob in &blobs {
        push_blob(&registry, "app", blob);
    }
    let answer = push_manifest(&registry, "app", &format!("{}?tag=v1&tag=v1.2&tag=latest", manifest.digest), &manifest);
    let tags: Vec<_> = answer.headers.get_all("oci-tag").iter().collect();
    assert_eq!(tags, ["v1", "v1.2", "latest"]);
    for tag in ["v1", "v1.2", "latest"] {
        assert_eq!(registry.get(&format!("/v2/app/manifests/{tag}")).expect(200).body, manifest.payload);
    }
    let refused = put_manifest(&registry, "app", &format!("{}?tag=ok&tag=.not", manifest.digest), &manifest);
    refused.error(400, "TAG_INVALID");
    registry.get("/v2/app/manifests/ok").error(404, "MANIFEST_UNKNOWN");
    let many: String = (0..11).map(|n| format!("&tag=t{n}")).collect();
    put_manifest(&registry, "app", &format!("{}?{many}", manifest.digest), &manifest).error(413, "TAG_INVALID");
    registry.get("/v2/app/manifests/t0").error(404, "MANIFEST_UNKNOWN");
}

fn p20_helm_chart(registry: TestRegistry) {
    let (config, chart) = (content("{\"name\":\"chart\"}"), content("chart"));
    for blob in [&config, &chart] {
        push_blob(&registry, "charts/app", blob);
    }
    let manifest = json!({
        "schemaVersion": 2,
        "config": {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": config.digest, "size": config.bytes.len()},
        "layers": [{"mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip", "digest": chart.digest, "size": chart.bytes.len()}],
    });
    let call =
        registry.call("PUT", "/v2/charts/app/manifests/1.2.3_build.5").header("content-type", MediaType::OCI_MANIFEST);
    call.body(manifest.to_string()).send().expect(201);
    assert_eq!(registry.get("/v2/charts/app/manifests/1.2.3_build.5").expect(200).body, manifest.to_string());
}

fn p21_cosign_tags(registry: TestRegistry) {
    let image = push_image(&registry, "app", "v1", "signed");
    let stem = image.digest.to_string().replace(':', "-");
    for suffix in ["sig", "att", "sbom"] {
        let signature = push_image(&registry, "app", &format!("{stem}.{suffix}"), suffix);
        let answer = registry.get(&format!("/v2/app/manifests/{stem}.{suffix}")).expect(200);
        assert_eq!(answer.body, signature.payload);
    }
}

fn a_tag_moves_at_once(registry: TestRegistry) {
    for n in 0..20 {
        let manifest = push_image(&registry, "app", "latest", &format!("image {n}"));
        for answer in [registry.head("/v2/app/manifests/latest"), registry.get("/v2/app/manifests/latest")] {
            assert_eq!(answer.expect(200).header("docker-content-digest"), manifest.digest.to_string());
        }
    }
}

fn what_it_references_must_be_there(registry: TestRegistry) {
    let (manifest, blobs) = image("incomplete");
    push_blob(&registry, "app", &blobs[0]);
    push_blob(&registry, "elsewhere", &blobs[1]);
    let error = put_manifest(&registry, "app", "v1", &manifest).error(404, "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(error["detail"]["missing"], json!([blobs[1].digest]));
    assert!(error["message"].as_str().unwrap().contains(&blobs[1].digest.to_string()));
    registry.get("/v2/app/manifests/v1").error(404, "MANIFEST_UNKNOWN");
    registry.get(&format!("/v2/app/manifests/{}", manifest.digest)).error(404, "MANIFEST_UNKNOWN");

    let index = ManifestBuilder::index(&[manifest]).build();
    put_manifest(&registry, "app", "index", &index).error(404, "MANIFEST_BLOB_UNKNOWN");
    registry.get("/v2/app/manifests/index").error(404, "MANIFEST_UNKNOWN");
}

fn digest_of_the_path_must_fit(registry: TestRegistry) {
    let manifest = push_image(&registry, "app", "v1", "image");
    let other = content("other").digest;
    put_manifest(&registry, "app", &other.to_string(), &manifest).error(400, "DIGEST_INVALID");
    put_manifest(&registry, "app", &format!("v2?digest={other}"), &manifest).error(400, "DIGEST_INVALID");
    registry.get("/v2/app/manifests/v2").error(404, "MANIFEST_UNKNOWN");
    push_manifest(&registry, "app", &format!("v2?digest={}", manifest.digest), &manifest);
}

fn what_is_no_manifest_is_refused(registry: TestRegistry) {
    let digest = content("x").digest;
    let index = MediaType::OCI_INDEX;
    let cases: [(&str, String); 8] = [
        (MediaType::OCI_MANIFEST, String::new()),
        (MediaType::OCI_MANIFEST, "not json".to_owned()),
        (MediaType::OCI_MANIFEST, "[]".to_owned()),
        (MediaType::OCI_MANIFEST, "{\"schemaVersion\":1}".to_owned()),
        (MediaType::OCI_MANIFEST, json!({"schemaVersion": 2, "layers": []}).to_string()),
        (MediaType::OCI_MANIFEST, json!({"schemaVersion": 2, "mediaType": index, "manifests": []}).to_string()),
        (
            index,
            json!({"schemaVersion": 2, "manifests": [{"mediaType": "a/b", "size": -1, "digest": digest}]}).to_string(),
        ),
        (
            index,
            json!({"schemaVersion": 2, "manifests": [{"mediaType": "a/b", "size": 1, "digest": "sha256:0"}]})
                .to_string(),
        ),
    ];
    for (content_type, body) in cases {
        let call = registry.call("PUT", "/v2/app/manifests/v1").header("content-type", content_type);
        call.body(Bytes::from(body)).send().error(400, "MANIFEST_INVALID");
    }
    registry.get("/v2/app/manifests/v1").error(404, "NAME_UNKNOWN");
}

fn conditions(registry: TestRegistry) {
    let manifest = push_image(&registry, "app", "v1", "image");
    let etag = registry.get("/v2/app/manifests/v1").header("etag").to_owned();
    assert_eq!(etag, format!("\"{}\"", manifest.digest));
    for method in ["GET", "HEAD"] {
        for seen in [etag.clone(), format!("W/{etag}"), format!("\"a\", {etag}")] {
            let answer = registry.call(method, "/v2/app/manifests/v1").header("if-none-match", seen).send().expect(304);
            assert!(answer.body.is_empty());
            assert_eq!(answer.header("etag"), etag);
        }
    }
    let moved = push_image(&registry, "app", "v1", "next");
    let answer = registry.call("GET", "/v2/app/manifests/v1").header("if-none-match", etag).send().expect(200);
    assert_eq!(answer.body, moved.payload);
}
