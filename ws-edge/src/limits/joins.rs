//! How many channels a node joins at the same time: a storm of subscriptions waits in a row, and the row ends.
//! Reads: nothing. Writes: nothing. Never: forgets a place of somebody who left the row.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

#[derive(Debug)]
pub(crate) struct Joins {
    places: Semaphore,
    waiting: AtomicUsize,
    waiting_max: usize,
}

/// Somebody in the row; also who gives up leaves it.
struct Waits<'a>(&'a AtomicUsize);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Joins {
    pub(super) fn new(in_flight_max: usize, waiting_max: usize) -> Self {
        Self {
            places: Semaphore::new(in_flight_max.min(Semaphore::MAX_PERMITS)),
            waiting: AtomicUsize::new(0),
            waiting_max,
        }
    }

    /// Waits for a place and keeps it until the answer is dropped; `None` if too many wait already.
    pub(crate) async fn enter(&self) -> Option<SemaphorePermit<'_>> {
        if let Ok(place) = self.places.try_acquire() {
            return Some(place);
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waits = Waits(&self.waiting);
        if before >= self.waiting_max {
            return None;
        }
        self.places.acquire().await.ok()
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.places.available_permits()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn the_row_has_an_end_and_nobody_who_leaves_keeps_a_place() {
        let joins = Joins::new(1, 2);
        let place = joins.enter().await.unwrap();
        let mut first = Box::pin(joins.enter());
        let mut second = Box::pin(joins.enter());
        assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        assert_eq!(joins.waiting(), 2);
        assert!(joins.enter().await.is_none());
        drop(first);
        assert_eq!(joins.waiting(), 1);
        drop(place);
        assert!(second.await.is_some());
        assert_eq!((joins.waiting(), joins.free()), (0, 1));
    }
}
