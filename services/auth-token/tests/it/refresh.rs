use axum::http::StatusCode;
use entrepot_core::Principal;
use entrepot_sql::{SqlError, Transaction, Tx, params};

use crate::support::{Answer, PASSWORD, Registry, allowed};

const ALICE: Option<(&str, &str)> = Some(("alice", PASSWORD));
const DAY: i64 = 24 * 60 * 60 * 1000;

/// As many tokens of one account as this, all used now.
struct Fill(usize);

#[async_trait::async_trait]
impl Transaction for Fill {
    type Output = ();
    type Error = SqlError;

    async fn run(&self, tx: &mut dyn Tx) -> Result<(), SqlError> {
        for n in 0..self.0 {
            let sql = "INSERT INTO auth_refresh_token (hash, family, account, expires_at, used_at)
                       VALUES ($1, $1, 'alice', {now} + 1000000000, {now})";
            tx.execute(sql, params![&n.to_string()]).await?;
        }
        Ok(())
    }
}

async fn log_in(registry: &Registry) -> String {
    registry.get("offline_token=true", ALICE).await.text("refresh_token")
}

async fn refresh(registry: &Registry, token: &str, more: &str) -> Answer {
    registry.post(&format!("grant_type=refresh_token&refresh_token={token}&client_id=docker{more}")).await
}

#[tokio::test]
async fn docker_uses_the_token_of_its_login_again_and_again() {
    let registry = Registry::managed().await;
    registry.admin.grant("alice", "team/*", "pull").await.unwrap();
    let token = log_in(&registry).await;
    for _ in 0..3 {
        let answer = refresh(&registry, &token, "&scope=repository:team/app:pull,push").await;
        assert!(answer.json().get("refresh_token").is_none());
        let grant = registry.verify(&answer).await;
        assert_eq!(grant.principal, Principal::User("alice".into()));
        assert_eq!(grant.scopes[0].to_string(), "repository:team/app:pull");
        registry.database.shift_clock(20 * DAY);
    }
}

#[tokio::test]
async fn rights_are_looked_up_anew_at_every_refresh() {
    let registry = Registry::managed().await;
    registry.admin.grant("alice", "team/*", "pull").await.unwrap();
    let token = log_in(&registry).await;
    registry.admin.revoke("alice", "team/*").await.unwrap();
    let answer = refresh(&registry, &token, "&scope=repository:team/app:pull").await;
    assert!(allowed(&registry.verify(&answer).await).is_empty());
}

#[tokio::test]
async fn a_token_ends_with_its_time_its_password_and_its_account() {
    let registry = Registry::managed().await;
    let (aged, changed) = (log_in(&registry).await, log_in(&registry).await);
    registry.admin.set_password("alice", "another password").await.unwrap();
    assert_eq!(refresh(&registry, &changed, "").await.status, StatusCode::UNAUTHORIZED);
    registry.admin.set_password("alice", PASSWORD).await.unwrap();
    assert_eq!(refresh(&registry, &aged, "").await.status, StatusCode::UNAUTHORIZED);

    let aged = log_in(&registry).await;
    registry.database.shift_clock(90 * DAY + 1);
    assert_eq!(refresh(&registry, &aged, "").await.status, StatusCode::UNAUTHORIZED);

    let removed = log_in(&registry).await;
    assert_eq!(refresh(&registry, &removed, "").await.status, StatusCode::OK);
    registry.admin.remove("alice").await.unwrap();
    assert_eq!(refresh(&registry, &removed, "").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_client_that_asks_for_a_new_token_gets_one_in_place_of_the_old() {
    let registry = Registry::managed().await;
    let first = log_in(&registry).await;
    let second = refresh(&registry, &first, "&access_type=offline").await.text("refresh_token");
    assert_ne!(first, second);
    assert_eq!(refresh(&registry, &first, "").await.status, StatusCode::OK, "requests under way");
    assert_eq!(refresh(&registry, &second, "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_replaced_token_that_comes_back_ends_the_whole_login() {
    let registry = Registry::managed().await;
    let other = log_in(&registry).await;
    let first = log_in(&registry).await;
    let second = refresh(&registry, &first, "&access_type=offline").await.text("refresh_token");
    registry.database.shift_clock(61_000);
    assert_eq!(refresh(&registry, &first, "").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(refresh(&registry, &second, "").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(refresh(&registry, &other, "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn only_refresh_tokens_refresh() {
    let registry = Registry::managed().await;
    let robot = registry.admin.add_robot("ci").await.unwrap();
    let access = registry.get("", ALICE).await.text("token");
    for wrong in ["", "x", &robot, &access, PASSWORD] {
        let answer = refresh(&registry, wrong, "").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{wrong}");
    }
    assert_eq!(registry.get("offline_token=true", None).await.json().get("refresh_token"), None);
}

#[tokio::test]
async fn the_first_of_many_machines_stays_logged_in() {
    let registry = Registry::managed().await;
    let first = log_in(&registry).await;
    for _ in 0..100 {
        registry.database.shift_clock(1000);
        log_in(&registry).await;
    }
    assert_eq!(refresh(&registry, &first, "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn of_too_many_tokens_the_one_not_used_for_longest_goes() {
    let registry = Registry::managed().await;
    let used = log_in(&registry).await;
    registry.database.shift_clock(1000);
    let idle = log_in(&registry).await;
    registry.database.shift_clock(DAY);
    assert_eq!(refresh(&registry, &used, "").await.status, StatusCode::OK);
    registry.database.write(Fill(4094)).await.unwrap();
    registry.database.shift_clock(1000);
    let newest = log_in(&registry).await;
    assert_eq!(refresh(&registry, &idle, "").await.status, StatusCode::UNAUTHORIZED);
    for kept in [used, newest] {
        assert_eq!(refresh(&registry, &kept, "").await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_robot_gets_no_refresh_token() {
    let registry = Registry::managed().await;
    let secret = registry.admin.add_robot("ci").await.unwrap();
    let answer = registry.get("offline_token=true", Some(("ci", &secret))).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json().get("refresh_token"), None);
}
