use auth_token::AdminError;
use entrepot_core::{
    Actions, Principal, Scope,
    ports::{
        TokenService,
        auth::{Credentials, TokenRequest},
    },
};

use crate::support::{PASSWORD, Registry, SERVICE};

const ALICE: Option<(&str, &str)> = Some(("alice", PASSWORD));

#[tokio::test]
async fn patterns_cover_what_they_say_and_no_neighbour() {
    for (pattern, covered, not_covered) in [
        ("team/app", vec!["team/app"], vec!["team/app2", "team/app/sub", "team", "other/app"]),
        ("team/*", vec!["team/app", "team/sub/app"], vec!["team", "team-b/app", "teams/app"]),
        ("team/sub/*", vec!["team/sub/app"], vec!["team/app", "team/sub", "team/sub2/app"]),
        ("library/*", vec!["alpine", "library/alpine"], vec!["team/alpine"]),
        ("*", vec!["alpine", "team/sub/app"], vec![]),
        // Characters that a database's pattern language would give a meaning to.
        ("a_b/*", vec!["a_b/app"], vec!["axb/app", "a.b/app"]),
    ] {
        let registry = Registry::managed().await;
        registry.admin.grant("alice", pattern, "pull").await.unwrap();
        for (names, expected) in [(covered, true), (not_covered, false)] {
            for name in names {
                let granted = registry.granted(&format!("scope=repository:{name}:pull"), ALICE).await;
                assert_eq!(!granted.is_empty(), expected, "{pattern} {name}");
            }
        }
    }
}

#[tokio::test]
async fn grants_add_up_and_end_at_once() {
    let registry = Registry::managed().await;
    for (name, pattern, actions) in
        [("alice", "team/*", "pull"), ("alice", "team/app", "push"), ("anonymous", "team/app", "pull")]
    {
        registry.admin.grant(name, pattern, actions).await.unwrap();
    }
    let query = "scope=repository:team/app:*&scope=repository:team/b:*";
    assert_eq!(registry.granted(query, ALICE).await, ["repository:team/app:pull,push", "repository:team/b:pull"]);
    registry.admin.revoke("alice", "team/*").await.unwrap();
    assert_eq!(registry.granted(query, ALICE).await, ["repository:team/app:pull,push"]);
    registry.admin.grant("alice", "team/app", "delete").await.unwrap();
    assert_eq!(registry.granted(query, ALICE).await, ["repository:team/app:pull,delete"]);
    let listed: Vec<_> = registry.admin.grants().await.unwrap().into_iter().map(|grant| grant.subject).collect();
    assert_eq!(listed, [Principal::Anonymous, Principal::User("alice".into())]);
}

#[tokio::test]
async fn a_new_account_does_not_inherit_the_rights_of_its_name() {
    let registry = Registry::managed().await;
    registry.admin.grant("alice", "*", "*").await.unwrap();
    registry.admin.remove("alice").await.unwrap();
    registry.admin.add_user("alice", PASSWORD).await.unwrap();
    assert!(registry.granted("scope=repository:team/app:pull", ALICE).await.is_empty());
}

#[tokio::test]
async fn wrong_grants_are_refused_by_name() {
    let registry = Registry::managed().await;
    let admin = &registry.admin;
    assert!(matches!(admin.grant("nobody", "*", "pull").await, Err(AdminError::NoAccount(_))));
    assert!(matches!(admin.grant("alice", "te*", "pull").await, Err(AdminError::Pattern(_))));
    assert!(matches!(admin.grant("alice", "%", "pull").await, Err(AdminError::Pattern(_))));
    assert!(matches!(admin.grant("alice", "*", "pull,fly").await, Err(AdminError::Action(name)) if name == "fly"));
    assert!(matches!(admin.grant("alice", "*", "").await, Err(AdminError::Action(_))));
    assert!(matches!(admin.revoke("alice", "*").await, Err(AdminError::NoGrant { .. })));
    assert!(admin.grants().await.unwrap().is_empty());
}

#[tokio::test]
async fn authorize_decides_as_a_token_would() {
    let registry = Registry::managed().await;
    registry.admin.grant("alice", "team/*", "pull").await.unwrap();
    let request = TokenRequest {
        credentials: Credentials::Password { name: "alice".into(), password: PASSWORD.into() },
        service: Some(SERVICE.into()),
        scopes: vec!["repository:team/app:pull,push".parse().unwrap(), "repository:b/c:pull".parse().unwrap()],
        offline: false,
        peer: None,
    };
    let authorized = registry.auth.authorize(request).await.unwrap();
    assert_eq!(authorized.principal, Principal::User("alice".into()));
    let nothing = Scope { resource: "repository:b/c:pull".parse::<Scope>().unwrap().resource, actions: Actions::NONE };
    assert_eq!(authorized.granted, ["repository:team/app:pull".parse().unwrap(), nothing]);
}

/// A token knows a change exactly when its generation says so, whatever kind of change it is.
#[tokio::test]
async fn tokens_say_which_changes_they_know() {
    let registry = Registry::managed().await;
    let robot = registry.admin.add_robot("ci").await.unwrap();
    let query = "scope=repository:team/app:pull";
    let mut known = 0;
    for change in 0..5 {
        let before = registry.verify(&registry.get(query, ALICE).await).await;
        assert_eq!(before.generation, known, "change {change}");
        let admin = &registry.admin;
        let changed = match change {
            0 => admin.grant("alice", "team/*", "pull").await.map(|()| Principal::User("alice".into())),
            1 => admin.revoke("alice", "team/*").await.map(|()| Principal::User("alice".into())),
            2 => admin.grant("anonymous", "*", "pull").await.map(|()| Principal::Anonymous),
            3 => admin.set_password("alice", PASSWORD).await.map(|()| Principal::User("alice".into())),
            _ => admin.renew_robot("ci").await.map(|_| Principal::Robot("ci".into())),
        };
        let changes = registry.auth.changes(before.generation).await.unwrap();
        assert_eq!(changes.changes.len(), 1, "change {change}");
        assert_eq!(changes.changes[0].subject, changed.unwrap());
        assert!(changes.changes[0].generation > before.generation);
        known = changes.cursor;
    }
    assert_eq!(registry.get(query, Some(("ci", &robot))).await.status, 401);
    registry.admin.remove("ci").await.unwrap();
    let removed = registry.auth.changes(known).await.unwrap().changes;
    assert!(removed.iter().any(|change| change.subject == Principal::Robot("ci".into())), "{removed:?}");
}

/// The list is handed out in parts, and no part is skipped.
#[tokio::test]
async fn many_changes_come_in_parts() {
    let registry = Registry::managed().await;
    let names: Vec<String> = (0..1005).map(|n| format!("robot-{n}")).collect();
    for name in &names {
        registry.admin.add_robot(name).await.unwrap();
        registry.admin.grant(name, "*", "pull").await.unwrap();
    }
    let first = registry.auth.changes(0).await.unwrap();
    assert!(first.more && first.changes.len() < names.len());
    let second = registry.auth.changes(first.cursor).await.unwrap();
    assert!(!second.more);
    let told = first.changes.iter().chain(&second.changes).map(|change| change.subject.clone());
    let expected: Vec<_> = names.into_iter().map(Principal::Robot).collect();
    assert_eq!(told.collect::<Vec<_>>(), expected);
}

/// A login that was under way while the password changed may succeed, but its token does not pass for a new one.
#[tokio::test]
async fn a_token_of_the_old_password_is_older_than_the_change() {
    let registry = Registry::managed().await;
    let before = registry.auth.changes(0).await.unwrap().cursor;
    // Each takes its turn at the few passwords checked at once; the change comes while most of them wait.
    let logins = futures_util::future::join_all((0..8).map(|_| registry.get("", ALICE)));
    let (answers, changed) = tokio::join!(logins, registry.admin.set_password("alice", "another password"));
    changed.unwrap();
    for answer in answers.iter().filter(|answer| answer.status == 200) {
        assert_eq!(registry.verify(answer).await.generation, before);
    }
}
