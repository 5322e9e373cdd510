//! A fresh index in a directory of its own, and what looks behind its ports.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use entrepot_proto::client::{
    BlobLinksGrpcClient, GarbageQueueGrpcClient, ManifestIndexGrpcClient, UploadIndexGrpcClient,
};
use entrepot_proto::server::Services;
use entrepot_sql::{Database, Row, SqlError, Transaction, Tx, params};
use entrepot_testkit::contract::{Clock, IndexPorts};
use manifest_index::{Index, Options};

pub(crate) const HOUR: Duration = Duration::from_secs(60 * 60);

pub(crate) struct DatabaseClock(pub(crate) Database);

impl Clock for DatabaseClock {
    fn advance(&self, by: Duration) {
        self.0.shift_clock(i64::try_from(by.as_millis()).unwrap());
    }
}

/// The ports of an index.
pub(crate) fn ports(index: &Arc<Index>, database: &Database) -> IndexPorts {
    IndexPorts {
        manifests: Arc::clone(index) as _,
        uploads: Arc::clone(index) as _,
        links: Arc::clone(index) as _,
        garbage: Arc::clone(index) as _,
        clock: Arc::new(DatabaseClock(database.clone())),
    }
}

/// An empty index and its database.
pub(crate) async fn fresh_with_database() -> (IndexPorts, Database) {
    let database = Database::temporary().await.unwrap();
    let index = Arc::new(Index::open(database.clone(), Options::default()).await.unwrap());
    (ports(&index, &database), database)
}

/// The ports of an empty index.
pub(crate) async fn fresh() -> IndexPorts {
    fresh_with_database().await.0
}

/// The ports of an empty index that keeps nothing in memory, as where several processes write.
pub(crate) async fn fresh_uncached() -> IndexPorts {
    let database = Database::temporary().await.unwrap();
    let options = Options { tag_cache_bytes: 0, manifest_cache_bytes: 0 };
    let index = Arc::new(Index::open(database.clone(), options).await.unwrap());
    ports(&index, &database)
}

/// The ports of an empty index, through the remote adapters.
pub(crate) async fn fresh_remote() -> IndexPorts {
    let near = fresh().await;
    let services = Services::new(entrepot_proto::testing::secret())
        .manifest_index(near.manifests)
        .upload_index(near.uploads)
        .blob_links(near.links)
        .garbage_queue(near.garbage);
    let connection = entrepot_proto::testing::connect(services);
    IndexPorts {
        manifests: Arc::new(ManifestIndexGrpcClient::new(&connection)),
        uploads: Arc::new(UploadIndexGrpcClient::new(&connection)),
        links: Arc::new(BlobLinksGrpcClient::new(&connection)),
        garbage: Arc::new(GarbageQueueGrpcClient::new(&connection)),
        clock: near.clock,
    }
}

/// A query of its own.
pub(crate) struct Query(pub(crate) &'static str);

#[async_trait]
impl Transaction for Query {
    type Output = Vec<Row>;
    type Error = SqlError;

    async fn run(&self, tx: &mut dyn Tx) -> Result<Vec<Row>, SqlError> {
        tx.query(self.0, params![]).await
    }
}

/// What collection of garbage will do, as early as its rules allow and for everything at once: links that nothing
/// needs and no lease holds, then blobs without a link, then their bytes. Answers the keys whose bytes are gone.
pub(crate) struct Collect;

#[async_trait]
impl Transaction for Collect {
    type Output = Vec<String>;
    type Error = SqlError;

    async fn run(&self, tx: &mut dyn Tx) -> Result<Vec<String>, SqlError> {
        tx.execute(
            "DELETE FROM link WHERE lease_until < {now} AND NOT EXISTS (
                 SELECT 1 FROM manifest_blob AS needs
                 WHERE needs.tenant = link.tenant AND needs.repository = link.repository AND needs.digest = link.digest)",
            params![],
        )
        .await?;
        tx.execute(
            "UPDATE blob SET state = 'condemned', since = {now}
             WHERE state = 'live' AND NOT EXISTS (SELECT 1 FROM link WHERE link.blob = blob.id)",
            params![],
        )
        .await?;
        tx.execute("UPDATE blob SET state = 'deleting' WHERE state = 'condemned'", params![]).await?;
        let rows = tx.query("SELECT key FROM blob WHERE state = 'deleting'", params![]).await?;
        rows.iter().map(|row| row.get("key")).collect()
    }
}
