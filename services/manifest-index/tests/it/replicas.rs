//! Several processes on one database: a caller cannot tell which of them answers.

use std::sync::Arc;

use entrepot_sql::Database;
use entrepot_sql::testing::Tampering;
use entrepot_testkit::contract::{self, IndexPorts, repository};
use manifest_index::{Index, Options};

use crate::support::ports;

/// Ports that are each another process's.
async fn fresh_replicas() -> IndexPorts {
    let database = Database::temporary().await.unwrap();
    let mut processes = Vec::new();
    for _ in 0..4 {
        let replica = database.replica(Tampering::default());
        let index = Arc::new(Index::open(replica.clone(), Options::UNCACHED).await.unwrap());
        processes.push(ports(&index, &replica));
    }
    IndexPorts {
        manifests: processes[0].manifests.clone(),
        uploads: processes[1].uploads.clone(),
        links: processes[2].links.clone(),
        garbage: processes[3].garbage.clone(),
        clock: processes[0].clock.clone(),
    }
}

#[tokio::test]
async fn manifests() {
    contract::index::all(fresh_replicas).await;
}

#[tokio::test]
async fn links() {
    contract::links::all(fresh_replicas).await;
}

#[tokio::test]
async fn garbage() {
    contract::garbage::all(fresh_replicas).await;
}

/// A tag that one process acknowledged is what every other answers next.
#[tokio::test]
async fn a_tag_moved_by_one_process_is_seen_by_all() {
    let database = Database::temporary().await.unwrap();
    let mut processes = Vec::new();
    for _ in 0..3 {
        let replica = database.replica(Tampering::default());
        let index = Arc::new(Index::open(replica.clone(), Options::UNCACHED).await.unwrap());
        processes.push(ports(&index, &replica));
    }
    let repository = repository("team/app");
    for round in 0..12 {
        let writer = &processes[round % 3];
        let image = writer.push_image(&repository, &round.to_string(), &["v1"]).await;
        for reader in &processes {
            assert_eq!(reader.resolve(&repository, "v1").await, Some(image.digest));
        }
    }
}
