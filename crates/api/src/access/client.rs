//! Which client sent a request: its peer, or, behind a proxy that is trusted, whom that one names.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

/// Whose word on clients is taken, and in which header.
#[derive(Debug, Clone)]
pub struct Proxies {
    /// The networks that trusted proxies are in.
    pub trusted: Vec<IpNet>,
    /// The header in which they name the client; others are anybody's word.
    pub header: HeaderName,
}

impl Default for Proxies {
    fn default() -> Self {
        Self {
            trusted: Vec::new(),
            header: HeaderName::from_static("x-forwarded-for"),
        }
    }
}

impl Proxies {
    fn trust(&self, address: IpAddr) -> bool {
        self.trusted
            .iter()
            .any(|network| network.contains(&address))
    }

    /// The client of a request from a peer: the last address in the header that is no trusted proxy's. What a
    /// client wrote into it itself is before that, and is nobody's business.
    pub(crate) fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.ip().to_canonical();
        let lists = headers.get_all(&self.header).iter();
        let lists: Vec<_> = lists.filter_map(|list| list.to_str().ok()).collect();
        let mut hops = lists.iter().rev().flat_map(|list| list.rsplit(','));
        while self.trust(client) {
            match hops.next().and_then(named) {
                Some(address) => client = address,
                None => break,
            }
        }
        client
    }
}

/// The address in a part of a header: bare, with a port, or as `for=` of RFC 7239.
fn named(part: &str) -> Option<IpAddr> {
    let part = part.trim();
    let pair = part.split(';').find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("for").then_some(value)
    });
    let text = pair.unwrap_or(part).trim_matches('"');
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let address = IpAddr::from_str(bare);
    let address = address.or_else(|_| SocketAddr::from_str(text).map(|address| address.ip()));
    address.ok().map(|address| address.to_canonical())
}

/// What limits are kept by: an address, or the network of a customer where addresses are plenty (RFC 6177).
pub(crate) fn limited(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn client(header: &'static str, peer: &str, values: &[&str]) -> String {
        let proxies = Proxies {
            trusted: vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
            header: HeaderName::from_static(header),
        };
        let mut headers = HeaderMap::new();
        for value in values {
            let value = HeaderValue::from_str(value).unwrap();
            headers.append(HeaderName::from_static(header), value);
        }
        proxies.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn a_header_counts_from_trusted_proxies_alone_and_from_its_end() {
        let forwarded = |peer, values: &[&str]| client("x-forwarded-for", peer, values);
        assert_eq!(forwarded("9.9.9.9:1", &["1.1.1.1"]), "9.9.9.9");
        assert_eq!(forwarded("10.0.0.1:1", &[]), "10.0.0.1");
        assert_eq!(forwarded("10.0.0.1:1", &["6.6.6.6, 2.2.2.2"]), "2.2.2.2");
        assert_eq!(forwarded("10.0.0.1:1", &["2.2.2.2, 10.0.0.2"]), "2.2.2.2");
        assert_eq!(forwarded("10.0.0.1:1", &["2.2.2.2", "3.3.3.3"]), "3.3.3.3");
        assert_eq!(forwarded("10.0.0.1:1", &["2.2.2.2:8080"]), "2.2.2.2");
        assert_eq!(forwarded("10.0.0.1:1", &["2.2.2.2, junk"]), "10.0.0.1");
        assert_eq!(forwarded("[::1]:1", &["2001:db8::7"]), "2001:db8::7");
        assert_eq!(forwarded("[::ffff:10.0.0.1]:1", &["2.2.2.2"]), "2.2.2.2");
    }

    #[test]
    fn the_standard_header_is_read_where_it_is_named() {
        let forwarded = |value| client("forwarded", "10.0.0.1:1", &[value]);
        assert_eq!(forwarded("for=2.2.2.2;proto=https"), "2.2.2.2");
        assert_eq!(
            forwarded("for=1.1.1.1, For=\"[2001:db8::7]:99\""),
            "2001:db8::7"
        );
        assert_eq!(forwarded("proto=https"), "10.0.0.1");
    }

    #[test]
    fn a_customer_with_many_addresses_is_one() {
        let limited = |text: &str| limited(text.parse().unwrap()).to_string();
        assert_eq!(limited("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(limited("2.2.2.2"), "2.2.2.2");
    }
}
