//! Networks of addresses, and the address of a client behind proxies.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, Request};
use ipnet::IpNet;

use crate::config::Field;
use crate::serve::Peer;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Most hops looked at; a longer list is of nobody's making but an attacker's.
const MAX_HOPS: usize = 32;

/// A set of networks such as `10.0.0.0/8`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// These networks.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self(networks.into_iter().collect())
    }

    /// Addresses that are not those of the internet: loopback, private, link-local and shared (RFC 1918, 4193, 6598).
    pub fn private() -> Vec<IpNet> {
        const PRIVATE: [&str; 9] = [
            "127.0.0.0/8",
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "169.254.0.0/16",
            "100.64.0.0/10",
            "::1/128",
            "fc00::/7",
            "fe80::/10",
        ];
        PRIVATE.iter().filter_map(|network| network.parse().ok()).collect()
    }

    /// True when one of the networks has `address`; `::ffff:10.0.0.1` is `10.0.0.1`.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// True without any network.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Field for IpNet {
    const TYPE: &'static str = "network";
    const EXPECTED: &'static str = "a network like 10.0.0.0/8 or fd00::/8, or one address";

    fn parse(text: &str) -> Option<Self> {
        let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?;
        Some(network.trunc())
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

/// Proxies whose word on the client's address counts.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Networks);

impl TrustedProxies {
    /// Proxies in these networks; everybody else speaks for himself.
    pub fn new(networks: Networks) -> Self {
        Self(networks)
    }

    /// Replaces the proxy's address in the request's [`Peer`] by that of the client it speaks for.
    pub fn unmask<B>(&self, request: &mut Request<B>) {
        let Some(peer) = request.extensions().get::<Peer>().copied() else { return };
        let client = self.client(peer.address.ip(), request.headers());
        if client != peer.address.ip() {
            // The port belongs to the proxy's connection.
            let address = SocketAddr::new(client, 0);
            request.extensions_mut().insert(Peer { address, ..peer });
        }
    }

    /// The client of a connection from `peer`: each proxy appends the address it was called from to `X-Forwarded-For`,
    /// so the last one that is no trusted proxy is the last that anybody trusted has seen. What stands before it may
    /// be a forgery.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if !self.0.contains(client) {
            return client;
        }
        let lines: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
        let hops = lines.iter().rev().flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        for hop in hops.take(MAX_HOPS) {
            let Some(address) = std::str::from_utf8(hop).ok().and_then(|hop| address(hop.trim())) else { break };
            client = address.to_canonical();
            if !self.0.contains(client) {
                break;
            }
        }
        client
    }
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies() -> TrustedProxies {
        let networks = ["10.0.0.0/8", "fd00::/8"].map(|network| IpNet::parse(network).unwrap());
        TrustedProxies::new(Networks::new(networks))
    }

    fn client(peer: &str, lines: &[&str]) -> String {
        let lines = lines.iter().map(|line| (FORWARDED_FOR, line.parse().unwrap()));
        proxies().client(peer.parse().unwrap(), &lines.collect()).to_string()
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        assert_eq!(client("192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("::ffff:10.0.0.1", &["::ffff:203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }

    /// Whatever a client writes stands before what the proxies append.
    #[test]
    fn what_a_client_writes_is_not_believed() {
        assert_eq!(client("10.0.0.1", &["127.0.0.1, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &["127.0.0.1", "198.51.100.1, 203.0.113.9, 10.0.0.2"]), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &["10.9.9.9, 203.0.113.9", "10.0.0.2,fd00::2"]), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &["10.0.0.7,10.0.0.2"]), "10.0.0.7", "all of them are ours");
    }

    #[test]
    fn nonsense_ends_the_list() {
        for bad in ["unknown", "", "203.0.113.9.4", "::fffff", "_hidden", "203.0.113.9 203.0.113.10", "[::1"] {
            assert_eq!(client("10.0.0.1", &[&format!("203.0.113.9, {bad},10.0.0.2")]), "10.0.0.2", "{bad:?}");
        }
        let long = vec!["10.0.0.3"; 10_000].join(",");
        assert_eq!(client("10.0.0.1", &[&format!("203.0.113.9,{long}")]), "10.0.0.3");
    }

    #[test]
    fn ports_and_brackets() {
        for (text, expected) in [
            ("203.0.113.9:4711", "203.0.113.9"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
        ] {
            assert_eq!(client("10.0.0.1", &[text]), expected);
        }
    }

    #[test]
    fn a_network_is_an_address_with_or_without_a_length() {
        assert_eq!(IpNet::parse("10.1.2.3/8").map(|network| network.render()), Some("10.0.0.0/8".to_owned()));
        assert_eq!(IpNet::parse("10.1.2.3").map(|network| network.render()), Some("10.1.2.3/32".to_owned()));
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "localhost", "10.0.0.0-10.0.0.9"] {
            assert_eq!(IpNet::parse(bad), None, "{bad}");
        }
        assert_eq!(Networks::private().len(), 9);
    }
}
