//! When something arrived, on two clocks.
//!
//! The wall time is for people. The monotonic time is the machine's `CLOCK_MONOTONIC`, which
//! other processes on the same machine read too: a load test compares its own stamps with it.

use campana_bus::clock::{self, Micros};
use rustix::time::{ClockId, clock_gettime};

/// One moment on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub at: Micros,
    pub monotonic_ns: u64,
}

impl Stamp {
    pub fn now() -> Self {
        let monotonic = clock_gettime(ClockId::Monotonic);
        let seconds = u64::try_from(monotonic.tv_sec).unwrap_or(0);
        let nanos = u64::try_from(monotonic.tv_nsec).unwrap_or(0);
        Self {
            at: clock::now(),
            monotonic_ns: seconds.saturating_mul(1_000_000_000).saturating_add(nanos),
        }
    }
}
