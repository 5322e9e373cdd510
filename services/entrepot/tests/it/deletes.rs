//! Deleting tags, manifests and blobs.

use entrepot::testing::TestRegistry;
use entrepot_testkit::builders::{ManifestBuilder, content};

use crate::support::{both, push_blob, push_image, push_manifest};

both!(open:
    a_tag_goes_and_its_manifest_stays,
    a_manifest_goes_with_its_tags,
    a_child_of_an_index_stays,
    a_blob_in_use_stays,
    what_is_not_there_cannot_be_deleted,
    what_was_deleted_can_be_pushed_again,
);

fn a_tag_goes_and_its_manifest_stays(registry: TestRegistry) {
    let manifest = push_image(&registry, "app", "v1", "image");
    push_manifest(&registry, "app", "v2", &manifest);
    let answer = registry.delete("/v2/app/manifests/v1").expect(202);
    assert!(answer.body.is_empty());
    registry.get("/v2/app/manifests/v1").error(404, "MANIFEST_UNKNOWN");
    registry.get("/v2/app/manifests/v2").expect(200);
    registry.get(&format!("/v2/app/manifests/{}", manifest.digest)).expect(200);
    assert_eq!(registry.get("/v2/app/tags/list").json()["tags"], serde_json::json!(["v2"]));
}

fn a_manifest_goes_with_its_tags(registry: TestRegistry) {
    let manifest = push_image(&registry, "app", "v1", "image");
    push_manifest(&registry, "app", "v2", &manifest);
    push_image(&registry, "app", "v3", "other");
    // Read before, so that caches hold it.
    registry.get(&format!("/v2/app/manifests/{}", manifest.digest)).expect(200);
    registry.delete(&format!("/v2/app/manifests/{}", manifest.digest)).expect(202);
    for reference in ["v1".to_owned(), "v2".to_owned(), manifest.digest.to_string()] {
        registry.get(&format!("/v2/app/manifests/{reference}")).error(404, "MANIFEST_UNKNOWN");
    }
    assert_eq!(registry.get("/v2/app/tags/list").json()["tags"], serde_json::json!(["v3"]));
}

fn a_child_of_an_index_stays(registry: TestRegistry) {
    let child = push_image(&registry, "app", "child", "image");
    let index = ManifestBuilder::index(std::slice::from_ref(&child)).build();
    push_manifest(&registry, "app", "index", &index);
    let error = registry.delete(&format!("/v2/app/manifests/{}", child.digest)).error(409, "DENIED");
    assert!(error["message"].as_str().unwrap().contains(&index.digest.to_string()), "{error}");
    registry.delete("/v2/app/manifests/child").expect(202);
    registry.delete(&format!("/v2/app/manifests/{}", index.digest)).expect(202);
    registry.delete(&format!("/v2/app/manifests/{}", child.digest)).expect(202);
}

fn a_blob_in_use_stays(registry: TestRegistry) {
    let manifest = push_image(&registry, "app", "v1", "image");
    let target = format!("/v2/app/blobs/{}", manifest.references[0].digest);
    registry.get(&target).expect(200);
    let error = registry.delete(&target).error(409, "DENIED");
    assert!(error["message"].as_str().unwrap().contains(&manifest.digest.to_string()), "{error}");
    registry.get(&target).expect(200);
    registry.delete(&format!("/v2/app/manifests/{}", manifest.digest)).expect(202);
    registry.delete(&target).expect(202);
    registry.get(&target).error(404, "BLOB_UNKNOWN");
    registry.head(&target).expect(404);
}

fn what_is_not_there_cannot_be_deleted(registry: TestRegistry) {
    push_image(&registry, "app", "v1", "image");
    let digest = content("nowhere").digest;
    registry.delete("/v2/app/manifests/v2").error(404, "MANIFEST_UNKNOWN");
    registry.delete(&format!("/v2/app/manifests/{digest}")).error(404, "MANIFEST_UNKNOWN");
    registry.delete(&format!("/v2/app/blobs/{digest}")).error(404, "BLOB_UNKNOWN");
    registry.delete("/v2/no/such/manifests/v1").error(404, "NAME_UNKNOWN");
    registry.delete(&format!("/v2/no/such/blobs/{digest}")).error(404, "BLOB_UNKNOWN");
}

fn what_was_deleted_can_be_pushed_again(registry: TestRegistry) {
    let blob = content("twice");
    let target = format!("/v2/app/blobs/{}", blob.digest);
    for _ in 0..3 {
        push_blob(&registry, "app", &blob);
        assert_eq!(registry.get(&target).expect(200).body, blob.bytes);
        registry.delete(&target).expect(202);
        registry.get(&target).error(404, "BLOB_UNKNOWN");
        let manifest = push_image(&registry, "app", "v1", "image");
        registry.delete(&format!("/v2/app/manifests/{}", manifest.digest)).expect(202);
    }
}
