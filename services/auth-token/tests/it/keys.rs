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

/// However replicas meet, they agree on the keys: one that signed with a key of its own would be believed by nobody.
#[cfg(feature = "postgres-tests")]
#[tokio::test]
async fn replicas_that_meet_make_one_key() {
    use entrepot_sql::Database;
    use entrepot_sql::testing::{Arena, Case, Flaw};
    use futures_util::FutureExt;

    let unlocked = [Flaw::Unlocked("SELECT id FROM auth_signing_turn")];
    for (flaws, agreed) in [(&[][..], true), (&unlocked[..], false)] {
        let database = Database::temporary().await.unwrap();
        Registry::open(database.clone(), Mode::Managed).await;
        let arena = Arena::new(&database, flaws);
        let wrong = arena
            .explore(async |_| {
                // Older than any key stays.
                database.shift_clock(30 * DAY);
                let (first, second) = (arena.first.clone(), arena.second.clone());
                let keys = |database: Database| async move {
                    let started = Registry::open(database, Mode::Managed).await;
                    let keys = KeySet::from_json(&started.auth.key_set().await.unwrap()).unwrap();
                    keys.ids().map(str::to_owned).collect::<Vec<_>>()
                };
                let database = database.clone();
                Case {
                    first: keys(first).boxed(),
                    second: keys(second).boxed(),
                    verify: Box::new(move |first, second| {
                        async move {
                            let late = keys(database).await;
                            let known = first.iter().chain(&second).all(|key| late.contains(key));
                            if known && late.len() <= 2 {
                                Ok(())
                            } else {
                                Err(format!("{first:?} {second:?} {late:?}"))
                            }
                        }
                        .boxed()
                    }),
                }
            })
            .await;
        assert_eq!(wrong.is_none(), agreed, "{wrong:?}");
    }
}
