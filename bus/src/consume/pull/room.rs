//! Room for messages in hand, and the loop's wish to learn when there is some again.
//! Reads and writes: its counters. Never: waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use tokio::sync::{Notify, Semaphore};

/// As many places as messages may be in hand.
#[derive(Debug)]
pub(super) struct Room {
    places: Semaphore,
    /// Free places from which on the loop wants to be woken.
    wake_at: AtomicUsize,
    /// Wakes the loop.
    freed: Notify,
}

/// The place of one message; free again when dropped, wherever that is: a queue of messages that wait for
/// their batch holds places long after their tasks ended.
#[derive(Debug)]
pub(in crate::consume) struct Place(Arc<Room>);

impl Room {
    pub fn new(places: usize) -> Arc<Self> {
        Arc::new(Self {
            places: Semaphore::new(places),
            wake_at: AtomicUsize::new(1),
            freed: Notify::new(),
        })
    }

    /// Places that no message holds.
    pub fn free(&self) -> usize {
        self.places.available_permits()
    }

    pub fn take(self: &Arc<Self>) -> Option<Place> {
        self.places.try_acquire().ok()?.forget();
        Some(Place(Arc::clone(self)))
    }

    /// Ready once when [`Room::wake_at`] places are free.
    pub async fn freed(&self) {
        self.freed.notified().await;
    }

    /// Asks to be woken when so many places are free. Whoever calls looks at [`Room::free`] afterwards: either
    /// whoever frees a place sees the new number, or the look sees the place.
    pub fn wake_at(&self, places: usize) {
        self.wake_at.store(places, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let room = &self.0;
        room.places.add_permits(1);
        fence(Ordering::SeqCst);
        if room.free() >= room.wake_at.load(Ordering::Relaxed) {
            room.freed.notify_one();
        }
    }
}
