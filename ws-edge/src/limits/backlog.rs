//! What waits for all clients of a node together, and who is cut when it is too much.
//! Reads: mailboxes. Writes: mailboxes. Never: costs quick clients anything: a mailbox reports what waits in it in
//! steps of [`STEP_BYTES`], and what quick clients wait for stays below one step.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::mailbox::Mailbox;

/// A mailbox reports its bytes when so many more wait; the sum is too low by at most this for each connection.
pub(crate) const STEP_BYTES: usize = 4 * 1024;

/// The sum of what waits, as far as mailboxes reported it.
#[derive(Debug)]
pub(crate) struct Backlog {
    bytes: AtomicUsize,
    bytes_max: usize,
    full: Notify,
}

impl Backlog {
    /// 0 for no limit.
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        let bytes_max = if bytes_max == 0 { usize::MAX } else { bytes_max };
        Arc::new(Self { bytes: AtomicUsize::new(0), bytes_max, full: Notify::new() })
    }

    pub(crate) fn add(&self, bytes: usize) {
        if self.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) > self.bytes_max {
            self.full.notify_one();
        }
    }

    pub(crate) fn release(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// What waits, as far as it was reported.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Until more waits than may.
    pub(crate) async fn full(&self) {
        self.full.notified().await;
    }

    /// Cuts connections, those with the most first, until no more waits than may. Gives how many.
    pub(crate) fn relieve(&self, mailboxes: &[Arc<Mailbox>]) -> usize {
        let mut largest: Vec<(usize, &Arc<Mailbox>)> = mailboxes
            .iter()
            .map(|mailbox| (mailbox.queued(), mailbox))
            .filter(|(queued, _)| *queued >= STEP_BYTES)
            .collect();
        largest.sort_unstable_by_key(|(queued, _)| std::cmp::Reverse(*queued));
        let mut cut = 0;
        for (_, mailbox) in largest {
            if self.bytes() <= self.bytes_max {
                break;
            }
            cut += usize::from(mailbox.cut());
        }
        cut
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use futures::FutureExt as _;

    use super::*;
    use crate::codes::disconnect;
    use crate::mailbox::tests::publication;

    #[test]
    fn the_largest_are_cut_first_and_only_as_many_as_needed() {
        let backlog = Backlog::new(115_000);
        let mailboxes: Vec<Arc<Mailbox>> =
            (0..5).map(|_| Arc::new(Mailbox::counted(1_000_000, &backlog))).collect();
        for (at, mailbox) in mailboxes.iter().enumerate() {
            (0..at * 10).for_each(|_| mailbox.push(publication(1_000)));
        }
        assert!(backlog.full().now_or_never().is_none());
        assert_eq!(backlog.relieve(&mailboxes), 0);
        (0..30).for_each(|_| mailboxes[1].push(publication(1_000)));
        assert!(backlog.full().now_or_never().is_some());
        assert_eq!(backlog.relieve(&mailboxes), 1);
        let mut taken = VecDeque::new();
        let ends: Vec<_> = mailboxes.iter().map(|one| one.take(&mut taken)).collect();
        // Two had the same, the most; one of them went, and the others were left alone.
        assert_eq!(ends.iter().flatten().collect::<Vec<_>>(), [&disconnect::SLOW]);
        assert!(ends[1].is_some() != ends[4].is_some());
        assert_eq!(backlog.bytes(), 0);
    }

    #[test]
    fn a_mailbox_that_is_gone_counts_no_more() {
        let backlog = Backlog::new(0);
        let mailbox = Mailbox::counted(1_000_000, &backlog);
        (0..100).for_each(|_| mailbox.push(publication(1_000)));
        assert!(backlog.bytes() > 90_000);
        drop(mailbox);
        assert_eq!(backlog.bytes(), 0);
    }
}
