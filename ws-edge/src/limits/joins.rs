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
#[derive(Debug)]
struct Waits<'a>(&'a AtomicUsize);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Who gave its place to the next one but is not done: it counts as one that waits.
#[derive(Debug)]
pub(crate) struct Aside<'a> {
    _waits: Waits<'a>,
    /// Kept if too many wait already.
    _place: Option<SemaphorePermit<'a>>,
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

    /// Lets the next one in while this one waits for something that many wait for together.
    pub(crate) fn step_aside<'a>(&'a self, place: SemaphorePermit<'a>) -> Aside<'a> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let waits = Waits(&self.waiting);
        Aside { _waits: waits, _place: (before >= self.waiting_max).then_some(place) }
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

    #[tokio::test]
    async fn who_steps_aside_lets_the_next_one_in_unless_the_row_is_full() {
        let joins = Joins::new(1, 1);
        let first = joins.step_aside(joins.enter().await.unwrap());
        assert_eq!((joins.waiting(), joins.free()), (1, 1));
        let second = joins.step_aside(joins.enter().await.unwrap());
        assert_eq!((joins.waiting(), joins.free()), (2, 0));
        drop((first, second));
        assert_eq!((joins.waiting(), joins.free()), (0, 1));
    }
}
