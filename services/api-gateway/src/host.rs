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

/// What clients see of the registry, whatever stands between.
pub(crate) struct PublicUrl {
    /// Its host.
    pub(crate) host: String,
    /// Whether it is reached over TLS.
    pub(crate) tls: bool,
}

impl PublicUrl {
    /// Reads a URL; `None` where it has no host.
    pub(crate) fn parse(url: &str) -> Option<Self> {
        let url = url.parse::<Uri>().ok()?;
        Some(Self { host: url.host()?.to_owned(), tls: url.scheme_str() == Some("https") })
    }
}
