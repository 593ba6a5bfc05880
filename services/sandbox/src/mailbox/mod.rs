//! The mailbox: a ring of what arrived, bounded by count and by bytes, with a live feed.
//!
//! It writes to memory only and never to disk: a restart empties it. Ids ascend without gaps
//! within a process, so looking one up is an index, not a search.

mod message;
mod query;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

pub use message::{
    Callback, Channel, Content, Draft, Email, Message, MessageId, Sms, Verification, Webhook,
    preview,
};
pub use query::{Page, Query};

use crate::metrics;

/// Events a slow page may be behind before it is told to load the list again.
const LIVE_BACKLOG: usize = 1_024;

/// What a page that follows along is told.
#[derive(Debug, Clone)]
pub enum Live {
    Arrived(Arc<Message>),
    Changed(Arc<Message>),
    Cleared,
    Faults,
}

/// Counts that `GET /api/stats` shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub kept: usize,
    pub kept_bytes: usize,
    pub evicted: u64,
    /// Received since the start, in the order of [`Channel::ALL`].
    pub received: [u64; 4],
}

#[derive(Debug, Default)]
struct Ring {
    messages: VecDeque<Arc<Message>>,
    bytes: usize,
    evicted: u64,
    received: [u64; 4],
}

/// Everything that arrived and is still kept.
#[derive(Debug)]
pub struct Mailbox {
    keep: usize,
    keep_bytes: usize,
    next: AtomicU64,
    ring: Mutex<Ring>,
    live: broadcast::Sender<Live>,
}

impl Mailbox {
    pub fn new(keep: usize, keep_bytes: usize) -> Self {
        Self {
            keep: keep.max(1),
            keep_bytes,
            next: AtomicU64::new(1),
            ring: Mutex::new(Ring::default()),
            live: broadcast::channel(LIVE_BACKLOG).0,
        }
    }

    /// Keeps a message and tells who follows. The newest message is kept even when it alone
    /// exceeds the byte limit: a person who sent it wants to see it.
    pub fn add(&self, draft: Draft) -> Arc<Message> {
        let mut ring = self.ring();
        let id = MessageId(self.next.fetch_add(1, Relaxed));
        let message = Arc::new(draft.into_message(id));
        ring.received[message.channel.index()] += 1;
        ring.bytes += message.size;
        ring.messages.push_back(Arc::clone(&message));
        let before = ring.evicted;
        while ring.messages.len() > self.keep
            || (ring.bytes > self.keep_bytes && ring.messages.len() > 1)
        {
            let Some(oldest) = ring.messages.pop_front() else {
                break;
            };
            ring.bytes -= oldest.size;
            ring.evicted += 1;
        }
        let evicted = ring.evicted - before;
        self.gauges(&ring);
        // Sent under the lock, so that followers see arrivals in the order of their ids.
        let _ = self.live.send(Live::Arrived(Arc::clone(&message)));
        drop(ring);
        ::metrics::counter!(metrics::MESSAGES_TOTAL, "channel" => message.channel.as_str())
            .increment(1);
        ::metrics::counter!(metrics::EVICTED_TOTAL).increment(evicted);
        message
    }

    /// Tells followers that a kept message changed (a text message moved to another status).
    pub fn changed(&self, message: &Arc<Message>) {
        let _ = self.live.send(Live::Changed(Arc::clone(message)));
    }

    /// Tells followers that the fault rules are others now.
    pub fn faults_changed(&self) {
        let _ = self.live.send(Live::Faults);
    }

    pub fn get(&self, id: MessageId) -> Option<Arc<Message>> {
        let ring = self.ring();
        let first = ring.messages.front()?.id.0;
        let index = usize::try_from(id.0.checked_sub(first)?).ok()?;
        ring.messages.get(index).cloned()
    }

    /// The newest message that satisfies the predicate.
    pub fn find(&self, wanted: impl Fn(&Message) -> bool) -> Option<Arc<Message>> {
        self.ring().messages.iter().rev().find(|message| wanted(message)).cloned()
    }

    /// Newest first: what satisfies the predicate after the first `skip`, at most `take`, and
    /// whether there is more.
    pub fn page_of(
        &self,
        wanted: impl Fn(&Message) -> bool,
        skip: usize,
        take: usize,
    ) -> (Vec<Arc<Message>>, bool) {
        let snapshot: Vec<Arc<Message>> = self.ring().messages.iter().rev().cloned().collect();
        let mut found = snapshot.into_iter().filter(|message| wanted(message)).skip(skip);
        let page: Vec<Arc<Message>> = found.by_ref().take(take).collect();
        (page, found.next().is_some())
    }

    /// Newest first. The predicates run outside the lock, on cheap references.
    pub fn list(&self, query: &Query) -> Page {
        let snapshot: Vec<Arc<Message>> = self.ring().messages.iter().rev().cloned().collect();
        query::select(&snapshot, query)
    }

    pub fn clear(&self) -> usize {
        let mut ring = self.ring();
        let gone = ring.messages.len();
        ring.messages.clear();
        ring.bytes = 0;
        self.gauges(&ring);
        let _ = self.live.send(Live::Cleared);
        gone
    }

    pub fn totals(&self) -> Totals {
        let ring = self.ring();
        Totals {
            kept: ring.messages.len(),
            kept_bytes: ring.bytes,
            evicted: ring.evicted,
            received: ring.received,
        }
    }

    pub fn follow(&self) -> broadcast::Receiver<Live> {
        self.live.subscribe()
    }

    fn gauges(&self, ring: &Ring) {
        ::metrics::gauge!(metrics::MESSAGES_KEPT)
            .set(metrics::as_gauge(ring.messages.len() as u64));
        ::metrics::gauge!(metrics::KEPT_BYTES).set(metrics::as_gauge(ring.bytes as u64));
    }

    /// The ring is consistent between any two statements, so a poisoned lock is still usable.
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
