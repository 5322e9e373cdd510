//! Upload sessions, the blobs they end in, and the garbage they leave.

use std::time::Duration;

use entrepot_core::ports::IndexError;
use entrepot_core::ports::garbage::Garbage;
use entrepot_core::ports::uploads::Finish;
use entrepot_core::{Digest, RepositoryName, UploadId};
use entrepot_sql::testing::Flaw;
use entrepot_testkit::builders::content;
use entrepot_testkit::contract::repository;
use futures_util::FutureExt;

use super::board::{Answer, Board, Side, case, demand, guarded};
use super::collector::collect;
use crate::support::HOUR;

const SESSION: Flaw = Flaw::Unlocked("SELECT state, repository, key, algorithm");
const KNOWN_LIVE: Flaw = Flaw::Replaced(
    "SELECT id FROM blob WHERE digest = $1 AND state = 'live' {share}",
    "SELECT id FROM blob WHERE digest = $1 {share}",
);
const ONE_BLOB: Flaw = Flaw::Replaced("ON CONFLICT (digest) WHERE state = 'live' DO NOTHING", "");
const ONE_TENANT: Flaw = Flaw::Replaced("ON CONFLICT (name) DO NOTHING", "");
const ONE_REPOSITORY: Flaw = Flaw::Replaced("ON CONFLICT (tenant, name) DO NOTHING", "");
const KNOWN_BLOB: Flaw = Flaw::Unlocked("SELECT id FROM blob WHERE digest = $1 AND state = 'live' {share}");
const CONDEMN: Flaw = Flaw::Unlocked("SELECT id FROM blob WHERE digest = $1 AND state = 'live' {update}");
const TENANT: Flaw = Flaw::Unlocked("SELECT id FROM tenant WHERE name");
const ABANDONED: Flaw = Flaw::Unlocked("SELECT id, key FROM upload WHERE state IN ('open', 'finalizing')");
const LEASE: Flaw = Flaw::Unlocked("WITH due AS MATERIALIZED");

/// A session whose completion has begun, and the rest of it.
async fn finishing(
    board: &Board,
    side: &Side,
    place: &RepositoryName,
    digest: Digest,
) -> (UploadId, impl Future<Output = Answer<()>> + Send + 'static) {
    let id = board.watcher.ports.open(place).await;
    let position = board.watcher.ports.begin_finish(place, id, digest).await;
    let uploads = side.ports.uploads.clone();
    (id, async move { uploads.finish(id, &position, digest, 2, None).await })
}

fn lease(side: &Side, idle: Duration) -> impl Future<Output = Answer<Vec<Garbage>>> + Send + 'static {
    let garbage = side.ports.garbage.clone();
    async move { garbage.lease(1000, HOUR, idle).await }
}

/// R2, R13: the bytes of a digest are collected while the same digest is pushed again.
#[tokio::test]
async fn r2_a_completion_and_the_collection_of_the_same_digest() {
    let race = async |board: &Board| {
        board
            .explore(async |round| {
                let (place, other) = (repository(&format!("team/app{round}")), repository(&format!("team/old{round}")));
                let blob = content(&format!("blob {round}"));
                board.watcher.ports.push_blob(&other, &blob).await;
                board.watcher.ports.links.unlink(&other, blob.digest).await.unwrap();
                let (_, finish) = finishing(board, &board.first, &place, blob.digest).await;
                let collection = collect(board.second.database.clone(), blob.digest);
                case(board, finish, collection, move |ports, finish, _| {
                    async move {
                        finish.map_err(|error| format!("{error:?}"))?;
                        demand(
                            ports.links.locate(&place, blob.digest).await.is_ok(),
                            "what was acknowledged is not there",
                        )
                    }
                    .boxed()
                })
            })
            .await
    };
    guarded(race, &[KNOWN_BLOB, KNOWN_LIVE, CONDEMN]).await;
}

/// R13: one digest is pushed twice at once: one blob, and the bytes of the other are garbage.
#[tokio::test]
async fn r13_two_completions_of_one_digest() {
    let race = async |board: &Board| {
        board
            .explore(async |round| {
                let (one, two) = (repository(&format!("team/a{round}")), repository(&format!("team/b{round}")));
                let blob = content(&format!("blob {round}"));
                let (_, first) = finishing(board, &board.first, &one, blob.digest).await;
                let (_, second) = finishing(board, &board.second, &two, blob.digest).await;
                case(board, first, second, move |ports, first, second| {
                    async move {
                        first.and(second).map_err(|error| format!("{error:?}"))?;
                        let located =
                            (ports.links.locate(&one, blob.digest).await, ports.links.locate(&two, blob.digest).await);
                        let keys =
                            (located.0.map_err(|e| e.to_string())?.key, located.1.map_err(|e| e.to_string())?.key);
                        demand(keys.0 == keys.1, "two blobs of one digest")
                    }
                    .boxed()
                })
            })
            .await
    };
    guarded(race, &[ONE_BLOB]).await;
}

/// The first contents of two repositories make two numbers within the tenant.
async fn first_pushes(board: &Board, tenant_exists: bool) -> Option<String> {
    board
        .explore(async |round| {
            let place = |name: &str| repository(&format!("team{round}/{name}"));
            if tenant_exists {
                board.watcher.ports.push_blob(&place("old"), &content("old")).await;
            }
            let blob = |name: &str| content(&format!("{name} {round}")).digest;
            let (_, first) = finishing(board, &board.first, &place("a"), blob("a")).await;
            let (_, second) = finishing(board, &board.second, &place("b"), blob("b")).await;
            case(board, first, second, move |_, first, second| {
                async move { first.and(second).map_err(|error| format!("{error:?}")) }.boxed()
            })
        })
        .await
}

/// Here the tenant itself is what they wait for.
#[tokio::test]
async fn two_first_pushes_of_a_tenant() {
    guarded(async |board| first_pushes(board, false).await, &[ONE_TENANT]).await;
}

#[tokio::test]
async fn two_new_repositories_of_a_tenant() {
    guarded(async |board| first_pushes(board, true).await, &[TENANT]).await;
}

/// Of one repository, by two processes.
#[tokio::test]
async fn two_first_pushes_of_a_repository() {
    let race = async |board: &Board| {
        board
            .explore(async |round| {
                let place = repository(&format!("team{round}/app"));
                let (_, first) = finishing(board, &board.first, &place, content(&format!("a {round}")).digest).await;
                let (_, second) = finishing(board, &board.second, &place, content(&format!("b {round}")).digest).await;
                case(board, first, second, move |_, first, second| {
                    async move { first.and(second).map_err(|error| format!("{error:?}")) }.boxed()
                })
            })
            .await
    };
    guarded(race, &[ONE_REPOSITORY]).await;
}

/// R12: a chunk is recorded in a session whose digest has been checked.
#[tokio::test]
async fn r12_a_chunk_and_a_completion() {
    let race = async |board: &Board| {
        board
            .explore(async |round| {
                let place = repository(&format!("team/app{round}"));
                let blob = content(&format!("blob {round}"));
                let id = board.watcher.ports.open(&place).await;
                let (first, second) = (board.first.ports.uploads.clone(), board.second.ports.uploads.clone());
                let (at, there) = (place.clone(), place.clone());
                let append = async move {
                    let position = first.begin_append(&at, id, None).await?;
                    first.save(id, &position, 100, "state".into()).await
                };
                let finish = async move {
                    match second.begin_finish(&there, id, None, blob.digest).await? {
                        Finish::Write { position, .. } => {
                            second.finish(id, &position, blob.digest, position.offset + 2, None).await?;
                            Ok(position.offset)
                        }
                        Finish::Done(_) => Err(IndexError::UploadUnknown),
                    }
                };
                case(board, append, finish, move |ports, append, finish| {
                    async move {
                        let Ok(offset) = finish else { return demand(append.is_ok(), "neither came through") };
                        demand(append.is_err() || offset == 100, "a chunk counts that the digest does not cover")?;
                        let size =
                            ports.links.locate(&place, blob.digest).await.map_err(|error| error.to_string())?.size;
                        demand(size == offset + 2, "the blob has another size than was checked")
                    }
                    .boxed()
                })
            })
            .await
    };
    guarded(race, &[SESSION]).await;
}

/// R12: a session is taken for abandoned while a request completes it.
#[tokio::test]
async fn r12_a_completion_and_the_end_of_an_abandoned_session() {
    let race = async |board: &Board| {
        board
            .explore(async |round| {
                let place = repository(&format!("team/app{round}"));
                let blob = content(&format!("blob {round}"));
                let (_, finish) = finishing(board, &board.first, &place, blob.digest).await;
                board.watcher.ports.clock.advance(HOUR);
                case(board, finish, lease(&board.second, HOUR / 2), move |ports, finish, _| {
                    async move {
                        let there = ports.links.locate(&place, blob.digest).await.is_ok();
                        demand(finish.is_ok() == there, "the answer and the blob differ")
                    }
                    .boxed()
                })
            })
            .await
    };
    guarded(race, &[SESSION, ABANDONED]).await;
}

/// Two workers ask for garbage; no key is given to both.
#[tokio::test]
async fn two_workers_lease_garbage() {
    let race = async |board: &Board| {
        board
            .explore(async |round| {
                let place = repository(&format!("team/app{round}"));
                let id = board.watcher.ports.open(&place).await;
                board.watcher.ports.uploads.release(&place, id, None, false).await.unwrap();
                case(board, lease(&board.first, HOUR), lease(&board.second, HOUR), move |_, first, second| {
                    async move {
                        let (first, second) = (first.map_err(|e| e.to_string())?, second.map_err(|e| e.to_string())?);
                        demand(first.len() + second.len() == 1, "a key was given to both, or to neither")
                    }
                    .boxed()
                })
            })
            .await
    };
    guarded(race, &[LEASE]).await;
}
