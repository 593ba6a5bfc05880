//! What waits for one connection: publications, bounded by bytes, and the order to end.
//! Reads: nothing. Writes: nothing. Never: waits or grows without limit; who is too slow is cut.
//! An idle mailbox owns no buffer: thousands of them must cost little.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::codes::{Disconnect, disconnect};
use crate::control::Control;
use crate::limits::Backlog;
use crate::limits::backlog::STEP_BYTES;
use crate::metrics;
use crate::presence::moves::Moved;
use crate::publication::{ChannelKey, Published};

/// Something for a session.
#[derive(Debug)]
pub(crate) enum Push {
    Publication(Arc<Published>),
    /// Messages of the channel may be missing.
    Lost(Arc<ChannelKey>),
    /// Some token was revoked that may be this connection's.
    Revoked,
    /// Something from outside.
    Control(Arc<Control>),
    /// Somebody came to a channel, or left it.
    Moved(Arc<Moved>),
}

/// Buffers up to this many entries are kept for the next burst.
const KEPT_ENTRIES_MAX: usize = 16;

#[derive(Debug, Default)]
struct Queue {
    list: VecDeque<Push>,
    bytes: usize,
    /// How many of the bytes the node was told of.
    counted: usize,
    end: Option<Disconnect>,
}

/// One connection's mailbox.
#[derive(Debug)]
pub(crate) struct Mailbox {
    queue: Mutex<Queue>,
    bytes_max: usize,
    /// Marks of the tokens that the connection uses.
    uses: AtomicU64,
    /// Where the node adds up what waits for all its clients.
    backlog: Option<Arc<Backlog>>,
    arrived: Notify,
    ended: Notify,
}

impl Mailbox {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            queue: Mutex::default(),
            bytes_max,
            uses: AtomicU64::new(0),
            backlog: None,
            arrived: Notify::new(),
            ended: Notify::new(),
        }
    }

    /// One whose bytes count among those of the node.
    pub(crate) fn counted(bytes_max: usize, backlog: &Arc<Backlog>) -> Self {
        let mut mailbox = Self::new(bytes_max);
        mailbox.backlog = Some(Arc::clone(backlog));
        mailbox
    }

    /// The connection uses a token with this mark.
    pub(crate) fn uses(&self, mark: u64) {
        self.uses.fetch_or(mark, Ordering::AcqRel);
    }

    /// Whether the connection may use the token with this mark; false is certain.
    pub(crate) fn may_use(&self, mark: u64) -> bool {
        mark & !self.uses.load(Ordering::Acquire) == 0
    }

    pub(crate) fn push(&self, push: Push) {
        let mut queue = self.lock();
        if queue.end.is_some() {
            return;
        }
        match &push {
            Push::Publication(publication) => queue.bytes += publication.bytes(),
            Push::Moved(moved) => queue.bytes += moved.bytes(),
            Push::Control(control) => queue.bytes += control.bytes(),
            _ => {}
        }
        queue.list.push_back(push);
        if queue.bytes > self.bytes_max {
            metrics::slow("queue");
            self.finish(&mut queue, disconnect::SLOW);
            return;
        }
        let uncounted = queue.bytes - queue.counted;
        if uncounted >= STEP_BYTES
            && let Some(backlog) = &self.backlog
        {
            queue.counted = queue.bytes;
            backlog.add(uncounted);
        }
        if queue.list.len() == 1 {
            self.arrived.notify_one();
        }
    }

    /// Ends the connection; what waits is forgotten if it ends because of too much of it.
    pub(crate) fn end(&self, why: Disconnect) {
        let mut queue = self.lock();
        if queue.end.is_none() {
            self.finish(&mut queue, why);
        }
    }

    /// Bytes that wait.
    pub(crate) fn queued(&self) -> usize {
        self.lock().bytes
    }

    /// Ends the connection because too much waits on the node; false if it ends already.
    pub(crate) fn cut(&self) -> bool {
        let mut queue = self.lock();
        let alive = queue.end.is_none();
        if alive {
            metrics::slow("node");
            self.finish(&mut queue, disconnect::SLOW);
        }
        alive
    }

    fn finish(&self, queue: &mut Queue, why: Disconnect) {
        if why == disconnect::SLOW {
            queue.list = VecDeque::new();
            self.settle(queue);
        }
        queue.end = Some(why);
        self.arrived.notify_one();
        self.ended.notify_one();
    }

    /// Has the connection look up, whatever it waits for.
    pub(crate) fn wake(&self) {
        self.arrived.notify_one();
        self.ended.notify_one();
    }

    /// Takes what waits.
    pub(crate) fn take(&self, into: &mut VecDeque<Push>) -> Option<Disconnect> {
        if into.capacity() > KEPT_ENTRIES_MAX {
            *into = VecDeque::new();
        }
        let mut queue = self.lock();
        std::mem::swap(&mut queue.list, into);
        self.settle(&mut queue);
        queue.end
    }

    /// Nothing waits any more.
    fn settle(&self, queue: &mut Queue) {
        queue.bytes = 0;
        let counted = std::mem::take(&mut queue.counted);
        if let (Some(backlog), true) = (&self.backlog, counted > 0) {
            backlog.release(counted);
        }
    }

    /// Until something waits.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Until the connection must end although it is busy writing.
    pub(crate) async fn ended(&self) -> Disconnect {
        loop {
            if let Some(why) = self.lock().end {
                return why;
            }
            self.ended.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing can panic while the lock is held, so a poisoned lock still guards whole data.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        let mut queue = std::mem::take(&mut *self.lock());
        self.settle(&mut queue);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use campana_bus::subjects::ChannelName;

    pub(crate) fn publication(bytes: usize) -> Push {
        let key = Arc::new(ChannelKey::new("t", ChannelName::parse("c").unwrap()));
        let body = format!("\"{}\"", "x".repeat(bytes));
        Push::Publication(Arc::new(Published::new(&key, 1, None, body.as_bytes(), None)))
    }

    #[test]
    fn a_full_mailbox_ends_its_connection_and_forgets() {
        let mailbox = Mailbox::new(10_000);
        let mut taken = VecDeque::new();
        // What was taken does not count any more, however often that happens.
        for _ in 0..3 {
            for _ in 0..9 {
                mailbox.push(publication(1_000));
            }
            assert_eq!(mailbox.take(&mut taken), None);
            assert_eq!((taken.len(), mailbox.queued()), (9, 0));
            taken.clear();
        }
        for _ in 0..12 {
            mailbox.push(publication(1_000));
        }
        assert_eq!(mailbox.take(&mut taken), Some(disconnect::SLOW));
        assert!(taken.is_empty());
    }

    #[tokio::test]
    async fn an_order_to_end_keeps_what_waits() {
        let mailbox = Mailbox::new(10_000);
        mailbox.push(publication(10));
        mailbox.end(disconnect::SHUTDOWN);
        mailbox.end(disconnect::SLOW);
        mailbox.push(publication(10));
        mailbox.arrived().await;
        assert_eq!(mailbox.ended().await, disconnect::SHUTDOWN);
        let mut taken = VecDeque::new();
        assert_eq!(mailbox.take(&mut taken), Some(disconnect::SHUTDOWN));
        assert_eq!(taken.len(), 1);
    }
}
