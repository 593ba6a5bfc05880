//! Limits of a node: who is let in, and how much all connections may do and hold together.
//! Reads: addresses, users, the time it is given. Writes: nothing.
//! Never: counts what is gone: every count is a guard that gives back what it took when it is dropped.
//!
//! What one connection may do by itself is the session's business; what a node has of connections, joins and
//! waiting bytes is counted here, so that a storm is slowed down at the door instead of in the middle.

pub(crate) mod address;
pub(crate) mod backlog;
mod bucket;
mod joins;
mod refusal;
mod users;

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use http::{HeaderMap, StatusCode};
use ipnet::IpNet;

pub(crate) use backlog::Backlog;
pub(crate) use bucket::{Bucket, Rate};
pub(crate) use joins::Joins;
pub(crate) use refusal::{Reason, Refused};
pub(crate) use users::Seat;

use crate::options::EdgeOptions;

/// Seconds after which who was refused because of a full node or address may try again.
const RETRY_SECONDS: u64 = 5;

/// All limits of a node.
#[derive(Debug)]
pub(crate) struct Limits {
    door: Arc<Door>,
    users: Arc<users::Users>,
    accepts: Mutex<Bucket>,
    accept_rate: Rate,
    trusted: Vec<IpNet>,
    pub(crate) joins: Joins,
    pub(crate) backlog: Arc<Backlog>,
}

/// Connections, all and by address.
#[derive(Debug)]
struct Door {
    connections: AtomicUsize,
    connections_max: usize,
    addresses: DashMap<IpAddr, usize>,
    per_address_max: usize,
}

/// One connection that was let in; it counts until this is dropped.
#[derive(Debug)]
pub(crate) struct Admission {
    door: Arc<Door>,
    address: Option<IpAddr>,
}

impl Limits {
    /// # Errors
    /// If the options contradict each other.
    pub(crate) fn new(options: &EdgeOptions, now_ms: u64) -> Result<Self, String> {
        let chosen = &options.limits;
        Ok(Self {
            door: Arc::new(Door {
                connections: AtomicUsize::new(0),
                connections_max: options.connections_max,
                addresses: DashMap::new(),
                per_address_max: chosen.connections_per_address_max,
            }),
            users: users::Users::new(chosen.connections_per_user_max, chosen.user_commands()),
            accepts: Mutex::new(Bucket::full(chosen.accepts(), now_ms)),
            accept_rate: chosen.accepts(),
            trusted: chosen.networks()?,
            joins: Joins::new(chosen.joins_in_flight_max, chosen.joins_waiting_max),
            backlog: Backlog::new(chosen.queue_bytes_total_max),
        })
    }

    /// The client's address, behind trusted proxies.
    pub(crate) fn client_address(&self, headers: &HeaderMap, peer: IpAddr) -> IpAddr {
        address::client(headers, peer, &self.trusted)
    }

    /// One more connection from this address, before it is one.
    ///
    /// # Errors
    /// Which limit is reached. What one address tries in vain takes nothing from the others.
    pub(crate) fn admit(&self, ip: IpAddr, now_ms: u64) -> Result<Admission, Refused> {
        let admission = self.door.enter(address::group(ip))?;
        // Nothing can panic while the lock is held, so a poisoned lock still guards whole data.
        let mut accepts = self.accepts.lock().unwrap_or_else(PoisonError::into_inner);
        match accepts.take(self.accept_rate, now_ms) {
            Ok(()) => Ok(admission),
            Err(wait_ms) => Err(Refused {
                reason: Reason::Limit("accept_rate"),
                status: StatusCode::SERVICE_UNAVAILABLE,
                text: "too many connections come at once: try again later",
                retry_seconds: wait_ms.div_ceil(1_000).max(1),
            }),
        }
    }

    /// One more connection of a user.
    ///
    /// # Errors
    /// If the user has as many as are allowed.
    pub(crate) fn enter_user(
        &self,
        tenant: &str,
        user: &str,
        now_ms: u64,
    ) -> Result<Option<Seat>, ()> {
        self.users.enter(tenant, user, now_ms)
    }
}

impl Door {
    fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Admission, Refused> {
        let mut admission = Admission { door: Arc::clone(self), address: None };
        // From here on the guard gives back what is taken, also when it is refused.
        if self.connections.fetch_add(1, Ordering::Relaxed) >= self.connections_max {
            return Err(Refused {
                reason: Reason::Limit("connections"),
                status: StatusCode::SERVICE_UNAVAILABLE,
                text: "this node is full: try again, another one may have room",
                retry_seconds: RETRY_SECONDS,
            });
        }
        if self.per_address_max > 0 {
            self.enter_address(address)?;
            admission.address = Some(address);
        }
        Ok(admission)
    }

    fn enter_address(&self, address: IpAddr) -> Result<(), Refused> {
        match self.addresses.entry(address) {
            Entry::Occupied(entry) if *entry.get() >= self.per_address_max => Err(Refused {
                reason: Reason::Limit("address_connections"),
                status: StatusCode::TOO_MANY_REQUESTS,
                text: "too many connections from this address: close some, then try again",
                retry_seconds: RETRY_SECONDS,
            }),
            Entry::Occupied(mut entry) => {
                *entry.get_mut() += 1;
                Ok(())
            }
            Entry::Vacant(slot) => {
                slot.insert(1);
                Ok(())
            }
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.door.connections.fetch_sub(1, Ordering::Relaxed);
        if let Some(address) = self.address {
            self.door.addresses.remove_if_mut(&address, |_, count| {
                *count = count.saturating_sub(1);
                *count == 0
            });
        }
    }
}

#[cfg(test)]
mod tests;
