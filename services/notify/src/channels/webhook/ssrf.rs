//! Which addresses webhooks may call.
//! Reads: options, once. Writes: nothing. Never: resolves a name.
//!
//! A webhook's address comes from a user, and the worker sits inside the network: without a filter the
//! user could read the cloud's metadata service or an admin page through it. Every address that is not
//! public is refused, in whatever clothes it comes (IPv4 inside IPv6, NAT64, 6to4), unless an operator
//! allowed its network by name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::channels::WebhookOptions;

/// IPv4 networks that are not public (IANA special-purpose registry).
const BLOCKED_V4: [(Ipv4Addr, u8); 17] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 31, 196, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    // Class E, and inside it broadcast.
    (Ipv4Addr::new(240, 0, 0, 0), 4),
    // The virtual server of one cloud that answers inside every network of it.
    (Ipv4Addr::new(168, 63, 129, 16), 32),
];

/// IPv6: only global unicast is public at all; these parts of it are not.
const GLOBAL_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
const BLOCKED_V6: [(Ipv6Addr, u8); 5] = [
    // Protocol assignments: Teredo, benchmarking, ORCHID.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    // Documentation.
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
    // 6to4 carries an IPv4 address.
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    // AS112.
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48),
];

/// The rules.
#[derive(Clone, Debug)]
pub struct Filter {
    allow: Vec<IpNet>,
    ports: Vec<u16>,
    http: bool,
}

impl Filter {
    /// Reads the allow-list.
    ///
    /// # Errors
    /// Names the entry that is not a network.
    pub fn new(options: &WebhookOptions) -> Result<Self, String> {
        let allow = options
            .allow_networks
            .iter()
            .map(|text| {
                text.parse().map_err(|_| {
                    format!("allow_networks: {text:?} is not a network like 10.1.0.0/16")
                })
            })
            .collect::<Result<_, String>>()?;
        Ok(Self { allow, ports: options.allow_ports.clone(), http: options.allow_http })
    }

    /// Whether an operator allowed this address by name.
    #[must_use]
    pub fn is_listed(&self, address: IpAddr) -> bool {
        let address = canonical(address);
        self.allow.iter().any(|network| network.contains(&address))
    }

    /// Whether a connection to this address may be made.
    #[must_use]
    pub fn permits(&self, address: IpAddr) -> bool {
        self.is_listed(address) || is_public(canonical(address))
    }

    /// Whether this port may be called.
    #[must_use]
    pub fn permits_port(&self, port: u16) -> bool {
        self.ports.contains(&port)
    }

    /// Whether plain HTTP may be spoken.
    #[must_use]
    pub const fn permits_http(&self) -> bool {
        self.http
    }
}

/// IPv4 addresses in IPv6 clothes are judged as IPv4.
fn canonical(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !BLOCKED_V4.iter().any(|(network, bits)| within_v4(v4, *network, *bits)),
        IpAddr::V6(v6) => {
            within_v6(v6, GLOBAL_V6.0, GLOBAL_V6.1)
                && !BLOCKED_V6.iter().any(|(network, bits)| within_v6(v6, *network, *bits))
        }
    }
}

fn within_v4(address: Ipv4Addr, network: Ipv4Addr, bits: u8) -> bool {
    Ipv4Net::new_assert(network, bits).contains(&address)
}

fn within_v6(address: Ipv6Addr, network: Ipv6Addr, bits: u8) -> bool {
    Ipv6Net::new_assert(network, bits).contains(&address)
}

#[cfg(test)]
mod tests;
