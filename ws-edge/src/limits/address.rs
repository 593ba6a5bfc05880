//! Whose connection it is, by its address: what proxies say about it, and what counts as one address.
//! Reads: the socket's peer, `X-Forwarded-For`. Writes: nothing.
//! Never: believes a header that no trusted proxy wrote; clients can write any.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

/// Hops that are looked at; honest chains are shorter.
const HOPS_MAX: usize = 32;
/// Somebody with IPv6 has a whole network of this size.
const IPV6_PREFIX: u32 = 64;

/// The client behind trusted proxies: every proxy adds the address that it was called from at the end, so what
/// counts is the last entry that is no trusted proxy; whatever stands before it may be made up.
pub(crate) fn client(headers: &HeaderMap, peer: IpAddr, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |ip: &IpAddr| trusted.iter().any(|network| network.contains(ip));
    let mut nearest = peer.to_canonical();
    let hops = headers.get_all("x-forwarded-for").into_iter().rev().flat_map(|value| {
        // A header that is no text holds no hop that could be believed, nor do those before it.
        value.to_str().unwrap_or("-").rsplit(',')
    });
    for hop in hops.take(HOPS_MAX) {
        if !is_trusted(&nearest) {
            break;
        }
        match parse(hop.trim()) {
            Some(ip) => nearest = ip,
            None => break,
        }
    }
    nearest
}

/// An address as proxies write it: alone, in brackets, or with a port.
fn parse(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(hop);
    let ip = bare.parse().or_else(|_| hop.parse::<SocketAddr>().map(|address| address.ip()));
    ip.ok().map(|ip: IpAddr| ip.to_canonical())
}

/// What counts as one address.
pub(crate) fn group(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << IPV6_PREFIX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(peer: &str, forwarded: &[&str]) -> String {
        let trusted: Vec<IpNet> =
            ["10.0.0.0/8", "2001:db8:1::/48"].iter().map(|net| net.parse().unwrap()).collect();
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        client(&headers, peer.parse().unwrap(), &trusted).to_string()
    }

    #[test]
    fn strangers_say_what_they_like_and_are_not_believed() {
        assert_eq!(behind("192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
        assert_eq!(behind("::ffff:192.0.2.1", &[]), "192.0.2.1");
    }

    #[test]
    fn the_last_hop_that_is_no_proxy_counts() {
        assert_eq!(behind("10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(behind("10.0.0.1", &["1.1.1.1, 203.0.113.9, 10.2.3.4"]), "203.0.113.9");
        assert_eq!(behind("10.0.0.1", &["1.1.1.1", "203.0.113.9, 10.9.9.9"]), "203.0.113.9");
        assert_eq!(behind("10.0.0.1", &["1.1.1.1, 203.0.113.9:4711"]), "203.0.113.9");
        assert_eq!(behind("2001:db8:1::7", &["[2001:db8:2::1]:80"]), "2001:db8:2::1");
        assert_eq!(behind("10.0.0.1", &["[2001:db8:2::1]"]), "2001:db8:2::1");
        assert_eq!(behind("10.0.0.1", &["::ffff:10.0.0.2"]), "10.0.0.2");
    }

    #[test]
    fn nonsense_ends_the_chain() {
        assert_eq!(behind("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(behind("10.0.0.1", &["203.0.113.9, unknown, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(behind("10.0.0.1", &[""]), "10.0.0.1");
        let long = vec!["10.0.0.2"; 1_000].join(",");
        assert_eq!(behind("10.0.0.1", &[&long]), "10.0.0.2");
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", "203.0.113.9".parse().unwrap());
        headers.append("x-forwarded-for", http::HeaderValue::from_bytes(&[0xff]).unwrap());
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let peer: IpAddr = "10.0.0.1".parse().unwrap();
        assert_eq!(client(&headers, peer, &trusted), peer);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let group = |ip: &str| group(ip.parse().unwrap()).to_string();
        assert_eq!(group("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(group("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(group("192.0.2.1"), "192.0.2.1");
    }
}
