//! Sharing partitions: a process that holds more than its share lets some go.
//! Reads: how many processes wait for a partition, from the server. Writes: requests to unpin. Never: takes
//! a partition from anybody: what is let go is given to whoever waits first.
//!
//! The server pins a partition to the process that asks first, so one that starts early has them all and one
//! that joins later none. Every process keeps two requests of one message each with the server for every
//! partition, so half of the waiting requests is the number of processes; who has more than the partitions
//! divided by it, rounded up, gives the surplus away. Order does not depend on any of this.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::pull::PIN_GROUP;
use crate::connect::Bus;
use crate::telemetry;

/// Requests that a process keeps with the server for each partition: one at work, one asked for.
pub(super) const REQUESTS_EACH: usize = 2;

/// Which consumers are pinned to this process. Cheap to clone; consumers that share one share partitions.
#[derive(Clone, Debug, Default)]
pub struct Pins(Arc<Mutex<BTreeSet<String>>>);

impl Pins {
    pub(super) fn hold(&self, consumer: &str) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.insert(consumer.to_owned());
    }

    pub(super) fn let_go(&self, consumer: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(consumer);
    }

    fn held(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// Looks now and then whether this process holds more than its share; ends when it is dropped.
pub(crate) async fn balance(
    bus: &Bus,
    stream: &str,
    partitions: usize,
    pins: &Pins,
    every: Duration,
) {
    loop {
        tokio::time::sleep(every).await;
        if let Err(error) = round(bus, stream, partitions, pins).await {
            // Shares stay as they are until the server answers again.
            tracing::debug!(stream, "partitions were not shared out: {error}");
        }
    }
}

async fn round(
    bus: &Bus,
    stream: &str,
    partitions: usize,
    pins: &Pins,
) -> Result<(), async_nats::Error> {
    let held = pins.held();
    let Some(first) = held.first() else { return Ok(()) };
    let stream = bus.jetstream().get_stream_no_info(stream).await?;
    let waiting = stream.consumer_info(first).await?.num_waiting;
    for consumer in held.iter().take(surplus(held.len(), partitions, waiting)) {
        // The pull loop hears of it with its next request, and takes it off the account itself: it may be
        // pinned anew before this answer is read.
        stream.unpin_consumer(consumer, PIN_GROUP).await?;
        telemetry::partition_let_go(consumer);
    }
    Ok(())
}

/// How many of the `held` partitions are too many, if `waiting` requests wait for one of them.
fn surplus(held: usize, partitions: usize, waiting: usize) -> usize {
    let processes = waiting.div_ceil(REQUESTS_EACH).max(1);
    held.saturating_sub(partitions.div_ceil(processes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_keeps_more_than_a_share() {
        assert_eq!(surplus(4, 4, 0), 0);
        assert_eq!(surplus(4, 4, 2), 0, "alone, idle");
        assert_eq!(surplus(4, 4, 1), 0, "alone, at work");
        assert_eq!(surplus(4, 4, 4), 2, "two, idle");
        assert_eq!(surplus(4, 4, 3), 2, "two, this one at work");
        assert_eq!(surplus(2, 4, 4), 0);
        assert_eq!(surplus(16, 16, 6), 10, "three: a share is six");
        assert_eq!(surplus(1, 2, 20), 0, "more processes than partitions");
    }
}
