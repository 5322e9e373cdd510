//! Manifests about manifests.

use entrepot::testing::TestRegistry;
use entrepot_core::{Digest, Manifest, MediaType};
use entrepot_testkit::builders::{ManifestBuilder, content};
use serde_json::{Value, json};

use crate::support::{both, push_blob, push_image, push_manifest, put_manifest};

both!(open:
    p17_put_names_the_subject,
    p18_empty_is_an_answer,
    p18_filter_by_artifact_type,
    a_type_with_control_characters_is_refused,
    entries_carry_what_clients_choose_by,
    page_by_page,
    the_subject_may_come_later,
    deleted_referrers_are_gone,
    p17_fallback_tags_of_old_registries,
);

/// Pushes an artifact about `subject`.
#[track_caller]
fn attach(registry: &TestRegistry, repository: &str, subject: Digest, artifact_type: &str, note: &str) -> Manifest {
    let config = content("{}");
    push_blob(registry, repository, &config);
    let manifest = ManifestBuilder::image(&config, &[]).subject(subject).artifact_type(artifact_type);
    let manifest = manifest.annotation("note", note).build();
    let answer = push_manifest(registry, repository, &manifest.digest.to_string(), &manifest);
    assert_eq!(answer.header("oci-subject"), subject.to_string());
    manifest
}

fn list(registry: &TestRegistry, target: &str) -> Vec<Value> {
    let answer = registry.get(target).expect(200);
    assert_eq!(answer.header("content-type"), MediaType::OCI_INDEX);
    let index = answer.json();
    assert_eq!((&index["schemaVersion"], &index["mediaType"]), (&json!(2), &json!(MediaType::OCI_INDEX)));
    index["manifests"].as_array().unwrap().clone()
}

/// regclient tells by the header that no fallback tag is needed.
fn p17_put_names_the_subject(registry: TestRegistry) {
    let subject = push_image(&registry, "app", "v1", "image").digest;
    let referrer = attach(&registry, "app", subject, "application/x.sbom", "one");
    let found = list(&registry, &format!("/v2/app/referrers/{subject}"));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["digest"], json!(referrer.digest));
}

/// 404 would mean that there is no such API.
fn p18_empty_is_an_answer(registry: TestRegistry) {
    push_image(&registry, "app", "v1", "image");
    let digest = content("nothing").digest;
    for repository in ["app", "no/such"] {
        assert!(list(&registry, &format!("/v2/{repository}/referrers/{digest}")).is_empty());
    }
    registry.get("/v2/app/referrers/latest").error(400, "DIGEST_INVALID");
}

fn a_type_with_control_characters_is_refused(registry: TestRegistry) {
    let config = content("{}");
    push_blob(&registry, "app", &config);
    let manifest = ManifestBuilder::image(&config, &[]).artifact_type("x/y").build();
    let hostile = String::from_utf8(manifest.payload.to_vec()).unwrap().replace("x/y", "x\\u0000");
    let push = registry.call("PUT", "/v2/app/manifests/v1").header("content-type", MediaType::OCI_MANIFEST);
    push.body(hostile).send().error(400, "MANIFEST_INVALID");
    registry.get("/v2/app/manifests/v1").error(404, "MANIFEST_UNKNOWN");
}

fn p18_filter_by_artifact_type(registry: TestRegistry) {
    let subject = push_image(&registry, "app", "v1", "image").digest;
    let sbom = attach(&registry, "app", subject, "application/x.sbom", "a");
    attach(&registry, "app", subject, "application/x.signature", "b");
    let target = format!("/v2/app/referrers/{subject}");
    assert_eq!(list(&registry, &target).len(), 2);
    assert!(registry.get(&target).find("oci-filters-applied").is_none());
    for artifact_type in ["application/x.sbom", "application%2Fx.sbom"] {
        let filtered = format!("{target}?artifactType={artifact_type}");
        let found = list(&registry, &filtered);
        assert_eq!(found.iter().map(|entry| &entry["digest"]).collect::<Vec<_>>(), [&json!(sbom.digest)]);
        assert_eq!(registry.get(&filtered).header("oci-filters-applied"), "artifactType");
    }
    let none = format!("{target}?artifactType=application/none");
    assert!(list(&registry, &none).is_empty());
    assert_eq!(registry.get(&none).header("oci-filters-applied"), "artifactType");
}

fn entries_carry_what_clients_choose_by(registry: TestRegistry) {
    let subject = push_image(&registry, "app", "v1", "image").digest;
    let referrer = attach(&registry, "app", subject, "application/x.sbom", "chosen");
    let found = list(&registry, &format!("/v2/app/referrers/{subject}"));
    let expected = json!({"mediaType": MediaType::OCI_MANIFEST, "digest": referrer.digest, "size": referrer.payload.len(),
                          "artifactType": "application/x.sbom", "annotations": {"note": "chosen"}});
    assert_eq!(found, [expected]);
    // Without an artifact type of its own, that of the config counts; an index has none.
    let config = content("{\"kind\":\"config\"}");
    push_blob(&registry, "app", &config);
    let plain = ManifestBuilder::image(&config, &[]).subject(referrer.digest).build();
    push_manifest(&registry, "app", &plain.digest.to_string(), &plain);
    let found = list(&registry, &format!("/v2/app/referrers/{}", referrer.digest));
    assert_eq!(found[0]["artifactType"], json!(entrepot_testkit::builders::CONFIG));
}

fn page_by_page(registry: TestRegistry) {
    let subject = push_image(&registry, "app", "v1", "image").digest;
    let mut expected: Vec<String> = (0..7)
        .map(|n| attach(&registry, "app", subject, "application/x.sbom", &n.to_string()).digest.to_string())
        .collect();
    attach(&registry, "app", subject, "application/x.other", "other");
    expected.sort();
    let mut target = format!("/v2/app/referrers/{subject}?n=3&artifactType=application/x.sbom");
    let mut found = Vec::new();
    for page in 0.. {
        let answer = registry.get(&target).expect(200);
        assert_eq!(answer.header("oci-filters-applied"), "artifactType");
        let entries = answer.json()["manifests"].as_array().unwrap().clone();
        found.extend(entries.iter().map(|entry| entry["digest"].as_str().unwrap().to_owned()));
        let Some(link) = answer.find("link") else {
            assert_eq!(page, 2);
            break;
        };
        target = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned();
    }
    assert_eq!(found, expected);
}

fn the_subject_may_come_later(registry: TestRegistry) {
    let (image, blobs) = crate::support::image("late");
    let referrer = attach(&registry, "app", image.digest, "application/x.sbom", "early");
    let target = format!("/v2/app/referrers/{}", image.digest);
    assert_eq!(list(&registry, &target)[0]["digest"], json!(referrer.digest));
    for blob in &blobs {
        push_blob(&registry, "app", blob);
    }
    push_manifest(&registry, "app", "v1", &image);
    assert_eq!(list(&registry, &target).len(), 1);
}

fn deleted_referrers_are_gone(registry: TestRegistry) {
    let subject = push_image(&registry, "app", "v1", "image").digest;
    let referrer = attach(&registry, "app", subject, "application/x.sbom", "one");
    let target = format!("/v2/app/referrers/{subject}");
    assert_eq!(list(&registry, &target).len(), 1);
    registry.delete(&format!("/v2/app/manifests/{}", referrer.digest)).expect(202);
    assert!(list(&registry, &target).is_empty());
}

/// A tag in place of the API, as clients write it for old registries and as copies bring it along. Nothing has to be taken out
/// of it: its entries are pushed before it, and each of them names its subject itself.
fn p17_fallback_tags_of_old_registries(registry: TestRegistry) {
    let subject = push_image(&registry, "app", "v1", "image").digest;
    let config = content("{}");
    let referrer = ManifestBuilder::image(&config, &[]).subject(subject).artifact_type("application/x.sbom").build();
    let index = ManifestBuilder::index(std::slice::from_ref(&referrer)).build();
    let tag = subject.to_string().replace(':', "-");
    put_manifest(&registry, "app", &tag, &index).error(404, "MANIFEST_BLOB_UNKNOWN");
    let referrers = format!("/v2/app/referrers/{subject}");
    assert!(list(&registry, &referrers).is_empty());

    push_blob(&registry, "app", &config);
    push_manifest(&registry, "app", &referrer.digest.to_string(), &referrer);
    push_manifest(&registry, "app", &tag, &index);
    assert_eq!(registry.get(&format!("/v2/app/manifests/{tag}")).expect(200).body, index.payload);
    let found = list(&registry, &referrers);
    assert_eq!(found.iter().map(|entry| &entry["digest"]).collect::<Vec<_>>(), [&json!(referrer.digest)]);
}
