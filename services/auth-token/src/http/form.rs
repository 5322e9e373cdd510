//! What clients send to the token endpoint.

use axum::http::HeaderValue;
use base64::{Engine, engine::general_purpose::STANDARD};
use entrepot_core::{
    Scope,
    ports::{
        AuthError,
        auth::{Credentials, TokenRequest},
    },
};

type Pairs = [(String, String)];

/// `GET /token`: who asks is said by Basic authentication alone; `account` is only a hint.
pub(super) fn from_query(pairs: &Pairs, authorization: Option<&HeaderValue>) -> Result<TokenRequest, AuthError> {
    let credentials = authorization.map_or(Ok(Credentials::Anonymous), basic)?;
    let offline = value(pairs, "offline_token").is_some_and(|value| value == "true" || value == "1");
    Ok(request(pairs, credentials, offline))
}

/// `POST /token`: an OAuth2 form.
pub(super) fn from_form(pairs: &Pairs) -> Result<TokenRequest, AuthError> {
    let required = |name| {
        let missing = || AuthError::InvalidRequest(format!("the form lacks {name}"));
        value(pairs, name).map(str::to_owned).ok_or_else(missing)
    };
    let credentials = match required("grant_type")?.as_str() {
        "password" => Credentials::Password { name: required("username")?, password: required("password")? },
        "refresh_token" => Credentials::Refresh(required("refresh_token")?),
        _ => return Err(AuthError::InvalidRequest("grant_type must be password or refresh_token".into())),
    };
    Ok(request(pairs, credentials, value(pairs, "access_type") == Some("offline")))
}

fn request(pairs: &Pairs, credentials: Credentials, offline: bool) -> TokenRequest {
    let service = value(pairs, "service").filter(|service| !service.is_empty()).map(str::to_owned);
    TokenRequest { credentials, service, scopes: scopes(pairs), offline, peer: None }
}

/// All scopes of all `scope` parameters. Those that this registry does not know are left out: a client that also
/// works with other registries asks for them, and must get the rest.
fn scopes(pairs: &Pairs) -> Vec<Scope> {
    let values = pairs.iter().filter(|(name, _)| name == "scope").flat_map(|(_, value)| value.split_whitespace());
    let mut scopes: Vec<Scope> = Vec::new();
    for scope in values.filter_map(|value| value.parse::<Scope>().ok()) {
        match scopes.iter_mut().find(|known| known.resource == scope.resource) {
            Some(known) => known.actions = known.actions.union(scope.actions),
            None => scopes.push(scope),
        }
    }
    scopes
}

/// `Authorization: Basic` (RFC 7617). Anything else was meant as a proof of identity and is none.
fn basic(header: &HeaderValue) -> Result<Credentials, AuthError> {
    let parse = || {
        let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
        let decoded = STANDARD.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
        let (name, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
        Some(Credentials::Password { name: name.to_owned(), password: password.to_owned() })
    };
    parse().ok_or(AuthError::InvalidCredentials)
}

fn value<'p>(pairs: &'p Pairs, name: &str) -> Option<&'p str> {
    pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}
