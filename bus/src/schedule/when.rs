//! When a schedule fires: what may be asked for, how the server is told, and when it is due next.
//! Reads: its arguments and the time zone database in the binary. Writes: nothing. Never: reads a clock itself.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::cron::{self, Cron};
use crate::clock::Micros;

/// The furthest a schedule may lie ahead, and the longest interval. A year and a day covers every calendar;
/// what lies further is a row in a database.
pub const AHEAD_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// The shortest interval that the server accepts.
pub const EVERY_MIN: Duration = Duration::from_secs(1);
/// Longest cron expression in bytes.
const EXPRESSION_BYTES_MAX: usize = 255;

/// When a message is published.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Once, at this time; a time in the past fires at once.
    At(Micros),
    /// Once, this long after now.
    After(Duration),
    /// Again and again, at least a second apart, for the first time one interval from now.
    Every(Duration),
    /// Again and again at the times of a cron expression of six fields (second, minute, hour, day of month,
    /// month, day of week), of five (the second is 0 then), or `@hourly`, `@daily`, `@weekly`, `@monthly`,
    /// `@yearly`.
    Cron {
        /// The expression.
        expression: String,
        /// A name of the IANA database, `Europe/Berlin`; UTC if there is none.
        time_zone: Option<String>,
    },
}

/// Why a time is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhenError {
    /// Further ahead than [`AHEAD_MAX`].
    #[error("a schedule lies at most 366 days ahead; keep what is further in a database")]
    TooFar,
    /// An interval below [`EVERY_MIN`].
    #[error("an interval is at least one second")]
    TooShort,
    /// The expression means nothing.
    #[error("cron expression: {0}")]
    Cron(String),
    /// The expression is never due.
    #[error("this cron expression is not due once within five years")]
    Never,
    /// Not a name of the time zone database.
    #[error(
        "\"{0}\" is no time zone: use a name of the IANA database as it is written there, for example Europe/Berlin"
    )]
    TimeZone(String),
}

impl WhenError {
    /// The stable name of the rule that was broken.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooFar => "schedule_too_far",
            Self::TooShort => "schedule_interval_too_short",
            Self::Cron(_) => "invalid_cron",
            Self::Never => "schedule_never_due",
            Self::TimeZone(_) => "invalid_time_zone",
        }
    }
}

/// A time in the form in which the server takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    /// `Nats-Schedule`.
    pub text: String,
    /// `Nats-Schedule-Time-Zone`.
    pub time_zone: Option<String>,
    /// When it is due, if it fires once.
    pub once_at: Option<Micros>,
}

impl When {
    /// Checks the time by the server's rules and the library's limits.
    pub(super) fn pattern(&self, now: Micros) -> Result<Pattern, WhenError> {
        match self {
            Self::At(at) => once(*at, now),
            Self::After(pause) => {
                if *pause > AHEAD_MAX {
                    return Err(WhenError::TooFar);
                }
                let micros = i64::try_from(pause.as_micros()).map_err(|_| WhenError::TooFar)?;
                once(Micros(now.0.saturating_add(micros)), now)
            }
            Self::Every(pause) => {
                if *pause < EVERY_MIN {
                    return Err(WhenError::TooShort);
                }
                if *pause > AHEAD_MAX {
                    return Err(WhenError::TooFar);
                }
                let text = format!("@every {}", go_duration(*pause));
                Ok(Pattern { text, time_zone: None, once_at: None })
            }
            Self::Cron { expression, time_zone } => {
                recurring(expression, time_zone.as_deref(), now)
            }
        }
    }
}

fn once(at: Micros, now: Micros) -> Result<Pattern, WhenError> {
    let ahead = i64::try_from(AHEAD_MAX.as_micros()).unwrap_or(i64::MAX);
    if at.since(now) > ahead {
        return Err(WhenError::TooFar);
    }
    // The epoch itself means "no schedule" to nobody, but years before it do not parse everywhere.
    let at = Micros(at.0.max(0));
    Ok(Pattern { text: format!("@at {}", at.to_rfc3339()), time_zone: None, once_at: Some(at) })
}

fn recurring(expression: &str, time_zone: Option<&str>, now: Micros) -> Result<Pattern, WhenError> {
    if expression.len() > EXPRESSION_BYTES_MAX {
        return Err(WhenError::Cron(format!("longer than {EXPRESSION_BYTES_MAX} bytes")));
    }
    let text = cron::normalize(expression);
    let parsed = Cron::parse(&text).map_err(WhenError::Cron)?;
    let zone = zone(time_zone)?;
    parsed.next_after(now.0.div_euclid(1_000_000), &zone).ok_or(WhenError::Never)?;
    Ok(Pattern { text, time_zone: time_zone.map(str::to_owned), once_at: None })
}

/// The zone of this exact name: the server looks names up as files, so that case matters to it.
fn zone(name: Option<&str>) -> Result<TimeZone, WhenError> {
    let Some(name) = name else {
        return Ok(TimeZone::UTC);
    };
    match TimeZone::get(name) {
        Ok(zone) if name == "UTC" || zone.iana_name() == Some(name) => Ok(zone),
        _ => Err(WhenError::TimeZone(name.chars().take(64).collect())),
    }
}

/// Whole seconds where possible, else milliseconds, as Go's `time.ParseDuration` reads them.
fn go_duration(pause: Duration) -> String {
    if pause.subsec_nanos() == 0 {
        format!("{}s", pause.as_secs())
    } else {
        format!("{}ms", pause.as_millis())
    }
}

/// The interval of `@every …` as [`go_duration`] writes it.
fn parse_go_duration(text: &str) -> Option<Duration> {
    if let Some(millis) = text.strip_suffix("ms") {
        return millis.parse().ok().map(Duration::from_millis);
    }
    text.strip_suffix('s')?.parse().ok().map(Duration::from_secs)
}

/// When a stored schedule is due next, seen at `now`. An interval counts from `stored_at`, rounded to the second
/// as the server does; a server that was away when it was due counts from its return instead, which nobody can
/// see from outside.
pub(super) fn next_at(
    pattern: &str,
    time_zone: Option<&str>,
    stored_at: Micros,
    now: Micros,
) -> Option<Micros> {
    if let Some(at) = pattern.strip_prefix("@at ") {
        return Micros::from_rfc3339(at);
    }
    if let Some(pause) = pattern.strip_prefix("@every ") {
        let pause = i64::try_from(parse_go_duration(pause)?.as_micros()).ok().filter(|p| *p > 0)?;
        let from = round_to_second(stored_at);
        let passed = now.since(from).max(0) / pause;
        return Some(Micros(from.0.saturating_add(pause.saturating_mul(passed.saturating_add(1)))));
    }
    let next = Cron::parse(pattern)
        .ok()?
        .next_after(now.0.div_euclid(1_000_000), &zone(time_zone).ok()?)?;
    Some(Micros(next.saturating_mul(1_000_000)))
}

fn round_to_second(at: Micros) -> Micros {
    Micros(at.0.saturating_add(500_000).div_euclid(1_000_000).saturating_mul(1_000_000))
}

/// When a firing was due that the server stored at `stored_at` with `next` as the time of the following one.
/// `None` if it cannot be told, for example after an hour of delay.
pub(super) fn due_before(recurs: &str, next: Micros, stored_at: Micros) -> Option<Micros> {
    const LOOK_BACK_SECONDS: i64 = 60;
    if let Some(pause) = recurs.strip_prefix("@every ") {
        let pause = i64::try_from(parse_go_duration(pause)?.as_micros()).ok()?;
        return Some(Micros(next.0.saturating_sub(pause))).filter(|due| *due <= stored_at);
    }
    let (expression, zone_name) = split_zone(recurs);
    let (cron, zone) = (Cron::parse(expression).ok()?, zone(zone_name).ok()?);
    let end = stored_at.0.div_euclid(1_000_000);
    let mut due = None;
    let mut at = end - LOOK_BACK_SECONDS;
    while let Some(found) = cron.next_after(at, &zone).filter(|found| *found <= end) {
        due = Some(Micros(found * 1_000_000));
        at = found;
    }
    due
}

/// `expression zone` as [`super::headers`] join them: the zone is the seventh word.
pub(super) fn split_zone(recurs: &str) -> (&str, Option<&str>) {
    match recurs.match_indices(' ').nth(5) {
        Some((at, _)) => (&recurs[..at], Some(&recurs[at + 1..])),
        None => (recurs, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Micros = Micros(1_790_000_000_250_000);

    #[test]
    fn times_become_the_server_s_patterns() {
        let of = |when: When| when.pattern(NOW).unwrap();
        let at = of(When::After(Duration::from_millis(1_500)));
        assert_eq!(at.once_at, Some(Micros(NOW.0 + 1_500_000)));
        assert_eq!(at.text, format!("@at {}", Micros(NOW.0 + 1_500_000).to_rfc3339()));
        assert_eq!(of(When::Every(Duration::from_secs(90))).text, "@every 90s");
        assert_eq!(of(When::Every(Duration::from_millis(1_500))).text, "@every 1500ms");
        let cron = |expression: &str, zone: Option<&str>| {
            of(When::Cron { expression: expression.to_owned(), time_zone: zone.map(str::to_owned) })
        };
        assert_eq!(cron("*/5  * * * *", None).text, "0 */5 * * * *");
        let berlin = cron("@daily", Some("Europe/Berlin"));
        assert_eq!(
            (berlin.text.as_str(), berlin.time_zone.as_deref()),
            ("0 0 0 * * *", Some("Europe/Berlin"))
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_before_the_server_sees_it() {
        let code = |when: When| when.pattern(NOW).unwrap_err().code();
        let cron = |expression: &str, zone: &str| When::Cron {
            expression: expression.to_owned(),
            time_zone: Some(zone.to_owned()),
        };
        assert_eq!(code(When::Every(Duration::from_millis(999))), "schedule_interval_too_short");
        assert_eq!(code(When::Every(Duration::MAX)), "schedule_too_far");
        assert_eq!(code(When::After(Duration::MAX)), "schedule_too_far");
        assert_eq!(code(When::At(Micros(i64::MAX))), "schedule_too_far");
        assert!(When::At(Micros(i64::MIN)).pattern(NOW).is_ok(), "the past fires at once");
        assert_eq!(code(cron("61 * * * * *", "UTC")), "invalid_cron");
        assert_eq!(code(cron(&"1,".repeat(200), "UTC")), "invalid_cron");
        assert_eq!(code(cron("0 0 30 2 *", "UTC")), "schedule_never_due");
        for zone in ["Mars/Olympus", "europe/berlin", "", "Local", "+02:00", "../etc/passwd"] {
            assert_eq!(code(cron("@daily", zone)), "invalid_time_zone", "{zone}");
        }
    }

    #[test]
    fn the_next_time_of_a_stored_schedule() {
        let stored = Micros(1_790_000_000_700_000);
        let every = next_at("@every 90s", None, stored, Micros(1_790_000_100_000_000));
        assert_eq!(every, Some(Micros(1_790_000_181_000_000)), "counted from the rounded second");
        assert_eq!(
            next_at("@at 2026-11-22T00:00:00Z", None, stored, NOW),
            Micros::from_rfc3339("2026-11-22T00:00:00Z")
        );
        assert_eq!(next_at("nonsense", None, stored, NOW), None);
    }

    #[test]
    fn the_due_time_of_a_firing() {
        let next = Micros(1_790_000_090_000_000);
        let stored = Micros(1_790_000_060_120_000);
        assert_eq!(due_before("@every 30s", next, stored), Some(Micros(1_790_000_060_000_000)));
        let stored = Micros::from_rfc3339("2026-11-22T10:00:00.2Z").unwrap();
        let due = due_before("0 0 11 * * * Europe/Berlin", next, stored);
        assert_eq!(due, Micros::from_rfc3339("2026-11-22T10:00:00Z"));
        assert_eq!(due_before("0 0 3 * * *", next, stored), None, "too late to say");
    }
}
