//! The contract of the port, over every driver and over the remote adapter.

use std::sync::Arc;

use entrepot_core::StorageKey;
use entrepot_core::ports::BlobStore;
use entrepot_proto::client::BlobStoreGrpcClient;
use entrepot_proto::server::{Services, SignUrl};
use entrepot_testkit::contract::blobs::{self, BlobPorts};

use crate::support::Bed;

struct Unsigned;

impl SignUrl for Unsigned {
    fn sign_url(&self, key: StorageKey, _size: u64) -> String {
        format!("http://blobs.test/{key}")
    }
}

fn near(bed: Bed) -> BlobPorts {
    let blobs: Arc<dyn BlobStore> = Arc::new(bed.blobs.clone());
    BlobPorts { near: Arc::clone(&blobs), blobs, keep: Arc::new(bed) }
}

fn remote(bed: Bed) -> BlobPorts {
    let ports = near(bed);
    let services = Services::new(entrepot_proto::testing::secret());
    let services = services.blob_store(Arc::clone(&ports.near), Arc::new(Unsigned));
    let connection = entrepot_proto::testing::connect(services);
    BlobPorts { blobs: Arc::new(BlobStoreGrpcClient::new(&connection)), ..ports }
}

#[tokio::test]
async fn in_memory() {
    blobs::all(async || near(Bed::memory())).await;
}

#[tokio::test]
async fn on_a_filesystem() {
    blobs::all(async || near(Bed::filesystem())).await;
}

#[tokio::test]
async fn remotely() {
    blobs::all(async || remote(Bed::filesystem())).await;
}
