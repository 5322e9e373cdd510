//! Whatever a peer with the right secret sends, the answer is a gRPC status, and an incomplete
//! body never looks complete to the store.
#![no_main]

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use axum::body::Body;
use axum::http::Request;
use bytes::Bytes;
use entrepot_core::ports::blobs::{Appended, BlobError, BlobSource, BlobStore, ByteStream, WriterPosition};
use entrepot_core::{Digest, Page, PageOf, StorageKey};
use entrepot_proto::{InternalSecret, Services, SignUrl};
use futures_util::StreamExt;
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

const SECRET: &str = "secret-of-the-fuzzer-of-32-letters";
const METHODS: [&str; 5] = ["Append", "Seal", "Open", "Delete", "List"];

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_current_thread().enable_time().build().unwrap());

/// Takes bodies in and answers their length.
struct Lengths;

async fn length(mut body: ByteStream) -> Result<u64, BlobError> {
    let mut length = 0;
    while let Some(chunk) = body.next().await {
        length += chunk.map_err(BlobError::Body)?.len() as u64;
    }
    Ok(length)
}

#[async_trait]
impl BlobStore for Lengths {
    async fn append(&self, position: WriterPosition, body: ByteStream) -> Result<Appended, BlobError> {
        Ok(Appended { offset: length(body).await?, state: position.state })
    }

    async fn seal(&self, _: WriterPosition, body: ByteStream, _: Digest) -> Result<u64, BlobError> {
        length(body).await
    }

    async fn open(&self, key: StorageKey) -> Result<BlobSource, BlobError> {
        Ok(BlobSource::Memory(Bytes::from(key.to_string())))
    }

    async fn delete(&self, _: StorageKey) -> Result<(), BlobError> {
        Err(BlobError::NotFound)
    }

    async fn list(&self, page: Page) -> Result<PageOf<StorageKey>, BlobError> {
        assert!(page.limit <= Page::MAX_LIMIT);
        Ok(PageOf { items: Vec::new(), next: page.after })
    }
}

impl SignUrl for Lengths {
    fn sign_url(&self, key: StorageKey, size: u64) -> String {
        format!("http://data/{key}?{size}")
    }
}

// The first byte chooses the method, the rest are gRPC frames.
fuzz_target!(|data: &[u8]| {
    let Some((method, frames)) = data.split_first() else { return };
    let services = Services::new(InternalSecret::new(SECRET).unwrap()).blob_store(Arc::new(Lengths), Arc::new(Lengths));
    let request =
        Request::post(format!("/entrepot.blob.v1.BlobStore/{}", METHODS[usize::from(*method) % METHODS.len()]))
            .header("content-type", "application/grpc")
            .header("authorization", format!("Bearer {SECRET}"))
            .body(Body::from(Bytes::copy_from_slice(frames)))
            .unwrap();
    RUNTIME.block_on(async {
        let Ok(response) = services.into_router().oneshot(request).await;
        let status = response.headers().get("grpc-status").cloned();
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap();
        assert!(status.is_some() || body.trailers().is_some_and(|trailers| trailers.contains_key("grpc-status")));
    });
});
