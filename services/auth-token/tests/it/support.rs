//! A registry's auth-token on its own database, and requests to its endpoint.

use std::{net::SocketAddr, sync::Arc};

use auth_token::{Admin, Auth, AuthConfig, Mode, token_routes};
use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode, header},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use entrepot_core::{Scope, ports::TokenService};
use entrepot_sql::Database;
use entrepot_token::{Grant, KeySet, Verifier};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

pub(crate) const SERVICE: &str = "registry.test";
pub(crate) const PASSWORD: &str = "correct horse";

pub(crate) struct Registry {
    pub(crate) database: Database,
    pub(crate) auth: Auth,
    pub(crate) admin: Admin,
    router: Router,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn text(&self, member: &str) -> String {
        self.json()[member].as_str().unwrap_or_else(|| panic!("no {member} in {}", self.body)).to_owned()
    }

    /// The OCI error code, after checking the shape of the body.
    pub(crate) fn code(&self) -> String {
        let error = &self.json()["errors"][0];
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()));
        error["code"].as_str().unwrap().to_owned()
    }
}

impl Registry {
    /// A registry with a user `alice` and nothing granted.
    pub(crate) async fn managed() -> Self {
        let registry = Self::open(Database::temporary().await.unwrap(), Mode::Managed).await;
        registry.admin.add_user("alice", PASSWORD).await.unwrap();
        registry
    }

    pub(crate) async fn open(database: Database, mode: Mode) -> Self {
        let auth = Auth::open(database.clone(), AuthConfig::new(mode, SERVICE)).await.unwrap();
        let admin = Admin::open(database.clone()).await.unwrap();
        let router = token_routes(Arc::new(auth.clone()));
        Self { database, auth, admin, router }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    /// `GET /token?query`, with Basic credentials where given.
    pub(crate) async fn get(&self, query: &str, credentials: Option<(&str, &str)>) -> Answer {
        self.send(get(query, credentials).body(Body::empty()).unwrap()).await
    }

    /// As [`get`](Self::get), from this address.
    pub(crate) async fn get_from(&self, peer: &str, query: &str, credentials: (&str, &str)) -> Answer {
        let address: SocketAddr = peer.parse().unwrap();
        self.send(get(query, Some(credentials)).extension(address).body(Body::empty()).unwrap()).await
    }

    /// `POST /token` with a form.
    pub(crate) async fn post(&self, form: &str) -> Answer {
        self.send(post(form)).await
    }

    /// As [`post`](Self::post), from this address.
    pub(crate) async fn post_from(&self, peer: &str, form: &str) -> Answer {
        let mut request = post(form);
        request.extensions_mut().insert(peer.parse::<SocketAddr>().unwrap());
        self.send(request).await
    }

    /// What the token in this answer says, verified with the published keys.
    pub(crate) async fn verify(&self, answer: &Answer) -> Grant {
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let keys = KeySet::from_json(&self.auth.key_set().await.unwrap()).unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        Grant::clone(&*Verifier::new(SERVICE, keys).verify(&answer.text("token"), now).unwrap())
    }

    /// The scopes that a `GET` with these credentials is granted, without those that allow nothing.
    pub(crate) async fn granted(&self, query: &str, credentials: Option<(&str, &str)>) -> Vec<String> {
        let grant = self.verify(&self.get(query, credentials).await).await;
        allowed(&grant).iter().map(ToString::to_string).collect()
    }
}

/// The scopes that allow something.
pub(crate) fn allowed(grant: &Grant) -> Vec<Scope> {
    grant.scopes.iter().filter(|scope| !scope.actions.is_empty()).cloned().collect()
}

fn get(query: &str, credentials: Option<(&str, &str)>) -> axum::http::request::Builder {
    let request = Request::get(format!("/token?{query}"));
    match credentials {
        Some((name, password)) => {
            let encoded = STANDARD.encode(format!("{name}:{password}"));
            request.header(header::AUTHORIZATION, format!("Basic {encoded}"))
        }
        None => request,
    }
}

fn post(form: &str) -> Request<Body> {
    let request = Request::post("/token").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    request.body(Body::from(form.to_owned())).unwrap()
}
