//! Manifests, tags and the blobs they need.

use async_trait::async_trait;
use entrepot_core::ports::IndexError;
use entrepot_core::{Manifest, Reference, RepositoryName};
use entrepot_sql::testing::Flaw;
use entrepot_sql::{SqlError, Transaction, Tx};
use entrepot_testkit::builders::{ManifestBuilder, content};
use entrepot_testkit::contract::{IndexPorts, by_tag, repository};
use futures_util::FutureExt;

use super::board::{Answer, Board, Side, case, demand, guarded};
use super::collector::collect;
use crate::support::HOUR;

// The guards, each by a text that only its statements have.
const CONFIRM: Flaw = Flaw::Unlocked("SELECT blob.size, blob.key FROM link JOIN blob");
const REFERENCES: Flaw = Flaw::Unlocked("SELECT link.digest FROM link JOIN blob");
const CHILDREN: Flaw =
    Flaw::Unlocked("SELECT digest FROM manifest WHERE tenant = $1 AND repository = $2 AND digest IN");
const UNLINK: Flaw = Flaw::Unlocked("SELECT 1 FROM link WHERE tenant");
const MOUNT_FROM: Flaw = Flaw::Unlocked("SELECT link.blob FROM link JOIN blob");
const MOUNT_ANY: Flaw = Flaw::Unlocked("SELECT link.blob FROM blob JOIN link");
const KEEP_MANIFEST: Flaw =
    Flaw::Unlocked("SELECT 1 FROM manifest WHERE tenant = $1 AND repository = $2 AND digest = $3 {share}");
const DELETE_MANIFEST: Flaw =
    Flaw::Unlocked("SELECT 1 FROM manifest WHERE tenant = $1 AND repository = $2 AND digest = $3 {update}");
const DELETE_TAGS: Flaw = Flaw::Unlocked("SELECT name FROM tag WHERE");
const MOVE_TAG: Flaw =
    Flaw::Unlocked("SELECT digest FROM tag WHERE tenant = $1 AND repository = $2 AND name = $3 {update}");
/// In an order that depends on who asks.
const ONE_ORDER: Flaw =
    Flaw::Replaced("AND manifest = $3 ORDER BY digest", "AND manifest = $3 ORDER BY md5(manifest || digest)");
/// What a push without a tag says of its own manifest.
const REVIEW: Flaw = Flaw::Replaced(
    "VALUES ($1, $2, $3, $4, {now} + $5)",
    "SELECT $1, $2, $3, $4, {now} + $5 WHERE CAST($3 AS TEXT) <> 'manifest'",
);
const DROP_LINKS: Flaw = Flaw::Unlocked("SELECT tenant, repository FROM link");

pub(super) fn place(round: usize) -> RepositoryName {
    repository(&format!("team/app{round}"))
}

pub(super) fn put(
    side: &Side,
    place: &RepositoryName,
    manifest: &Manifest,
    tag: Option<&'static str>,
) -> impl Future<Output = Answer<()>> + Send + 'static {
    let (ports, place, manifest) = (side.ports.clone(), place.clone(), manifest.clone());
    async move { ports.put(&place, &manifest, tag.as_slice()).await }
}

pub(super) fn delete(
    side: &Side,
    place: &RepositoryName,
    reference: Reference,
) -> impl Future<Output = Answer<()>> + Send + 'static {
    let (manifests, place) = (side.ports.manifests.clone(), place.clone());
    async move { manifests.delete_manifest(&place, &reference).await }
}

async fn exists(ports: &IndexPorts, place: &RepositoryName, manifest: &Manifest) -> bool {
    ports.manifests.get_manifest(place, manifest.digest).await.is_ok()
}

/// R1: HEAD says yes while the blob is collected. What it said then holds for the lease.
#[tokio::test]
async fn r1_head_and_collection() {
    let race = async |board: &Board| {
        board
            .explore(async |round| {
                let (place, blob) = (place(round), content(&format!("blob {round}")));
                board.watcher.ports.push_blob(&place, &blob).await;
                board.watcher.ports.clock.advance(25 * HOUR);
                let (links, at) = (board.first.ports.links.clone(), place.clone());
                let head = async move { links.stat(&at, blob.digest).await };
                case(board, head, collect(board.second.database.clone(), blob.digest), move |ports, head, _| {
                    async move {
                        let there = ports.links.locate(&place, blob.digest).await.is_ok();
                        demand(head.is_ok() == there, "HEAD promised a blob that is gone")
                    }
                    .boxed()
                })
            })
            .await
    };
    guarded(race, &[CONFIRM, DROP_LINKS]).await;
}

/// R4: a reference goes away between the check of the manifest and its insertion.
#[tokio::test]
async fn r4_a_manifest_and_the_unlinking_of_its_layer() {
    let race = async |board: &Board| {
        board
            .explore(async |round| {
                let place = place(round);
                let image = board.watcher.ports.image_of(&place, &round.to_string()).await;
                let layer = image.references[0].digest;
                let (links, at) = (board.second.ports.links.clone(), place.clone());
                let unlink = async move { links.unlink(&at, layer).await };
                case(board, put(&board.first, &place, &image, None), unlink, move |ports, put, unlink| {
                    async move {
                        let stored = exists(&ports, &place, &image).await;
                        match (put, unlink) {
                            (Ok(()), Err(IndexError::Referenced { .. })) => demand(stored, "the manifest is gone"),
                            (Err(IndexError::ReferencesMissing(_)), Ok(())) => demand(!stored, "the manifest is there"),
                            other => Err(format!("{other:?}")),
                        }
                    }
                    .boxed()
                })
            })
            .await
    };
    guarded(race, &[REFERENCES, UNLINK]).await;
}

/// R3, R4: a link whose lease is over is taken up by a manifest, or collected.
#[tokio::test]
async fn r4_a_manifest_and_the_collection_of_its_layer() {
    let race = async |board: &Board| {
        board
            .explore(async |round| {
                let place = place(round);
                let image = board.watcher.ports.image_of(&place, &round.to_string()).await;
                let layer = image.references[0].digest;
                board.watcher.ports.clock.advance(25 * HOUR);
                let collection = collect(board.second.database.clone(), layer);
                case(board, put(&board.first, &place, &image, None), collection, move |ports, put, _| {
                    async move {
                        let there = ports.links.locate(&place, layer).await.is_ok();
                        demand(put.is_ok() == there, "the manifest and its layer are not both there, or both gone")
                    }
                    .boxed()
                })
            })
            .await
    };
    guarded(race, &[REFERENCES, DROP_LINKS]).await;
}

/// R5, R8: the source of a mount is unlinked and its blob collected meanwhile.
async fn mount_and_collection(board: &Board, from: bool) -> Option<String> {
    board
        .explore(async |round| {
            let blob = content(&format!("blob {round}"));
            let (source, target) = (repository(&format!("team{round}/base")), repository(&format!("team{round}/app")));
            board.watcher.ports.push_blob(&source, &blob).await;
            let (first, second) = (board.first.ports.links.clone(), board.second.clone());
            let (base, app) = (source.clone(), target.clone());
            let mount = async move { first.mount(&app, from.then_some(&base), blob.digest).await };
            let gone = async move {
                second.ports.links.unlink(&source, blob.digest).await?;
                collect(second.database, blob.digest).await
            };
            case(board, mount, gone, move |ports, mounted, _| {
                async move {
                    let there = ports.links.locate(&target, blob.digest).await.is_ok();
                    demand(mounted.is_ok_and(|mounted| mounted == there), "what was mounted is not there")
                }
                .boxed()
            })
        })
        .await
}

#[tokio::test]
async fn r8_a_mount_and_the_collection_of_its_source() {
    guarded(async |board| mount_and_collection(board, true).await, &[MOUNT_FROM]).await;
}

#[tokio::test]
async fn r8_a_mount_from_anywhere_and_the_collection_of_its_source() {
    guarded(async |board| mount_and_collection(board, false).await, &[MOUNT_ANY]).await;
}

/// R9: a manifest is deleted while it is pushed again under a new tag.
#[tokio::test]
async fn r9_a_push_of_a_manifest_and_its_deletion() {
    let race = async |board: &Board| {
        board
            .explore(async |round| {
                let place = place(round);
                let image = board.watcher.ports.push_image(&place, &round.to_string(), &["old"]).await;
                let push = put(&board.first, &place, &image, Some("new"));
                let deletion = delete(&board.second, &place, Reference::Digest(image.digest));
                case(board, push, deletion, move |ports, put, deletion| {
                    async move {
                        put.and(deletion).map_err(|error| format!("{error:?}"))?;
                        let there = exists(&ports, &place, &image).await;
                        demand(ports.resolve(&place, "new").await.is_some() == there, "the tag and the manifest differ")
                    }
                    .boxed()
                })
            })
            .await
    };
    guarded(race, &[KEEP_MANIFEST, DELETE_MANIFEST]).await;
}

/// R9: a tag moves away from a manifest that is being deleted.
#[tokio::test]
async fn r9_a_tag_moves_away_from_a_manifest_and_its_deletion() {
    let race = async |board: &Board| {
        board
            .explore(async |round| {
                let place = place(round);
                let old = board.watcher.ports.push_image(&place, &format!("old {round}"), &["v1"]).await;
                let new = board.watcher.ports.image_of(&place, &format!("new {round}")).await;
                let push = put(&board.first, &place, &new, Some("v1"));
                let deletion = delete(&board.second, &place, Reference::Digest(old.digest));
                case(board, push, deletion, move |ports, put, deletion| {
                    async move {
                        put.and(deletion).map_err(|error| format!("{error:?}"))?;
                        demand(ports.resolve(&place, "v1").await == Some(new.digest), "the tag got lost")
                    }
                    .boxed()
                })
            })
            .await
    };
    guarded(race, &[DELETE_TAGS]).await;
}

/// R9: two pushes move one tag; what each of them moved it from is reviewed.
#[tokio::test]
async fn r9_two_pushes_of_one_tag() {
    let race = async |board: &Board| {
        board
            .explore(async |round| {
                let place = place(round);
                board.watcher.ports.push_image(&place, &format!("old {round}"), &["v1"]).await;
                let one = board.watcher.ports.image_of(&place, &format!("one {round}")).await;
                let two = board.watcher.ports.image_of(&place, &format!("two {round}")).await;
                let (first, second) =
                    (put(&board.first, &place, &one, Some("v1")), put(&board.second, &place, &two, Some("v1")));
                case(board, first, second, move |_, first, second| {
                    async move { first.and(second).map_err(|error| format!("{error:?}")) }.boxed()
                })
            })
            .await
    };
    guarded(race, &[MOVE_TAG]).await;
}

/// R9: a tag is deleted while a push moves it. Both take effect, one after the other.
#[tokio::test]
async fn r9_a_push_of_a_tag_and_its_deletion() {
    let race = async |board: &Board| {
        board
            .explore(async |round| {
                let place = place(round);
                board.watcher.ports.push_image(&place, &format!("old {round}"), &["v1"]).await;
                let new = board.watcher.ports.image_of(&place, &format!("new {round}")).await;
                let (push, deletion) =
                    (put(&board.first, &place, &new, Some("v1")), delete(&board.second, &place, by_tag("v1")));
                case(board, push, deletion, move |_, put, deletion| {
                    async move { put.and(deletion).map_err(|error| format!("{error:?}")) }.boxed()
                })
            })
            .await
    };
    guarded(race, &[MOVE_TAG]).await;
}

/// R10: a manifest is deleted while an index takes it up.
#[tokio::test]
async fn r10_an_index_and_the_deletion_of_its_child() {
    let race = async |board: &Board| {
        board
            .explore(async |round| {
                let place = place(round);
                let child = board.watcher.ports.push_image(&place, &round.to_string(), &["child"]).await;
                let index = ManifestBuilder::index(std::slice::from_ref(&child)).build();
                let deletion = delete(&board.second, &place, Reference::Digest(child.digest));
                case(board, put(&board.first, &place, &index, Some("v1")), deletion, move |ports, put, deletion| {
                    async move {
                        let there = exists(&ports, &place, &index).await;
                        match (put, deletion) {
                            (Ok(()), Err(IndexError::Referenced { .. })) => demand(there, "the index is gone"),
                            (Err(IndexError::ReferencesMissing(_)), Ok(())) => demand(!there, "the index is there"),
                            other => Err(format!("{other:?}")),
                        }
                    }
                    .boxed()
                })
            })
            .await
    };
    guarded(race, &[CHILDREN, DELETE_MANIFEST]).await;
}

/// R11: a referrer is pushed while its subject is deleted. It is kept, and reviewed.
#[tokio::test]
async fn r11_a_referrer_and_the_deletion_of_its_subject() {
    let race = async |board: &Board| {
        board
            .explore(async |round| {
                let place = place(round);
                let subject = board.watcher.ports.push_image(&place, &round.to_string(), &["v1"]).await;
                let config = content(&format!("config {round}"));
                let referrer = ManifestBuilder::image(&config, &[]).subject(subject.digest).build();
                let deletion = delete(&board.second, &place, Reference::Digest(subject.digest));
                case(board, put(&board.first, &place, &referrer, None), deletion, move |ports, put, deletion| {
                    async move {
                        put.and(deletion).map_err(|error| format!("{error:?}"))?;
                        demand(exists(&ports, &place, &referrer).await, "the referrer is gone")
                    }
                    .boxed()
                })
            })
            .await
    };
    guarded(race, &[REVIEW]).await;
}

/// Two deletions of manifests with the same layers: what they have to say of those they say in one order, or each would
/// wait for the other until the server undoes one of them.
#[tokio::test]
async fn two_deletions_of_manifests_that_share_layers() {
    for flaws in [&[][..], &[ONE_ORDER][..]] {
        let board = Board::new(flaws).await;
        board.watcher.database.write(SlowReviews).await.unwrap();
        let mut began_again = false;
        // In any order three layers are taken in the same one by chance, sometimes.
        for round in 0..8 {
            let place = place(round);
            let layers = ["a", "b", "c"].map(|name| content(&format!("{name} {round}")));
            for layer in &layers {
                board.watcher.ports.push_blob(&place, layer).await;
            }
            let [a, b, c] = &layers;
            let one = ManifestBuilder::image(a, &[b.clone(), c.clone()]).build();
            let two = ManifestBuilder::image(c, &[b.clone(), a.clone()]).build();
            for manifest in [&one, &two] {
                board.watcher.ports.put(&place, manifest, &[]).await.unwrap();
            }
            let first = delete(&board.first, &place, Reference::Digest(one.digest));
            let second = delete(&board.second, &place, Reference::Digest(two.digest));
            let (first, second, again) = board.collide(first, second).await;
            first.and(second).unwrap();
            began_again |= again;
        }
        assert_eq!(began_again, !flaws.is_empty());
    }
}

/// Makes every change of a review take a while, so that two statements that make several are at it together.
struct SlowReviews;

#[async_trait]
impl Transaction for SlowReviews {
    type Output = ();
    type Error = SqlError;

    async fn run(&self, tx: &mut dyn Tx) -> Result<(), SqlError> {
        tx.batch(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.05); RETURN NEW; END';
             CREATE TRIGGER slow BEFORE UPDATE ON gc_review FOR EACH ROW EXECUTE FUNCTION slow()",
        )
        .await
    }
}
