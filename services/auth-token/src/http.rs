//! The token endpoint (Docker token specification and its OAuth2 form).
//!
//! The address of the client is taken from a `SocketAddr` in the request's extensions, if there is one.

mod answer;
mod form;

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Extension, Form, Router,
    extract::{DefaultBodyLimit, Query, State, rejection::FormRejection, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
    routing::get,
};
use entrepot_core::ports::{AuthError, TokenService, auth::TokenRequest};

use self::answer::{Refused, log_denial, token};

/// Parameters in the order sent; `scope` may come many times.
type Pairs = Vec<(String, String)>;
type Service = State<Arc<dyn TokenService>>;
type Peer = Option<Extension<SocketAddr>>;

/// More than any client sends.
const MAX_BODY: usize = 64 * 1024;

/// `GET` and `POST /token`, and `GET /token/jwks.json`.
pub fn token_routes(service: Arc<dyn TokenService>) -> Router {
    Router::new()
        .route("/token", get(by_query).post(by_form))
        .route("/token/jwks.json", get(key_set))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(service)
}

async fn by_query(
    State(service): Service,
    peer: Peer,
    headers: HeaderMap,
    query: Result<Query<Pairs>, QueryRejection>,
) -> Response {
    let request = match query {
        Ok(Query(pairs)) => form::from_query(&pairs, headers.get(header::AUTHORIZATION)),
        Err(_) => Err(AuthError::InvalidRequest("the query cannot be read".into())),
    };
    answer(&*service, request, peer).await
}

async fn by_form(State(service): Service, peer: Peer, body: Result<Form<Pairs>, FormRejection>) -> Response {
    let request = match body {
        Ok(Form(pairs)) => form::from_form(&pairs),
        Err(_) => Err(AuthError::InvalidRequest("the body is not a form of at most 64 KiB".into())),
    };
    answer(&*service, request, peer).await
}

async fn answer(service: &dyn TokenService, request: Result<TokenRequest, AuthError>, peer: Peer) -> Response {
    let client = peer.map(|Extension(address)| address.ip());
    let mut account = None;
    let issued = match request {
        Ok(mut request) => {
            account = request.credentials.account().map(str::to_owned);
            request.peer = client;
            service.issue(request).await
        }
        Err(error) => Err(error),
    };
    let refused = |error: AuthError| {
        log_denial(&error, account.as_deref(), client);
        Refused(error)
    };
    issued.map(|issued| token(&issued)).map_err(refused).into_response()
}

async fn key_set(State(service): Service) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=60")),
    ];
    service.key_set().await.map(|keys| (headers, keys)).map_err(Refused).into_response()
}
