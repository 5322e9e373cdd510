//! Who is sent to the storage for a blob instead of getting it through the gateway.

use std::net::IpAddr;

use entrepot_core::range::Selection;
use entrepot_runtime::network::Networks;
use http::Uri;

/// Which clients are redirected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirects {
    /// Every client: all of them reach the storage.
    Always,
    /// A client outside the internal networks, to storage outside them.
    ExternalOnly,
    /// Nobody.
    Never,
}

/// What is smaller than this is answered here whatever the settings: probes of `bytes=0-1` look whether ranges are served.
const LEAST: u64 = 3;

/// Who asks for a blob.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client<'a> {
    /// Where it is, if that is known.
    pub(crate) address: Option<IpAddr>,
    /// Hosts under which it may know this registry; nobody is redirected who does not say one.
    pub(crate) registry: &'a [&'a str],
    /// Whether it speaks TLS to the registry.
    pub(crate) tls: bool,
}

/// Decides whether a blob is answered with a redirect (307).
///
/// A redirect to what the client cannot reach is a failed pull, while bytes through the gateway only cost the gateway
/// something. So between `Always` and `Never` both ends must be in the open: the client, since one inside may have no
/// way out, and the storage, since one outside has no way in.
#[derive(Clone, Debug)]
pub struct RedirectPolicy {
    /// Which clients.
    pub redirects: Redirects,
    /// Networks that are inside.
    pub internal_networks: Networks,
    /// Domains that are inside, besides names without a dot; `svc` stands for all that ends in `.svc`.
    pub internal_domains: Vec<String>,
    /// What is smaller comes from the gateway: the redirect would take longer than the bytes.
    pub min_bytes: u64,
}

impl RedirectPolicy {
    /// Domains that no public name ends with (RFC 6761, 6762, 8375, and those of clusters).
    pub const INTERNAL_DOMAINS: [&'static str; 6] = ["local", "localhost", "internal", "home.arpa", "lan", "svc"];

    /// True when `client` may fetch `selection` of a blob of `size` bytes from `url` itself.
    ///
    /// Never several ranges: storage answers those with the whole object or not at all. Never to the host that the client
    /// asked or one below it: there clients keep their credentials, which are none of the storage's business and which
    /// S3 answers with 400. Never from TLS to plain HTTP: regctl, for one, refuses to go there.
    pub(crate) fn applies(&self, client: &Client<'_>, url: &str, selection: &Selection, size: u64) -> bool {
        let bytes = match selection {
            Selection::Whole => size,
            Selection::Single(range) => range.len(),
            Selection::Multiple(_) | Selection::Unsatisfiable => return false,
        };
        if bytes < self.min_bytes.max(LEAST) {
            return false;
        }
        let Ok(url) = url.parse::<Uri>() else { return false };
        let Some(host) = url.host().map(normal) else { return false };
        let own = |registry: &&str| is_at_or_below(&host, &normal(registry));
        if client.registry.is_empty() || client.registry.iter().any(own) {
            return false;
        }
        let tls = url.scheme_str() == Some("https");
        if client.tls && !tls {
            return false;
        }
        match self.redirects {
            Redirects::Never => false,
            Redirects::Always => true,
            Redirects::ExternalOnly => {
                client.address.is_some_and(|client| !self.internal_networks.contains(client))
                    && tls
                    && self.is_external(&host)
            }
        }
    }

    /// Storage in the open is under a name or an address that is not inside.
    fn is_external(&self, host: &str) -> bool {
        if let Ok(address) = host.parse::<IpAddr>() {
            return !self.internal_networks.contains(address);
        }
        host.contains('.') && !self.internal_domains.iter().any(|domain| is_at_or_below(host, &normal(domain)))
    }
}

/// A host without brackets, the dots around it, and differences of case.
fn normal(host: &str) -> String {
    host.trim_matches(['[', ']', '.']).to_ascii_lowercase()
}

fn is_at_or_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use entrepot_core::range::ByteRange;

    use super::*;

    const S3: &str = "https://images.s3.eu-central-1.amazonaws.com/data/ab/x?X-Amz-Signature=1";
    const OUTSIDE: &str = "203.0.113.9";

    fn policy(redirects: Redirects) -> RedirectPolicy {
        RedirectPolicy {
            redirects,
            internal_networks: Networks::new(Networks::private()),
            internal_domains: RedirectPolicy::INTERNAL_DOMAINS.iter().map(ToString::to_string).collect(),
            min_bytes: 1000,
        }
    }

    fn at(address: &str) -> Client<'static> {
        Client { address: address.parse().ok(), registry: &["registry.example.com"], tls: false }
    }

    fn applies(redirects: Redirects, client: &str, url: &str) -> bool {
        policy(redirects).applies(&at(client), url, &Selection::Whole, 5000)
    }

    #[test]
    fn external_only_takes_both_ends_in_the_open() {
        assert!(applies(Redirects::ExternalOnly, OUTSIDE, S3));
        for inside in ["10.1.2.3", "127.0.0.1", "::1", "fd00::1", "::ffff:192.168.1.1", "nobody"] {
            assert!(!applies(Redirects::ExternalOnly, inside, S3), "{inside}");
        }
        for inside in [
            "http://203.0.113.1:5101/data/ab/x",
            "https://10.0.0.1/x",
            "https://[fd00::1]:9000/x",
            "https://minio:9000/x",
            "https://minio.storage.svc/x",
            "https://minio.storage.svc.cluster.local:9000/x",
            "https://MINIO.Internal./x",
            "https://localhost/x",
            "not a url",
        ] {
            assert!(!applies(Redirects::ExternalOnly, OUTSIDE, inside), "{inside}");
        }
        for outside in ["https://203.0.113.1/x", "https://[2001:db8::1]/x", "https://internal.example.com/x"] {
            assert!(applies(Redirects::ExternalOnly, OUTSIDE, outside), "{outside}");
        }
    }

    #[test]
    fn always_and_never_ask_nobody() {
        assert!(applies(Redirects::Always, "10.0.0.1", "http://minio:9000/x"));
        assert!(applies(Redirects::Always, "unknown", S3));
        assert!(!applies(Redirects::Never, OUTSIDE, S3));
    }

    #[test]
    fn probes_small_parts_and_several_ranges_stay_here() {
        let policy = policy(Redirects::Always);
        let part = |start, end| ByteRange { start, end };
        let applies = |selection, size| policy.applies(&at(OUTSIDE), S3, &selection, size);
        assert!(applies(Selection::Single(part(0, 1000)), 5000));
        assert!(applies(Selection::Single(part(4000, 5000)), 5000));
        assert!(!applies(Selection::Single(part(0, 1)), 5000));
        assert!(!applies(Selection::Single(part(0, 2)), 5000));
        assert!(!applies(Selection::Single(part(0, 999)), 5000));
        assert!(!applies(Selection::Whole, 999));
        assert!(!applies(Selection::Multiple(vec![part(0, 2000), part(3000, 5000)]), 5000));
        assert!(!applies(Selection::Unsatisfiable, 5000));
    }

    #[test]
    fn probes_stay_here_whatever_the_least_size() {
        let policy = RedirectPolicy { min_bytes: 0, ..policy(Redirects::Always) };
        let applies = |selection, size| policy.applies(&at(OUTSIDE), S3, &selection, size);
        for size in 0..3 {
            assert!(!applies(Selection::Whole, size), "{size}");
        }
        assert!(!applies(Selection::Single(ByteRange { start: 0, end: 1 }), 5000));
        assert!(!applies(Selection::Single(ByteRange { start: 0, end: 2 }), 5000));
        assert!(applies(Selection::Single(ByteRange { start: 0, end: 3 }), 5000));
        assert!(applies(Selection::Whole, 3));
    }

    /// Go's clients, and containerd, send `Authorization` on to the same host and to those below it, whatever the port.
    #[test]
    fn nobody_is_sent_where_credentials_go_along() {
        let applies = |registry: &[&str], url: &str| {
            let client = Client { address: OUTSIDE.parse().ok(), registry, tls: false };
            policy(Redirects::Always).applies(&client, url, &Selection::Whole, 5000)
        };
        for (registry, url) in [
            ("registry.example.com", "https://registry.example.com:9000/x"),
            ("Registry.example.com.", "https://s3.REGISTRY.example.com/x"),
            ("example.com", "https://registry.example.com/x"),
            ("127.0.0.1", "http://127.0.0.1:9000/x"),
            ("[::1]", "http://[::1]:9000/x"),
            ("localhost", "http://localhost:9000/x"),
        ] {
            assert!(!applies(&[registry], url), "{registry} {url}");
            assert!(!applies(&["proxied", registry], url), "{registry} {url}");
        }
        for (registry, url) in [
            ("registry.example.com", "https://example.com/x"),
            ("registry.example.com", "https://s3.example.com/x"),
            ("registry.example.com", "https://otherregistry.example.com/x"),
            ("127.0.0.1", "http://127.0.0.2:9000/x"),
        ] {
            assert!(applies(&[registry], url), "{registry} {url}");
        }
        assert!(!applies(&[], S3), "who knows under which name it asked?");
    }

    #[test]
    fn nobody_is_sent_from_tls_to_plain_http() {
        let applies = |tls, url| {
            let client = Client { tls, ..at(OUTSIDE) };
            policy(Redirects::Always).applies(&client, url, &Selection::Whole, 5000)
        };
        assert!(applies(false, "http://minio.example.org/x") && applies(true, "https://minio.example.org/x"));
        assert!(!applies(true, "http://minio.example.org/x"));
    }
}
