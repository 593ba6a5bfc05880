//! How many orders one visitor may place: a bucket of tokens for each address.
//! Reads: the monotonic time that it is given. Writes: its table. Never: lets the table grow without end.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Orders at once after a quiet time: the page offers twenty with one button.
const BURST: f64 = 60.0;
const PER_SECOND: f64 = 10.0;
/// Addresses that are remembered; beyond it those that rested are forgotten.
const ADDRESSES_MAX: usize = 10_000;

/// Tokens of every address.
#[derive(Debug, Default)]
pub struct Rate(Mutex<HashMap<IpAddr, (f64, Instant)>>);

impl Rate {
    /// Whether this address may place one more.
    pub fn admit(&self, address: IpAddr, now: Instant) -> bool {
        let address = network_of(address);
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= ADDRESSES_MAX {
            buckets.retain(|_, (tokens, since)| refilled(*tokens, *since, now) < BURST);
        }
        // More busy addresses than can be told apart share what is left.
        if buckets.len() >= ADDRESSES_MAX && !buckets.contains_key(&address) {
            return false;
        }
        let bucket = buckets.entry(address).or_insert((BURST, now));
        let tokens = refilled(bucket.0, bucket.1, now);
        let admitted = tokens >= 1.0;
        *bucket = (if admitted { tokens - 1.0 } else { tokens }, now);
        admitted
    }
}

/// What counts as one visitor: whoever has one IPv6 address has the 2^64 beside it.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn refilled(tokens: f64, since: Instant, now: Instant) -> f64 {
    (tokens + now.saturating_duration_since(since).as_secs_f64() * PER_SECOND).min(BURST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_visitor_has_a_share() {
        let (rate, start) = (Rate::default(), campana_bus::clock::monotonic());
        let [one, other] = [IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2])];
        let admitted = (0..100).filter(|_| rate.admit(one, start)).count();
        assert_eq!(admitted, 60);
        assert!(rate.admit(other, start));
        assert!(rate.admit(one, start + Duration::from_secs(1)));
    }

    #[test]
    fn a_network_of_addresses_is_one_visitor() {
        let network = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_ne!(network("::ffff:10.0.0.1"), network("::ffff:10.0.0.2"));
    }
}
