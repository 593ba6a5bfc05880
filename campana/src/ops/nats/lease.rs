//! The lease: of all processes that could do something, one does.
//! Reads and writes: one key of the bucket `leases`. Never: compares clocks of different machines: the server
//! counts the time, and the holder stops by its own clock before the server gives the lease to another.

use std::time::{Duration, Instant};

use bytes::Bytes;
use campana_bus::kv::{Kv, KvError};
use campana_bus::topology::LEASES;
use campana_bus::{Bus, clock};

/// How long a holder that is gone is waited for.
pub const LEASE: Duration = Duration::from_secs(10);
/// How old a lease may be before it is renewed.
const RENEW_AFTER: Duration = Duration::from_secs(3);
/// How long one write may take; three fit into a lease.
const WRITE_WITHIN: Duration = Duration::from_secs(3);

/// One process's part in it.
#[derive(Debug)]
pub struct Lease {
    bus: Bus,
    key: &'static str,
    owner: Bytes,
    held: Option<Held>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    revision: u64,
    /// When the write began that made or renewed it: the server's time starts later.
    since: Instant,
}

impl Lease {
    /// Not held yet.
    pub fn new(bus: Bus, key: &'static str) -> Self {
        let owner = Bytes::from(format!("{}-{}", bus.name(), std::process::id()));
        Self { bus, key, owner, held: None }
    }

    /// Takes the lease if it is free, renews it when it is time; whether it is held now.
    pub async fn keep(&mut self) -> bool {
        let now = clock::monotonic();
        if let Some(held) = self.held
            && now.duration_since(held.since) < RENEW_AFTER
        {
            return true;
        }
        let written = tokio::time::timeout(WRITE_WITHIN, self.write()).await;
        match written {
            Ok(Ok(revision)) => self.held = Some(Held { revision, since: now }),
            Ok(Err(KvError::WrongRevision | KvError::Exists)) => self.held = None,
            Ok(Err(error)) => tracing::debug!(lease = self.key, "cannot be renewed: {error}"),
            Err(_) => tracing::debug!(lease = self.key, "cannot be renewed in time"),
        }
        // A write that is not known to have worked leaves what is left of the last one.
        self.held = self.held.filter(|held| held.since.elapsed() + WRITE_WITHIN < LEASE);
        self.held.is_some()
    }

    async fn write(&self) -> Result<u64, KvError> {
        let leases = self.leases().await?;
        match self.held {
            Some(held) => {
                leases.update_with_ttl(self.key, self.owner.clone(), held.revision, LEASE).await
            }
            None => leases.create_with_ttl(self.key, self.owner.clone(), LEASE).await,
        }
    }

    async fn leases(&self) -> Result<Kv, KvError> {
        self.bus.kv(LEASES).await
    }

    /// Lets another process have it at once.
    pub async fn release(&mut self) {
        let Some(held) = self.held.take() else {
            return;
        };
        let given_back = async { self.leases().await?.delete(self.key, Some(held.revision)).await };
        if !matches!(tokio::time::timeout(WRITE_WITHIN, given_back).await, Ok(Ok(()))) {
            tracing::debug!(lease = self.key, "could not be given back; it ends by itself");
        }
    }
}
