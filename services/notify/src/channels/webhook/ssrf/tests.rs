//! Addresses in all their clothes.

use super::super::{Endpoint, EndpointError};
use super::*;

fn filter(allow: &[&str]) -> Filter {
    let options = WebhookOptions {
        allow_networks: allow.iter().map(|network| (*network).to_owned()).collect(),
        allow_http: true,
        ..WebhookOptions::default()
    };
    Filter::new(&options).unwrap()
}

const REFUSED: &[&str] = &[
    // Loopback in every spelling.
    "http://127.0.0.1/",
    "http://127.1/",
    "http://127.0.1/",
    "http://127.255.255.254/",
    "http://2130706433/",
    "http://017700000001/",
    "http://0177.0.0.1/",
    "http://0x7f.0.0.1/",
    "http://0x7f000001/",
    "http://0x7F.1/",
    "http://127.0.0.1./",
    "http://1２7.0.0.1/",
    "http://①②⑦.0.0.1/",
    "http://%31%32%37.0.0.1/",
    "http:\\\\127.0.0.1/",
    "http:127.0.0.1/",
    "http:///127.0.0.1/",
    "http://localhost/",
    "http://LOCALHOST./",
    "http://foo.localhost/",
    "http://[::1]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::ffff:10.0.0.1]/",
    "http://[::127.0.0.1]/",
    // IPv4 carried inside IPv6.
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b::10.0.0.1]/",
    "http://[64:ff9b:1::a00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[2001:0:7f00:1::]/",
    // Private, link-local, unique local.
    "http://10.0.0.1/",
    "http://10.255.255.255/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.168.1.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://0xa9fea9fe/",
    "http://2852039166/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fc00::1]/",
    "http://[fd00:ec2::254]/",
    "http://100.64.0.1/",
    "http://100.127.255.255/",
    "http://168.63.129.16/",
    // Special purpose.
    "http://0.0.0.0/",
    "http://0/",
    "http://0.1.2.3/",
    "http://192.0.0.192/",
    "http://192.0.2.1/",
    "http://198.18.0.1/",
    "http://198.19.255.255/",
    "http://198.51.100.1/",
    "http://203.0.113.1/",
    "http://192.88.99.1/",
    "http://224.0.0.1/",
    "http://239.255.255.255/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://[ff02::1]/",
    "http://[100::1]/",
    "http://[2001:db8::1]/",
    "http://[2001:2::1]/",
    "http://[3fff::1]/",
    "http://[5f00::1]/",
    // Names that stay inside.
    "http://metadata.google.internal/",
    "http://printer.local/",
    "http://router.home.arpa/",
    "http://intranet/",
    // Not web addresses, or with something hidden in them.
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_x",
    "javascript:alert(1)",
    "//example.com/",
    "example.com",
    "http://",
    "http://256.256.256.256/",
    "http://1.2.3.4.5/",
    "http://user@example.com/",
    "http://user:pass@example.com/",
    "http://example.com@127.0.0.1/",
    "http://127.0.0.1:80@example.com/",
    "http://exa mple.com/",
    "http://example.com\0.test/",
    // Ports.
    "http://example.com:22/",
    "http://example.com:25/",
    "http://example.com:6379/",
    "http://example.com:0/",
    "https://example.com:4222/",
    "http://8.8.8.8:53/",
];

#[test]
fn nothing_private_in_whatever_clothes() {
    assert!(REFUSED.len() >= 90, "{}", REFUSED.len());
    let filter = filter(&[]);
    for url in REFUSED {
        assert!(Endpoint::parse(url, &filter).is_err(), "{url}");
    }
    assert!(
        Endpoint::parse(&format!("https://example.com/{}", "a".repeat(3_000)), &filter).is_err()
    );
}

#[test]
fn public_addresses_are_called() {
    let filter = filter(&[]);
    for url in [
        "https://example.com/hook?x=1#y",
        "https://example.com:8443/",
        "http://example.com:8080/",
        "https://EXAMPLE.com./",
        "https://bücher.example/",
        "https://8.8.8.8/",
        "https://1.1.1.1:443/",
        "https://172.15.255.255/",
        "https://172.32.0.1/",
        "https://[2606:4700::1111]/",
        "https://[::ffff:8.8.8.8]/",
    ] {
        assert!(Endpoint::parse(url, &filter).is_ok(), "{url}");
    }
}

#[test]
fn an_allowed_network_is_allowed_and_nothing_beside_it() {
    let filter = filter(&["127.0.0.1/32", "10.1.0.0/16", "fd00::/8"]);
    for url in [
        "http://127.0.0.1:8025/hook",
        "http://2130706433:9/",
        "http://[::ffff:127.0.0.1]:1/",
        "http://10.1.2.3:22/",
        "http://[fd12::1]:99/",
    ] {
        assert!(Endpoint::parse(url, &filter).is_ok(), "{url}");
    }
    for url in
        ["http://127.0.0.2/", "http://10.2.0.1/", "http://[fe80::1]/", "http://localhost:8025/"]
    {
        assert!(Endpoint::parse(url, &filter).is_err(), "{url}");
    }
    assert!(
        Filter::new(&WebhookOptions {
            allow_networks: vec!["10.0.0.1/33".to_owned()],
            ..WebhookOptions::default()
        })
        .is_err()
    );
}

#[test]
fn by_default_only_https() {
    let filter = Filter::new(&WebhookOptions::default()).unwrap();
    assert_eq!(Endpoint::parse("http://example.com/", &filter), Err(EndpointError::Scheme));
    assert!(Endpoint::parse("https://example.com/", &filter).is_ok());
}
