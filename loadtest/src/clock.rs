//! The harness's two clocks. Latencies come from one monotonic origin shared by the senders and
//! the receivers, so no two clocks are ever compared; the wall clock only labels a run.
//! This is the only file that reads either.

use std::time::Instant;

use time::OffsetDateTime;

/// Nanoseconds since the run began, on one monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Origin(Instant);

impl Origin {
    /// Starts the clock.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Now, in nanoseconds since the start: 584 years fit.
    pub fn ns(self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The time of day, for names and labels.
#[expect(clippy::disallowed_methods, reason = "the harness's one reading of the wall clock")]
pub fn utc_now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
