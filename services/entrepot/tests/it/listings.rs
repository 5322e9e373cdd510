//! Tags and repositories, page by page.

use entrepot::testing::TestRegistry;
use serde_json::json;

use crate::support::{both, push_image, push_manifest};

both!(open:
    p39_tags_page_by_page,
    p39_any_n_is_answered,
    p39_unknown_repository,
    catalog_page_by_page,
    a_text_with_nul_is_refused,
);

/// Follows `Link` from `first`; gives what each page had under `member`.
fn walk(registry: &TestRegistry, first: &str, member: &str) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut target = first.to_owned();
    loop {
        let answer = registry.get(&target).expect(200);
        assert_eq!(answer.header("content-type"), "application/json");
        let items = answer.json()[member].as_array().unwrap().clone();
        pages.push(items.iter().map(|item| item.as_str().unwrap().to_owned()).collect());
        assert!(pages.len() < 50, "the pages do not end");
        let Some(link) = answer.find("link") else { return pages };
        let next = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).expect("a Link");
        assert!(next.starts_with("/v2/"), "relative: {next}");
        target = next.to_owned();
    }
}

fn p39_tags_page_by_page(registry: TestRegistry) {
    let manifest = push_image(&registry, "team/app", "b", "image");
    for tag in ["a", "C", "_x", "1.0-rc.1", "10", "9"] {
        push_manifest(&registry, "team/app", tag, &manifest);
    }
    let all = ["1.0-rc.1", "10", "9", "C", "_x", "a", "b"];
    assert_eq!(registry.get("/v2/team/app/tags/list").json(), json!({"name": "team/app", "tags": all}));
    for n in [1, 2, 3, 6, 7, 8] {
        let pages = walk(&registry, &format!("/v2/team/app/tags/list?n={n}"), "tags");
        assert!(pages.iter().all(|page| page.len() <= n));
        assert_eq!(pages.len(), all.len().div_ceil(n), "n={n}: {pages:?}");
        assert_eq!(pages.concat(), all);
    }
    let after = registry.get("/v2/team/app/tags/list?last=C").expect(200).json();
    assert_eq!(after["tags"], json!(["_x", "a", "b"]));
    assert_eq!(registry.get("/v2/team/app/tags/list?last=D").json()["tags"], json!(["_x", "a", "b"]));
    assert_eq!(registry.get("/v2/team/app/tags/list?last=zzz").json()["tags"], json!([]));
}

/// crane sends n=1000 and gave up on a registry that refused it.
fn p39_any_n_is_answered(registry: TestRegistry) {
    push_image(&registry, "app", "v1", "image");
    for n in ["1000", "1001", "999999999999999999999999", ""] {
        assert_eq!(registry.get(&format!("/v2/app/tags/list?n={n}")).expect(200).json()["tags"], json!(["v1"]));
    }
    let none = registry.get("/v2/app/tags/list?n=0").expect(200);
    assert_eq!(none.json()["tags"], json!([]));
    assert!(none.find("link").is_none(), "a page of nothing would never end");
    for n in ["-1", "ten", "1.5", "%00"] {
        registry.get(&format!("/v2/app/tags/list?n={n}")).error(400, "UNSUPPORTED");
    }
}

fn a_text_with_nul_is_refused(registry: TestRegistry) {
    let digest = push_image(&registry, "app", "v1", "image").digest;
    for target in [
        "/v2/app/tags/list?last=%00",
        "/v2/app/tags/list?last=a%00b",
        "/v2/_catalog?last=%00",
        &format!("/v2/app/referrers/{digest}?last=%00"),
        &format!("/v2/app/referrers/{digest}?artifactType=%00"),
    ] {
        let answer = registry.get(target);
        answer.error(400, "UNSUPPORTED");
        assert!(answer.json()["errors"][0]["message"].as_str().unwrap().contains("without NUL"), "{target}");
    }
    // Other control characters are only never found.
    assert_eq!(registry.get("/v2/app/tags/list?last=%01").expect(200).json()["tags"], json!(["v1"]));
}

fn p39_unknown_repository(registry: TestRegistry) {
    registry.get("/v2/no/such/tags/list").error(404, "NAME_UNKNOWN");
    let manifest = push_image(&registry, "app", "v1", "image");
    registry.delete(&format!("/v2/app/manifests/{}", manifest.digest)).expect(202);
    assert_eq!(registry.get("/v2/app/tags/list").expect(200).json()["tags"], json!([]));
}

fn catalog_page_by_page(registry: TestRegistry) {
    assert_eq!(registry.get("/v2/_catalog").expect(200).json(), json!({"repositories": []}));
    let all = ["a-b/c", "a/b", "a/b/c", "app", "team/app", "team/other"];
    for name in ["team/other", "app", "a/b/c", "team/app", "a/b", "a-b/c"] {
        push_image(&registry, name, "v1", "image");
    }
    assert_eq!(registry.get("/v2/_catalog").json(), json!({"repositories": all}));
    for n in [1, 4, 6, 100] {
        let pages = walk(&registry, &format!("/v2/_catalog?n={n}"), "repositories");
        assert_eq!((pages.concat(), pages.len()), (all.map(str::to_owned).to_vec(), all.len().div_ceil(n)));
    }
}
