//! Who calls, and what the caller may do.
//!
//! In mode `open` everybody may do everything. In mode `managed` a request needs a token that names
//! the repository and the action; without one it gets a challenge, even where an anonymous token
//! would do, since docker sends credentials only after one (it asks for an anonymous token itself
//! when it has none).

mod challenge;
mod keys;
mod rights;

use std::slice::from_ref;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use entrepot_core::ports::AuthError;
use entrepot_core::ports::auth::{Credentials, TokenRequest, TokenService};
use entrepot_core::ports::index::Visibility;
use entrepot_core::{Action, Actions, ErrorKind, OciCode, Principal, RepositoryName, Resource, Scope, UploadId};
use entrepot_runtime::serve::Peer;
use entrepot_token::{Grant, SessionSigner, TokenError};
use http::header::AUTHORIZATION;
use http::request::Parts;

use self::challenge::Challenges;
use self::keys::Keys;
use self::rights::Purpose;
use self::rights::Rights as ChangedRights;
use crate::config::{AccessMode, GatewayConfig};
use crate::error::ApiError;

/// An authenticated caller.
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    rights: Rights,
}

enum Rights {
    Everything,
    Token(Arc<Grant>),
    Scopes(Vec<Scope>),
}

impl Caller {
    /// True when the caller may do `action` on `repository`, as far as this request's credentials tell.
    pub(crate) fn may(&self, repository: &RepositoryName, action: Action) -> bool {
        self.allows(&Resource::Repository(repository.clone()), action)
    }

    fn allows(&self, resource: &Resource, action: Action) -> bool {
        match &self.rights {
            Rights::Everything => true,
            Rights::Token(grant) => grant.allows(resource, action),
            Rights::Scopes(scopes) => {
                scopes.iter().any(|scope| scope.resource.covers(resource) && scope.actions.contains(action))
            }
        }
    }
}

/// Decides about every request.
pub(crate) struct Authenticator {
    mode: AccessMode,
    sessions: SessionSigner,
    keys: Keys,
    changes: Arc<ChangedRights>,
    tokens: Arc<dyn TokenService>,
    challenges: Challenges,
}

impl Authenticator {
    pub(crate) fn new(config: &GatewayConfig, tokens: Arc<dyn TokenService>) -> Self {
        Self {
            mode: config.mode,
            sessions: config.sessions.clone(),
            keys: Keys::new(&config.service, Arc::clone(&tokens)),
            changes: ChangedRights::new(Arc::clone(&tokens)),
            tokens,
            challenges: Challenges::new(config),
        }
    }

    /// Somebody's rights may have changed just now: the next token is checked against a new reading.
    pub(crate) fn rights_changed(&self) {
        self.changes.hint();
    }

    /// Who calls; any valid credentials will do.
    pub(crate) async fn authenticate(&self, parts: &Parts) -> Result<Caller, ApiError> {
        self.caller(parts, None).await
    }

    /// Who calls, provided the caller may do `action` on `repository`.
    pub(crate) async fn authorize(
        &self,
        parts: &Parts,
        repository: &RepositoryName,
        action: Action,
    ) -> Result<Caller, ApiError> {
        if self.mode == AccessMode::Open {
            return Ok(Caller { principal: Principal::Anonymous, rights: Rights::Everything });
        }
        let scope = Scope { resource: Resource::Repository(repository.clone()), actions: wanted(action) };
        let caller = self.caller(parts, Some(&scope)).await?;
        if caller.may(repository, action) { Ok(caller) } else { Err(self.refuse(parts, &caller, &scope, action)) }
    }

    /// Which repositories a listing may show.
    pub(crate) async fn catalog(&self, parts: &Parts) -> Result<Visibility, ApiError> {
        if self.mode == AccessMode::Open {
            return Ok(Visibility::All);
        }
        let scope = Scope { resource: Resource::Catalog, actions: Actions::ALL };
        let caller = self.caller(parts, Some(&scope)).await?;
        if caller.allows(&scope.resource, Action::Pull) {
            return Ok(Visibility::All);
        }
        let readable = readable(&caller);
        // Somebody who has not logged in and sees nothing is asked to: an empty list would look like an empty registry.
        let unknown = caller.principal == Principal::Anonymous && readable.is_empty();
        if covers(&caller, &scope) && !unknown {
            return Ok(Visibility::Only(readable));
        }
        Err(self.refuse(parts, &caller, &scope, Action::Pull))
    }

    /// Whether the caller may read `source` to mount a blob from it into `repository`.
    ///
    /// The right must be in this very token, whatever its owner may do besides. A token that was asked for without the
    /// source gets one challenge for both; afterwards the token says yes or no, and no is never an error.
    pub(crate) fn may_mount(
        &self,
        parts: &Parts,
        caller: &Caller,
        repository: &RepositoryName,
        source: Resource,
    ) -> Result<bool, ApiError> {
        if caller.allows(&source, Action::Pull) {
            return Ok(true);
        }
        let source = Scope { resource: source, actions: wanted(Action::Pull) };
        if covers(caller, &source) {
            return Ok(false);
        }
        let target = Scope { resource: Resource::Repository(repository.clone()), actions: wanted(Action::Push) };
        let message = format!("mounting takes a token that names {} too", source.resource);
        Err(self.challenges.refuse(parts, &[target, source], &message, Some("insufficient_scope")))
    }

    /// The `_sig` of an upload session's `Location`.
    pub(crate) fn sign_session(&self, repository: &RepositoryName, id: UploadId) -> String {
        self.sessions.sign(repository, id)
    }

    /// True when `signature` is that of the session's `Location`: the right to push was checked when it was opened.
    pub(crate) fn is_session(&self, repository: &RepositoryName, id: UploadId, signature: &str) -> bool {
        self.sessions.verify(repository, id, signature)
    }

    async fn caller(&self, parts: &Parts, scope: Option<&Scope>) -> Result<Caller, ApiError> {
        if self.mode == AccessMode::Open {
            return Ok(Caller { principal: Principal::Anonymous, rights: Rights::Everything });
        }
        let challenge =
            |message: &str, error| self.challenges.refuse(parts, scope.map_or(&[], from_ref), message, error);
        let Some(header) = parts.headers.get(AUTHORIZATION) else {
            return Err(challenge(
                "authentication is required; log in, or let the client ask for an anonymous token",
                None,
            ));
        };
        let header = header.to_str().unwrap_or_default();
        let (scheme, credentials) = header.split_once(' ').unwrap_or((header, ""));
        if scheme.eq_ignore_ascii_case("bearer") {
            let grant = match self.keys.verify(credentials.trim(), now()).await? {
                Ok(grant) => grant,
                Err(error) => return Err(challenge(&describe(error), Some("invalid_token"))),
            };
            if !self.changes.check(&grant, purpose(scope)).await? {
                const CHANGED: &str =
                    "the rights of this account have changed since the token was issued; ask for another";
                return Err(challenge(CHANGED, Some("invalid_token")));
            }
            return Ok(Caller { principal: grant.principal.clone(), rights: Rights::Token(grant) });
        }
        match basic(scheme, credentials) {
            Some(credentials) => self.basic(parts, scope, credentials).await,
            None => Err(challenge("the Authorization header is neither Bearer nor Basic", Some("invalid_request"))),
        }
    }

    /// Credentials sent straight to the registry, as `curl -u` does.
    async fn basic(&self, parts: &Parts, scope: Option<&Scope>, credentials: Credentials) -> Result<Caller, ApiError> {
        let peer = parts.extensions.get::<Peer>().map(|peer| peer.address.ip());
        // Everything on the repository is asked for: a mount may need more than this one right.
        let scopes = scope.map(|scope| Scope { actions: Actions::ALL, ..scope.clone() }).into_iter().collect();
        let account = credentials.account().map(str::to_owned);
        let request = TokenRequest { credentials, service: None, scopes, offline: false, peer };
        let refused = match self.tokens.authorize(request).await {
            Ok(authorized) => {
                let rights = Rights::Scopes(authorized.granted);
                return Ok(Caller { principal: authorized.principal, rights });
            }
            Err(error @ AuthError::InvalidCredentials) => {
                self.challenges.refuse(parts, scope.map_or(&[], from_ref), &error.to_string(), None)
            }
            Err(error) => error.into(),
        };
        Err(refused.with_login(account, peer))
    }

    /// Known but not allowed. A caller without credentials is asked for some instead.
    fn refuse(&self, parts: &Parts, caller: &Caller, scope: &Scope, action: Action) -> ApiError {
        let message = format!("{} may not {} {}", caller.principal, action.as_str(), subject(&scope.resource));
        if caller.principal == Principal::Anonymous || !is_denied(caller, scope, action) {
            let refused = self.challenges.refuse(parts, from_ref(scope), &message, Some("insufficient_scope"));
            return refused.with_principal(&caller.principal);
        }
        ApiError::new(ErrorKind::Denied, OciCode::Denied, message).with_principal(&caller.principal)
    }
}

/// What a request that asks for `scope` is about to do.
fn purpose(scope: Option<&Scope>) -> Purpose {
    let writes = |scope: &Scope| scope.actions.contains(Action::Push) || scope.actions.contains(Action::Delete);
    match scope {
        Some(scope) if scope.resource != Resource::Catalog && writes(scope) => Purpose::Write,
        _ => Purpose::Read,
    }
}

/// True when the token says that it was asked for with this right and does not give it. One that was asked for with
/// less does not: a client that holds a token to pull has to learn that it needs another to push or delete.
fn is_denied(caller: &Caller, scope: &Scope, action: Action) -> bool {
    match &caller.rights {
        Rights::Everything | Rights::Scopes(_) => true,
        Rights::Token(grant) => grant.refuses(&scope.resource, action),
    }
}

/// True when the token was asked for with this resource, so that asking again would change nothing.
fn covers(caller: &Caller, scope: &Scope) -> bool {
    match &caller.rights {
        Rights::Everything | Rights::Scopes(_) => true,
        Rights::Token(grant) => grant.scopes.iter().any(|granted| granted.resource == scope.resource),
    }
}

/// The names, and the prefixes ending in `/`, that the caller's credentials let it pull.
fn readable(caller: &Caller) -> Vec<String> {
    let scopes = match &caller.rights {
        Rights::Everything => &[],
        Rights::Token(grant) => grant.scopes.as_slice(),
        Rights::Scopes(scopes) => scopes.as_slice(),
    };
    let readable = scopes.iter().filter(|scope| scope.actions.contains(Action::Pull));
    readable
        .filter_map(|scope| match &scope.resource {
            Resource::Repository(name) => Some(name.to_string()),
            Resource::Tenant(tenant) => Some(format!("{tenant}/")),
            Resource::Catalog => None,
        })
        .collect()
}

/// Clients that push also look at what is there, so a challenge for push asks for both.
fn wanted(action: Action) -> Actions {
    match action {
        Action::Pull => Actions::NONE.with(Action::Pull),
        Action::Push => Actions::NONE.with(Action::Pull).with(Action::Push),
        Action::Delete => Actions::NONE.with(Action::Pull).with(Action::Delete),
    }
}

fn subject(resource: &Resource) -> String {
    match resource {
        Resource::Repository(name) => format!("the repository {name}"),
        Resource::Tenant(tenant) => format!("the repositories of {tenant}"),
        Resource::Catalog => "list the repositories".to_owned(),
    }
}

fn describe(error: TokenError) -> String {
    format!("{error}; log in again")
}

fn basic(scheme: &str, credentials: &str) -> Option<Credentials> {
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    Some(Credentials::Password { name: name.to_owned(), password: password.to_owned() })
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
