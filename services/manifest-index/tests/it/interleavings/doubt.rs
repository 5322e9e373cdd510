//! Writes whose commit is made and not answered: they run again while others write, and take effect once.

use entrepot_core::Reference;
use entrepot_sql::Database;
use entrepot_sql::testing::{Flaw, Verdict};
use entrepot_testkit::contract::by_tag;
use futures_util::FutureExt;

use super::board::{Board, case, demand, guarded};
use super::manifests::{delete, place, put};
use crate::support::Query;

/// Without it a write does not know that it has been made.
const OPERATION: Flaw =
    Flaw::Replaced("ON CONFLICT (tenant, id) DO NOTHING", "ON CONFLICT (tenant, id) DO UPDATE SET done_at = 0");

/// The kinds of changes of the one tag of the newest repository, oldest first: to which manifest, or a deletion.
const CHANGES: &str = "SELECT coalesce(encode(digest, 'hex'), 'deleted') AS change FROM tag_history
                       WHERE (tenant, repository) = (SELECT max(tenant), max(id) FROM repository) ORDER BY version";

async fn changes(database: Database) -> Vec<String> {
    let rows = database.read(Query(CHANGES)).await.unwrap();
    rows.iter().map(|row| row.get("change").unwrap()).collect()
}

/// Each change once.
fn once(changes: &[String]) -> Verdict {
    let twice = changes.iter().enumerate().find(|(at, change)| changes[..*at].contains(change));
    demand(twice.is_none(), &format!("a change took effect twice: {changes:?}"))
}

#[tokio::test]
async fn a_push_in_doubt_and_a_push_of_the_same_tag() {
    let race = async |board: &Board| {
        board
            .explore(async |round| {
                let place = place(round);
                let one = board.watcher.ports.image_of(&place, &format!("one {round}")).await;
                let two = board.watcher.ports.image_of(&place, &format!("two {round}")).await;
                board.lost_answers().lose(1);
                let (first, second) =
                    (put(&board.first, &place, &one, Some("v1")), put(&board.second, &place, &two, Some("v1")));
                let database = board.watcher.database.clone();
                case(board, first, second, move |_, first, second| {
                    async move {
                        first.and(second).map_err(|error| format!("{error:?}"))?;
                        once(&changes(database).await)
                    }
                    .boxed()
                })
            })
            .await
    };
    guarded(race, &[OPERATION]).await;
}

/// A deletion, of the tag or of its manifest, and a push of the same manifest under the same tag.
async fn deletion_and_push(board: &Board, by_digest: bool) -> Option<String> {
    board
        .explore(async |round| {
            let place = place(round);
            let old = board.watcher.ports.push_image(&place, &format!("old {round}"), &["v1"]).await;
            let new = board.watcher.ports.image_of(&place, &format!("new {round}")).await;
            let (gone, pushed) = if by_digest { (Reference::Digest(old.digest), &old) } else { (by_tag("v1"), &new) };
            board.lost_answers().lose(1);
            let (deletion, push) = (delete(&board.first, &place, gone), put(&board.second, &place, pushed, Some("v1")));
            let database = board.watcher.database.clone();
            case(board, deletion, push, move |_, deletion, push| {
                async move {
                    deletion.and(push).map_err(|error| format!("{error:?}"))?;
                    // The manifest that is pushed again is the one that was there at first.
                    once(&changes(database).await[1..])
                }
                .boxed()
            })
        })
        .await
}

#[tokio::test]
async fn a_deletion_of_a_tag_in_doubt_and_a_push_of_it() {
    guarded(async |board| deletion_and_push(board, false).await, &[OPERATION]).await;
}

#[tokio::test]
async fn a_deletion_of_a_manifest_in_doubt_and_a_push_of_it() {
    guarded(async |board| deletion_and_push(board, true).await, &[OPERATION]).await;
}
