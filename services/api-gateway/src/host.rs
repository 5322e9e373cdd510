//! Under which name a client knows this registry.

use http::Uri;
use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;

/// Host and port that the client asked: the `Host` header, or `:authority` of HTTP/2.
pub(crate) fn asked(parts: &Parts) -> Option<Authority> {
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    host.or_else(|| parts.uri.authority().map(Authority::as_str))?.parse().ok()
}

/// The host of a URL.
pub(crate) fn of_url(url: &str) -> Option<String> {
    url.parse::<Uri>().ok()?.host().map(str::to_owned)
}
