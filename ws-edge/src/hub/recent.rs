//! What was published in a channel last, kept for a moment, so that many clients that come back at once are served
//! by one question to the stream.
//! Reads: publications in their order. Writes: nothing. Never: has a hole, is larger than its limits, or is kept
//! for channels to which nobody came back.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::publication::Published;

/// Publications kept of one channel.
pub(super) const MESSAGES_MAX: usize = 1_000;
/// Bytes kept of one channel.
pub(super) const BYTES_MAX: usize = 1024 * 1024;
/// How long they are kept after the last client that came back.
pub(super) const AGE_MAX: Duration = Duration::from_secs(10);

/// Bytes of all channels of a node, and their limit.
#[derive(Debug)]
pub(super) struct Budget {
    used: AtomicUsize,
    limit: usize,
}

impl Budget {
    pub(super) fn new(limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit }
    }

    /// Bytes in use.
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> bool {
        let used = self.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if used > self.limit {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
        }
        used <= self.limit
    }
}

/// All publications of a channel after `from`, up to where it was delivered.
#[derive(Debug)]
pub(super) struct Recent {
    budget: Arc<Budget>,
    from: u64,
    list: VecDeque<Arc<Published>>,
    bytes: usize,
    /// From positions up to here something is gone: it does not come back.
    pub(super) lost_upto: u64,
    /// Positions up to here are too far back to be kept.
    pub(super) far_upto: u64,
    /// Where clients stand for whom the stream must be asked.
    wanted: BTreeSet<u64>,
    /// Whose turn it is to ask.
    turn: Arc<tokio::sync::Mutex<()>>,
    used_at: Instant,
}

/// What a client missed.
#[derive(Debug)]
pub(super) struct Slice {
    pub(super) publications: Vec<Arc<Published>>,
    /// All of them, also those that did not fit.
    pub(super) all: u64,
}

impl Recent {
    /// Nothing yet, at the position up to which the channel was delivered.
    pub(super) fn new(budget: &Arc<Budget>, position: u64, now: Instant) -> Self {
        Self {
            budget: Arc::clone(budget),
            from: position,
            list: VecDeque::new(),
            bytes: 0,
            lost_upto: 0,
            far_upto: 0,
            wanted: BTreeSet::new(),
            turn: Arc::default(),
            used_at: now,
        }
    }

    /// The lock under which the stream is asked.
    pub(super) fn turn(&self) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(&self.turn)
    }

    /// A client stands here, before what is kept: gives the lock under which the stream is asked.
    pub(super) fn want(&mut self, offset: u64) -> Arc<tokio::sync::Mutex<()>> {
        self.wanted.insert(offset);
        self.turn()
    }

    /// The furthest position that somebody waits for, at most `offset`.
    pub(super) fn furthest(&self, offset: u64) -> u64 {
        self.wanted.first().map_or(offset, |first| offset.min(*first))
    }

    /// Something after this position is gone.
    pub(super) fn lost(&mut self, offset: u64) {
        self.lost_upto = self.lost_upto.max(offset);
        self.wanted.retain(|one| *one > offset);
    }

    /// What came after this position is too much to be kept.
    pub(super) fn far(&mut self, offset: u64) {
        self.far_upto = self.far_upto.max(offset);
        self.wanted.retain(|one| *one > offset);
    }

    pub(super) fn from(&self) -> u64 {
        self.from
    }

    pub(super) fn is_old(&self, now: Instant) -> bool {
        now.duration_since(self.used_at) >= AGE_MAX
    }

    /// The next one was delivered.
    pub(super) fn push(&mut self, publication: &Arc<Published>) {
        if !self.budget.take(publication.bytes()) {
            self.clear(publication.offset);
            return;
        }
        self.bytes += publication.bytes();
        self.list.push_back(Arc::clone(publication));
        while self.list.len() > MESSAGES_MAX || self.bytes > BYTES_MAX {
            self.forget_oldest();
        }
    }

    /// All publications in `(from, self.from]` were read, in their order. They are kept if they fit.
    pub(super) fn prepend(&mut self, from: u64, older: &[Arc<Published>]) {
        let bytes: usize = older.iter().map(|one| one.bytes()).sum();
        let fits = self.list.len() + older.len() <= MESSAGES_MAX && self.bytes + bytes <= BYTES_MAX;
        if !fits || !self.budget.take(bytes) {
            return self.far(from);
        }
        self.wanted.retain(|one| *one < from);
        self.from = from;
        self.bytes += bytes;
        for publication in older.iter().rev() {
            self.list.push_front(Arc::clone(publication));
        }
    }

    /// Everything after `offset`, if that is here, up to `limit` of it.
    pub(super) fn after(
        &mut self,
        offset: u64,
        limit: usize,
        bytes_max: usize,
        now: Instant,
    ) -> Option<Slice> {
        if offset < self.from {
            return None;
        }
        self.used_at = now;
        let begin = self.list.partition_point(|one| one.offset <= offset);
        let all = (self.list.len() - begin) as u64;
        let mut bytes = 0;
        let mut publications = Vec::new();
        for publication in self.list.range(begin..).take(limit) {
            bytes += publication.bytes();
            if bytes > bytes_max && !publications.is_empty() {
                break;
            }
            publications.push(Arc::clone(publication));
        }
        Some(Slice { publications, all })
    }

    /// The last one, if it is here.
    pub(super) fn latest(&mut self, now: Instant) -> Option<Arc<Published>> {
        self.used_at = now;
        self.list.back().map(Arc::clone)
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.list.pop_front() {
            self.from = oldest.offset;
            self.bytes -= oldest.bytes();
            self.budget.used.fetch_sub(oldest.bytes(), Ordering::Relaxed);
        }
    }

    fn clear(&mut self, position: u64) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
        (self.list, self.bytes) = (VecDeque::new(), 0);
        self.from = position;
    }
}

impl Drop for Recent {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use campana_bus::clock;
    use campana_bus::subjects::ChannelName;
    use proptest::prelude::*;

    use super::*;
    use crate::publication::ChannelKey;

    fn publication(offset: u64, bytes: usize) -> Arc<Published> {
        let key = Arc::new(ChannelKey::new("t", ChannelName::parse("c").unwrap()));
        Arc::new(Published::new(&key, offset, None, &vec![b'1'; bytes], None))
    }

    fn offsets(slice: Slice) -> Vec<u64> {
        slice.publications.iter().map(|one| one.offset).collect()
    }

    #[test]
    fn it_never_grows_beyond_its_limits() {
        let (budget, now) = (Arc::new(Budget::new(4 * BYTES_MAX)), clock::monotonic());
        let mut recent = Recent::new(&budget, 0, now);
        for offset in 1..=2_000 {
            recent.push(&publication(offset, 10));
        }
        assert!(recent.after(999, 10, usize::MAX, now).is_none());
        assert_eq!(recent.after(1_000, 5_000, usize::MAX, now).unwrap().all, 1_000);
        for offset in 2_001..=2_040 {
            recent.push(&publication(offset, 64 * 1024));
        }
        assert!(recent.bytes <= BYTES_MAX && budget.used() == recent.bytes);
        drop(recent);
        assert_eq!(budget.used(), 0);
        let mut poor = Recent::new(&Arc::new(Budget::new(100)), 0, now);
        poor.push(&publication(1, 1_000));
        assert!(poor.after(0, 1, 1, now).is_none() && poor.after(1, 1, 1, now).is_some());
        poor.prepend(0, &[publication(1, 1_000)]);
        assert!(poor.after(0, 1, 1, now).is_none());
        assert_eq!((poor.far_upto, poor.budget.used()), (0, 0));
    }

    proptest! {
        /// Against the whole list: what is answered is exactly what follows the offset.
        #[test]
        fn it_answers_as_the_whole_channel_would(gaps in prop::collection::vec(1_u64..5, 1..80), start in 0_usize..80, older in 0_usize..80, asked in 0_u64..300, limit in 1_usize..100) {
            let (budget, now) = (Arc::new(Budget::new(BYTES_MAX)), clock::monotonic());
            let mut all = vec![0];
            for gap in gaps {
                all.push(all.last().unwrap() + gap);
            }
            let start = start.min(all.len() - 1);
            let older = older.min(start);
            let mut recent = Recent::new(&budget, all[start], now);
            for offset in &all[start + 1..] {
                recent.push(&publication(*offset, 1));
            }
            let read: Vec<_> = all[older + 1..=start].iter().map(|at| publication(*at, 1)).collect();
            recent.prepend(all[older], &read);
            let expected: Vec<u64> = all.iter().copied().filter(|at| *at > asked && *at > 0).collect();
            match recent.after(asked, limit, usize::MAX, now) {
                Some(slice) => {
                    prop_assert!(asked >= all[older]);
                    prop_assert_eq!(slice.all, expected.len() as u64);
                    prop_assert_eq!(offsets(slice), &expected[..expected.len().min(limit)]);
                }
                None => prop_assert!(asked < all[older]),
            }
        }
    }
}
