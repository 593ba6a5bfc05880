//! One followed channel and its subscribers on this node.
//! Reads: messages. Writes: mailboxes, under the channel's lock, so that all see the same order.
//! Never: waits while the lock is held.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use campana_bus::clock;

use super::feed::Feed;
use super::sequencer::{Sequencer, Verdict};
use crate::mailbox::{Mailbox, Push};
use crate::publication::{ChannelKey, Published};

pub(super) struct Channel {
    pub(super) key: Arc<ChannelKey>,
    /// Set once the channel is followed.
    pub(super) ready: tokio::sync::OnceCell<()>,
    state: Mutex<State>,
}

struct State {
    sequencer: Sequencer<Arc<Published>>,
    subscribers: Vec<Arc<Mailbox>>,
    /// The stream's last sequence just before the channel was first looked at.
    floor: u64,
    idle_since: Option<Instant>,
    checked_at: Instant,
    /// Given up: nobody may join any more.
    dead: bool,
    /// Kept alive by its channels.
    _feed: Option<Arc<Feed>>,
}

impl Channel {
    pub(super) fn new(key: Arc<ChannelKey>) -> Self {
        let state = State {
            sequencer: Sequencer::new(),
            subscribers: Vec::new(),
            floor: 0,
            idle_since: Some(clock::monotonic()),
            checked_at: clock::monotonic(),
            dead: false,
            _feed: None,
        };
        Self { key, ready: tokio::sync::OnceCell::new(), state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing can panic while the lock is held, so a poisoned lock still guards whole data.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The channel is followed from here. True if a hole was found at once.
    pub(super) fn start(&self, feed: Arc<Feed>, position: u64, floor: u64) -> bool {
        let mut state = self.lock();
        state._feed = Some(feed);
        state.floor = floor;
        let (out, again) = state.sequencer.start(position);
        state.deliver(out);
        again
    }

    /// Adds a subscriber: it gets everything after the position that is returned with the floor.
    pub(super) fn add(&self, mailbox: &Arc<Mailbox>) -> Option<(u64, u64)> {
        let mut state = self.lock();
        if state.dead {
            return None;
        }
        state.idle_since = None;
        if !state.subscribers.iter().any(|one| Arc::ptr_eq(one, mailbox)) {
            state.subscribers.push(Arc::clone(mailbox));
        }
        Some((state.sequencer.position(), state.floor))
    }

    pub(super) fn remove(&self, mailbox: &Arc<Mailbox>, now: Instant) {
        let mut state = self.lock();
        state.subscribers.retain(|one| !Arc::ptr_eq(one, mailbox));
        if state.subscribers.is_empty() && state.idle_since.is_none() {
            state.subscribers = Vec::new();
            state.idle_since = Some(now);
        }
    }

    /// A live message came. True if there is a hole before it.
    pub(super) fn live(&self, sequence: u64, previous: u64, publication: Arc<Published>) -> bool {
        let mut state = self.lock();
        match state.sequencer.live(sequence, previous, publication) {
            Verdict::Deliver(publication) => {
                state.deliver_one(&publication);
                false
            }
            Verdict::Nothing => false,
            Verdict::Repair => true,
        }
    }

    pub(super) fn fetched(&self, messages: Vec<Arc<Published>>) {
        let mut state = self.lock();
        let messages = messages.into_iter().map(|message| (message.offset, message)).collect();
        let out = state.sequencer.fetched(messages);
        state.deliver(out);
    }

    /// True if there is still a hole.
    pub(super) fn finish(&self) -> bool {
        let mut state = self.lock();
        let (out, again) = state.sequencer.finish();
        state.deliver(out);
        again
    }

    pub(super) fn position(&self) -> u64 {
        self.lock().sequencer.position()
    }

    /// Compared with the stream, whose last message of this channel is `last`: true if it must be repaired.
    pub(super) fn checked(&self, last: u64, now: Instant) -> bool {
        let mut state = self.lock();
        state.checked_at = now;
        last > state.sequencer.position() && state.sequencer.suspect()
    }

    /// Whether it is time to compare the channel with the stream.
    pub(super) fn wants_check(&self, interval: Duration, stream_last: u64, now: Instant) -> bool {
        let state = self.lock();
        !state.sequencer.is_waiting()
            && stream_last > state.sequencer.position()
            && now.duration_since(state.checked_at) >= interval
    }

    pub(super) fn is_idle(&self, linger: Duration, now: Instant) -> bool {
        self.lock().idle_since.is_some_and(|since| now.duration_since(since) >= linger)
    }

    /// Nobody may join any more; gives those who must be told.
    pub(super) fn kill(&self) -> Vec<Arc<Mailbox>> {
        let mut state = self.lock();
        state.dead = true;
        std::mem::take(&mut state.subscribers)
    }
}

impl State {
    fn deliver(&self, publications: Vec<Arc<Published>>) {
        for publication in publications {
            self.deliver_one(&publication);
        }
    }

    fn deliver_one(&self, publication: &Arc<Published>) {
        for mailbox in &self.subscribers {
            mailbox.push(Push::Publication(Arc::clone(publication)));
        }
    }
}
