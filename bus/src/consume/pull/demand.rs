//! How much the pull loop asks for.
//! Reads: free permits, the rate limit's bucket, what was asked for. Writes: nothing. Never: asks for more
//! than there are permits and tokens, and so never makes a message wait in this process.

use std::time::{Duration, Instant};

use super::rate::Bucket;
use crate::consume::RateLimit;

/// How long the server keeps a pull request.
const EXPIRES: Duration = Duration::from_secs(30);
/// A heartbeat below this would be noise.
const HEARTBEAT_MIN: Duration = Duration::from_millis(100);
/// The server refuses a request whose heartbeat is more than half of its expiry.
const HEARTBEAT_MAX: Duration = Duration::from_secs(15);

/// What the loop knows about its requests.
#[derive(Debug)]
pub(super) struct Demand {
    /// Handlers at work at the same time.
    max: usize,
    /// Messages asked for and not yet received.
    outstanding: usize,
    /// When the server was last heard.
    heard: Instant,
    bucket: Option<Bucket>,
    heartbeat: Duration,
    /// What the consumer allows, learned from its refusals.
    batch_max: usize,
    expires: Duration,
}

/// One request to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub batch: usize,
    pub expires: Duration,
    pub heartbeat: Duration,
}

impl Demand {
    pub fn new(
        max: usize,
        rate_limit: Option<RateLimit>,
        heartbeat: Duration,
        now: Instant,
    ) -> Self {
        Self {
            max,
            outstanding: 0,
            heard: now,
            bucket: rate_limit.map(|limit| Bucket::new(limit, now)),
            heartbeat: heartbeat.clamp(HEARTBEAT_MIN, HEARTBEAT_MAX),
            batch_max: usize::MAX,
            expires: EXPIRES,
        }
    }

    /// The next request, if it pays: `permits` are those that no message holds. Requests are made when a
    /// quarter of the permits is free, or when nothing is asked for.
    pub fn ask(&mut self, permits: usize, now: Instant) -> Option<Ask> {
        let mut free = permits.saturating_sub(self.outstanding);
        if let Some(bucket) = &mut self.bucket {
            free = free.min(bucket.allowed(now).saturating_sub(self.outstanding));
        }
        let batch = free.min(self.batch_max);
        if batch == 0 || (self.outstanding > 0 && free < self.portion()) {
            return None;
        }
        if self.outstanding == 0 {
            // The clock of silence starts with the question.
            self.heard = now;
        }
        self.outstanding += batch;
        Some(Ask { batch, expires: self.expires, heartbeat: self.heartbeat.min(self.expires / 2) })
    }

    /// Permits that must be free before it pays to ask again.
    pub fn worth_asking(&self) -> usize {
        if self.outstanding == 0 { 1 } else { self.outstanding + self.portion() }
    }

    fn portion(&self) -> usize {
        (self.max / 4).max(1)
    }

    /// When to ask again because the rate limit held back; `None` if it did not.
    pub fn wait(&self, permits: usize) -> Option<Duration> {
        let bucket = self.bucket.as_ref()?;
        (permits > self.outstanding && self.outstanding == 0).then(|| bucket.wait())
    }

    /// Messages that may still come.
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    pub fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    pub fn arrived(&mut self) {
        self.outstanding = self.outstanding.saturating_sub(1);
        if let Some(bucket) = &mut self.bucket {
            bucket.spend();
        }
    }

    pub fn ended(&mut self, unfilled: usize) {
        self.outstanding = self.outstanding.saturating_sub(unfilled);
    }

    /// All requests are void.
    pub fn void(&mut self, now: Instant) {
        self.outstanding = 0;
        self.heard = now;
    }

    pub fn limit_batch(&mut self, max: usize) {
        self.batch_max = max.max(1);
    }

    pub fn limit_expires(&mut self, max: Duration) {
        self.expires = max.min(EXPIRES);
    }

    /// Whether something is asked for and the server has missed two heartbeats and a half.
    pub fn is_silent(&self, now: Instant) -> bool {
        let patience = self.heartbeat * 5 / 2;
        self.outstanding > 0 && now.saturating_duration_since(self.heard) > patience
    }

    /// How often to look whether the server is silent.
    pub fn check(&self) -> Duration {
        self.heartbeat.min(Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BEAT: Duration = Duration::from_secs(5);

    #[test]
    fn requests_are_made_in_quarters() {
        let now = Instant::now();
        let mut demand = Demand::new(64, None, BEAT, now);
        assert_eq!(demand.ask(64, now).map(|ask| ask.batch), Some(64));
        assert_eq!(demand.ask(64, now), None);
        (0..15).for_each(|_| demand.arrived());
        assert_eq!(demand.ask(64, now), None, "15 of 64 are less than a quarter");
        assert_eq!(demand.worth_asking(), 49 + 16);
        demand.arrived();
        assert_eq!(demand.ask(64, now).map(|ask| ask.batch), Some(16));
        (0..64).for_each(|_| demand.arrived());
        assert_eq!(
            demand.ask(1, now).map(|ask| ask.batch),
            Some(1),
            "nothing is asked for: any permit counts"
        );
    }

    #[test]
    fn limits_of_the_consumer_are_kept() {
        let now = Instant::now();
        let mut demand = Demand::new(64, None, BEAT, now);
        demand.limit_batch(10);
        demand.limit_expires(Duration::from_secs(4));
        let ask = demand.ask(64, now).unwrap();
        assert_eq!(
            (ask.batch, ask.expires, ask.heartbeat),
            (10, Duration::from_secs(4), Duration::from_secs(2))
        );
        assert_eq!(
            demand.ask(64, now).map(|ask| ask.batch),
            Some(10),
            "several requests fill the permits"
        );
    }

    #[test]
    fn silence_counts_only_while_something_is_asked_for() {
        let now = Instant::now();
        let later = now + Duration::from_secs(13);
        let mut demand = Demand::new(4, None, BEAT, now);
        assert!(!demand.is_silent(later));
        demand.ask(4, now);
        assert!(!demand.is_silent(now + Duration::from_secs(12)));
        assert!(demand.is_silent(later));
        demand.heard(later);
        assert!(!demand.is_silent(later));
    }

    #[test]
    fn the_rate_limit_limits_what_is_asked_for() {
        let now = Instant::now();
        let limit = RateLimit { per_second: 10.0, burst: 3 };
        let mut demand = Demand::new(64, Some(limit), BEAT, now);
        assert_eq!(demand.ask(64, now).map(|ask| ask.batch), Some(3));
        assert_eq!(demand.wait(64), None, "three are on their way");
        (0..3).for_each(|_| demand.arrived());
        assert_eq!(demand.ask(61, now), None);
        let wait = demand.wait(61).unwrap();
        assert!(wait >= Duration::from_millis(100) && wait < Duration::from_millis(110));
        assert_eq!(demand.ask(61, now + wait).map(|ask| ask.batch), Some(1));
    }

    proptest! {
        /// Asked for plus in hand never exceeds the permits, whatever arrives, ends, or is finished.
        #[test]
        fn never_more_than_the_permits(
            max in 1_usize..100,
            steps in proptest::collection::vec((0_u8..4, 0_usize..40), 1..200),
        ) {
            let now = Instant::now();
            let mut demand = Demand::new(max, None, BEAT, now);
            let mut in_hand = 0;
            for (step, count) in steps {
                match step {
                    0 => { demand.ask(max - in_hand, now); }
                    1 => for _ in 0..count.min(demand.outstanding) {
                        demand.arrived();
                        in_hand += 1;
                    },
                    2 => in_hand -= count.min(in_hand),
                    _ => demand.ended(count),
                }
                prop_assert!(demand.outstanding + in_hand <= max);
            }
        }
    }
}
