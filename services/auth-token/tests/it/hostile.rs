use std::time::Instant;

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use proptest::prelude::*;

use crate::support::{PASSWORD, Registry};

#[tokio::test]
async fn guessing_is_slowed_down_for_the_guesser_only() {
    let registry = Registry::managed().await;
    let guesser = "192.0.2.1:1000";
    for _ in 0..10 {
        let answer = registry.get_from(guesser, "", ("alice", "wrong password")).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
    let answer = registry.get_from("192.0.2.1:2000", "", ("alice", PASSWORD)).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.code(), "TOOMANYREQUESTS");
    let seconds: u64 = answer.headers[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((1..=6).contains(&seconds));
    assert_eq!(registry.get_from("192.0.2.2:1000", "", ("alice", PASSWORD)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_guesser_does_not_lock_out_the_generated_secrets_of_its_network() {
    let registry = Registry::managed().await;
    let robot = registry.admin.add_robot("ci").await.unwrap();
    let shared = "192.0.2.1:1000";
    let login = registry.get_from(shared, "offline_token=true", ("alice", PASSWORD)).await;
    let form = |token: &str| format!("grant_type=refresh_token&refresh_token={token}");
    let valid = form(&login.text("refresh_token"));
    for n in 0..20 {
        let wrong = if n % 2 == 0 { form("guess") } else { form(&robot) };
        assert_eq!(registry.post_from(shared, &wrong).await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(registry.get_from(shared, "", ("alice", &robot)).await.status, StatusCode::UNAUTHORIZED);
    }
    for _ in 0..10 {
        registry.get_from(shared, "", ("ci", "wrong password")).await;
    }
    let closed = registry.get_from(shared, "", ("ci", "wrong password")).await;
    assert_eq!(closed.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(registry.post_from(shared, &valid).await.status, StatusCode::OK);
    assert_eq!(registry.get_from(shared, "", ("ci", &robot)).await.status, StatusCode::OK);
    assert_eq!(registry.get_from(shared, "", ("alice", PASSWORD)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_unknown_name_takes_as_long_as_a_wrong_password() {
    let registry = Registry::managed().await;
    let mut times = [Vec::new(), Vec::new()];
    for n in 0..5 {
        for (times, name) in times.iter_mut().zip(["alice", "nobody"]) {
            let start = Instant::now();
            let answer = registry.get_from(&format!("192.0.2.{n}:1"), "", (name, "wrong password")).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
            times.push(start.elapsed());
        }
    }
    // The fastest of five: other work on the machine only ever adds time.
    let [known, unknown] = times.map(|times| times.into_iter().min().unwrap());
    let ratio = unknown.as_secs_f64() / known.as_secs_f64();
    assert!((0.3..3.0).contains(&ratio), "{known:?} {unknown:?}");
}

#[tokio::test]
async fn a_robots_existence_does_not_show_in_the_way_taken() {
    let registry = Registry::managed().await;
    let secret = registry.admin.add_robot("ci").await.unwrap();
    registry.admin.add_robot("other").await.unwrap();
    for name in ["other", "alice", "nobody"] {
        let answer = registry.get("", Some((name, &secret))).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{name}");
    }
}

#[tokio::test]
async fn too_much_is_refused() {
    let registry = Registry::managed().await;
    let scopes: String = (0..101).map(|n| format!("&scope=repository:a{n}:pull")).collect();
    assert_eq!(registry.get(&scopes[1..], None).await.status, StatusCode::BAD_REQUEST);
    let large = format!("grant_type=password&username=alice&password={}", "a".repeat(70_000));
    let answer = registry.post(&large).await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::BAD_REQUEST, "UNSUPPORTED"));
    let long = "p".repeat(2000);
    assert_eq!(registry.get("", Some(("alice", &long))).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn forms_that_are_none_get_an_answer_in_json() {
    let registry = Registry::managed().await;
    for form in ["", "grant_type=password", "grant_type=password&username=alice", "grant_type=refresh_token", "%%%"] {
        let answer = registry.post(form).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{form}");
        answer.code();
    }
    let json = Request::post("/token").header(header::CONTENT_TYPE, "application/json").body(Body::from("{}")).unwrap();
    let answer = registry.send(json).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    answer.code();
}

#[tokio::test]
async fn no_answer_repeats_a_secret() {
    let registry = Registry::managed().await;
    let marker = "marker-of-a-secret";
    for answer in [
        registry.get("", Some(("alice", marker))).await,
        registry.get(&format!("password={marker}"), None).await,
        registry.post(&format!("grant_type={marker}&password={marker}")).await,
        registry.post(&format!("grant_type=refresh_token&refresh_token={marker}")).await,
    ] {
        assert!(!answer.body.contains(marker), "{}", answer.body);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_query_is_a_fault(query in "[ -~]{0,80}|(&?(scope|service|account|offline_token)=[a-z:/%+,*()]{0,20}){0,6}") {
        let Ok(request) = Request::get(format!("/token?{query}")).body(Body::empty()) else { return Ok(()) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let status = runtime.block_on(async {
            let database = entrepot_sql::Database::temporary().await.unwrap();
            Registry::open(database, auth_token::Mode::Open).await.send(request).await.status
        });
        prop_assert!(status == StatusCode::OK || status == StatusCode::BAD_REQUEST, "{}", status);
    }
}
