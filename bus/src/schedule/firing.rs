//! Keeping out of the way of a schedule that fires just now.
//! Reads: the schedule that is stored. Writes: nothing. Never: waits longer than [`PATIENCE`].
//!
//! When a schedule is due, the server first copies its message and a moment later stores the copy; with it, it
//! removes whatever then lies on the schedule's subject, or moves that to the next time of the old one. A schedule
//! that is replaced between the two would be lost, and one that is cancelled would fire after all. So a change
//! lets a firing that is due go by first.

use std::time::Duration;

use super::{ScheduleError, when};
use crate::clock::{self, Micros};
use crate::connect::Bus;
use crate::fetch::StoredMessage;
use crate::headers;

/// How close a due time must be for a change to wait.
const AHEAD: Duration = Duration::from_millis(300);
/// How long after its due time a recurring schedule has surely fired: the server looks every 250 ms.
const BEHIND: Duration = Duration::from_millis(500);
/// How often to look whether a schedule that fires once is gone.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// The longest wait; a server that has thousands to fire at once may need longer, and is not waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The schedule on this subject as soon as it does not fire; `None` if there is none (any more).
pub(super) async fn settled(
    bus: &Bus,
    stream: &str,
    subject: &str,
) -> Result<Option<StoredMessage>, ScheduleError> {
    let started = clock::monotonic();
    loop {
        let Some(found) = bus.last(stream, subject).await? else {
            return Ok(None);
        };
        let Some(pattern) = headers::get(&found.headers, "Nats-Schedule") else {
            return Ok(Some(found));
        };
        let zone = headers::get(&found.headers, "Nats-Schedule-Time-Zone");
        match pause(pattern, zone, found.time, clock::now()) {
            Some(pause) if started.elapsed() + pause < PATIENCE => tokio::time::sleep(pause).await,
            _ => return Ok(Some(found)),
        }
    }
}

/// How long to wait before a schedule is looked at again; `None` if it does not fire at `now`.
fn pause(pattern: &str, zone: Option<&str>, stored_at: Micros, now: Micros) -> Option<Duration> {
    let micros = |span: Duration| i64::try_from(span.as_micros()).unwrap_or_default();
    if pattern.starts_with("@at ") {
        let due = when::next_at(pattern, zone, stored_at, now)?;
        return (due.since(now) <= micros(AHEAD)).then_some(LOOK_EVERY);
    }
    let recently = Micros(now.0.saturating_sub(micros(BEHIND)));
    let due = when::next_at(pattern, zone, stored_at, recently)?;
    if due.since(now) > micros(AHEAD) {
        return None;
    }
    let left = due.since(recently).max(micros(LOOK_EVERY));
    Some(Duration::from_micros(u64::try_from(left).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_due_now_is_waited_for() {
        let base = 1_790_000_000_000_000;
        let at = |offset_ms: i64| Micros(base + offset_ms * 1_000);
        let once = format!("@at {}", at(1_000).to_rfc3339());
        assert_eq!(pause(&once, None, at(0), at(600)), None);
        assert_eq!(pause(&once, None, at(0), at(700)), Some(LOOK_EVERY));
        assert_eq!(pause(&once, None, at(0), at(9_000)), Some(LOOK_EVERY), "overdue");
        let every = |now: i64| pause("@every 10s", None, at(0), at(now)).map(|p| p.as_millis());
        assert_eq!(every(5_000), None);
        assert_eq!(every(9_800), Some(700), "until half a second after it was due");
        assert_eq!(every(10_400), Some(100));
        assert_eq!(every(10_500), None);
        // Between two firings of the fastest schedule there is room for a change.
        assert_eq!(pause("* * * * * *", None, at(0), at(600)), None);
        assert_eq!(pause("nonsense", None, at(0), at(0)), None);
    }
}
