//! The version check, and what every answer has.

use entrepot::testing::TestRegistry;

use crate::support::both;

both!(open: p01_ping_says_v2, p26_uploads_without_trailing_slash);

/// Old docker and its imitators tell a registry by the header.
fn p01_ping_says_v2(registry: TestRegistry) {
    for target in ["/v2/", "/v2"] {
        let answer = registry.get(target).expect(200);
        assert_eq!(answer.header("docker-distribution-api-version"), "registry/2.0");
        let answer = registry.head(target).expect(200);
        assert!(answer.body.is_empty());
        assert_eq!(answer.header("docker-distribution-api-version"), "registry/2.0");
    }
}

fn p26_uploads_without_trailing_slash(registry: TestRegistry) {
    for target in ["/v2/team/app/blobs/uploads/", "/v2/team/app/blobs/uploads"] {
        registry.post(target).expect(202);
    }
}
