//! When something arrived, on two clocks.
//!
//! The wall time is for people. The monotonic time is the machine's `CLOCK_MONOTONIC`, which
//! other processes on the same machine read too: a load test compares its own stamps with it.

use campana_bus::clock::{self, Micros};

/// One moment on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub at: Micros,
    pub monotonic_ns: u64,
}

impl Stamp {
    pub fn now() -> Self {
        Self { at: clock::now(), monotonic_ns: clock::monotonic_ns() }
    }
}
