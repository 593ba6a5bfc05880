//! What the layer did in one trial, by its own count and clock; and what an observer in it makes of
//! the times: the schedule is known, so from when each request came, when each publication was
//! about to be written on and when its reader had surely read it follow the bounds of the figures
//! that the harness must report. Pure.

use std::collections::BTreeMap;

use super::lane::What;
use super::report::{Seen, Witness};
use super::stall::Span;

/// Notifications that are followed; a trial has a few hundred.
const FOLLOWED_MAX: usize = 100_000;

/// One publication that was written on.
#[derive(Clone, Copy, Debug)]
struct Left {
    slot: u64,
    /// Before it was written.
    at_ns: u64,
    held_ns: u64,
}

/// One trial.
#[derive(Clone, Debug, Default)]
pub struct Log {
    pub requests: u64,
    /// Of this load test, from the target; each once.
    pub publications: u64,
    pub dropped: u64,
    pub doubled: u64,
    pub corrupted: u64,
    pub swapped: u64,
    pub invented: u64,
    /// When the request of each slot came.
    came_ns: BTreeMap<u64, u64>,
    left: Vec<Left>,
    /// When the reader answered a ping behind the publication.
    read_ns: BTreeMap<u64, u64>,
}

impl Log {
    /// A request came; it may still have to wait.
    pub fn request(&mut self, slot: Option<u64>, now_ns: u64) {
        self.requests += 1;
        if let Some(slot) = slot.filter(|_| self.came_ns.len() < FOLLOWED_MAX) {
            self.came_ns.insert(slot, now_ns);
        }
    }

    /// The reader of a publication has answered what came behind it.
    pub fn read(&mut self, slot: u64, now_ns: u64) {
        if self.read_ns.len() < FOLLOWED_MAX {
            self.read_ns.insert(slot, now_ns);
        }
    }

    /// A publication, a copy or an invention is about to be written on.
    pub fn left(&mut self, slot: u64, what: What, came_ns: u64, now_ns: u64) {
        match what {
            What::Other => return,
            What::Doubled => {
                self.doubled += 1;
                return;
            }
            What::Invented => {
                self.invented += 1;
                return;
            }
            What::Whole => {}
            What::Corrupted => self.corrupted += 1,
            What::Swapped => self.swapped += 1,
        }
        if self.left.len() < FOLLOWED_MAX {
            let held_ns = now_ns.saturating_sub(came_ns);
            self.left.push(Left { slot, at_ns: now_ns, held_ns });
        }
    }

    /// How long publications were kept: the median and the longest, milliseconds.
    pub fn held_ms(&self) -> (f64, f64) {
        let held = sorted(self.left.iter().map(|left| left.held_ns));
        (at(&held, 0.5), at(&held, 1.0))
    }

    /// What an observer here makes of it, who looks no longer than until `end_ns`. The schedule's
    /// beginning is where the least delayed
    /// request says that it was. Nothing that was due while the generator waited (`stall`) can
    /// have been sent before the end of the wait.
    pub fn witness(&self, gap_ns: u64, stall: Option<Span>, end_ns: u64) -> Option<Witness> {
        let first = *self.came_ns.keys().next()?;
        let offset = |slot: u64| slot.saturating_sub(first).saturating_mul(gap_ns);
        let moments = self.came_ns.iter();
        let origin = moments.map(|(slot, at)| at.saturating_sub(offset(*slot))).min()?;
        let intended = |slot: u64| origin.saturating_add(offset(slot));
        let since = |left: &Left| left.at_ns.saturating_sub(intended(left.slot));
        let read = |left: &Left| self.read_ns.get(&left.slot).copied().unwrap_or(end_ns);
        let sent = |slot: u64| {
            let due = intended(slot);
            let waits = |span: &Span| due >= span.from_ns && due <= span.to_ns;
            stall.filter(waits).map_or(due, |span| span.to_ns)
        };
        let latency = sorted(self.left.iter().map(since));
        let unheld = sorted(self.left.iter().map(|left| since(left).saturating_sub(left.held_ns)));
        let read_after = |from: &dyn Fn(u64) -> u64| {
            sorted(self.left.iter().map(|left| read(left).saturating_sub(from(left.slot))))
        };
        let (until_read, since_sent) = (read_after(&intended), read_after(&sent));
        let lag = sorted(self.came_ns.iter().map(|(slot, at)| at.saturating_sub(intended(*slot))));
        Some(Witness {
            latency: seen(&latency),
            until_read: seen(&until_read),
            unheld_p50_ms: at(&unheld, 0.5),
            since_sent_p99_ms: at(&since_sent, 0.99),
            lag: seen(&lag),
        })
    }
}

fn seen(sorted: &[u64]) -> Seen {
    Seen { p50_ms: at(sorted, 0.5), p99_ms: at(sorted, 0.99), max_ms: at(sorted, 1.0) }
}

fn sorted(times: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut all: Vec<u64> = times.collect();
    all.sort_unstable();
    all
}

/// The value at a quantile as histograms take it, milliseconds; 0 of nothing.
fn at(sorted: &[u64], quantile: f64) -> f64 {
    let rank = (quantile * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank - 1).map_or(0.0, |ns| (*ns as f64 / 1e3).round() / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn what_left_is_counted_and_timed() {
        let mut log = Log::default();
        for (what, at) in [
            (What::Other, 1),
            (What::Whole, 10 * MS),
            (What::Doubled, 11 * MS),
            (What::Corrupted, 30 * MS),
            (What::Swapped, 20 * MS),
            (What::Invented, 40 * MS),
        ] {
            log.left(1, what, 0, at);
        }
        assert_eq!((log.doubled, log.corrupted, log.swapped, log.invented), (1, 1, 1, 1));
        assert_eq!(log.held_ms(), (20.0, 30.0));
        assert_eq!(Log::default().held_ms(), (0.0, 0.0));
        assert!(log.witness(5 * MS, None, 1).is_none(), "without requests there is no schedule");
    }

    #[test]
    fn the_witness_knows_the_schedule_by_its_least_delayed_request() {
        let mut log = Log::default();
        // A hundred arrivals 5 ms apart; all but one come 2 ms after they were due, and leave 3 ms
        // later, of which the layer keeps 1.
        for slot in 700..800 {
            let due = 50_000 * MS + (slot - 700) * 5 * MS;
            let came = due + if slot == 733 { 0 } else { 2 * MS };
            log.request(Some(slot), came);
            log.left(slot, What::Whole, came + 2 * MS, came + 3 * MS);
            // One reader never answers.
            if slot != 799 {
                log.read(slot, came + 4 * MS);
            }
        }
        log.request(None, 0);
        let end_ns = 51_000 * MS;
        let seen = log.witness(5 * MS, None, end_ns).unwrap();
        assert_eq!(log.requests, 101);
        assert_eq!((seen.lag.p99_ms, seen.lag.max_ms), (2.0, 2.0));
        assert_eq!((seen.latency.p50_ms, seen.latency.max_ms), (5.0, 5.0));
        assert_eq!((seen.until_read.p99_ms, seen.until_read.max_ms), (6.0, 505.0));
        assert_eq!((seen.unheld_p50_ms, seen.since_sent_p99_ms), (4.0, 6.0));
        // Those that were due in a wait were sent after it.
        let (from_ns, to_ns) = (50_000 * MS, 50_000 * MS + 502 * MS);
        let waited = log.witness(5 * MS, Some(Span { from_ns, to_ns }), end_ns).unwrap();
        assert_eq!((waited.since_sent_p99_ms, waited.until_read.p99_ms), (0.0, 6.0));
    }
}
