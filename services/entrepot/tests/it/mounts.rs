//! Blobs of one repository for another.

use entrepot::testing::TestRegistry;
use entrepot_testkit::builders::content;

use crate::support::{assert_blob, both, completing, push_blob};

both!(open: p27_mount, p27_mount_without_from, p27_mount_that_cannot_be_is_an_upload, the_same_blob_is_stored_once_for_all);

fn p27_mount(registry: TestRegistry) {
    let blob = content("shared");
    push_blob(&registry, "team/base", &blob);
    // containerd does not escape, others do.
    for (target, query) in [
        ("team/app", format!("mount={}&from=team/base", blob.digest)),
        ("other/app", format!("from=team%2Fbase&mount={}", blob.digest.to_string().replace(':', "%3A"))),
    ] {
        let answer = registry.post(&format!("/v2/{target}/blobs/uploads/?{query}")).expect(201);
        assert_eq!(answer.location(), format!("/v2/{target}/blobs/{}", blob.digest));
        assert_eq!(answer.header("docker-content-digest"), blob.digest.to_string());
        assert_blob(&registry, target, &blob.digest, &blob.bytes);
    }
    assert_eq!(registry.stored_files().len(), 1);
}

/// "Automatic content discovery" looks in the tenant and nowhere else.
fn p27_mount_without_from(registry: TestRegistry) {
    let blob = content("somewhere");
    push_blob(&registry, "team/base", &blob);
    registry.post(&format!("/v2/team/app/blobs/uploads/?mount={}", blob.digest)).expect(201);
    assert_blob(&registry, "team/app", &blob.digest, &blob.bytes);
    registry.post(&format!("/v2/other/app/blobs/uploads/?mount={}", blob.digest)).expect(202);
    registry.head(&format!("/v2/other/app/blobs/{}", blob.digest)).expect(404);
}

/// The answer is a fresh upload, whatever the reason: clients go on with that.
fn p27_mount_that_cannot_be_is_an_upload(registry: TestRegistry) {
    let blob = content("not there");
    let present = content("present");
    push_blob(&registry, "team/base", &present);
    for query in [
        format!("mount={}&from=team/base", blob.digest),
        format!("mount={}&from=no/such/repository", blob.digest),
        format!("mount={}&from=../BAD", blob.digest),
        format!("mount={}", blob.digest),
        format!("mount={}&from=", present.digest),
        format!("mount={}&from=other/base", present.digest),
    ] {
        let answer = registry.post(&format!("/v2/team/app/blobs/uploads/?{query}")).expect(202);
        assert_eq!(answer.header("range"), "0-0");
        assert!(answer.find("docker-content-digest").is_none());
        registry.head(&format!("/v2/team/app/blobs/{}", present.digest)).expect(404);
    }
    let answer = registry.post(&format!("/v2/team/app/blobs/uploads/?mount={}&from=team/base", blob.digest));
    let location = completing(answer.expect(202).location(), &blob.digest);
    registry.call("PUT", &location).body(blob.bytes.clone()).send().expect(201);
    assert_blob(&registry, "team/app", &blob.digest, &blob.bytes);
    registry.post("/v2/team/app/blobs/uploads/?mount=nonsense&from=team/base").error(400, "DIGEST_INVALID");
}

/// An upload of what another repository has is an upload like any other, and each sees only its own.
fn the_same_blob_is_stored_once_for_all(registry: TestRegistry) {
    let blob = content("everywhere");
    push_blob(&registry, "one/app", &blob);
    registry.get(&format!("/v2/two/app/blobs/{}", blob.digest)).error(404, "BLOB_UNKNOWN");
    push_blob(&registry, "two/app", &blob);
    assert_blob(&registry, "two/app", &blob.digest, &blob.bytes);
    registry.delete(&format!("/v2/one/app/blobs/{}", blob.digest)).expect(202);
    registry.get(&format!("/v2/one/app/blobs/{}", blob.digest)).error(404, "BLOB_UNKNOWN");
    assert_blob(&registry, "two/app", &blob.digest, &blob.bytes);
}
