//! The orderly end of a node: first it only says that it is not ready, then it lets nobody in, then it sends its
//! clients to other nodes, in a random order and spread over a window.
//! Reads: the lifecycle, the registry. Writes: mailboxes, gauges. Never: sends all clients away at once: clients
//! come back within a second of a close, whatever their number, so only the server can pace them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use campana_bus::clock;
use campana_bus::ids::ClientId;
use tokio_util::sync::CancellationToken;

use crate::codes::disconnect;
use crate::metrics;
use crate::server::Node;

/// Clients whose time has come are sent away this often.
const TICK: Duration = Duration::from_millis(50);
/// So few clients need no pacing: a window is never longer than it takes with this many each tick.
const TICK_CLIENTS: usize = 64;
/// How often the gauges are set while the node runs.
const GAUGE_INTERVAL: Duration = Duration::from_secs(5);

/// How far the end of a node has come.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    closing: AtomicBool,
    closed: CancellationToken,
}

impl Drain {
    /// Whether nobody is let in any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Cancelled when nobody is let in any more.
    pub(crate) fn closed(&self) -> CancellationToken {
        self.closed.clone()
    }

    fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.closed.cancel();
    }
}

/// Keeps gauges fresh until the node shall stop, then waits until load balancers had the time to notice, and
/// closes the door. Half-open requests get a moment more.
pub(crate) async fn closing(node: &Node) {
    while !node.lifecycle.soft.is_cancelled() {
        measure(node);
        tokio::select! {
            () = node.lifecycle.soft.cancelled() => {}
            () = tokio::time::sleep(GAUGE_INTERVAL) => {}
        }
    }
    metrics::draining(true);
    let delay = Duration::from_millis(node.rules.options.drain_delay_ms);
    tracing::info!(delay_ms = delay.as_millis(), "the edge stops: not ready, still open");
    tokio::select! {
        () = tokio::time::sleep(delay) => {}
        () = node.lifecycle.hard.cancelled() => {}
    }
    node.drain.close();
    tokio::time::sleep(TICK).await;
}

fn measure(node: &Node) {
    metrics::channels(node.hub.channels());
    metrics::joins_waiting(node.limits.joins.waiting());
    let queued = node
        .registry
        .mailboxes()
        .iter()
        .map(|mailbox| mailbox.queued())
        .fold((0_usize, 0_usize), |(total, largest), one| {
            (total.saturating_add(one), largest.max(one))
        });
    metrics::queues(queued.0, queued.1);
}

/// Sends all clients away and waits until they are gone, or for the hard stop.
pub(crate) async fn run(node: &Node) {
    node.drain.close();
    let all = node.registry.mailboxes();
    let window = window(Duration::from_millis(node.rules.options.drain_window_ms), all.len());
    let plan = plan(all.len(), window, chance(seed()));
    tracing::info!(
        connections = all.len(),
        window_ms = window.as_millis(),
        "the edge sends its clients away"
    );
    let started = clock::monotonic();
    let paced = async {
        let mut left = plan.as_slice();
        while !left.is_empty() {
            let elapsed = started.elapsed();
            let due = left.partition_point(|(at, _)| *at <= elapsed);
            for (_, one) in &left[..due] {
                all[*one].end(disconnect::SHUTDOWN);
            }
            left = &left[due..];
            metrics::remaining(node.tasks.len());
            tokio::time::sleep(TICK).await;
        }
        node.tasks.close();
        while tokio::time::timeout(TICK, node.tasks.wait()).await.is_err() {
            metrics::remaining(node.tasks.len());
        }
    };
    tokio::select! {
        // Nobody is told anything any more.
        biased;
        () = node.lifecycle.hard.cancelled() => node.cut(),
        () = paced => {}
    }
    metrics::remaining(node.tasks.len());
    tracing::info!(
        left = node.tasks.len(),
        took_ms = started.elapsed().as_millis(),
        "the edge has sent its clients away"
    );
}

/// The chosen window, or less for few clients.
fn window(chosen: Duration, clients: usize) -> Duration {
    let ticks = u32::try_from(clients.div_ceil(TICK_CLIENTS).saturating_sub(1)).unwrap_or(u32::MAX);
    chosen.min(TICK.saturating_mul(ticks))
}

/// Another one for each node and each stop: an id's random end.
fn seed() -> u64 {
    let id = ClientId::fresh().to_string();
    let digits = id.get(id.len().saturating_sub(12)..).unwrap_or_default();
    u64::from_str_radix(digits, 16).unwrap_or(0)
}

/// Numbers from 0 to 1 (SplitMix64), good enough to spread clients.
fn chance(mut state: u64) -> impl FnMut() -> f64 {
    move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// When which client goes: each at a random moment of the window, in the order of these moments. `random` gives
/// numbers from 0 to 1.
fn plan(
    clients: usize,
    window: Duration,
    mut random: impl FnMut() -> f64,
) -> Vec<(Duration, usize)> {
    let mut plan: Vec<(Duration, usize)> =
        (0..clients).map(|one| (window.mul_f64(random().clamp(0.0, 1.0)), one)).collect();
    plan.sort_unstable();
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_that_is_closed_stays_closed_for_everybody() {
        let drain = Drain::default();
        assert!(!drain.is_closed() && !drain.closed().is_cancelled());
        let early = drain.closed();
        drain.close();
        assert!(drain.is_closed() && early.is_cancelled() && drain.closed().is_cancelled());
    }

    #[test]
    fn few_clients_do_not_wait_for_the_window() {
        let chosen = Duration::from_secs(10);
        assert_eq!(window(chosen, 0), Duration::ZERO);
        assert_eq!(window(chosen, 64), Duration::ZERO);
        assert_eq!(window(chosen, 65), TICK);
        assert_eq!(window(chosen, 1_000_000), chosen);
        assert_eq!(window(Duration::ZERO, 1_000_000), Duration::ZERO);
    }

    proptest::proptest! {
        /// Everybody goes exactly once, within the window, one after the other; and no slice of the window gets
        /// much more than its share.
        #[test]
        fn everybody_goes_once_and_evenly(seed: u64, clients in 1_usize..3_000) {
            let window = Duration::from_secs(10);
            let plan = plan(clients, window, chance(seed));
            proptest::prop_assert!(plan.windows(2).all(|pair| pair[0].0 <= pair[1].0));
            proptest::prop_assert!(plan.iter().all(|(at, _)| *at <= window));
            let mut who: Vec<usize> = plan.iter().map(|(_, one)| *one).collect();
            who.sort_unstable();
            proptest::prop_assert!(who.iter().copied().eq(0..clients));
            let tenth = |at: Duration| at.as_millis() / 1_000;
            let most = (0..10).map(|slice| plan.iter().filter(|(at, _)| tenth(*at) == slice).count()).max();
            proptest::prop_assert!(most.unwrap_or(0) <= clients / 10 * 2 + 40);
        }
    }
}
