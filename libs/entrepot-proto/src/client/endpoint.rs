//! Where a peer is: parsed once, at the edge.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::Uri;
use http::uri::{Authority, Scheme};

/// `http://host:port` or `https://host:port`. The host may be a name with several addresses, each of them a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    scheme: Scheme,
    authority: Authority,
    host: String,
    port: u16,
}

/// Why a text is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an endpoint: {reason}")]
pub struct EndpointError {
    text: String,
    reason: &'static str,
}

impl Endpoint {
    /// Whether it is reached over TLS.
    pub fn is_https(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// The host, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The host, when it is an address and not a name.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    pub(crate) fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let wrong = |reason| EndpointError { text: text.to_owned(), reason };
        let uri: Uri = text.parse().map_err(|_| wrong("it is no URL like http://host:port"))?;
        let parts = uri.into_parts();
        let scheme = parts.scheme.filter(|scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS);
        let scheme = scheme.ok_or_else(|| wrong("it must begin with http:// or https://"))?;
        let authority = parts.authority.ok_or_else(|| wrong("it names no host"))?;
        if parts.path_and_query.is_some_and(|path| path != "/") {
            return Err(wrong("nothing may follow the port"));
        }
        if authority.as_str().contains('@') {
            return Err(wrong("it must not hold a user name"));
        }
        let port = authority.port_u16().filter(|port| *port != 0).ok_or_else(|| wrong("it names no port"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(wrong("it names no host"));
        }
        Ok(Self { scheme, authority, host, port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_a_scheme_a_host_and_a_port() {
        for (text, host, port, https) in [
            ("http://manifest-index:5100", "manifest-index", 5100, false),
            ("https://index.prod.svc.cluster.local:443/", "index.prod.svc.cluster.local", 443, true),
            ("http://127.0.0.1:1", "127.0.0.1", 1, false),
            ("https://[::1]:5100", "::1", 5100, true),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!((endpoint.host(), endpoint.port(), endpoint.is_https()), (host, port, https), "{text}");
            assert_eq!(endpoint.to_string(), text.trim_end_matches('/'));
        }
    }

    #[test]
    fn what_is_no_endpoint_is_told_why() {
        for (text, reason) in [
            ("", "no URL"),
            ("manifest-index:5100", "must begin with http://"),
            ("ftp://host:1", "must begin with http://"),
            ("http://host", "no port"),
            ("http://host:0", "no port"),
            ("http://host:70000", "no"),
            ("http://host:1/path", "nothing may follow"),
            ("http://host:1?x", "nothing may follow"),
            ("http://me@host:1", "user name"),
            ("http://:5100", "no"),
            ("http://a b:1", "no URL"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
