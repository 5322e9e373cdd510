//! What a write leaves behind that no port shows: reviews, history, leases, and how little is written.

use entrepot_core::ErrorKind;
use entrepot_core::Reference;
use entrepot_core::error::Classify;
use entrepot_sql::Database;
use entrepot_testkit::builders::{ManifestBuilder, content};
use entrepot_testkit::contract::{by_tag, repository};
use manifest_index::LEASE;

use crate::support::{HOUR, Query, fresh_with_database};

/// The pending reviews as `kind name`, where a name stands for a digest; cleared by reading.
async fn reviews(database: &Database, names: &[(&str, entrepot_core::Digest)]) -> Vec<String> {
    let rows = database.write(Query("DELETE FROM gc_review RETURNING kind, digest")).await.unwrap();
    let mut reviews: Vec<String> = rows
        .iter()
        .map(|row| {
            let digest: bytes::Bytes = row.get("digest").unwrap();
            let name = names.iter().find(|(_, known)| digest[1..] == *known.raw()).map_or("?", |(name, _)| *name);
            format!("{} {name}", row.get::<&str>("kind").unwrap())
        })
        .collect();
    reviews.sort();
    reviews
}

#[tokio::test]
async fn every_edge_that_goes_away_is_reviewed() {
    let (ports, database) = fresh_with_database().await;
    let repository = repository("team/app");
    let image = ports.image_of(&repository, "image").await;
    let index = ManifestBuilder::index(std::slice::from_ref(&image)).build();
    let signature = ManifestBuilder::image(&content("config image"), &[]).subject(image.digest).build();
    let (config, layer) = (content("config image").digest, content("layer image").digest);
    let names = [
        ("image", image.digest),
        ("index", index.digest),
        ("signature", signature.digest),
        ("config", config),
        ("layer", layer),
    ];
    let reviews = || reviews(&database, &names);
    assert_eq!(reviews().await, ["link config", "link layer"], "links that only a lease holds");

    ports.put(&repository, &image, &[]).await.unwrap();
    assert_eq!(reviews().await, ["manifest image"], "a manifest that nothing holds");
    ports.put(&repository, &image, &["v1", "v2"]).await.unwrap();
    ports.put(&repository, &index, &["v2"]).await.unwrap();
    assert_eq!(reviews().await, ["manifest image"], "it lost v2");
    ports.put(&repository, &index, &["v2"]).await.unwrap();
    ports.put(&repository, &signature, &["sig"]).await.unwrap();
    assert_eq!(reviews().await, [""; 0]);

    ports.manifests.delete_manifest(&repository, &by_tag("v1")).await.unwrap();
    assert_eq!(reviews().await, ["manifest image"]);
    ports.manifests.delete_manifest(&repository, &Reference::Digest(index.digest)).await.unwrap();
    assert_eq!(reviews().await, ["manifest image"], "it lost its parent");
    ports.manifests.delete_manifest(&repository, &Reference::Digest(image.digest)).await.unwrap();
    assert_eq!(reviews().await, ["link config", "link layer", "manifest signature"]);
    ports.links.unlink(&repository, layer).await.unwrap();
    assert_eq!(reviews().await, ["blob layer"]);
    let other = self::repository("team/other");
    assert!(ports.links.mount(&other, Some(&repository), config).await.unwrap());
    assert_eq!(reviews().await, ["link config"]);
}

#[tokio::test]
async fn a_refused_change_leaves_nothing() {
    let (ports, database) = fresh_with_database().await;
    let repository = repository("team/app");
    let image = ports.push_image(&repository, "image", &["v1"]).await;
    let index = ManifestBuilder::index(std::slice::from_ref(&image)).build();
    ports.put(&repository, &index, &["v2"]).await.unwrap();
    reviews(&database, &[]).await;
    ports.manifests.delete_manifest(&repository, &Reference::Digest(image.digest)).await.unwrap_err();
    ports.links.unlink(&repository, content("layer image").digest).await.unwrap_err();
    assert_eq!(reviews(&database, &[]).await, [""; 0]);
}

#[tokio::test]
async fn every_change_of_a_tag_is_in_its_history() {
    let (ports, database) = fresh_with_database().await;
    let repository = repository("team/app");
    let one = ports.push_image(&repository, "one", &["v1", "other"]).await;
    let two = ports.push_image(&repository, "two", &["v1"]).await;
    ports.put(&repository, &two, &["v1"]).await.unwrap();
    ports.manifests.delete_manifest(&repository, &by_tag("v1")).await.unwrap();
    ports.put(&repository, &one, &["v1"]).await.unwrap();
    ports.manifests.delete_manifest(&repository, &Reference::Digest(one.digest)).await.unwrap();
    let rows = database
        .read(Query(
            "SELECT version, digest, changed_at > 0 AS dated FROM tag_history WHERE name = 'v1' ORDER BY version",
        ))
        .await
        .unwrap();
    let history: Vec<(i64, Option<bytes::Bytes>)> =
        rows.iter().map(|row| (row.get("version").unwrap(), row.get("digest").unwrap())).collect();
    let stored = |manifest: &entrepot_core::Manifest| Some([&[1], manifest.digest.raw()].concat().into());
    assert_eq!(history, [(1, stored(&one)), (2, stored(&two)), (3, None), (4, stored(&one)), (5, None)]);
    assert!(rows.iter().all(|row| row.get("dated").unwrap()));
}

#[tokio::test]
async fn head_writes_only_when_half_of_the_lease_is_gone() {
    let (ports, database) = fresh_with_database().await;
    let repository = repository("team/app");
    let blob = content("blob");
    ports.push_blob(&repository, &blob).await;
    let left = async || {
        let row = database.read(Query("SELECT lease_until - {now} AS left FROM link")).await.unwrap();
        u64::try_from(row[0].get::<i64>("left").unwrap()).unwrap()
    };
    let writes = async || {
        let before = database.stats().transactions;
        ports.links.stat(&repository, blob.digest).await.unwrap();
        database.stats().transactions - before
    };
    let lease = LEASE.as_millis() as u64;
    ports.clock.advance(LEASE / 2 - HOUR / 60);
    assert_eq!(writes().await, 0);
    ports.clock.advance(HOUR / 30);
    assert!(left().await < lease / 2);
    assert_eq!(writes().await, 1);
    assert!(left().await > lease - 60_000);
    assert_eq!(writes().await, 0);
    ports.links.locate(&repository, blob.digest).await.unwrap();
}

#[cfg(not(feature = "postgres-tests"))]
#[tokio::test]
async fn a_full_disk_is_said_so_and_undone() {
    let directory = tempfile::tempdir().unwrap();
    let database = entrepot_sql::SqliteOptions::new(directory.path().join("index.db")).max_pages(120).open().unwrap();
    let index = std::sync::Arc::new(
        manifest_index::Index::open(database.clone(), manifest_index::Options::default()).await.unwrap(),
    );
    let ports = crate::support::ports(&index, &database);
    let repository = repository("team/app");
    let first = ports.push_image(&repository, "first", &["v1"]).await;
    let config = content("config first");
    let mut refused = 0;
    for n in 0..8 {
        let large = ManifestBuilder::image(&config, &[]).annotation("n", &n.to_string().repeat(100 << 10)).build();
        if let Err(error) = ports.put(&repository, &large, &["v1"]).await {
            assert_eq!(error.kind(), ErrorKind::NoSpace, "{error:?}");
            assert!(ports.manifests.get_manifest(&repository, large.digest).await.is_err());
            refused += 1;
        }
    }
    assert!(refused > 0);
    ports.put(&repository, &first, &["v1"]).await.unwrap();
    assert_eq!(ports.resolve(&repository, "v1").await, Some(first.digest));
}

#[tokio::test]
async fn writes_are_remembered_for_as_long_as_they_can_be_in_doubt() {
    let (ports, database) = fresh_with_database().await;
    let repository = repository("team/app");
    ports.push_image(&repository, "old", &["v1"]).await;
    let known = async || {
        ports.garbage.lease(1, HOUR, 24 * HOUR).await.unwrap();
        database.read(Query("SELECT done_at FROM operation")).await.unwrap().len()
    };
    assert_eq!(known().await, 1);
    ports.clock.advance(HOUR / 12);
    ports.push_image(&repository, "new", &["v1"]).await;
    assert_eq!(known().await, 2);
    ports.clock.advance(HOUR / 8);
    assert_eq!(known().await, 1);
    ports.clock.advance(HOUR / 8);
    assert_eq!(known().await, 0);
}

#[tokio::test]
async fn a_closed_database_is_unavailable() {
    let (ports, database) = fresh_with_database().await;
    let repository = repository("team/app");
    let image = ports.push_image(&repository, "image", &["v1"]).await;
    database.close().await.unwrap();
    let kinds = [
        ports.put(&repository, &image, &["v2"]).await.unwrap_err().kind(),
        ports.links.stat(&repository, content("layer image").digest).await.unwrap_err().kind(),
    ];
    assert_eq!(kinds, [ErrorKind::Unavailable; 2]);
}

/// The row of lost bytes stands for nothing from then on, and collection finds it through its review.
#[tokio::test]
async fn replaced_bytes_are_left_to_collection() {
    let (ports, database) = fresh_with_database().await;
    let (mine, other) = (repository("team/app"), repository("rival/app"));
    let blob = content("blob");
    ports.push_blob(&other, &blob).await;
    let gone = ports.links.locate(&other, blob.digest).await.unwrap().key;
    database.write(Query("DELETE FROM gc_review")).await.unwrap();
    let id = ports.open(&mine).await;
    let position = ports.begin_finish(&mine, id, blob.digest).await;
    ports.uploads.finish(id, &position, blob.digest, 4, Some(gone)).await.unwrap();
    assert_eq!(reviews(&database, &[("blob", blob.digest)]).await, ["blob blob", "link blob"]);
    let rows = database.read(Query("SELECT key, state FROM blob ORDER BY state")).await.unwrap();
    let rows: Vec<_> =
        rows.iter().map(|row| (row.get::<&str>("key").unwrap(), row.get::<&str>("state").unwrap())).collect();
    assert_eq!(rows, [(gone.to_string().as_str(), "condemned"), (position.key.to_string().as_str(), "live")]);
}
