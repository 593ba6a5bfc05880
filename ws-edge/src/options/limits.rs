//! What an operator may choose about overload: who may come, how often, and how much may wait.
//! Reads: configuration. Writes: nothing. Never: has a limit without a number; 0 says that there is none, where
//! that can be right.
//!
//! Limits per user and per address are off unless chosen: one address can be a load balancer, and one user a whole
//! service.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::limits::Rate;

/// Limits of a node beyond those of a single connection.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitOptions {
    /// Addresses or networks of load balancers, whose `X-Forwarded-For` is believed: the client is the last
    /// address in it that is none of these. Empty: the client is who opened the socket.
    pub trusted_proxies: Vec<String>,
    /// Connections of one address, for IPv6 of one /64 network; more are refused with 429. 0 for no limit.
    pub connections_per_address_max: usize,
    /// Connections of one user on this node; the next one is closed with 3504. 0 for no limit.
    pub connections_per_user_max: usize,
    /// Connections that this node lets in per second, in the long run; others are asked to come later, with 503
    /// and `Retry-After`. 0 for no limit.
    pub accepts_per_second: u32,
    /// Connections that may come at once.
    pub accepts_burst: u32,
    /// Commands of one user per second over all his connections of this node, in the long run. 0 for no limit.
    pub user_commands_per_second: u32,
    /// Commands of one user that may come at once.
    pub user_commands_burst: u32,
    /// Subscribe commands of one connection per second, in the long run. 0 for no limit.
    pub subscribes_per_second: u32,
    /// Subscribe commands of one connection that may come at once.
    pub subscribes_burst: u32,
    /// Channels of this node that are joined at the same time; others wait.
    pub joins_in_flight_max: usize,
    /// Channels that may wait to be joined; more are answered with the passing error 111.
    pub joins_waiting_max: usize,
    /// Bytes that may wait for all clients of this node together. Beyond it those with the most are cut first, as
    /// too slow. A message that waits for a thousand clients counts a thousand times, but is held once. 0 for no
    /// limit.
    pub queue_bytes_total_max: usize,
}

impl Default for LimitOptions {
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            connections_per_address_max: 0,
            connections_per_user_max: 0,
            accepts_per_second: 2_000,
            accepts_burst: 10_000,
            user_commands_per_second: 1_000,
            user_commands_burst: 20_000,
            subscribes_per_second: 100,
            subscribes_burst: 1_000,
            joins_in_flight_max: 256,
            joins_waiting_max: 20_000,
            queue_bytes_total_max: 1024 * 1024 * 1024,
        }
    }
}

impl LimitOptions {
    /// Checks what types cannot; `queue_bytes_max` is what may wait for one client.
    ///
    /// # Errors
    /// Names the option and what is wrong with it.
    pub(crate) fn check(&self, queue_bytes_max: usize) -> Result<(), String> {
        self.networks()?;
        let rates = [
            ("accepts", self.accepts()),
            ("user_commands", self.user_commands()),
            ("subscribes", self.subscribes()),
        ];
        for (name, rate) in rates {
            if rate.per_second > 0 && rate.burst == 0 {
                return Err(format!("limits.{name}_burst must be at least 1"));
            }
        }
        if self.joins_in_flight_max == 0 {
            return Err("limits.joins_in_flight_max must be at least 1".to_owned());
        }
        if (1..queue_bytes_max).contains(&self.queue_bytes_total_max) {
            return Err("limits.queue_bytes_total_max must not be below queue_bytes_max".to_owned());
        }
        Ok(())
    }

    /// The trusted proxies as networks.
    ///
    /// # Errors
    /// Names the entry that is neither an address nor a network.
    pub(crate) fn networks(&self) -> Result<Vec<IpNet>, String> {
        let parse = |text: &String| {
            text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| {
                format!("limits.trusted_proxies: {text:?} is neither an address nor a network")
            })
        };
        self.trusted_proxies.iter().map(parse).collect()
    }

    pub(crate) const fn accepts(&self) -> Rate {
        Rate { per_second: self.accepts_per_second, burst: self.accepts_burst }
    }

    pub(crate) const fn user_commands(&self) -> Rate {
        Rate { per_second: self.user_commands_per_second, burst: self.user_commands_burst }
    }

    pub(crate) const fn subscribes(&self) -> Rate {
        Rate { per_second: self.subscribes_per_second, burst: self.subscribes_burst }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradictions_are_named() {
        let ok = LimitOptions::default();
        let check = |options: LimitOptions| options.check(1024);
        assert_eq!(check(ok.clone()), Ok(()));
        assert!(check(LimitOptions { accepts_burst: 0, ..ok.clone() }).is_err());
        let none = LimitOptions { accepts_burst: 0, accepts_per_second: 0, ..ok.clone() };
        assert_eq!(check(none), Ok(()));
        assert!(check(LimitOptions { joins_in_flight_max: 0, ..ok.clone() }).is_err());
        assert!(check(LimitOptions { queue_bytes_total_max: 1023, ..ok.clone() }).is_err());
        assert_eq!(check(LimitOptions { queue_bytes_total_max: 0, ..ok }), Ok(()));
    }

    #[test]
    fn proxies_are_addresses_or_networks() {
        let with = |one: &str| LimitOptions {
            trusted_proxies: vec![one.to_owned()],
            ..LimitOptions::default()
        };
        for good in ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1"] {
            assert!(with(good).networks().is_ok(), "{good}");
        }
        for bad in ["", "10.0.0.0/33", "proxy.example", "10.0.0", "10.0.0.1:80"] {
            assert!(with(bad).check(1).is_err(), "{bad}");
        }
    }
}
