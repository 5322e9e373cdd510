//! The contract of the port, over every driver and over the remote adapter.

use std::sync::Arc;

use async_trait::async_trait;
use blob_store::Blobs;
use entrepot_core::ports::BlobStore;
use entrepot_core::ports::blobs::{Appended, BlobError, BlobSource, ByteStream, WriterPosition};
use entrepot_core::{Digest, Page, PageOf, StorageKey};
use entrepot_object::testing::s3_server::S3Server;
use entrepot_object::{ObjectStore, S3Options, S3Store};
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

/// Reads what a bucket holds, which the port only says the address of.
struct Fetching {
    blobs: Blobs,
    objects: S3Store,
}

#[async_trait]
impl BlobStore for Fetching {
    async fn append(&self, position: WriterPosition, body: ByteStream) -> Result<Appended, BlobError> {
        self.blobs.append(position, body).await
    }

    async fn seal(&self, position: WriterPosition, body: ByteStream, expected: Digest) -> Result<u64, BlobError> {
        self.blobs.seal(position, body, expected).await
    }

    async fn open(&self, key: StorageKey) -> Result<BlobSource, BlobError> {
        let source = self.blobs.open(key).await?;
        assert!(matches!(source, BlobSource::Url { .. }), "{source:?}");
        let read = self.objects.open(&key.to_string().parse().unwrap()).await.unwrap();
        Ok(BlobSource::Memory(entrepot_object::contract::fetch(&read).await.unwrap().into()))
    }

    async fn delete(&self, key: StorageKey) -> Result<(), BlobError> {
        self.blobs.delete(key).await
    }

    async fn list(&self, page: Page) -> Result<PageOf<StorageKey>, BlobError> {
        self.blobs.list(page).await
    }
}

/// Small parts, so that nearly every blob of the suite has many.
async fn in_bucket() -> BlobPorts {
    let server = S3Server::start(50_000).await.unwrap();
    let objects = S3Store::new(&S3Options { part_size: 50_000, ..server.options(None) }).await;
    let blobs = Blobs::new(Arc::new(objects.clone()));
    let near = Arc::new(Fetching { blobs: blobs.clone(), objects });
    BlobPorts { blobs: Arc::new(blobs), near, keep: Arc::new(server) }
}

#[tokio::test]
async fn in_a_bucket() {
    blobs::all(in_bucket).await;
}
