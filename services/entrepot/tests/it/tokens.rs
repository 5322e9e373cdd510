//! The token endpoint as clients use it.

use entrepot::testing::TestRegistry;
use entrepot::testing::http::{Call, Response};
use serde_json::Value;

use crate::support::both;

both!(managed:
    p04_post_form_first,
    p05_both_names_and_the_times,
    p08_refresh_token_when_asked_for,
    p06_scopes_may_repeat_or_be_listed,
    p06_nothing_granted_is_a_token_all_the_same,
    wrong_credentials,
    what_makes_no_sense,
);

const PASSWORD: &str = "correct horse battery";

fn alice(registry: &TestRegistry) {
    registry.add_user("alice", PASSWORD, &[("team/*", "*")]);
}

fn post(registry: &TestRegistry, form: &str) -> Call {
    let call = registry.call("POST", "/token").header("content-type", "application/x-www-form-urlencoded");
    call.body(form.to_owned())
}

fn login(scope: &str) -> String {
    let password = PASSWORD.replace(' ', "+");
    format!(
        "grant_type=password&service=entrepot&client_id=containerd&username=alice&password={password}&scope={scope}"
    )
}

/// Whether a token opens a repository.
fn opens(registry: &TestRegistry, answer: &Response, repository: &str) -> bool {
    let token = answer.json()["token"].as_str().expect("a token").to_owned();
    let call = registry.call("POST", &format!("/v2/{repository}/blobs/uploads/")).bearer(&token);
    call.send().status == 202
}

fn p04_post_form_first(registry: TestRegistry) {
    alice(&registry);
    let answer = post(&registry, &login("repository:team/app:pull,push")).send().expect(200);
    assert_eq!(answer.header("content-type"), "application/json");
    assert!(opens(&registry, &answer, "team/app"));
}

fn p05_both_names_and_the_times(registry: TestRegistry) {
    alice(&registry);
    let by_query = registry
        .call("GET", "/token?service=entrepot&account=somebody&scope=repository:team/app:pull")
        .basic("alice", PASSWORD);
    for answer in [by_query.send(), post(&registry, &login("repository:team/app:pull")).send()] {
        let answer = answer.expect(200).json();
        assert!(answer["token"].as_str().is_some_and(|token| token.split('.').count() == 3), "{answer}");
        assert_eq!(answer["token"], answer["access_token"]);
        assert_eq!(answer["expires_in"], 300);
        assert!(answer["issued_at"].as_str().is_some_and(|time| time.ends_with('Z') && time.len() == 20), "{answer}");
        assert_eq!(answer["refresh_token"], Value::Null);
    }
}

fn p08_refresh_token_when_asked_for(registry: TestRegistry) {
    alice(&registry);
    let get = registry
        .call("GET", "/token?service=entrepot&offline_token=true&client_id=docker")
        .basic("alice", PASSWORD)
        .send();
    let form = post(&registry, &format!("{}&access_type=offline", login(""))).send();
    for answer in [get, form] {
        let refresh = answer.expect(200).json()["refresh_token"].as_str().expect("a refresh token").to_owned();
        let form = format!(
            "grant_type=refresh_token&service=entrepot&client_id=docker&refresh_token={refresh}&scope=repository:team/app:pull,push"
        );
        let answer = post(&registry, &form).send().expect(200);
        assert!(opens(&registry, &answer, "team/app"));
    }
    let form = "grant_type=refresh_token&service=entrepot&client_id=docker&refresh_token=nonsense";
    assert_eq!(post(&registry, form).send().status, 401);
}

fn p06_scopes_may_repeat_or_be_listed(registry: TestRegistry) {
    alice(&registry);
    let (one, two) = ("repository:team/one:pull,push", "repository:team/two:pull,push");
    let foreign = "repository:foreign/app:pull,push";
    for query in [
        format!("scope={one}&scope={foreign}&scope={two}"),
        format!("scope={one}%20{foreign}%20{two}"),
        format!("scope={one}+{two}"),
    ] {
        let call = registry.call("GET", &format!("/token?service=entrepot&{query}")).basic("alice", PASSWORD);
        let answer = call.send().expect(200);
        assert!(opens(&registry, &answer, "team/one") && opens(&registry, &answer, "team/two"), "{query}");
        assert!(!opens(&registry, &answer, "foreign/app"), "{query}");
    }
}

fn p06_nothing_granted_is_a_token_all_the_same(registry: TestRegistry) {
    alice(&registry);
    let token =
        registry.token(Some(("alice", PASSWORD)), &["repository:foreign/app:*", "registry:catalog:*", "nonsense"]);
    registry.call("GET", "/v2/").bearer(&token).send().expect(200);
    let answer = registry.call("GET", "/v2/foreign/app/tags/list").bearer(&token).send();
    assert!(matches!(answer.status.as_u16(), 401 | 403));
}

fn wrong_credentials(registry: TestRegistry) {
    alice(&registry);
    let call = registry.call("GET", "/token?service=entrepot").basic("alice", "wrong password");
    let wrong = call.send().expect(401);
    let call = registry.call("GET", "/token?service=entrepot").basic("nobody", "wrong password");
    let unknown = call.send().expect(401);
    for answer in [&wrong, &unknown] {
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.json()["errors"][0]["code"], "UNAUTHORIZED");
    }
    assert_eq!(wrong.json()["errors"][0]["message"], unknown.json()["errors"][0]["message"]);
}

fn what_makes_no_sense(registry: TestRegistry) {
    for call in [
        registry.call("GET", "/token?service=another"),
        post(&registry, "grant_type=magic&service=entrepot"),
        post(&registry, &format!("grant_type=password&service=entrepot&scope={}", "a".repeat(100_000))),
    ] {
        let answer = call.send();
        assert!(answer.status.is_client_error(), "{answer:?}");
        assert!(answer.json()["errors"][0]["message"].is_string(), "{answer:?}");
    }
}
