//! The harness's clocks. Every time is nanoseconds of the machine's monotonic clock, absolute, so
//! that stamps of other processes on this machine compare with ours; the wall clock only labels
//! a run. This is the only file that reads either.

use std::sync::OnceLock;

use rustix::time::{ClockId, clock_gettime};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

/// Where Linux tells one start of a machine from every other.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Nanoseconds of `CLOCK_MONOTONIC`, which has one value in all processes of a machine.
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    part(now.tv_sec).saturating_mul(1_000_000_000).saturating_add(part(now.tv_nsec))
}

/// Which start of which machine [`now_ns`] belongs to: the first four bytes of the SHA-256 of the
/// boot id's file, as the platform's stamps have it; 0 where there is no such file.
pub fn boot() -> u32 {
    static BOOT: OnceLock<u32> = OnceLock::new();
    *BOOT.get_or_init(|| {
        let Ok(id) = std::fs::read(BOOT_ID) else { return 0 };
        Sha256::digest(&id).first_chunk().map_or(0, |first| u32::from_be_bytes(*first))
    })
}

/// The time of day, for names and labels.
#[expect(clippy::disallowed_methods, reason = "the harness's one reading of the wall clock")]
pub fn utc_now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_forward_and_the_machine_has_a_name() {
        let before = now_ns();
        assert!(before > 0 && before <= now_ns());
        assert_eq!(boot(), boot());
    }
}
