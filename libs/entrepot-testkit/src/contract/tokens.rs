//! The contract of [`TokenService`].

use std::sync::Arc;
use std::time::Duration;

use entrepot_core::ports::auth::{AuthError, Credentials, TokenRequest, TokenService};
use entrepot_core::{Actions, Principal, Scope};

use super::{refused, run};

/// One auth-token in mode `managed`.
#[derive(Clone)]
pub struct TokenPorts {
    /// What is under test.
    pub tokens: Arc<dyn TokenService>,
    /// The service that tokens are for.
    pub service: String,
    /// Password of the user `alice`, who may pull `team/*` and push `team/app`. Nobody else exists, and the anonymous may
    /// pull `public/*`.
    pub password: String,
}

/// Runs every case on ports of its own.
pub async fn all(fresh: impl AsyncFn() -> TokenPorts) {
    run!(
        fresh,
        granted_is_requested_and_allowed,
        nothing_granted_is_no_error,
        nobody_learns_who_exists,
        a_token_of_its_own_service_only,
        refresh_tokens_are_for_those_who_ask_and_have_a_name,
        keys_are_published,
    );
}

impl TokenPorts {
    fn request(&self, credentials: Credentials, scopes: &[&str]) -> TokenRequest {
        TokenRequest {
            credentials,
            service: Some(self.service.clone()),
            scopes: scopes.iter().map(|scope| scope.parse().unwrap()).collect(),
            offline: false,
            peer: None,
        }
    }

    fn alice(&self) -> Credentials {
        Credentials::Password { name: "alice".into(), password: self.password.clone() }
    }

    /// Who the caller is, and what of each scope it gets.
    async fn authorized(&self, credentials: Credentials, scopes: &[&str]) -> (Principal, Vec<Scope>) {
        let authorized = self.tokens.authorize(self.request(credentials, scopes)).await.unwrap();
        (authorized.principal, authorized.granted)
    }
}

/// The scope with none of its actions: asked for, and not granted.
fn denied(scope: &str) -> Scope {
    Scope { actions: Actions::NONE, ..scope.parse().unwrap() }
}

async fn granted_is_requested_and_allowed(ports: &TokenPorts) {
    let asked = ["repository:team/app:pull,push,delete", "repository:team/b:pull,push", "repository:other/c:pull"];
    let expected =
        ["repository:team/app:pull,push".parse().unwrap(), "repository:team/b:pull".parse().unwrap(), denied(asked[2])];
    let alice = Principal::User("alice".into());
    assert_eq!(ports.authorized(ports.alice(), &asked).await, (alice.clone(), expected.to_vec()));
    let one = ["repository:team/app:pull"];
    assert_eq!(
        ports.authorized(ports.alice(), &one).await,
        (alice, vec![one[0].parse().unwrap()]),
        "no more than asked"
    );
}

async fn nothing_granted_is_no_error(ports: &TokenPorts) {
    let asked = ["repository:team/app:pull"];
    let (principal, granted) = ports.authorized(Credentials::Anonymous, &asked).await;
    assert_eq!((principal, granted), (Principal::Anonymous, vec![denied(asked[0])]));
    let issued = ports.tokens.issue(ports.request(Credentials::Anonymous, &asked)).await.unwrap();
    assert!(!issued.token.is_empty() && issued.expires_in > Duration::ZERO);
    let public = ["repository:public/tool:pull"];
    assert_eq!(ports.authorized(Credentials::Anonymous, &public).await.1, [public[0].parse().unwrap()]);
}

async fn nobody_learns_who_exists(ports: &TokenPorts) {
    for (name, password) in [("alice", "wrong"), ("nobody", "wrong"), ("alice", ""), ("", &ports.password)] {
        let credentials = Credentials::Password { name: name.into(), password: password.into() };
        let request = ports.request(credentials, &[]);
        refused!(ports.tokens.authorize(request.clone()).await, AuthError::InvalidCredentials);
        refused!(ports.tokens.issue(request).await, AuthError::InvalidCredentials);
    }
    let forged = ports.request(Credentials::Refresh("made up".into()), &[]);
    refused!(ports.tokens.issue(forged).await, AuthError::InvalidCredentials);
}

async fn a_token_of_its_own_service_only(ports: &TokenPorts) {
    let request = TokenRequest { service: Some("elsewhere.test".into()), ..ports.request(ports.alice(), &[]) };
    refused!(ports.tokens.issue(request).await, AuthError::InvalidRequest(_));
}

async fn refresh_tokens_are_for_those_who_ask_and_have_a_name(ports: &TokenPorts) {
    let scopes = ["repository:team/app:push"];
    let plain = ports.tokens.issue(ports.request(ports.alice(), &scopes)).await.unwrap();
    assert_eq!(plain.refresh_token, None);
    let anonymous = TokenRequest { offline: true, ..ports.request(Credentials::Anonymous, &scopes) };
    assert_eq!(ports.tokens.issue(anonymous).await.unwrap().refresh_token, None);
    let offline = TokenRequest { offline: true, ..ports.request(ports.alice(), &scopes) };
    let refresh = ports.tokens.issue(offline).await.unwrap().refresh_token.unwrap();
    let again = ports.request(Credentials::Refresh(refresh), &scopes);
    assert!(!ports.tokens.issue(again).await.unwrap().token.is_empty());
}

async fn keys_are_published(ports: &TokenPorts) {
    let set: serde_json::Value = serde_json::from_str(&ports.tokens.key_set().await.unwrap()).unwrap();
    let keys = set["keys"].as_array().unwrap();
    assert!(!keys.is_empty());
    for key in keys {
        assert_eq!(
            (key["kty"].as_str(), key["crv"].as_str(), key["alg"].as_str()),
            (Some("EC"), Some("P-256"), Some("ES256"))
        );
        assert!(key.get("d").is_none(), "a private key is published");
    }
}
