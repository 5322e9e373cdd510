//! The races that lose images in other registries (`R…`), as far as today's transactions take part.
//!
//! Two requests run at once in both orders of arrival; whichever the database puts first, the outcome must be one of
//! those that a sequence has. What collection of garbage will do is played by `Collect`.

use std::collections::HashSet;

use entrepot_core::ports::IndexError;
use entrepot_core::{Digest, Manifest, Reference, RepositoryName};
use entrepot_sql::Database;
use entrepot_testkit::builders::{ManifestBuilder, content};
use entrepot_testkit::contract::{IndexPorts, repository};
use futures_util::future::join;

use crate::support::{Collect, HOUR, Query, fresh, fresh_with_database};

/// Awaits both at once, the first or the second being asked first.
async fn race<A, B>(swap: bool, a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    if swap {
        let (b, a) = join(b, a).await;
        (a, b)
    } else {
        join(a, b).await
    }
}

/// Asks for a collection by as many steps as the ports take, so that who is asked first also comes first.
async fn collect(database: &Database) -> Vec<String> {
    let database = database.clone();
    tokio::spawn(async move { database.write(Collect).await }).await.unwrap().unwrap()
}

async fn manifest_exists(ports: &IndexPorts, repository: &RepositoryName, digest: Digest) -> bool {
    ports.manifests.get_manifest(repository, digest).await.is_ok()
}

/// R1: HEAD says yes, the client skips the upload, the blob is collected, the manifest comes.
#[tokio::test]
async fn r1_a_manifest_is_refused_when_its_blob_was_collected_after_head() {
    let (ports, database) = fresh_with_database().await;
    let repository = repository("team/app");
    let image = ports.image_of(&repository, "image").await;
    for reference in &image.references {
        ports.links.stat(&repository, reference.digest).await.unwrap();
    }
    // Beyond what the lease promises.
    ports.clock.advance(25 * HOUR);
    assert_eq!(collect(&database).await.len(), 2);
    let refused = ports.put(&repository, &image, &["v1"]).await;
    assert!(matches!(refused, Err(IndexError::ReferencesMissing(missing)) if missing.len() == 2));
    assert_eq!(ports.resolve(&repository, "v1").await, None);
    assert!(!manifest_exists(&ports, &repository, image.digest).await);
}

/// R1, liveness: HEAD renews the lease, so a push that goes on within it is never refused.
#[tokio::test]
async fn r1_head_keeps_a_blob_for_the_push_that_follows() {
    let (ports, database) = fresh_with_database().await;
    let repository = repository("team/app");
    let image = ports.image_of(&repository, "image").await;
    for hours in [20, 11, 13, 23] {
        ports.clock.advance(hours * HOUR);
        for reference in &image.references {
            ports.links.stat(&repository, reference.digest).await.unwrap();
        }
        assert_eq!(collect(&database).await, [""; 0]);
    }
    // HEAD promises at least half a lease, since it does not write while that much is left.
    ports.clock.advance(12 * HOUR - HOUR / 60);
    collect(&database).await;
    ports.put(&repository, &image, &["v1"]).await.unwrap();
}

/// R2: a blob is collected between its own 201 and the manifest.
#[tokio::test]
async fn r2_a_blob_is_born_with_its_link_and_lease() {
    let (ports, database) = fresh_with_database().await;
    let repository = repository("team/app");
    for n in 0..20 {
        let blob = content(&n.to_string());
        let id = ports.open(&repository).await;
        let position = ports.begin_finish(&repository, id, blob.digest).await;
        let finish = ports.uploads.finish(id, &position, blob.digest, 2, None);
        let (finished, collected) = race(n % 2 == 0, finish, collect(&database)).await;
        finished.unwrap();
        assert_eq!(collected, [""; 0]);
        assert_eq!(collect(&database).await, [""; 0]);
        ports.links.locate(&repository, blob.digest).await.unwrap();
    }
}

/// R4: a reference goes away between the check of the manifest and its insertion.
#[tokio::test]
async fn r4_a_manifest_and_the_unlinking_of_its_layer_exclude_each_other() {
    let ports = fresh().await;
    let repository = repository("team/app");
    let mut winners = HashSet::new();
    for n in 0..20 {
        let image = ports.image_of(&repository, &n.to_string()).await;
        let layer = image.references[0].digest;
        let put = ports.put(&repository, &image, &["v1"]);
        match race(n % 2 == 0, put, ports.links.unlink(&repository, layer)).await {
            (Ok(()), Err(IndexError::Referenced { digest, by })) => {
                assert_eq!((digest, by), (layer, image.digest));
                ports.links.locate(&repository, layer).await.unwrap();
                winners.insert("manifest");
            }
            (Err(IndexError::ReferencesMissing(missing)), Ok(())) => {
                assert_eq!(missing, [layer]);
                assert!(!manifest_exists(&ports, &repository, image.digest).await);
                winners.insert("unlink");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(winners.len(), 2, "both orders happened");
}

/// R4 against collection: a link whose lease is over is taken up by a manifest, or collected, not both.
#[tokio::test]
async fn r4_a_manifest_and_the_collection_of_its_layers_exclude_each_other() {
    let (ports, database) = fresh_with_database().await;
    let repository = repository("team/app");
    let mut winners = HashSet::new();
    for n in 0..20 {
        let image = ports.image_of(&repository, &n.to_string()).await;
        ports.clock.advance(25 * HOUR);
        let put = ports.put(&repository, &image, &[]);
        let (put, collected) = race(n % 2 == 0, put, collect(&database)).await;
        let gone: HashSet<String> = collected.into_iter().collect();
        match put {
            Ok(()) => {
                for reference in &image.references {
                    let blob = ports.links.locate(&repository, reference.digest).await.unwrap();
                    assert!(!gone.contains(&blob.key.to_string()));
                }
                winners.insert("manifest");
            }
            Err(IndexError::ReferencesMissing(_)) => {
                winners.insert("collection");
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(winners.len(), 2, "both orders happened");
}

/// R8: the source of a mount goes away between the check and the link.
#[tokio::test]
async fn r8_a_mount_and_the_unlinking_of_its_source_exclude_each_other() {
    let (ports, database) = fresh_with_database().await;
    let (source, target) = (repository("team/base"), repository("team/app"));
    let mut winners = HashSet::new();
    for n in 0..20 {
        let blob = content(&n.to_string());
        ports.push_blob(&source, &blob).await;
        let located = ports.links.locate(&source, blob.digest).await.unwrap();
        let mount = ports.links.mount(&target, Some(&source), blob.digest);
        let (mounted, unlinked) = race(n % 2 == 0, mount, ports.links.unlink(&source, blob.digest)).await;
        unlinked.unwrap();
        let gone = collect(&database).await;
        let mounted = mounted.unwrap();
        assert_eq!(gone.contains(&located.key.to_string()), !mounted);
        assert_eq!(ports.links.locate(&target, blob.digest).await.is_ok(), mounted);
        winners.insert(mounted);
    }
    assert_eq!(winners.len(), 2, "both orders happened");
}

/// R8: a blob on its way out cannot be mounted, located, confirmed or put into a manifest.
#[tokio::test]
async fn r8_a_condemned_blob_cannot_be_taken_up_again() {
    let (ports, database) = fresh_with_database().await;
    let repository = repository("team/app");
    let image = ports.image_of(&repository, "image").await;
    let layer = content("layer image").digest;
    database.write(Query("UPDATE blob SET state = 'condemned' RETURNING id")).await.unwrap();
    assert!(!ports.links.mount(&self::repository("team/other"), Some(&repository), layer).await.unwrap());
    assert!(matches!(ports.links.locate(&repository, layer).await, Err(IndexError::BlobUnknown(_))));
    ports.clock.advance(20 * HOUR);
    assert!(matches!(ports.links.stat(&repository, layer).await, Err(IndexError::BlobUnknown(_))));
    let put = ports.put(&repository, &image, &["v1"]).await;
    assert!(matches!(put, Err(IndexError::ReferencesMissing(missing)) if missing.len() == 2));
}

/// R9: a manifest is deleted while a tag is pointed at it.
#[tokio::test]
async fn r9_a_tag_never_points_to_a_manifest_that_is_gone() {
    let ports = fresh().await;
    let repository = repository("team/app");
    let mut outcomes = HashSet::new();
    for n in 0..20 {
        let image = ports.push_image(&repository, &n.to_string(), &["old"]).await;
        let put = ports.put(&repository, &image, &["new"]);
        let reference = Reference::Digest(image.digest);
        let delete = ports.manifests.delete_manifest(&repository, &reference);
        let (put, delete) = race(n % 2 == 0, put, delete).await;
        put.unwrap();
        delete.unwrap();
        let exists = manifest_exists(&ports, &repository, image.digest).await;
        assert_eq!(ports.resolve(&repository, "new").await == Some(image.digest), exists);
        assert_eq!(ports.resolve(&repository, "old").await, None);
        outcomes.insert(exists);
        if exists {
            ports.manifests.delete_manifest(&repository, &reference).await.unwrap();
        }
    }
    assert_eq!(outcomes.len(), 2, "both orders happened");
}

/// R10: a manifest is deleted while an index takes it up.
#[tokio::test]
async fn r10_an_index_and_the_deletion_of_its_child_exclude_each_other() {
    let ports = fresh().await;
    let repository = repository("team/app");
    let mut winners = HashSet::new();
    for n in 0..20 {
        let child = ports.push_image(&repository, &n.to_string(), &["child"]).await;
        let index: Manifest = ManifestBuilder::index(std::slice::from_ref(&child)).build();
        let reference = Reference::Digest(child.digest);
        let put = ports.put(&repository, &index, &["v1"]);
        let delete = ports.manifests.delete_manifest(&repository, &reference);
        match race(n % 2 == 0, put, delete).await {
            (Ok(()), Err(IndexError::Referenced { digest, by })) => {
                assert_eq!((digest, by), (child.digest, index.digest));
                assert!(manifest_exists(&ports, &repository, child.digest).await);
                winners.insert("index");
            }
            (Err(IndexError::ReferencesMissing(missing)), Ok(())) => {
                assert_eq!(missing, [child.digest]);
                assert!(!manifest_exists(&ports, &repository, index.digest).await);
                winners.insert("deletion");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(winners.len(), 2, "both orders happened");
}

/// R12: a chunk and the completion of the same session. At most one of them may record what it wrote after the other
/// has begun, and what is recorded is what the blob has.
#[tokio::test]
async fn r12_a_chunk_and_a_completion_never_both_count() {
    let ports = fresh().await;
    let repository = repository("team/app");
    let mut outcomes = HashSet::new();
    for n in 0..40 {
        let blob = content(&n.to_string());
        let id = ports.open(&repository).await;
        let append = ports.uploads.begin_append(&repository, id, Some(0));
        let finish = ports.begin_finish(&repository, id, blob.digest);
        let (append, finish) = race(n % 2 == 0, append, finish).await;
        let saved = async {
            match &append {
                Ok(position) => ports.uploads.save(id, position, 100, "late".into()).await,
                Err(_) => Err(IndexError::UploadBusy),
            }
        };
        let finished = ports.uploads.finish(id, &finish, blob.digest, 2, None);
        let (saved, finished) = race(n / 2 % 2 == 0, saved, finished).await;
        finished.unwrap();
        assert!(saved.is_err(), "a chunk was recorded in a session being completed");
        assert_eq!(ports.links.locate(&repository, blob.digest).await.unwrap().size, 2);
        outcomes.insert(append.is_ok());
    }
    assert_eq!(outcomes.len(), 2, "both orders happened");
}

/// R13: the same digest is pushed again while its old bytes are on their way out.
#[tokio::test]
async fn r13_a_blob_pushed_again_has_bytes_of_its_own() {
    let (ports, database) = fresh_with_database().await;
    let repository = repository("team/app");
    let image = ports.image_of(&repository, "image").await;
    let layer = content("layer image");
    let old = ports.links.locate(&repository, layer.digest).await.unwrap().key;
    ports.links.unlink(&repository, layer.digest).await.unwrap();
    assert_eq!(collect(&database).await, [old.to_string()]);
    ports.push_blob(&repository, &layer).await;
    let new = ports.links.locate(&repository, layer.digest).await.unwrap().key;
    assert_ne!(old, new);
    ports.put(&repository, &image, &["v1"]).await.unwrap();
    ports.clock.advance(100 * HOUR);
    assert_eq!(collect(&database).await, [old.to_string()], "only the old bytes go");
    assert_eq!(ports.links.locate(&repository, layer.digest).await.unwrap().key, new);
}

/// R13 where the link survived: a condemned blob is replaced under it.
#[tokio::test]
async fn r13_a_push_heals_a_link_to_a_condemned_blob() {
    let (ports, database) = fresh_with_database().await;
    let repository = repository("team/app");
    let image = ports.push_image(&repository, "image", &["v1"]).await;
    database.write(Query("UPDATE blob SET state = 'condemned' RETURNING id")).await.unwrap();
    for name in ["config image", "layer image"] {
        assert!(ports.links.locate(&repository, content(name).digest).await.is_err());
        ports.push_blob(&repository, &content(name)).await;
        ports.links.locate(&repository, content(name).digest).await.unwrap();
    }
    ports.put(&repository, &image, &["v1"]).await.unwrap();
    assert_eq!(collect(&database).await.len(), 2);
}

/// A request that was cut off from a dead session may have written after its key was deleted: the key comes back.
#[tokio::test]
async fn bytes_written_after_the_end_of_a_session_are_found() {
    let ports = fresh().await;
    let repository = repository("team/app");
    let digest = content("blob").digest;
    for finishing in [false, true] {
        let id = ports.open(&repository).await;
        let position = if finishing {
            ports.begin_finish(&repository, id, digest).await
        } else {
            ports.uploads.begin_append(&repository, id, None).await.unwrap()
        };
        ports.uploads.release(&repository, id, None, false).await.unwrap();
        let first = ports.garbage.lease(10, HOUR, HOUR).await.unwrap();
        // The worker has deleted; now the stalled request writes, and finds out.
        let late = if finishing {
            ports.uploads.finish(id, &position, digest, 2, None).await
        } else {
            ports.uploads.save(id, &position, 2, "late".into()).await
        };
        assert!(matches!(late, Err(IndexError::UploadUnknown)));
        ports.garbage.acknowledge(&[first[0].id]).await.unwrap();
        ports.clock.advance(2 * HOUR);
        let again = ports.garbage.lease(10, HOUR, 100 * HOUR).await.unwrap();
        assert_eq!(again.iter().map(|item| item.key).collect::<Vec<_>>(), [position.key]);
        ports.garbage.acknowledge(&[again[0].id]).await.unwrap();
    }
}
