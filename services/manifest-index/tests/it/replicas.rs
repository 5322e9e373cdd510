//! Several processes on one database: a caller cannot tell which of them answers.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use entrepot_sql::testing::{Pauses, Tampering};
use entrepot_sql::{Database, Row, SqlError, Transaction, Tx, params};
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

/// Ends every session on a schema but the one that asks.
struct EndSessions(String);

#[async_trait]
impl Transaction for EndSessions {
    type Output = Vec<Row>;
    type Error = SqlError;

    async fn run(&self, tx: &mut dyn Tx) -> Result<Vec<Row>, SqlError> {
        tx.query(
            "SELECT pg_terminate_backend(pid) AS ended FROM pg_stat_activity
             WHERE application_name = $1 AND pid <> pg_backend_pid()",
            params![&self.0],
        )
        .await
    }
}

/// Connections are cut before each statement and inside the commit of a push: it answers as if nothing had happened.
#[tokio::test]
async fn a_push_whose_connection_is_cut_anywhere_is_settled() {
    let database = Database::temporary().await.unwrap();
    let pauses = Pauses::default();
    let replica = database.replica(Tampering { pauses: Some(pauses.clone()), ..Tampering::default() });
    let index = Arc::new(Index::open(replica.clone(), Options::UNCACHED).await.unwrap());
    let ports = ports(&index, &replica);
    let repository = repository("team/app");
    for statement in 0.. {
        let image = ports.image_of(&repository, &statement.to_string()).await;
        pauses.begin(Some(statement));
        let put = tokio::spawn({
            let (ports, repository, image) = (ports.clone(), repository.clone(), image.clone());
            async move { ports.put(&repository, &image, &["v1"]).await }
        });
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while !pauses.is_holding() && !put.is_finished() {
            assert!(tokio::time::Instant::now() < deadline, "the push neither stops nor ends");
            tokio::task::yield_now().await;
        }
        let ended = put.is_finished();
        database.write(EndSessions(database.schema_name())).await.unwrap();
        pauses.begin(None);
        put.await.unwrap().unwrap();
        assert_eq!(ports.resolve(&repository, "v1").await, Some(image.digest), "cut before statement {statement}");
        if ended {
            assert!(statement > 5, "the push took {statement} statements");
            return;
        }
    }
}
