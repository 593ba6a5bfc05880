//! Which services on the bus decide instead of the edge.
//! Reads: configuration. Writes: nothing.
//! Never: sends a service more about a client's request than the headers that are listed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{EdgeOptions, RPC_TIMEOUT_MS_MAX};

/// Most headers that services are told.
const HEADERS_MAX: usize = 32;

/// One question that a service answers, with the bodies of Centrifugo's proxies; off while no service is named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProxyTarget {
    /// The service on the bus; empty for none.
    pub service: String,
    /// Its endpoint.
    pub endpoint: String,
    /// How long the service may take, up to a minute.
    pub timeout_ms: u64,
}

impl Default for ProxyTarget {
    fn default() -> Self {
        Self { service: String::new(), endpoint: String::new(), timeout_ms: 5_000 }
    }
}

impl ProxyTarget {
    /// Whether a service decides.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.service.is_empty()
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    fn check(&self, name: &str) -> Result<(), String> {
        if self.is_on() == self.endpoint.is_empty() {
            return Err(format!("{name} needs a service and an endpoint, or neither"));
        }
        if !(1..=RPC_TIMEOUT_MS_MAX).contains(&self.timeout_ms) {
            return Err(format!("{name}.timeout_ms is not in 1..={RPC_TIMEOUT_MS_MAX}"));
        }
        Ok(())
    }
}

/// Services that decide who connects and who stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProxyOptions {
    /// Says who a client is that brings no token.
    pub connect: ProxyTarget,
    /// Says whether a connection whose time is over may stay; clients are then not asked for new tokens.
    pub refresh: ProxyTarget,
    /// Headers of the client's request that services are told, in small letters.
    pub headers: Vec<String>,
}

impl EdgeOptions {
    /// Checks all questions to services.
    pub(super) fn check_proxies(&self) -> Result<(), String> {
        self.proxy.connect.check("proxy.connect")?;
        self.proxy.refresh.check("proxy.refresh")?;
        self.send.check("send")?;
        for one in &self.namespaces {
            let name = |proxy: &str| format!("namespace {:?}: {proxy}", one.name);
            one.subscribe_proxy.check(&name("subscribe_proxy"))?;
            one.publish_proxy.check(&name("publish_proxy"))?;
            one.sub_refresh_proxy.check(&name("sub_refresh_proxy"))?;
        }
        let headers = &self.proxy.headers;
        let odd = |byte: u8| !(byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if headers.iter().any(|name| name.is_empty() || name.bytes().any(odd)) {
            return Err(
                "proxy.headers: a header's name has small letters, digits and `-`".to_owned()
            );
        }
        if headers.len() > HEADERS_MAX {
            return Err(format!("proxy.headers may have at most {HEADERS_MAX} names"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::NamespaceOptions;

    #[test]
    fn half_a_target_is_none() {
        let target = |service: &str, endpoint: &str, timeout_ms| ProxyTarget {
            service: service.to_owned(),
            endpoint: endpoint.to_owned(),
            timeout_ms,
        };
        let check = |connect| {
            let proxy = ProxyOptions { connect, ..ProxyOptions::default() };
            EdgeOptions { proxy, ..EdgeOptions::default() }.check()
        };
        assert_eq!(check(target("a", "b", 1)), Ok(()));
        assert_eq!(check(ProxyTarget::default()), Ok(()));
        for bad in
            [target("a", "", 1), target("", "b", 1), target("a", "b", 0), target("a", "b", 60_001)]
        {
            let one =
                NamespaceOptions { publish_proxy: bad.clone(), ..NamespaceOptions::default() };
            assert!(check(bad).is_err());
            assert!(
                EdgeOptions { namespaces: vec![one], ..EdgeOptions::default() }.check().is_err()
            );
        }
    }

    #[test]
    fn headers_are_named_as_they_are_compared() {
        let check = |name: &str| {
            let proxy = ProxyOptions { headers: vec![name.to_owned()], ..ProxyOptions::default() };
            EdgeOptions { proxy, ..EdgeOptions::default() }.check()
        };
        assert_eq!(check("x-request-id"), Ok(()));
        assert!(check("X-Request-Id").is_err());
        assert!(check("").is_err());
        assert!(check("a b").is_err());
    }
}
