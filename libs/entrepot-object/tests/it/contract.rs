//! Every driver and decorator passes the suite.

use std::sync::Arc;

use entrepot_object::testing::FaultStore;
use entrepot_object::testing::s3_server::S3Server;
use entrepot_object::{MemoryStore, S3Options, S3Store, contract};

use crate::support::open;

#[tokio::test]
async fn memory() {
    contract::all(&MemoryStore::default()).await;
}

#[tokio::test]
async fn filesystem() {
    let dir = tempfile::tempdir().unwrap();
    contract::all(&open(dir.path())).await;
}

#[tokio::test]
async fn filesystem_in_a_directory_that_has_been_used() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    contract::all(&open(&dir.path().join("deeper/still"))).await;
}

#[tokio::test]
async fn the_fault_decorator_passes_everything_on() {
    let (store, _faults) = FaultStore::new(Arc::new(MemoryStore::default()));
    contract::all(&store).await;
}

#[tokio::test]
async fn s3_with_parts_larger_than_objects() {
    let server = S3Server::start(5 << 20).await.unwrap();
    contract::all(&S3Store::new(&server.options(None)).await).await;
    assert_eq!(server.uploads(), [""; 0]);
}

#[tokio::test]
async fn s3_with_objects_of_many_parts() {
    let server = S3Server::start(2).await.unwrap();
    let options = S3Options { part_size: 2, prefix: "below/".to_owned(), ..server.options(None) };
    contract::all(&S3Store::new(&options).await).await;
    assert_eq!(server.uploads(), [""; 0]);
}
