//! Bodies that nobody reads for the moment, beside everything else on the same connection.

use std::future;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

use async_trait::async_trait;
use bytes::Bytes;
use entrepot_core::ports::blobs::{Appended, BlobError, BlobSource, BlobStore, ByteStream, WriterPosition};
use entrepot_core::{Algorithm, Digest, Page, PageOf, StorageKey};
use entrepot_proto::client::{BlobStoreGrpcClient, Connection, Endpoint};
use entrepot_proto::server::Services;
use entrepot_proto::testing;
use entrepot_runtime::admin::Readiness;
use entrepot_runtime::listen;
use entrepot_runtime::serve::{ServeOptions, Server};
use entrepot_runtime::shutdown::{Drain, DrainConfig};
use futures_util::{StreamExt, stream};

use crate::fakes::PlainUrls;
use crate::{poll, replicas};

/// Leaves the bodies of first epochs unread, as a store does that waits for memory.
#[derive(Default)]
struct Waiting {
    bodies: AtomicUsize,
}

#[async_trait]
impl BlobStore for Waiting {
    async fn append(&self, position: WriterPosition, body: ByteStream) -> Result<Appended, BlobError> {
        if position.epoch == 1 {
            self.bodies.fetch_add(1, SeqCst);
            let _unread = body;
            return future::pending().await;
        }
        let offset = body.fold(0, async |offset, chunk| offset + chunk.unwrap().len() as u64).await;
        Ok(Appended { offset, state: Bytes::new() })
    }

    async fn seal(&self, _: WriterPosition, _: ByteStream, _: Digest) -> Result<u64, BlobError> {
        Err(BlobError::NotFound)
    }

    async fn open(&self, key: StorageKey) -> Result<BlobSource, BlobError> {
        Ok(BlobSource::Url { url: format!("http://data/{key}"), size: 1 })
    }

    async fn delete(&self, _: StorageKey) -> Result<(), BlobError> {
        Ok(())
    }

    async fn list(&self, _: Page) -> Result<PageOf<StorageKey>, BlobError> {
        Ok(PageOf { items: Vec::new(), next: None })
    }
}

fn position(epoch: u64) -> WriterPosition {
    let key = StorageKey::random();
    WriterPosition { key, algorithm: Algorithm::Sha256, epoch, offset: 0, state: Bytes::new() }
}

/// Chunks without end, and the bytes that were taken of them.
fn endless(taken: &Arc<AtomicU64>) -> ByteStream {
    const CHUNK: &[u8] = &[0; 64 << 10];
    let taken = Arc::clone(taken);
    let next = move || {
        taken.fetch_add(CHUNK.len() as u64, SeqCst);
        Ok(Bytes::from_static(CHUNK))
    };
    stream::repeat_with(next).boxed()
}

/// Forty uploads wait in the store until no window lets another byte through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_wait_stop_nothing_else() {
    const UPLOADS: usize = 40;
    let store = Arc::<Waiting>::default();
    let drain = Drain::new(DrainConfig::IMMEDIATE);
    let listeners = listen::bind(&[(Ipv4Addr::LOCALHOST, 0).into()]).unwrap();
    let endpoint: Endpoint = format!("http://{}", listeners[0].local_addr().unwrap()).parse().unwrap();
    let services = Services::new(testing::secret())
        .blob_store(store.clone(), Arc::new(PlainUrls))
        .health(Readiness::new(drain.clone()));
    tokio::spawn(Server::new(ServeOptions::between_services(), drain).serve(listeners, services.into_router()));
    let client = Arc::new(BlobStoreGrpcClient::new(&Connection::open(&replicas::config([endpoint])).unwrap()));

    let taken: Vec<_> = (0..UPLOADS).map(|_| Arc::<AtomicU64>::default()).collect();
    for taken in &taken {
        let (client, body) = (Arc::clone(&client), endless(taken));
        tokio::spawn(async move { client.append(position(1), body).await });
    }
    poll("every upload has begun", || store.bodies.load(SeqCst) == UPLOADS).await;
    let window = u64::from(ServeOptions::between_services().h2_stream_window);
    poll("every window is full", || taken.iter().all(|taken| taken.load(SeqCst) >= window)).await;

    let opened = tokio::time::timeout(replicas::DEADLINE, client.open(StorageKey::random())).await;
    assert!(matches!(opened, Ok(Ok(_))), "{opened:?}");
    // And a body that is read, larger than any window.
    let body = stream::iter((0..256).map(|_| Ok(Bytes::from_static(&[0; 64 << 10])))).boxed();
    let appended = tokio::time::timeout(replicas::DEADLINE, client.append(position(2), body)).await;
    assert!(matches!(&appended, Ok(Ok(appended)) if appended.offset == 16 << 20), "{appended:?}");
    // Meanwhile no more was taken of each than a window, what the sender keeps ready, and a chunk or two.
    let most = taken.iter().map(|taken| taken.load(SeqCst)).max();
    assert!(most <= Some(2 << 20), "{most:?} bytes were taken");
}
