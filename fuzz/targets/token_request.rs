//! Whatever is asked at the token endpoint, the answer is JSON, and nobody gets a token for credentials that failed.
#![no_main]

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use auth_token::token_routes;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Uri, header};
use entrepot_core::ports::auth::{Authorized, Credentials, IssuedToken, RightsChanges, TokenRequest};
use entrepot_core::ports::{AuthError, TokenService};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_current_thread().build().unwrap());
static ROUTES: LazyLock<Router> = LazyLock::new(|| token_routes(Arc::new(Accounts)));

/// Knows one account, and one that tried too often.
struct Accounts;

#[async_trait]
impl TokenService for Accounts {
    /// The token is the name it is for.
    async fn issue(&self, request: TokenRequest) -> Result<IssuedToken, AuthError> {
        let resources: HashSet<_> = request.scopes.iter().map(|scope| &scope.resource).collect();
        assert_eq!(resources.len(), request.scopes.len(), "one scope for a resource");
        assert_ne!(request.service.as_deref(), Some(""));
        let name = match request.credentials {
            Credentials::Anonymous => "anonymous",
            Credentials::Password { name, .. } if name == "slow" => {
                return Err(AuthError::TooManyAttempts { retry_after: Duration::ZERO });
            }
            Credentials::Password { name, password } if name == "alice" && password == "secret" => "alice",
            Credentials::Refresh(token) if token == "again" => "alice",
            Credentials::Password { .. } | Credentials::Refresh(_) => return Err(AuthError::InvalidCredentials),
        };
        Ok(IssuedToken {
            token: name.to_owned(),
            expires_in: Duration::from_secs(300),
            issued_at: 1_800_000_000,
            refresh_token: request.offline.then(|| "again".to_owned()),
        })
    }

    async fn authorize(&self, _: TokenRequest) -> Result<Authorized, AuthError> {
        panic!("the token endpoint issues tokens and nothing else");
    }

    async fn changes(&self, _: u64) -> Result<RightsChanges, AuthError> {
        panic!("the token endpoint asks for no changes");
    }

    async fn key_set(&self) -> Result<String, AuthError> {
        Ok(r#"{"keys":[]}"#.to_owned())
    }
}

// A digit for the request, a line for `Authorization`, then the query or the form.
fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else { return };
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let (authorization, parameters) = (&rest[..end], rest.get(end + 1..).unwrap_or_default());
    let form = kind % 3 == 1;
    let request = match kind % 3 {
        0 => {
            let Ok(uri) = Uri::try_from([b"/token?", parameters].concat()) else { return };
            Request::get(uri).body(Body::empty())
        }
        1 => Request::post("/token")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(parameters.to_vec())),
        _ => Request::get("/token/jwks.json").body(Body::empty()),
    };
    let mut request = request.unwrap();
    if !authorization.is_empty() {
        let Ok(value) = HeaderValue::from_bytes(authorization) else { return };
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    RUNTIME.block_on(async {
        let Ok(response) = ROUTES.clone().oneshot(request).await;
        let (parts, body) = response.into_parts();
        let body = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let has = |name| parts.headers.contains_key(name);
        if kind % 3 == 2 {
            assert!(parts.status == 200 && body["keys"].is_array());
            return;
        }
        assert_eq!(parts.headers[header::CONTENT_TYPE], "application/json");
        assert_eq!(parts.headers[header::CACHE_CONTROL], "no-store");
        match parts.status.as_u16() {
            200 => {
                assert_eq!(body["token"], body["access_token"]);
                assert_eq!(body["issued_at"], "2027-01-15T08:00:00Z");
                assert!(body["token"] == "alice" || (authorization.is_empty() && !form));
            }
            status => {
                assert!(matches!(status, 400 | 401 | 429), "{status}");
                assert_eq!((status == 401, status == 429), (has(header::WWW_AUTHENTICATE), has(header::RETRY_AFTER)));
                let error = &body["errors"][0];
                assert!(error["code"].is_string() && error["message"].is_string());
            }
        }
    });
});
