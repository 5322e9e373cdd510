use auth_token::{AccountKind, AdminError, Mode};
use axum::http::StatusCode;
use entrepot_sql::{Database, Row, SqlError, Transaction, Tx};

use crate::support::{PASSWORD, Registry};

/// Every text that is stored, to look for secrets.
struct Dump;

#[async_trait::async_trait]
impl Transaction for Dump {
    type Output = Vec<String>;
    type Error = SqlError;

    async fn run(&self, tx: &mut dyn Tx) -> Result<Vec<String>, SqlError> {
        let mut rows = tx.query("SELECT name, secret FROM auth_account", &[]).await?;
        rows.extend(tx.query("SELECT account, hash FROM auth_refresh_token", &[]).await?);
        Ok(rows.iter().map(|row: &Row| format!("{row:?}")).collect())
    }
}

#[tokio::test]
async fn a_new_registry_lets_nobody_in() {
    let registry = Registry::open(Database::temporary().await.unwrap(), Mode::Managed).await;
    assert!(registry.admin.accounts().await.unwrap().is_empty());
    for credentials in [("admin", "admin"), ("admin", "Harbor12345"), ("admin", "password"), ("root", "")] {
        assert_eq!(registry.get("", Some(credentials)).await.status, StatusCode::UNAUTHORIZED);
    }
    let query = "scope=repository:team/app:*&scope=registry:catalog:*";
    assert!(registry.granted(query, None).await.is_empty());
}

#[tokio::test]
async fn secrets_are_stored_only_as_hashes() {
    let registry = Registry::managed().await;
    let robot = registry.admin.add_robot("ci").await.unwrap();
    let answer = registry.get("offline_token=true", Some(("alice", PASSWORD))).await;
    let refresh = answer.text("refresh_token");
    let stored = registry.database.read(Dump).await.unwrap();
    assert_eq!(stored.len(), 3);
    assert!(stored.iter().any(|row| row.contains("$argon2id$v=19$m=19456,t=2,p=1$")), "{stored:?}");
    for secret in [PASSWORD, robot.as_str(), refresh.as_str(), &robot[15..79], &refresh[17..81]] {
        assert!(!stored.iter().any(|row| row.contains(secret)), "{secret} in {stored:?}");
    }
}

#[tokio::test]
async fn a_changed_password_counts_at_once_even_when_the_old_one_was_just_used() {
    let registry = Registry::managed().await;
    for _ in 0..3 {
        assert_eq!(registry.get("", Some(("alice", PASSWORD))).await.status, StatusCode::OK);
    }
    registry.admin.set_password("alice", "another password").await.unwrap();
    assert_eq!(registry.get("", Some(("alice", PASSWORD))).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(registry.get("", Some(("alice", "another password"))).await.status, StatusCode::OK);
    registry.admin.remove("alice").await.unwrap();
    assert_eq!(registry.get("", Some(("alice", "another password"))).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_renewed_robot_forgets_its_old_secret() {
    let registry = Registry::managed().await;
    let old = registry.admin.add_robot("ci").await.unwrap();
    let new = registry.admin.renew_robot("ci").await.unwrap();
    assert_eq!(registry.get("", Some(("ci", &old))).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(registry.get("", Some(("ci", &new))).await.status, StatusCode::OK);
    assert_eq!(registry.get("", Some(("alice", &new))).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn accounts_are_added_listed_and_removed() {
    let registry = Registry::managed().await;
    let admin = &registry.admin;
    admin.add_robot("ci").await.unwrap();
    assert!(matches!(admin.add_user("ci", PASSWORD).await, Err(AdminError::Exists(_))));
    assert!(matches!(admin.add_robot("alice").await, Err(AdminError::Exists(_))));
    assert!(matches!(admin.set_password("ci", PASSWORD).await, Err(AdminError::NoAccount(_))));
    assert!(matches!(admin.renew_robot("alice").await, Err(AdminError::NoAccount(_))));
    let listed = admin.accounts().await.unwrap();
    let listed: Vec<_> = listed.iter().map(|account| (account.name.as_str(), account.kind)).collect();
    assert_eq!(listed, [("alice", AccountKind::User), ("ci", AccountKind::Robot)]);
    admin.remove("ci").await.unwrap();
    assert!(matches!(admin.remove("ci").await, Err(AdminError::NoAccount(_))));
}

/// A grant given while its account is removed goes with it, or is refused: a later account of that name has nothing.
#[cfg(feature = "postgres-tests")]
#[tokio::test]
async fn a_grant_does_not_outlive_its_account() {
    use auth_token::Admin;
    use entrepot_sql::testing::{Arena, Case, Flaw};
    use futures_util::FutureExt;

    let unlocked = [Flaw::Unlocked("SELECT 1 FROM auth_account WHERE name = $1 AND kind")];
    for (flaws, sound) in [(&[][..], true), (&unlocked[..], false)] {
        let registry = Registry::managed().await;
        let arena = Arena::new(&registry.database, flaws);
        let (first, second) =
            (Admin::open(arena.first.clone()).await.unwrap(), Admin::open(arena.second.clone()).await.unwrap());
        let wrong = arena
            .explore(async |round| {
                let name = format!("robot{round}");
                registry.admin.add_robot(&name).await.unwrap();
                let (grants, removes, watches) = (first.clone(), second.clone(), registry.admin.clone());
                let (granted, removed) = (name.clone(), name.clone());
                Case {
                    first: async move { grants.grant(&granted, "team/*", "pull").await }.boxed(),
                    second: async move { removes.remove(&removed).await }.boxed(),
                    verify: Box::new(move |granted, removed| {
                        async move {
                            removed.map_err(|error| error.to_string())?;
                            if let Err(error) = granted
                                && !matches!(error, AdminError::NoAccount(_))
                            {
                                return Err(error.to_string());
                            }
                            let left = watches.grants().await.map_err(|error| error.to_string())?;
                            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
                        }
                        .boxed()
                    }),
                }
            })
            .await;
        assert_eq!(wrong.is_none(), sound, "{wrong:?}");
    }
}

/// The removal of an account that is not there takes nothing from one that is added meanwhile.
#[cfg(feature = "postgres-tests")]
#[tokio::test]
async fn a_removal_in_vain_leaves_a_new_account_its_grants() {
    use auth_token::Admin;
    use entrepot_sql::testing::{Arena, Case};
    use futures_util::FutureExt;

    let registry = Registry::managed().await;
    let arena = Arena::new(&registry.database, &[]);
    let (first, second) =
        (Admin::open(arena.first.clone()).await.unwrap(), Admin::open(arena.second.clone()).await.unwrap());
    let wrong = arena
        .explore(async |round| {
            let name = format!("robot{round}");
            let (removes, adds, watches) = (first.clone(), second.clone(), registry.admin.clone());
            let (removed, added) = (name.clone(), name.clone());
            Case {
                first: async move { removes.remove(&removed).await }.boxed(),
                second: async move {
                    adds.add_robot(&added).await?;
                    adds.grant(&added, "team/*", "pull").await
                }
                .boxed(),
                verify: Box::new(move |_, _| {
                    async move {
                        let accounts = watches.accounts().await.map_err(|error| error.to_string())?;
                        let there = accounts.iter().any(|account| account.name.as_str() == name);
                        let grants = watches.grants().await.map_err(|error| error.to_string())?;
                        let granted = grants.iter().any(|grant| grant.subject.to_string() == format!("robot:{name}"));
                        if there == granted { Ok(()) } else { Err(format!("account {there}, grant {granted}")) }
                    }
                    .boxed()
                }),
            }
        })
        .await;
    assert_eq!(wrong, None);
}

#[tokio::test]
async fn wrong_names_and_passwords_are_refused() {
    let registry = Registry::managed().await;
    let admin = &registry.admin;
    let long = "a".repeat(129);
    for name in ["", "anonymous", "a:b", "-a", "a b", "a/b", "naïve", "a\n", long.as_str()] {
        assert!(matches!(admin.add_user(name, PASSWORD).await, Err(AdminError::Name(_))), "{name}");
        assert!(matches!(admin.add_robot(name).await, Err(AdminError::Name(_))), "{name}");
    }
    let long = "p".repeat(1025);
    for password in ["", "seven77", long.as_str()] {
        assert!(matches!(admin.add_user("bob", password).await, Err(AdminError::Password)));
        assert!(matches!(admin.set_password("alice", password).await, Err(AdminError::Password)));
    }
    admin.add_user("bob.o-b@example.com", "eight888").await.unwrap();
}
