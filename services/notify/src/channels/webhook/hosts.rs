//! Places among the requests to each host.
//! Reads: the monotonic clock. Writes: memory. Never: lets a host that answers slowly hold places of others
//! for longer than [`WAIT_MAX`] in each [`SLOW_FOR`].
//!
//! A delivery in hand waits for a place: at a host that answers fast this takes milliseconds, and sending it
//! back to the queue would cost two messages. A host whose place did not come free in time is slow: for a
//! while what finds no place there goes back at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use campana_bus::clock;
use tokio::sync::Semaphore;

use crate::cache::Cache;
use crate::channels::reply::Place;

/// Hosts that are remembered.
const HOSTS_MAX: usize = 10_000;
/// Longest wait for a place.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// How long nobody waits at a host after a wait was in vain.
const SLOW_FOR: Duration = Duration::from_secs(10);

/// All hosts that were called lately.
pub(super) struct Hosts {
    known: Mutex<Cache<String, Arc<Host>>>,
    places_each: usize,
}

struct Host {
    places: Arc<Semaphore>,
    slow_until: Mutex<Option<Instant>>,
}

impl Hosts {
    pub(super) fn new(places_each: usize) -> Self {
        Self { known: Mutex::new(Cache::new(HOSTS_MAX)), places_each: places_each.max(1) }
    }

    /// A place at this host, or `None` if it has none and is slow.
    pub(super) async fn place(&self, name: String) -> Option<Place> {
        let host = self.host(name);
        if let Ok(place) = Arc::clone(&host.places).try_acquire_owned() {
            return Some(place);
        }
        if host.is_slow(clock::monotonic()) {
            return None;
        }
        let waited = tokio::time::timeout(WAIT_MAX, Arc::clone(&host.places).acquire_owned()).await;
        if waited.is_err() {
            host.found_slow(clock::monotonic());
        }
        waited.ok()?.ok()
    }

    fn host(&self, name: String) -> Arc<Host> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&name).unwrap_or_else(|| {
            let host = Arc::new(Host {
                places: Arc::new(Semaphore::new(self.places_each)),
                slow_until: Mutex::new(None),
            });
            known.insert(name, Arc::clone(&host));
            host
        })
    }
}

impl Host {
    fn is_slow(&self, now: Instant) -> bool {
        self.slow_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some_and(|until| now < until)
    }

    fn found_slow(&self, now: Instant) {
        *self.slow_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(now + SLOW_FOR);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_place_that_comes_free_is_waited_for() {
        let hosts = Hosts::new(1);
        let first = hosts.place("a:443".to_owned()).await.unwrap();
        let frees = async {
            tokio::time::sleep(WAIT_MAX / 2).await;
            drop(first);
        };
        let (second, ()) = tokio::join!(hosts.place("a:443".to_owned()), frees);
        assert!(second.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_host_is_not_waited_for_again_and_holds_up_nobody_else() {
        let hosts = Hosts::new(1);
        let _taken = hosts.place("a:443".to_owned()).await.unwrap();
        assert!(hosts.place("a:443".to_owned()).await.is_none(), "waited in vain");
        let before = tokio::time::Instant::now();
        assert!(hosts.place("a:443".to_owned()).await.is_none());
        assert!(hosts.place("b:443".to_owned()).await.is_some());
        assert_eq!(before.elapsed(), Duration::ZERO);
    }

    #[test]
    fn slowness_ends() {
        let host = Host { places: Arc::new(Semaphore::new(1)), slow_until: Mutex::new(None) };
        let now = clock::monotonic();
        assert!(!host.is_slow(now));
        host.found_slow(now);
        assert!(host.is_slow(now + SLOW_FOR - Duration::from_millis(1)));
        assert!(!host.is_slow(now + SLOW_FOR));
    }
}
