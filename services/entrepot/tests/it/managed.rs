//! Who may do what, in mode `managed`.

use entrepot::testing::TestRegistry;
use entrepot::testing::http::{Call, Response};
use entrepot_testkit::builders::{Content, content};

use crate::support::{both, completing};

both!(managed:
    p01_challenge_of_the_version_check,
    p02_realm_and_service_are_the_same_everywhere,
    p03_challenge_even_where_anonymous_may_pull,
    anonymous_pull,
    p02_insufficient_scope_asks_for_more,
    p02_bad_token_is_invalid_token,
    known_and_not_allowed_is_denied,
    basic_credentials_straight_to_the_registry,
    p07_delete_is_an_action_of_its_own,
    p27_mount_needs_pull_on_the_source,
    a_signed_location_outlives_its_token,
    an_upload_belongs_to_who_opened_it,
    p40_catalog,
    a_foreigner_may_do_nothing,
    failed_logins_from_elsewhere_lock_nobody_out,
);

const PASSWORD: &str = "correct horse battery";

/// A registry with `alice`, who may do everything in `team/*`; gives a blob that she pushed to `team/app`.
fn team(registry: &TestRegistry) -> Content {
    registry.add_user("alice", PASSWORD, &[("team/*", "*")]);
    let blob = content("secret");
    let push = format!("/v2/team/app/blobs/uploads/?digest={}", blob.digest);
    alice(registry, registry.call("POST", &push).body(blob.bytes.clone())).expect(201);
    blob
}

/// Sends a call with all of alice's rights on `team/app`.
fn alice(registry: &TestRegistry, call: Call) -> Response {
    let token = registry.token(Some(("alice", PASSWORD)), &["repository:team/app:*"]);
    call.bearer(&token).send()
}

/// The challenge of a 401: `realm`, `service` and whatever else it says.
#[track_caller]
fn challenge(answer: &Response) -> String {
    assert_eq!(answer.status, 401, "{answer:?}");
    answer.header("www-authenticate").strip_prefix("Bearer ").expect("a Bearer challenge").to_owned()
}

fn p01_challenge_of_the_version_check(registry: TestRegistry) {
    let expected = format!("realm=\"{}/token\",service=\"entrepot\"", registry.url());
    for answer in [registry.get("/v2/"), registry.get("/v2")] {
        answer.error(401, "UNAUTHORIZED");
        assert_eq!(challenge(&answer), expected);
        assert_eq!(answer.header("docker-distribution-api-version"), "registry/2.0");
    }
    let answer = registry.head("/v2/");
    assert_eq!(challenge(&answer), expected);
    assert!(answer.body.is_empty());
    let token = registry.token(None, &[]);
    registry.call("GET", "/v2/").bearer(&token).send().expect(200);
}

/// containerd keeps one authorizer a host.
fn p02_realm_and_service_are_the_same_everywhere(registry: TestRegistry) {
    let common = format!("realm=\"{}/token\",service=\"entrepot\",", registry.url());
    for (method, target, scope) in [
        ("GET", "/v2/team/app/tags/list", "repository:team/app:pull"),
        ("GET", "/v2/other/manifests/v1", "repository:other:pull"),
        ("POST", "/v2/team/app/blobs/uploads/", "repository:team/app:pull,push"),
        ("PUT", "/v2/team/app/manifests/v1", "repository:team/app:pull,push"),
        ("DELETE", "/v2/team/app/manifests/v1", "repository:team/app:pull,delete"),
        ("GET", "/v2/_catalog", "registry:catalog:*"),
    ] {
        let answer = registry.call(method, target).send();
        let said = challenge(&answer);
        assert_eq!(said.strip_prefix(&common), Some(format!("scope=\"{scope}\"").as_str()), "{said}");
    }
    // A Host that would end the realm early is not echoed.
    let answer = registry.call("GET", "/v2/").header("host", "evil.example\",error=\"x").send();
    assert!(
        !answer.headers.values().any(|value| value.as_bytes().windows(4).any(|bytes| bytes == b"evil")),
        "{answer:?}"
    );
}

/// docker sends credentials only after a challenge.
fn p03_challenge_even_where_anonymous_may_pull(registry: TestRegistry) {
    let blob = team(&registry);
    registry.admin(async |admin| admin.grant("anonymous", "team/app", "pull").await.unwrap());
    challenge(&registry.get("/v2/"));
    challenge(&registry.get(&format!("/v2/team/app/blobs/{}", blob.digest)));
}

fn anonymous_pull(registry: TestRegistry) {
    let blob = team(&registry);
    let target = format!("/v2/team/app/blobs/{}", blob.digest);
    let get = |registry: &TestRegistry| {
        let token = registry.token(None, &["repository:team/app:pull,push"]);
        registry.call("GET", &target).bearer(&token).send()
    };
    assert!(challenge(&get(&registry)).contains("error=\"insufficient_scope\""));
    registry.admin(async |admin| admin.grant("anonymous", "team/app", "pull").await.unwrap());
    assert_eq!(get(&registry).expect(200).body, blob.bytes);
    let token = registry.token(None, &["repository:team/app:pull,push"]);
    let push = registry.call("POST", "/v2/team/app/blobs/uploads/").bearer(&token).send();
    assert!(challenge(&push).contains("scope=\"repository:team/app:pull,push\",error=\"insufficient_scope\""));
}

fn p02_insufficient_scope_asks_for_more(registry: TestRegistry) {
    let blob = team(&registry);
    let token = registry.token(Some(("alice", PASSWORD)), &["repository:team/other:pull"]);
    let answer = registry.call("GET", &format!("/v2/team/app/blobs/{}", blob.digest)).bearer(&token).send();
    answer.error(401, "UNAUTHORIZED");
    let said = challenge(&answer);
    assert!(said.ends_with("scope=\"repository:team/app:pull\",error=\"insufficient_scope\""), "{said}");
}

fn p02_bad_token_is_invalid_token(registry: TestRegistry) {
    team(&registry);
    let good = registry.token(Some(("alice", PASSWORD)), &["repository:team/app:*"]);
    let (head, signature) = good.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    for token in [
        "nonsense".to_owned(),
        head.to_owned(),
        format!("{head}."),
        format!("{head}.{flipped}{}", &signature[1..]),
        "eyJhbGciOiJub25lIn0.e30.".to_owned(),
    ] {
        let answer = registry.call("GET", "/v2/team/app/tags/list").bearer(&token).send();
        answer.error(401, "UNAUTHORIZED");
        assert!(challenge(&answer).contains("error=\"invalid_token\""), "{token}: {answer:?}");
    }
    for header in ["Bearer", "Digest x", "Basic !!!", "Basic bm9jb2xvbg=="] {
        let answer = registry.call("GET", "/v2/").header("authorization", header).send();
        answer.error(401, "UNAUTHORIZED");
    }
    registry.call("GET", "/v2/team/app/tags/list").bearer(&good).send().expect(200);
}

/// Another token would not help, so there is no challenge: clients stop and show the message.
fn known_and_not_allowed_is_denied(registry: TestRegistry) {
    team(&registry);
    registry.add_user("bob", PASSWORD, &[("team/app", "pull")]);
    let token = registry.token(Some(("bob", PASSWORD)), &["repository:team/app:pull,push"]);
    registry.call("GET", "/v2/team/app/tags/list").bearer(&token).send().expect(200);
    let push = |token: &str| registry.call("POST", "/v2/team/app/blobs/uploads/").bearer(token).send();
    let answer = push(&token);
    let error = answer.error(403, "DENIED");
    assert!(answer.find("www-authenticate").is_none());
    let message = error["message"].as_str().unwrap();
    assert!(["bob", "push", "team/app"].iter().all(|part| message.contains(part)), "{message}");
    registry.add_user("carol", PASSWORD, &[("carol/*", "*")]);
    let token = registry.token(Some(("carol", PASSWORD)), &["repository:team/app:pull,push"]);
    let answer = push(&token);
    answer.error(403, "DENIED");
    assert!(answer.find("www-authenticate").is_none());
    // With a token that was asked for to read, the client cannot know before it has asked for one to push.
    let answer = push(&registry.token(Some(("bob", PASSWORD)), &["repository:team/app:pull"]));
    answer.error(401, "UNAUTHORIZED");
    assert!(challenge(&answer).contains("scope=\"repository:team/app:pull,push\",error=\"insufficient_scope\""));
    assert_eq!(registry.stored_files().len(), 1);
    // Once the right is given, the next token has it.
    registry.admin(async |admin| admin.grant("bob", "team/app", "push").await.unwrap());
    let token = registry.token(Some(("bob", PASSWORD)), &["repository:team/app:pull,push"]);
    push(&token).expect(202);
}

fn basic_credentials_straight_to_the_registry(registry: TestRegistry) {
    let blob = team(&registry);
    let get = |name: &str, password: &str| {
        registry.call("GET", &format!("/v2/team/app/blobs/{}", blob.digest)).basic(name, password).send()
    };
    assert_eq!(get("alice", PASSWORD).expect(200).body, blob.bytes);
    registry.call("GET", "/v2/").basic("alice", PASSWORD).send().expect(200);
    for (name, password) in [("alice", "wrong password"), ("nobody", PASSWORD), ("", "")] {
        get(name, password).error(401, "UNAUTHORIZED");
        registry.call("GET", "/v2/").basic(name, password).send().error(401, "UNAUTHORIZED");
    }
    registry.call("POST", "/v2/other/app/blobs/uploads/").basic("alice", PASSWORD).send().error(403, "DENIED");
}

fn p07_delete_is_an_action_of_its_own(registry: TestRegistry) {
    let blob = team(&registry);
    registry.add_user("writer", PASSWORD, &[("team/app", "pull,push")]);
    let target = format!("/v2/team/app/blobs/{}", blob.digest);
    let token = registry.token(Some(("writer", PASSWORD)), &["repository:team/app:*"]);
    registry.call("DELETE", &target).bearer(&token).send().error(403, "DENIED");
    // Allowed to, but the token was not asked for with it: the challenge says what to ask for.
    let token = registry.token(Some(("alice", PASSWORD)), &["repository:team/app:pull,push"]);
    let refused = registry.call("DELETE", &target).bearer(&token).send();
    assert!(challenge(&refused).contains("scope=\"repository:team/app:pull,delete\",error=\"insufficient_scope\""));
    alice(&registry, registry.call("HEAD", &target)).expect(200);
    alice(&registry, registry.call("DELETE", &target)).expect(202);
}

fn p27_mount_needs_pull_on_the_source(registry: TestRegistry) {
    let blob = team(&registry);
    registry.add_user("bob", PASSWORD, &[("bob/*", "*")]);
    let mount = format!("/v2/bob/app/blobs/uploads/?mount={}&from=team/app", blob.digest);
    let send = |scopes: &[&str]| {
        let token = registry.token(Some(("bob", PASSWORD)), scopes);
        registry.call("POST", &mount).bearer(&token).send()
    };
    let both = ["repository:bob/app:pull,push", "repository:team/app:pull"];
    // Asked for without the source, the token is sent back once.
    let said = challenge(&send(&both[..1]));
    assert!(said.contains("scope=\"repository:bob/app:pull,push repository:team/app:pull\""), "{said}");
    // No right on it: the answer is that of a fresh upload, so whether the blob exists is not told.
    send(&both).expect(202);
    registry.call("POST", &mount).basic("bob", PASSWORD).send().expect(202);
    let token = registry.token(Some(("bob", PASSWORD)), &both);
    registry.call("HEAD", &format!("/v2/bob/app/blobs/{}", blob.digest)).bearer(&token).send().expect(404);

    registry.admin(async |admin| admin.grant("bob", "team/app", "pull").await.unwrap());
    send(&both).expect(201);
    registry.call("HEAD", &format!("/v2/bob/app/blobs/{}", blob.digest)).bearer(&token).send().expect(200);
}

/// A push longer than its token must not be stopped; what is not signed needs a token all the same.
fn a_signed_location_outlives_its_token(registry: TestRegistry) {
    team(&registry);
    let opened = alice(&registry, registry.call("POST", "/v2/team/app/blobs/uploads/")).expect(202);
    let location = opened.location().to_owned();
    let (path, _) = location.split_once('?').unwrap();
    let other = alice(&registry, registry.call("POST", "/v2/team/app/blobs/uploads/")).expect(202);
    let other = other.location().split_once('?').unwrap().1.to_owned();
    for forged in [
        path.to_owned(),
        format!("{path}?_sig="),
        format!("{path}?_sig=AAAA"),
        format!("{path}?{other}"),
        location.replace("team/app", "team/other"),
    ] {
        for method in ["GET", "PATCH", "PUT", "DELETE"] {
            challenge(&registry.call(method, &forged).send());
        }
    }
    let blob = content("long push");
    let answer = registry.call("PATCH", &location).bearer("expired").body("long ").send().expect(202);
    assert_eq!(registry.get(answer.location()).expect(204).header("range"), "0-4");
    registry.call("PUT", &completing(answer.location(), &blob.digest)).body("push").send().expect(201);
    let target = format!("/v2/team/app/blobs/{}", blob.digest);
    challenge(&registry.get(&target));
    assert_eq!(alice(&registry, registry.call("GET", &target)).expect(200).body, blob.bytes);
}

/// Its id stands in headers and logs: it must not let another pusher of the repository in.
fn an_upload_belongs_to_who_opened_it(registry: TestRegistry) {
    team(&registry);
    registry.add_user("bob", PASSWORD, &[("team/app", "pull,push")]);
    let bob = registry.token(Some(("bob", PASSWORD)), &["repository:team/app:pull,push"]);
    let opened = alice(&registry, registry.call("POST", "/v2/team/app/blobs/uploads/")).expect(202);
    let path = opened.location().split_once('?').unwrap().0.to_owned();
    let blob = content("hers");
    let complete = completing(&path, &blob.digest);
    for (method, target) in [("GET", &path), ("PATCH", &path), ("PUT", &complete), ("DELETE", &path)] {
        let call = registry.call(method, target).bearer(&bob).body(blob.bytes.clone());
        call.send().error(404, "BLOB_UPLOAD_UNKNOWN");
    }
    alice(&registry, registry.call("PATCH", &path).body(blob.bytes.clone())).expect(202);
    assert_eq!(alice(&registry, registry.call("GET", &path)).expect(204).header("range"), "0-3");
    for _ in 0..2 {
        alice(&registry, registry.call("PUT", &complete)).expect(201);
    }
}

fn p40_catalog(registry: TestRegistry) {
    team(&registry);
    registry.add_user("admin", PASSWORD, &[("*", "*")]);
    let catalog = |user: &str| {
        let token = registry.token(Some((user, PASSWORD)), &["registry:catalog:*"]);
        registry.call("GET", "/v2/_catalog").bearer(&token).send()
    };
    assert_eq!(catalog("admin").expect(200).json()["repositories"], serde_json::json!(["team/app"]));
    registry.add_user("mallory", PASSWORD, &[("mallory/*", "*"), ("team/ap", "*"), ("tea/*", "*")]);
    assert_eq!(catalog("alice").expect(200).json()["repositories"], serde_json::json!(["team/app"]));
    assert_eq!(catalog("mallory").expect(200).json()["repositories"], serde_json::json!([]));
    registry.add_user("librarian", PASSWORD, &[("library/*", "*")]);
    let token = registry.token(Some(("librarian", PASSWORD)), &["repository:alpine:*"]);
    let push = format!("/v2/alpine/blobs/uploads/?digest={}", content("secret").digest);
    registry.call("POST", &push).bearer(&token).body("secret").send().expect(201);
    assert_eq!(catalog("librarian").expect(200).json()["repositories"], serde_json::json!(["alpine"]));
    assert_eq!(catalog("alice").expect(200).json()["repositories"], serde_json::json!(["team/app"]));
    challenge(&registry.get("/v2/_catalog"));
    let anonymous = |registry: &TestRegistry| {
        let token = registry.token(None, &["registry:catalog:*"]);
        registry.call("GET", "/v2/_catalog").bearer(&token).send()
    };
    challenge(&anonymous(&registry));
    registry.admin(async |admin| admin.grant("anonymous", "team/app", "pull").await.unwrap());
    assert_eq!(anonymous(&registry).expect(200).json()["repositories"], serde_json::json!(["team/app"]));
}

/// Every route with every method, by everybody who has no right to it.
fn a_foreigner_may_do_nothing(registry: TestRegistry) {
    let blob = team(&registry);
    let location = alice(&registry, registry.call("POST", "/v2/team/app/blobs/uploads/")).expect(202);
    let upload = location.location().split_once('?').unwrap().0.to_owned();
    registry.add_user("mallory", PASSWORD, &[("mallory/*", "*"), ("team/ap", "*"), ("team/app/sub", "*")]);
    let mallory = Some(("mallory", PASSWORD));
    let asked = registry.token(mallory, &["repository:team/app:*"]);
    let own = registry.token(mallory, &["repository:mallory/app:*"]);
    let anonymous = registry.token(None, &["repository:team/app:*"]);
    let digest = blob.digest;
    let routes = [
        "/v2/team/app/tags/list".to_owned(),
        "/v2/team/app/manifests/v1".to_owned(),
        format!("/v2/team/app/manifests/{digest}"),
        format!("/v2/team/app/manifests/{digest}?tag=v1"),
        format!("/v2/team/app/blobs/{digest}"),
        format!("/v2/team/app/blobs/{}", content("absent").digest),
        "/v2/team/app/blobs/uploads/".to_owned(),
        format!("/v2/team/app/blobs/uploads/?digest={digest}"),
        format!("/v2/team/app/blobs/uploads/?mount={digest}&from=mallory/app"),
        upload.clone(),
        format!("{upload}?_sig=forged&digest={digest}"),
        format!("/v2/team/app/referrers/{digest}"),
    ];
    let before = registry.stored_files();
    let mut refused = 0;
    for route in &routes {
        for method in ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"] {
            let call = || registry.call(method, route).body(blob.bytes.clone());
            let callers = [
                ("nobody", call()),
                ("anonymous", call().bearer(&anonymous)),
                ("mallory with a token for this", call().bearer(&asked)),
                ("mallory with a token for hers", call().bearer(&own)),
                ("mallory by password", call().basic("mallory", PASSWORD)),
            ];
            for (who, call) in callers {
                let answer = call.send();
                assert!(matches!(answer.status.as_u16(), 401 | 403 | 405), "{who}: {answer:?}");
                refused += usize::from(answer.status != 405);
            }
        }
    }
    assert!(refused >= 5 * 28, "only {refused} of them were routes");
    assert_eq!(registry.stored_files(), before);
    alice(&registry, registry.call("GET", &upload)).expect(204);
    alice(&registry, registry.call("HEAD", &format!("/v2/team/app/blobs/{digest}"))).expect(200);
    alice(&registry, registry.call("GET", "/v2/team/app/manifests/v1")).error(404, "MANIFEST_UNKNOWN");
}

fn failed_logins_from_elsewhere_lock_nobody_out(registry: TestRegistry) {
    team(&registry);
    let guess = || registry.call("GET", "/v2/").from("127.0.0.2").basic("alice", "guessed wrong").send();
    let refused = (0..30).map(|_| guess()).find(|answer| answer.status == 429).expect("a limit on guesses");
    refused.error(429, "TOOMANYREQUESTS");
    assert!(refused.header("retry-after").parse::<u32>().unwrap() > 0);
    registry.call("GET", "/v2/").from("127.0.0.2").basic("alice", PASSWORD).send().error(429, "TOOMANYREQUESTS");
    let token = registry.call("GET", "/token?service=entrepot").from("127.0.0.2").basic("alice", PASSWORD).send();
    assert_eq!(token.status, 429);
    registry.call("GET", "/v2/").basic("alice", PASSWORD).send().expect(200);
    registry.token(Some(("alice", PASSWORD)), &[]);
}
