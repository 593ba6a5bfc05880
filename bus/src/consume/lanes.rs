//! Turns: which message of a key is handled next.
//! Reads: arrivals, in the order of the pull loop. Writes: nothing. Never: lets a message begin before the
//! one of its key that arrived before it has ended, or keeps a key that no message in hand has.
//!
//! Every arrival of a key gets a place behind the one before it: the two are tied by a channel on which the
//! earlier says, when it has ended, whether the later may go. The places are given in the pull loop, before
//! any task runs, because tasks start in any order. Memory is bounded by the permits of the consumer: a
//! key lives as long as messages in hand have it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

use super::middleware::Delivery;
use super::ordering::{KeyOf, Ordering, header_key};
use super::settle::Incoming;
use crate::clock::Micros;

/// How many settled messages are remembered. If the acknowledgement of one is lost, the server offers it
/// again; handling it again after its successors would look like disorder, so it is acknowledged again.
const SETTLED_MEMORY: usize = 4_096;

/// A message in its stream. The time tells the messages of a stream that was deleted and made anew apart.
type Identity = (u64, Micros);

/// What the earlier message of a key tells the later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// It ended: handled, or parked.
    Go,
    /// It was given back to the server, so the later one must be given back, too.
    GiveBack,
}

/// What the pull loop found out about a message.
#[derive(Debug)]
pub(super) enum Arrival {
    /// It has a place.
    Turn(Turn),
    /// A second copy of a message in hand; the first one settles both.
    Copy,
    /// It was settled before, but the server does not know.
    Settled,
}

/// The places of one consumer.
#[derive(Debug)]
pub(super) struct Lanes {
    state: Mutex<State>,
    room: Semaphore,
    ordering: Ordering,
    order_by: Option<KeyOf>,
}

#[derive(Debug, Default)]
struct State {
    keys: HashMap<String, Key>,
    in_hand: HashSet<Identity>,
    settled: Settled,
}

/// A key with messages in hand.
#[derive(Debug)]
struct Key {
    places: usize,
    last: oneshot::Receiver<Passed>,
}

#[derive(Debug, Default)]
struct Settled {
    known: HashSet<Identity>,
    oldest_first: VecDeque<Identity>,
}

impl Settled {
    fn remember(&mut self, message: Identity) {
        if self.known.insert(message) {
            self.oldest_first.push_back(message);
        }
        if self.oldest_first.len() > SETTLED_MEMORY
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

impl Lanes {
    /// `None` for a consumer that keeps no order.
    pub fn new(ordering: Ordering, order_by: Option<KeyOf>) -> Option<Arc<Self>> {
        let lanes = match ordering {
            Ordering::None => return None,
            Ordering::ByKey { lanes } => lanes.clamp(1, Semaphore::MAX_PERMITS),
            Ordering::Strict => 1,
        };
        let room = Semaphore::new(lanes);
        Some(Arc::new(Self { state: Mutex::default(), room, ordering, order_by }))
    }

    /// Gives a message its place.
    pub fn arrive(self: &Arc<Self>, message: &Incoming) -> Arrival {
        let identity = (message.meta.sequence, message.meta.published_at);
        let key = self.key(message);
        let mut state = self.lock();
        if state.settled.known.contains(&identity) {
            return Arrival::Settled;
        }
        if !state.in_hand.insert(identity) {
            return Arrival::Copy;
        }
        let (keyless, key) = match key {
            Ok(key) => (None, key),
            Err(()) => (Some("the function that finds the ordering key panicked"), None),
        };
        let (after, last) = oneshot::channel();
        let before = key.as_ref().and_then(|key| match state.keys.get_mut(key) {
            Some(known) => {
                known.places += 1;
                Some(std::mem::replace(&mut known.last, last))
            }
            None => {
                state.keys.insert(key.clone(), Key { places: 1, last });
                None
            }
        });
        Arrival::Turn(Turn {
            lanes: Arc::clone(self),
            identity,
            key,
            keyless,
            before,
            after: Some(after),
            pass: Passed::GiveBack,
            settled: false,
        })
    }

    fn key(&self, message: &Incoming) -> Result<Option<String>, ()> {
        if self.ordering == Ordering::Strict {
            return Ok(Some(String::new()));
        }
        let delivery = Delivery { payload: message.payload.clone(), meta: message.meta.clone() };
        match &self.order_by {
            Some(function) => function.find(&delivery),
            None => Ok(header_key(&delivery)),
        }
    }

    /// Room to work. Waiting messages hold none.
    pub async fn room(&self) -> Option<SemaphorePermit<'_>> {
        self.room.acquire().await.ok()
    }

    /// Keys with messages in hand.
    pub fn keys(&self) -> usize {
        self.lock().keys.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is whole, so a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one message. Dropped without a word it makes those behind it go back.
#[derive(Debug)]
pub(super) struct Turn {
    lanes: Arc<Lanes>,
    identity: Identity,
    key: Option<String>,
    /// Why the key is not known, if it should be.
    pub keyless: Option<&'static str>,
    before: Option<oneshot::Receiver<Passed>>,
    after: Option<oneshot::Sender<Passed>>,
    pass: Passed,
    settled: bool,
}

impl Turn {
    /// Waits for the message before this one; safe to be dropped and called again.
    pub async fn wait(&mut self) -> Passed {
        let Some(before) = &mut self.before else {
            return Passed::Go;
        };
        let passed = before.await.unwrap_or(Passed::GiveBack);
        self.before = None;
        passed
    }

    /// The places this one belongs to.
    pub fn lanes(&self) -> &Arc<Lanes> {
        &self.lanes
    }

    /// The message was settled for good: the next one may go.
    pub fn settled(mut self) {
        (self.pass, self.settled) = (Passed::Go, true);
    }

    /// The message went back to the server, and so must those behind it.
    pub fn given_back(self) {}
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.lanes.lock();
        state.in_hand.remove(&self.identity);
        if self.settled {
            state.settled.remember(self.identity);
        }
        if let Some(key) = &self.key
            && let Some(known) = state.keys.get_mut(key)
        {
            known.places -= 1;
            if known.places == 0 {
                state.keys.remove(key);
            }
        }
        drop(state);
        if let Some(after) = self.after.take() {
            let _ = after.send(self.pass);
        }
    }
}

#[cfg(test)]
mod tests;
