//! What real clients send to a token endpoint and need back from it, one test for each habit.

use auth_token::Mode;
use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use entrepot_core::{Actions, Principal, Resource, ports::TokenService};
use entrepot_sql::Database;

use crate::support::{PASSWORD, Registry, SERVICE, allowed};

const ALICE: Option<(&str, &str)> = Some(("alice", PASSWORD));
const FORM: &str = "grant_type=password&username=alice&password=correct+horse&client_id=containerd-client";

async fn writer() -> Registry {
    let registry = Registry::managed().await;
    registry.admin.grant("alice", "team/*", "pull,push").await.unwrap();
    registry
}

#[tokio::test]
async fn containerd_posts_a_form_first() {
    let registry = writer().await;
    let form = format!("{FORM}&service={SERVICE}&scope=repository%3Ateam%2Fapp%3Apull%2Cpush");
    let answer = registry.post(&form).await;
    let grant = registry.verify(&answer).await;
    assert_eq!(grant.principal, Principal::User("alice".into()));
    assert_eq!(grant.scopes[0].to_string(), "repository:team/app:pull,push");
    assert!(answer.json().get("refresh_token").is_none());
}

#[tokio::test]
async fn containerd_falls_back_to_get_on_401_but_not_on_403() {
    let registry = writer().await;
    let answer = registry.post(&FORM.replace("horse", "cow")).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.code(), "UNAUTHORIZED");
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json");
    let answer = registry.post("grant_type=client_credentials").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn replies_carry_both_names_of_the_token_and_its_times() {
    let registry = writer().await;
    let answer = registry.get(&format!("service={SERVICE}"), ALICE).await;
    assert_eq!(answer.text("token"), answer.text("access_token"));
    assert_eq!(answer.json()["expires_in"], 300);
    let issued_at = answer.text("issued_at");
    assert!(issued_at.len() == 20 && issued_at.ends_with('Z'), "{issued_at}");
    assert!(answer.json().get("refresh_token").is_none());
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
}

#[tokio::test]
async fn docker_login_asks_for_an_offline_token() {
    let registry = writer().await;
    let query = format!("account=alice&client_id=docker&offline_token=true&service={SERVICE}");
    let answer = registry.get(&query, ALICE).await;
    assert!(answer.text("refresh_token").starts_with("entrepot_refresh_"));
    let answer = registry.post(&format!("{FORM}&service={SERVICE}&access_type=offline")).await;
    assert!(answer.text("refresh_token").starts_with("entrepot_refresh_"));
}

#[tokio::test]
async fn account_is_only_a_hint() {
    let registry = writer().await;
    registry.admin.add_user("bob", PASSWORD).await.unwrap();
    let query = format!("account=alice&service={SERVICE}&scope=repository:team/app:pull");
    let grant = registry.verify(&registry.get(&query, Some(("bob", PASSWORD))).await).await;
    assert_eq!(grant.principal, Principal::User("bob".into()));
    assert!(allowed(&grant).is_empty());
    let grant = registry.verify(&registry.get(&query, None).await).await;
    assert_eq!(grant.principal, Principal::Anonymous);
}

#[tokio::test]
async fn scopes_may_be_repeated_or_separated_by_spaces() {
    let registry = writer().await;
    let expected = ["repository:team/a:pull", "repository:team/b:pull,push", "repository:team/c:pull"];
    for query in [
        "scope=repository:team/a:pull&scope=repository:team/b:pull,push&scope=repository:team/c:pull",
        "scope=repository:team/a:pull+repository:team/b:pull,push%20repository:team/c:pull",
        "scope=repository:team/a:pull&scope=repository:team/b:pull+repository:team/b:push&scope=repository:team/c:pull",
    ] {
        assert_eq!(registry.granted(query, ALICE).await, expected, "{query}");
    }
}

#[tokio::test]
async fn the_grant_is_the_intersection_and_never_a_failure() {
    let registry = writer().await;
    let query =
        "scope=repository:team/app:pull,push,delete&scope=repository:other/app:pull&scope=repository:team/b:delete";
    assert_eq!(registry.granted(query, ALICE).await, ["repository:team/app:pull,push"]);
    assert!(registry.granted("scope=repository:other/app:pull,push", ALICE).await.is_empty());
}

#[tokio::test]
async fn clients_delete_with_a_star_or_by_name() {
    let registry = writer().await;
    registry.admin.grant("alice", "team/app", "*").await.unwrap();
    let all = "repository:team/app:pull,push,delete";
    assert_eq!(registry.granted("scope=repository:team/app:*", ALICE).await, [all]);
    let delete = registry.granted("scope=repository:team/app:delete", ALICE).await;
    assert_eq!(delete, ["repository:team/app:delete"]);
    let star_of_a_writer = registry.granted("scope=repository:team/other:*", ALICE).await;
    assert_eq!(star_of_a_writer, ["repository:team/other:pull,push"]);
}

#[tokio::test]
async fn unknown_scopes_and_actions_are_left_out() {
    let registry = writer().await;
    let query = "scope=repository:team/app:pull,metadata_read&scope=aws:thing:*&scope=nonsense&scope=\
                 &scope=repository(plugin):team/plugin:pull&scope=repository:Bad/Name:pull";
    assert_eq!(registry.granted(query, ALICE).await, ["repository:team/app:pull", "repository:team/plugin:pull"]);
}

#[tokio::test]
async fn the_catalog_is_whole_or_comes_with_what_may_be_seen_of_it() {
    let registry = writer().await;
    for (name, pattern, actions) in [
        ("alice", "other/app", "pull"),
        ("alice", "inbox/app", "push"),
        ("alice", "*", "push"),
        ("alice", "team/app", "pull"),
        ("anonymous", "public/*", "pull,push"),
    ] {
        registry.admin.grant(name, pattern, actions).await.unwrap();
    }
    for (credentials, expected) in [
        (ALICE, vec!["repository:public/*:pull", "repository:team/*:pull", "repository:other/app:pull"]),
        (None, vec!["repository:public/*:pull"]),
    ] {
        let grant = registry.verify(&registry.get("scope=registry:catalog:*", credentials).await).await;
        assert_eq!((&grant.scopes[0].resource, grant.scopes[0].actions), (&Resource::Catalog, Actions::NONE));
        let visible: Vec<_> = grant.scopes[1..].iter().map(ToString::to_string).collect();
        assert_eq!(visible, expected);
    }
    let without = registry.granted("scope=repository:team/app:pull", ALICE).await;
    assert_eq!(without, ["repository:team/app:pull"], "only who asks for the catalog gets more than was asked for");
    registry.admin.grant("alice", "*", "pull").await.unwrap();
    assert_eq!(registry.granted("scope=registry:catalog:*", ALICE).await, ["registry:catalog:*"]);
}

#[tokio::test]
async fn a_token_for_another_service_is_refused() {
    let registry = writer().await;
    let answer = registry.get("service=other.test", ALICE).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.body.contains(SERVICE), "the message says what would work: {}", answer.body);
    assert_eq!(registry.get("service=", ALICE).await.status, StatusCode::OK);
    assert_eq!(registry.get("", ALICE).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_anonymous_flow_works_without_credentials() {
    let registry = writer().await;
    let query = "service=registry.test&scope=repository:public/app:pull,push";
    assert!(registry.granted(query, None).await.is_empty());
    registry.admin.grant("anonymous", "public/*", "pull").await.unwrap();
    assert_eq!(registry.granted(query, None).await, ["repository:public/app:pull"]);
    assert_eq!(registry.granted(query, ALICE).await, ["repository:public/app:pull"]);
}

#[tokio::test]
async fn a_robot_logs_in_like_a_user() {
    let registry = writer().await;
    let secret = registry.admin.add_robot("ci").await.unwrap();
    registry.admin.grant("ci", "team/app", "pull,push").await.unwrap();
    let answer = registry.get("scope=repository:team/app:push", Some(("ci", &secret))).await;
    let grant = registry.verify(&answer).await;
    assert_eq!(grant.principal, Principal::Robot("ci".into()));
    assert_eq!(grant.scopes[0].to_string(), "repository:team/app:push");
}

#[tokio::test]
async fn wrong_credentials_are_401_with_json() {
    let registry = writer().await;
    for credentials in [("alice", "wrong password"), ("nobody", PASSWORD), ("", ""), ("alice", "")] {
        let answer = registry.get("", Some(credentials)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{credentials:?}");
        assert_eq!(answer.code(), "UNAUTHORIZED");
        assert!(answer.headers[header::WWW_AUTHENTICATE].to_str().unwrap().starts_with("Basic "));
    }
    for proof in ["Bearer x", "Basic", "Basic !!", "Basic YWxpY2U="] {
        let request = Request::get("/token").header(header::AUTHORIZATION, proof).body(Body::empty()).unwrap();
        assert_eq!(registry.send(request).await.status, StatusCode::UNAUTHORIZED, "{proof}");
    }
}

#[tokio::test]
async fn the_published_keys_are_a_key_set() {
    let registry = writer().await;
    let request = Request::get("/token/jwks.json").body(Body::empty()).unwrap();
    let answer = registry.send(request).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/jwk-set+json");
    assert_eq!(answer.body, registry.auth.key_set().await.unwrap());
    assert!(!answer.body.contains("\"d\""));
}

#[tokio::test]
async fn in_mode_open_everybody_gets_what_is_asked_for() {
    let registry = Registry::open(Database::temporary().await.unwrap(), Mode::Open).await;
    let query = "scope=repository:any/app:*&scope=registry:catalog:*";
    let everything = ["repository:any/app:pull,push,delete", "registry:catalog:*"];
    assert_eq!(registry.granted(query, None).await, everything);
    assert_eq!(registry.granted(query, Some(("who", "ever"))).await, everything);
}
