//! Every driver and decorator passes the suite.

use std::sync::Arc;

use entrepot_object::testing::FaultStore;
use entrepot_object::{MemoryStore, contract};

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
