//! Server adapters: each offers an implementation of a port to peers.

mod auth;
mod blob;
mod garbage;
mod health;
mod index;
mod links;
mod uploads;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use entrepot_core::StorageKey;
use entrepot_core::ports::auth::TokenService;
use entrepot_core::ports::blobs::BlobStore;
use entrepot_core::ports::garbage::GarbageQueue;
use entrepot_core::ports::index::ManifestIndex;
use entrepot_core::ports::uploads::{BlobLinks, UploadIndex};
use entrepot_runtime::admin::Readiness;
use entrepot_runtime::telemetry::{RemoteTrace, in_trace};
use http::header::AUTHORIZATION;
use tonic::Status;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic_health::pb::health_server::HealthServer;
use tracing::Span;

use crate::deadline;
use crate::pb;
use crate::secret::InternalSecret;

/// The message of the status that refuses a caller; the client adapters look for it.
pub(crate) const WRONG_SECRET: &str = "the internal secret is missing or wrong";

/// Makes the URLs under which peers read bytes from blob-store's data port.
pub trait SignUrl: Send + Sync + 'static {
    /// An absolute URL for GET of the object under `key`, `size` bytes long, valid for a limited time.
    fn sign_url(&self, key: StorageKey, size: u64) -> String;
}

/// The ports one process offers to its peers.
#[derive(Clone, Debug)]
pub struct Services {
    secret: InternalSecret,
    routes: Routes,
}

impl Services {
    /// No port yet; callers will have to present `secret`.
    pub fn new(secret: InternalSecret) -> Self {
        Self { secret, routes: Routes::default() }
    }

    /// Offers `store`. Peers read its objects through the URLs of `signer`.
    #[must_use]
    pub fn blob_store(self, store: Arc<dyn BlobStore>, signer: Arc<dyn SignUrl>) -> Self {
        let service = pb::blob::v1::blob_store_server::BlobStoreServer::new(blob::Server { store, signer })
            .max_decoding_message_size(crate::MAX_MESSAGE_BYTES)
            .max_encoding_message_size(crate::MAX_MESSAGE_BYTES);
        Self { routes: self.routes.add_service(service), ..self }
    }

    /// Offers `index`.
    #[must_use]
    pub fn manifest_index(self, index: Arc<dyn ManifestIndex>) -> Self {
        let service = pb::index::v1::manifest_index_server::ManifestIndexServer::new(index::Server { index })
            .max_decoding_message_size(crate::MAX_MESSAGE_BYTES)
            .max_encoding_message_size(crate::MAX_MESSAGE_BYTES);
        Self { routes: self.routes.add_service(service), ..self }
    }

    /// Offers `uploads`.
    #[must_use]
    pub fn upload_index(self, uploads: Arc<dyn UploadIndex>) -> Self {
        let service = pb::index::v1::upload_index_server::UploadIndexServer::new(uploads::Server { uploads })
            .max_decoding_message_size(crate::MAX_MESSAGE_BYTES)
            .max_encoding_message_size(crate::MAX_MESSAGE_BYTES);
        Self { routes: self.routes.add_service(service), ..self }
    }

    /// Offers `links`.
    #[must_use]
    pub fn blob_links(self, links: Arc<dyn BlobLinks>) -> Self {
        let service = pb::index::v1::blob_links_server::BlobLinksServer::new(links::Server { links });
        Self { routes: self.routes.add_service(service), ..self }
    }

    /// Offers `queue`.
    #[must_use]
    pub fn garbage_queue(self, queue: Arc<dyn GarbageQueue>) -> Self {
        let service = pb::gc::v1::garbage_queue_server::GarbageQueueServer::new(garbage::Server { queue });
        Self { routes: self.routes.add_service(service), ..self }
    }

    /// Offers `tokens`.
    #[must_use]
    pub fn token_service(self, tokens: Arc<dyn TokenService>) -> Self {
        let service = pb::auth::v1::token_service_server::TokenServiceServer::new(auth::Server { tokens });
        Self { routes: self.routes.add_service(service), ..self }
    }

    /// Offers the standard health service (`grpc.health.v1`) over `readiness`, for probes, which know no secret, and for
    /// clients, which leave a replica that says it drains.
    #[must_use]
    pub fn health(self, readiness: Readiness) -> Self {
        let service = HealthServer::new(health::Server { readiness });
        Self { routes: self.routes.add_service(service), ..self }
    }

    /// The router to serve over HTTP/2. A call without the secret is refused before its body is read, and one whose
    /// caller has given up is dropped.
    pub fn into_router(self) -> Router {
        self.routes.into_axum_router().layer(middleware::from_fn_with_state(self.secret, admit))
    }
}

async fn admit(State(secret): State<InternalSecret>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if is_health(path) {
        return next.run(request).await;
    }
    if !secret.admits(request.headers().get(AUTHORIZATION)) {
        tracing::warn!(rpc.path = path, "refused a call: {WRONG_SECRET}");
        return Status::unauthenticated(WRONG_SECRET).into_http::<Body>();
    }
    let trace = RemoteTrace::from_headers(request.headers());
    let path = path.to_owned();
    let limit = deadline::get(request.headers());
    let answer = in_trace(&trace, move || span(path.trim_start_matches('/')), next.run(request));
    match limit {
        None => answer.await,
        Some(limit) => tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| {
            let status = Status::deadline_exceeded("the caller has given up");
            status.into_http::<Body>()
        }),
    }
}

fn is_health(path: &str) -> bool {
    const NAME: &str = <HealthServer<health::Server> as NamedService>::NAME;
    path.strip_prefix('/').and_then(|path| path.strip_prefix(NAME)).is_some_and(|rest| rest.starts_with('/'))
}

/// A span for the call of `name`, `package.Service/Method`.
fn span(name: &str) -> Span {
    let (service, method) = name.split_once('/').unwrap_or((name, ""));
    tracing::info_span!(
        "rpc",
        otel.name = name,
        otel.kind = "server",
        rpc.system = "grpc",
        rpc.service = service,
        rpc.method = method,
    )
}
