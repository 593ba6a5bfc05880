//! What waits for one connection: publications, bounded by bytes, and the order to end.
//! Reads: nothing. Writes: nothing. Never: waits or grows without limit; who is too slow is cut.
//! An idle mailbox owns no buffer: thousands of them must cost little.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::codes::{Disconnect, disconnect};
use crate::publication::{ChannelKey, Published};

/// Something for a session.
#[derive(Debug)]
pub(crate) enum Push {
    Publication(Arc<Published>),
    /// Messages of the channel may be missing.
    Lost(Arc<ChannelKey>),
}

/// Buffers up to this many entries are kept for the next burst.
const KEPT_ENTRIES_MAX: usize = 16;

#[derive(Debug, Default)]
struct Queue {
    list: VecDeque<Push>,
    bytes: usize,
    end: Option<Disconnect>,
}

/// One connection's mailbox.
#[derive(Debug)]
pub(crate) struct Mailbox {
    queue: Mutex<Queue>,
    bytes_max: usize,
    arrived: Notify,
    ended: Notify,
}

impl Mailbox {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { queue: Mutex::default(), bytes_max, arrived: Notify::new(), ended: Notify::new() }
    }

    pub(crate) fn push(&self, push: Push) {
        let mut queue = self.lock();
        if queue.end.is_some() {
            return;
        }
        if let Push::Publication(publication) = &push {
            queue.bytes += publication.bytes();
        }
        queue.list.push_back(push);
        if queue.bytes > self.bytes_max {
            self.finish(&mut queue, disconnect::SLOW);
        } else if queue.list.len() == 1 {
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

    fn finish(&self, queue: &mut Queue, why: Disconnect) {
        if why == disconnect::SLOW {
            queue.list = VecDeque::new();
        }
        queue.end = Some(why);
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
        queue.bytes = 0;
        queue.end
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

#[cfg(test)]
mod tests {
    use super::*;
    use campana_bus::subjects::ChannelName;

    fn publication(bytes: usize) -> Push {
        let key = Arc::new(ChannelKey::new("t", ChannelName::parse("c").unwrap()));
        let body = format!("\"{}\"", "x".repeat(bytes));
        Push::Publication(Arc::new(Published::new(&key, 1, None, body.as_bytes(), None)))
    }

    #[test]
    fn a_full_mailbox_ends_its_connection_and_forgets() {
        let mailbox = Mailbox::new(10_000);
        let mut taken = VecDeque::new();
        for _ in 0..9 {
            mailbox.push(publication(1_000));
        }
        assert_eq!(mailbox.take(&mut taken), None);
        assert_eq!(taken.len(), 9);
        taken.clear();
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
