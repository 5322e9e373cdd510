//! The contract of [`TokenService::changes`].

use std::sync::Arc;

use entrepot_core::Principal;
use entrepot_core::ports::auth::{RightsChange, RightsChanges, TokenService};
use futures_util::future::BoxFuture;

use super::run;

/// Does something to accounts and grants.
pub type Act = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// One auth-token in mode `managed` with the user `alice` and the robot `ci`, neither with any right, and nothing in its
/// list of changes.
#[derive(Clone)]
pub struct RightsPorts {
    /// What is under test.
    pub tokens: Arc<dyn TokenService>,
    /// Gives alice a right, the same one each time: only the first time is a change.
    pub grant_alice: Act,
    /// Gives everybody a right that they did not have: a change each time.
    pub grant_everybody: Act,
    /// Gives the robot a new secret.
    pub renew_robot: Act,
    /// Lets this much time pass on the database's clock, or does nothing where that cannot be done.
    pub pass: Arc<dyn Fn(std::time::Duration) -> bool + Send + Sync>,
}

/// Runs every case on ports of its own.
pub async fn all(fresh: impl AsyncFn() -> RightsPorts) {
    run!(
        fresh,
        nothing_changed_at_first,
        each_change_is_told_once_and_in_order,
        a_second_change_of_one_replaces_the_first,
        what_changes_nothing_is_no_change,
        a_cursor_from_before_a_restore_starts_again,
        old_changes_are_forgotten,
    );
}

impl RightsPorts {
    async fn changes(&self, after: u64) -> RightsChanges {
        self.tokens.changes(after).await.unwrap()
    }
}

fn subjects(changes: &[RightsChange]) -> Vec<&Principal> {
    changes.iter().map(|change| &change.subject).collect()
}

fn alice() -> Principal {
    Principal::User("alice".into())
}

async fn nothing_changed_at_first(ports: &RightsPorts) {
    let answer = ports.changes(0).await;
    assert_eq!((answer.changes, answer.more), (Vec::new(), false));
}

async fn each_change_is_told_once_and_in_order(ports: &RightsPorts) {
    (ports.grant_alice)().await;
    (ports.renew_robot)().await;
    let first = ports.changes(0).await;
    assert_eq!(subjects(&first.changes), [&alice(), &Principal::Robot("ci".into())]);
    assert!(first.changes[0].generation < first.changes[1].generation);
    assert!(first.changes[1].generation <= first.cursor && !first.more);
    assert_eq!(ports.changes(first.cursor).await, RightsChanges { changes: Vec::new(), ..first.clone() });
    (ports.grant_everybody)().await;
    let second = ports.changes(first.cursor).await;
    assert_eq!(subjects(&second.changes), [&Principal::Anonymous]);
    assert!(second.changes[0].generation > first.cursor);
}

async fn a_second_change_of_one_replaces_the_first(ports: &RightsPorts) {
    (ports.grant_everybody)().await;
    let first = ports.changes(0).await;
    (ports.grant_everybody)().await;
    let both = ports.changes(0).await;
    assert_eq!(both.changes.len(), 1);
    assert!(both.changes[0].generation > first.changes[0].generation);
}

async fn what_changes_nothing_is_no_change(ports: &RightsPorts) {
    (ports.grant_alice)().await;
    let first = ports.changes(0).await;
    (ports.grant_alice)().await;
    assert_eq!(ports.changes(0).await, first);
}

async fn a_cursor_from_before_a_restore_starts_again(ports: &RightsPorts) {
    (ports.grant_alice)().await;
    let expected = ports.changes(0).await;
    assert_eq!(ports.changes(expected.cursor + 100).await, expected);
}

async fn old_changes_are_forgotten(ports: &RightsPorts) {
    (ports.grant_alice)().await;
    let before = ports.changes(0).await;
    if !(ports.pass)(entrepot_core::ports::auth::CHANGES_KEPT) {
        return;
    }
    let after = ports.changes(0).await;
    assert_eq!((after.changes.len(), after.cursor), (0, before.cursor));
}
