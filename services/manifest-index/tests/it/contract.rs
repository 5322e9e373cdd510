//! The contracts of the four ports, over the implementation itself and over its remote adapters.

use entrepot_testkit::contract;

use crate::support::{fresh, fresh_remote, fresh_uncached};

#[tokio::test]
async fn manifests() {
    contract::index::all(fresh).await;
}

#[tokio::test]
async fn manifests_remote() {
    contract::index::all(fresh_remote).await;
}

#[tokio::test]
async fn manifests_uncached() {
    contract::index::all(fresh_uncached).await;
}

#[tokio::test]
async fn uploads() {
    contract::uploads::all(fresh).await;
}

#[tokio::test]
async fn uploads_remote() {
    contract::uploads::all(fresh_remote).await;
}

#[tokio::test]
async fn links() {
    contract::links::all(fresh).await;
}

#[tokio::test]
async fn links_remote() {
    contract::links::all(fresh_remote).await;
}

#[tokio::test]
async fn garbage() {
    contract::garbage::all(fresh).await;
}

#[tokio::test]
async fn garbage_remote() {
    contract::garbage::all(fresh_remote).await;
}
