use auth_token::Mode;
use entrepot_core::ports::TokenService;
use entrepot_token::KeySet;

use crate::support::{PASSWORD, Registry};

const MINUTE: i64 = 60 * 1000;
const DAY: i64 = 24 * 60 * MINUTE;

/// The published identifiers as a process started now sees them, the signing one first.
async fn published(registry: &Registry) -> Vec<String> {
    let started = Registry::open(registry.database.clone(), Mode::Managed).await;
    let keys = KeySet::from_json(&started.auth.key_set().await.unwrap()).unwrap();
    keys.ids().map(str::to_owned).collect()
}

#[tokio::test]
async fn replicas_and_restarts_share_keys() {
    let registry = Registry::managed().await;
    let first = published(&registry).await;
    assert_eq!(first.len(), 1);
    assert_eq!(published(&registry).await, first);
    let other = Registry::open(registry.database.clone(), Mode::Managed).await;
    let answer = other.get("", Some(("alice", PASSWORD))).await;
    registry.verify(&answer).await;
}

#[tokio::test]
async fn a_new_key_is_published_before_it_signs_and_the_old_one_after() {
    let registry = Registry::managed().await;
    let old = published(&registry).await.remove(0);
    registry.database.shift_clock(30 * DAY);
    let both = published(&registry).await;
    assert_eq!(both[0], old, "the old key still signs");
    let new = both[1].clone();
    registry.database.shift_clock(10 * MINUTE);
    assert_eq!(published(&registry).await, [new.clone(), old]);
    registry.database.shift_clock(10 * MINUTE);
    assert_eq!(published(&registry).await, [new]);
}
