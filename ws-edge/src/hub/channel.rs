//! One followed channel and its subscribers on this node.
//! Reads: messages. Writes: mailboxes, under the channel's lock, so that all see the same order.
//! Never: waits while the lock is held.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use campana_bus::clock;

use super::feed::Feed;
use super::pattern::Pattern;
use super::recent::{Budget, Recent};
use super::recovery::PAGE_BYTES_MAX;
use super::sequencer::{Sequencer, Verdict};
use crate::mailbox::{Mailbox, Push};
use crate::publication::{ChannelKey, Published};
use crate::session::Page;

pub(super) struct Channel {
    pub(super) key: Arc<ChannelKey>,
    /// Set once the channel is followed.
    pub(super) ready: tokio::sync::OnceCell<()>,
    /// Set if it stands for many channels.
    pub(super) pattern: Option<Pattern>,
    state: Mutex<State>,
}

struct State {
    sequencer: Sequencer<Arc<Published>>,
    subscribers: Vec<Arc<Mailbox>>,
    /// The stream's last sequence just before the channel was first looked at.
    floor: u64,
    /// Incarnation of the stream to which positions belong.
    epoch: Arc<str>,
    /// What was published last, if clients came back to the channel a moment ago.
    recent: Option<Box<Recent>>,
    idle_since: Option<Instant>,
    checked_at: Instant,
    /// Given up: nobody may join any more.
    dead: bool,
    /// Somebody takes differences: publications are told which one they follow.
    differences: bool,
    /// The publication that was delivered last, if `differences`.
    latest: Option<(u64, Bytes)>,
    /// Kept alive by its channels.
    _feed: Option<Arc<Feed>>,
}

/// Where a channel stands.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    /// Its last message.
    pub(super) position: u64,
    /// What the stream's last message was when the channel was first looked at.
    pub(super) floor: u64,
    pub(super) epoch: Arc<str>,
}

/// What is known here of what came after an offset.
#[derive(Debug)]
pub(super) enum Recall {
    /// Some of it, and how much there is.
    Found(Page, u64),
    /// That something of it is gone.
    Lost,
    /// That it is too much to be kept.
    Far,
    /// Nothing: whoever gets this lock asks the stream.
    Ask(Arc<tokio::sync::Mutex<()>>),
}

impl Channel {
    pub(super) fn new(key: Arc<ChannelKey>) -> Self {
        let state = State {
            sequencer: Sequencer::new(),
            subscribers: Vec::new(),
            floor: 0,
            epoch: Arc::default(),
            recent: None,
            idle_since: Some(clock::monotonic()),
            checked_at: clock::monotonic(),
            dead: false,
            differences: false,
            latest: None,
            _feed: None,
        };
        let pattern = Pattern::of(&key);
        Self { key, ready: tokio::sync::OnceCell::new(), pattern, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing can panic while the lock is held, so a poisoned lock still guards whole data.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The channel is followed from here. True if a hole was found at once.
    pub(super) fn start(&self, feed: Arc<Feed>, from: Standing) -> bool {
        let mut state = self.lock();
        state._feed = Some(feed);
        (state.floor, state.epoch) = (from.floor, from.epoch);
        let (out, again) = state.sequencer.start(from.position);
        state.deliver(out);
        again
    }

    /// Adds a subscriber: it gets everything after the position that is returned.
    /// `differences` says that it takes them.
    pub(super) fn add(&self, mailbox: &Arc<Mailbox>, differences: bool) -> Option<Standing> {
        let mut state = self.lock();
        if state.dead {
            return None;
        }
        state.differences |= differences;
        state.idle_since = None;
        if !state.subscribers.iter().any(|one| Arc::ptr_eq(one, mailbox)) {
            state.subscribers.push(Arc::clone(mailbox));
        }
        let (position, floor) = (state.sequencer.position(), state.floor);
        Some(Standing { position, floor, epoch: Arc::clone(&state.epoch) })
    }

    pub(super) fn remove(&self, mailbox: &Arc<Mailbox>, now: Instant) {
        let mut state = self.lock();
        state.subscribers.retain(|one| !Arc::ptr_eq(one, mailbox));
        if state.subscribers.is_empty() && state.idle_since.is_none() {
            state.subscribers = Vec::new();
            (state.differences, state.latest) = (false, None);
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

    /// News of a pattern: the stream has a message of one of its channels. True if it must be read.
    pub(super) fn news(&self, sequence: u64) -> bool {
        self.lock().sequencer.news(sequence)
    }

    /// Messages read from the stream, which was looked through up to `reached`.
    pub(super) fn fetched(&self, messages: Vec<Arc<Published>>, reached: u64) {
        let mut state = self.lock();
        let messages = messages.into_iter().map(|message| (message.offset, message)).collect();
        let out = state.sequencer.fetched(messages);
        state.deliver(out);
        state.sequencer.reached(reached);
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

    pub(super) fn is_pattern(&self) -> bool {
        self.pattern.is_some()
    }

    pub(super) fn epoch(&self) -> Arc<str> {
        Arc::clone(&self.lock().epoch)
    }

    pub(super) fn has_subscribers(&self) -> bool {
        !self.lock().subscribers.is_empty()
    }

    /// What came after `offset`, up to `limit` of it. From now on, and until nobody asks for a while, what is
    /// published is kept.
    pub(super) fn recall(
        &self,
        offset: u64,
        limit: usize,
        budget: &Arc<Budget>,
        now: Instant,
    ) -> Recall {
        let mut state = self.lock();
        let recent = state.recent(budget, now);
        if let Some(slice) = recent.after(offset, limit, PAGE_BYTES_MAX, now) {
            let more = slice.all > slice.publications.len() as u64;
            return Recall::Found(Page { publications: slice.publications, more }, slice.all);
        }
        if offset <= recent.lost_upto && recent.lost_upto > 0 {
            return Recall::Lost;
        }
        if offset <= recent.far_upto && recent.far_upto > 0 {
            return Recall::Far;
        }
        Recall::Ask(recent.want(offset))
    }

    /// The lock under which the stream is asked.
    pub(super) fn turn(&self, budget: &Arc<Budget>, now: Instant) -> Arc<tokio::sync::Mutex<()>> {
        self.lock().recent(budget, now).turn()
    }

    /// The last publication, if it is kept.
    pub(super) fn latest(&self, budget: &Arc<Budget>, now: Instant) -> Option<Arc<Published>> {
        self.lock().recent(budget, now).latest(now)
    }

    /// For whom else the stream is asked, with one who stands at `offset`.
    pub(super) fn furthest(&self, offset: u64) -> u64 {
        self.lock().recent.as_ref().map_or(offset, |recent| recent.furthest(offset))
    }

    /// What is kept begins after this.
    pub(super) fn kept_from(&self) -> Option<u64> {
        self.lock().recent.as_ref().map(|recent| recent.from())
    }

    /// Everything in `(from, upto]` was read; kept if what is kept still begins after `upto`.
    pub(super) fn keep(&self, from: u64, upto: u64, older: &[Arc<Published>]) {
        let mut state = self.lock();
        if let Some(recent) = state.recent.as_mut().filter(|recent| recent.from() == upto) {
            recent.prepend(from, older);
        }
    }

    /// Something after this position is gone.
    pub(super) fn lost(&self, offset: u64) {
        if let Some(recent) = self.lock().recent.as_mut() {
            recent.lost(offset);
        }
    }

    /// What came after this position is too much to be kept.
    pub(super) fn far(&self, offset: u64) {
        if let Some(recent) = self.lock().recent.as_mut() {
            recent.far(offset);
        }
    }

    /// Forgets what is kept if nobody asks for it any more, or at once.
    pub(super) fn forget(&self, now: Option<Instant>) {
        let mut state = self.lock();
        if state.recent.as_ref().is_some_and(|recent| now.is_none_or(|now| recent.is_old(now))) {
            state.recent = None;
        }
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
    fn recent(&mut self, budget: &Arc<Budget>, now: Instant) -> &mut Recent {
        let position = self.sequencer.position();
        self.recent.get_or_insert_with(|| Box::new(Recent::new(budget, position, now)))
    }

    fn deliver(&mut self, publications: Vec<Arc<Published>>) {
        for publication in publications {
            self.deliver_one(&publication);
        }
    }

    fn deliver_one(&mut self, publication: &Arc<Published>) {
        if self.differences {
            let latest = self.latest.replace((publication.offset, publication.body()));
            if let Some((offset, body)) = latest {
                publication.follow(offset, body);
            }
        }
        if let Some(recent) = &mut self.recent {
            recent.push(publication);
        }
        for mailbox in &self.subscribers {
            mailbox.push(Push::Publication(Arc::clone(publication)));
        }
    }
}
