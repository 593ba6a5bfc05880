//! Name resolution with the filter behind it.
//! Reads: the system's resolver. Writes: nothing. Never: returns an address that the filter refuses.
//!
//! The HTTP client connects to exactly the addresses that this resolver returns, so a name cannot show a
//! public address to a check and a private one to the connection ("DNS rebinding"). The client does not
//! ask a resolver about literal addresses; those are checked in `endpoint`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::ssrf::Filter;

/// The answer of a lookup.
pub type Answer = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Where names are looked up.
pub trait Lookup: Send + Sync {
    /// All addresses of a name.
    fn look_up(&self, name: &str) -> Answer;
}

/// The operating system's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn look_up(&self, name: &str) -> Answer {
        let name = name.to_owned();
        Box::pin(async move {
            Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
        })
    }
}

/// Every address of the name is refused.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the host has no address that may be called")]
pub struct Blocked;

/// For the HTTP client.
pub struct FilteredResolver {
    filter: Arc<Filter>,
    lookup: Arc<dyn Lookup>,
}

impl FilteredResolver {
    /// This filter behind this lookup.
    #[must_use]
    pub fn new(filter: Arc<Filter>, lookup: Arc<dyn Lookup>) -> Self {
        Self { filter, lookup }
    }
}

impl Resolve for FilteredResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let answer = self.lookup.look_up(name.as_str());
        let filter = Arc::clone(&self.filter);
        Box::pin(async move {
            let allowed: Vec<SocketAddr> = answer
                .await?
                .into_iter()
                .filter(|address| filter.permits(*address))
                .map(|address| SocketAddr::new(address, 0))
                .collect();
            if allowed.is_empty() {
                return Err(Blocked.into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}
