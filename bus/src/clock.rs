//! The one place that reads the wall clock.
//! Reads: the operating system's clocks. Writes: nothing. Never: decides anything.
//! Pure code takes the time as a parameter; only thin shells call [`now`] and [`tick`].

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A point in time in microseconds since the Unix epoch (UTC): the unit of every stored time.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct Micros(pub i64);

impl Micros {
    /// The time as RFC 3339 text in UTC, as every public answer shows it.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000)
            .ok()
            .and_then(|at| at.format(&Rfc3339).ok())
            .unwrap_or_else(|| "1970-01-01T00:00:00Z".to_owned())
    }

    /// Parses RFC 3339 text with any offset.
    #[must_use]
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        i64::try_from(at.unix_timestamp_nanos() / 1_000).ok().map(Self)
    }

    /// This time plus whole seconds, saturating.
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1_000_000)))
    }

    /// Microseconds from `earlier` to this time; negative if this is the earlier one.
    #[must_use]
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The wall clock now.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn now() -> Micros {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros(i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX))
}

/// The monotonic clock now, for measuring durations.
#[must_use]
pub fn monotonic() -> Instant {
    Instant::now()
}

/// Where Linux tells one start of a machine from every other.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// One reading of the machine's monotonic clock, which other processes of the same machine can compare with theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Which start of which machine: the first four bytes of the SHA-256 of `/proc/sys/kernel/random/boot_id` as
    /// it is, so that `sha256sum` gives its first eight digits; 0 where there is no such file.
    pub boot: u32,
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub ns: u64,
}

/// The machine's monotonic clock now, for times that leave the process.
#[must_use]
pub fn tick() -> Tick {
    Tick { boot: boot(), ns: monotonic_ns() }
}

/// Nanoseconds of `CLOCK_MONOTONIC`.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    part(now.tv_sec).saturating_mul(1_000_000_000).saturating_add(part(now.tv_nsec))
}

/// See [`Tick::boot`]; it cannot change while this process lives.
#[must_use]
pub fn boot() -> u32 {
    static BOOT: OnceLock<u32> = OnceLock::new();
    *BOOT.get_or_init(|| {
        let Ok(id) = std::fs::read(BOOT_ID) else { return 0 };
        let hash = Sha256::digest(&id);
        hash.first_chunk().map_or(0, |first| u32::from_be_bytes(*first))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_of_one_machine_only_go_forward() {
        let (before, after) = (tick(), tick());
        assert!(before.boot == after.boot && 0 < before.ns && before.ns <= after.ns);
    }

    #[test]
    fn rfc3339_round_trips_to_the_microsecond() {
        let at = Micros(1_700_000_000_123_456);
        assert_eq!(Micros::from_rfc3339(&at.to_rfc3339()), Some(at));
        assert_eq!(
            Micros::from_rfc3339("2026-01-01T00:00:00+01:00"),
            Micros::from_rfc3339("2025-12-31T23:00:00Z")
        );
        assert_eq!(Micros::from_rfc3339("tomorrow"), None);
    }
}
