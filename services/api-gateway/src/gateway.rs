//! The gateway and the way of a request through it.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use entrepot_core::ports::notices::{Notice, Notices};
use entrepot_core::ports::{BlobLinks, BlobStore, ManifestIndex, RateBudget, TokenService, UploadIndex};
use entrepot_runtime::shutdown::Drain;
use futures_util::StreamExt;
use http::header::{AUTHORIZATION, HeaderName};
use http::request::Parts;
use http::{HeaderValue, Method, Response};

use crate::admission::{self, Admission, Ask, Rates};
use crate::auth::Authenticator;
use crate::caches::Caches;
use crate::config::{GatewayConfig, SegmentSize};
use crate::connector::Connector;
use crate::error::ApiError;
use crate::handlers;
use crate::host::PublicUrl;
use crate::lookups::Lookups;
use crate::query::Query;
use crate::redirect::RedirectPolicy;
use crate::room::Room;
use crate::route::Route;
use crate::source::DataClient;

/// The ports a gateway works through, local or remote.
#[derive(Clone)]
pub struct Ports {
    /// Manifests and tags.
    pub manifests: Arc<dyn ManifestIndex>,
    /// Upload sessions.
    pub uploads: Arc<dyn UploadIndex>,
    /// Links of repositories to blobs.
    pub links: Arc<dyn BlobLinks>,
    /// Bytes.
    pub blobs: Arc<dyn BlobStore>,
    /// Tokens and credentials.
    pub tokens: Arc<dyn TokenService>,
    /// Hints to and from other processes.
    pub notices: Arc<dyn Notices>,
    /// What may be asked for in a time, shared with other processes where that is possible.
    pub budget: Arc<dyn RateBudget>,
}

/// The OCI Distribution API over the [`Ports`]. Cheap to clone.
#[derive(Clone)]
pub struct Gateway(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) ports: Ports,
    pub(crate) auth: Authenticator,
    pub(crate) caches: Caches,
    pub(crate) lookups: Lookups,
    pub(crate) data: DataClient,
    pub(crate) redirects: RedirectPolicy,
    /// From [`GatewayConfig::public_url`].
    pub(crate) public: Option<PublicUrl>,
    pub(crate) admission: Admission,
    pub(crate) rates: Rates,
    pub(crate) manifest_room: Room,
    pub(crate) segment: SegmentSize,
    pub(crate) drain: Drain,
}

impl Gateway {
    /// A gateway over `ports`. While `drain` runs, no new upload is started.
    pub fn new(config: &GatewayConfig, ports: Ports, drain: Drain) -> Self {
        let auth = Authenticator::new(config, Arc::clone(&ports.tokens));
        let caches = Caches::new();
        let rates = Rates::new(config.rates, Arc::clone(&ports.budget));
        let lookups = Lookups::new(Arc::clone(&ports.manifests), Arc::clone(&ports.links), caches.clone());
        Self(Arc::new(Inner {
            ports,
            auth,
            caches,
            lookups,
            data: DataClient::new(Connector::new(config.data_tls.clone())),
            redirects: config.pull.clone(),
            public: config.public_url.as_deref().and_then(PublicUrl::parse),
            admission: Admission::new(config.limits),
            rates,
            manifest_room: Room::new(),
            segment: config.segment,
            drain,
        }))
    }

    /// Hears what other processes tell, for as long as it runs. Without it a deletion or a change of rights elsewhere
    /// counts here some seconds later.
    pub async fn listen(self) {
        let mut notices = self.0.ports.notices.subscribe();
        while let Some(notice) = notices.next().await {
            self.0.hear(notice);
        }
    }

    /// Every path below `/v2`; other paths are answered with 404 in the OCI error format.
    pub fn router(&self) -> Router {
        Router::new().fallback(answer).with_state(self.clone())
    }

    /// Puts another router of the same port, such as the token endpoint's, under the limit of requests in flight.
    pub fn admit(&self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(self.clone(), look_up))
    }

    /// Keeps the metrics of what is in flight up to date. Runs for ever.
    pub async fn report_load(&self) {
        self.0.admission.report().await;
    }
}

async fn look_up(State(gateway): State<Gateway>, request: Request, next: Next) -> Response<Body> {
    match gateway.0.admission.admit(Ask::LOOK_UP).await {
        Ok(_permit) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

impl Inner {
    fn hear(&self, notice: Notice) {
        match notice {
            Notice::ManifestDeleted(repository, digest) => self.caches.manifests.forget(&(repository, digest)),
            Notice::BlobDeleted(repository, digest) => self.caches.forget_blob(&(repository, digest)),
            Notice::RightsChanged => self.auth.rights_changed(),
            Notice::Missed => {
                self.caches.doubt();
                self.auth.rights_changed();
            }
            Notice::GarbageQueued => {}
        }
    }
}

async fn answer(State(gateway): State<Gateway>, request: Request) -> Response<Body> {
    let method = request.method().clone();
    let mut response = match dispatch(&gateway, request).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    };
    let status = response.status().as_str().to_owned();
    metrics::counter!("entrepot_http_requests_total", "method" => label(&method), "status" => status).increment(1);
    // Clients of the first generation tell a v2 registry by this header.
    const VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
    response.headers_mut().insert(VERSION, HeaderValue::from_static("registry/2.0"));
    response
}

/// Unknown methods share a label, so that a client cannot make new ones.
fn label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

async fn dispatch(gateway: &Gateway, request: Request) -> Result<Response<Body>, ApiError> {
    let (parts, body) = request.into_parts();
    let route = Route::parse(parts.uri.path()).ok_or_else(ApiError::not_found)??;
    if !route.allowed().contains(&parts.method) {
        return Err(ApiError::method(route.allowed()));
    }
    let repository = route.repository().cloned();
    serve(gateway, &parts, route, body)
        .await
        .inspect_err(|error| error.log_denial(repository.as_ref(), parts.headers.contains_key(AUTHORIZATION)))
}

async fn serve(gateway: &Gateway, parts: &Parts, route: Route, body: Body) -> Result<Response<Body>, ApiError> {
    let length = http_body::Body::size_hint(&body).exact();
    let permit = gateway.0.admission.admit(Ask::new(&route, &parts.method, length)).await?;
    let query = Query::parse(parts.uri.query());
    let call = handlers::Call { gateway: &gateway.0, parts, query: &query, permit: Mutex::new(Some(permit)) };
    let response = handle(&call, route, body).await?;
    match call.take_permit() {
        Some(permit) => admission::keep(permit, response),
        None => Ok(response),
    }
}

async fn handle(call: &handlers::Call<'_>, route: Route, body: Body) -> Result<Response<Body>, ApiError> {
    match (route, &call.parts.method) {
        (Route::Base, _) => handlers::base::get(call).await,
        (Route::Catalog, _) => handlers::catalog::get(call).await,
        (Route::Tags(name), _) => handlers::tags::list(call, &name).await,
        (Route::Referrers(name, digest), _) => handlers::referrers::list(call, &name, digest).await,
        (Route::Manifest(name, reference), &Method::PUT) => {
            handlers::manifests::put(call, &name, &reference, body).await
        }
        (Route::Manifest(name, reference), &Method::DELETE) => {
            handlers::manifests::delete(call, &name, &reference).await
        }
        (Route::Manifest(name, reference), _) => handlers::manifests::get(call, &name, &reference).await,
        (Route::Blob(name, digest), &Method::DELETE) => handlers::blobs::delete(call, &name, digest).await,
        (Route::Blob(name, digest), &Method::HEAD) => handlers::blobs::head(call, &name, digest).await,
        (Route::Blob(name, digest), _) => handlers::blobs::get(call, &name, digest).await,
        (Route::Uploads(name), _) => handlers::uploads::post(call, &name, body).await,
        (Route::Upload(name, id), &Method::PATCH) => handlers::uploads::patch(call, &name, id, body).await,
        (Route::Upload(name, id), &Method::PUT) => handlers::uploads::put(call, &name, id, body).await,
        (Route::Upload(name, id), &Method::DELETE) => handlers::uploads::cancel(call, &name, id).await,
        (Route::Upload(name, id), _) => handlers::uploads::status(call, &name, id).await,
    }
}
