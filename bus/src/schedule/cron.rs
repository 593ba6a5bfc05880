//! Cron expressions as nats-server reads them, and when they are next due.
//! Reads: its arguments and the time zone database in the binary. Writes: nothing. Never: reads a clock, accepts
//! what the server would refuse.
//!
//! A port of the server's `cron.go` (itself after github.com/robfig/cron, MIT), step by step, so that the next
//! time computed here is the time at which the server fires. Six fields: second, minute, hour, day of month,
//! month, day of week (0 or `sun` to 6 or `sat`). If both days are restricted, either one matches.
//!
//! Daylight saving time, which follows from the port: a time that the clock skips in spring does not fire on that
//! day; a time that it shows twice in autumn fires twice. `0 0 2 * * *` in `Europe/Berlin` is therefore missing
//! once and doubled once a year; whoever minds uses UTC or an hour between 4 and 23.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// Set if a field began with `*` or `?`: only then do both days have to match.
const STAR: u64 = 1 << 63;
/// Years ahead in which an expression must be due once.
const YEARS_MAX: i16 = 5;

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// One field: what it is called, its limits, and names for its numbers.
struct Field {
    name: &'static str,
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const FIELDS: [Field; 6] = [
    Field { name: "second", min: 0, max: 59, names: &[] },
    Field { name: "minute", min: 0, max: 59, names: &[] },
    Field { name: "hour", min: 0, max: 23, names: &[] },
    Field { name: "day of month", min: 1, max: 31, names: &[] },
    Field { name: "month", min: 1, max: 12, names: &MONTHS },
    Field { name: "day of week", min: 0, max: 6, names: &DAYS },
];

/// A parsed expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cron {
    second: u64,
    minute: u64,
    hour: u64,
    day_of_month: u64,
    month: u64,
    day_of_week: u64,
}

/// The expression with six fields. Five fields are minutes and up, as in crontab(5): they get the second 0.
/// The predefined ones (`@daily`) are spelled out.
pub(super) fn normalize(expression: &str) -> String {
    let spelled = match expression.trim() {
        "@yearly" | "@annually" => "0 0 0 1 1 *",
        "@monthly" => "0 0 0 1 * *",
        "@weekly" => "0 0 0 * * 0",
        "@daily" | "@midnight" => "0 0 0 * * *",
        "@hourly" => "0 0 * * * *",
        other => other,
    };
    let fields: Vec<&str> = spelled.split_whitespace().collect();
    let seconds = if fields.len() == 5 { "0 " } else { "" };
    format!("{seconds}{}", fields.join(" "))
}

impl Cron {
    /// Parses an expression of six fields.
    pub fn parse(expression: &str) -> Result<Self, String> {
        let fields: Vec<&str> = expression.split_whitespace().collect();
        let [second, minute, hour, day_of_month, month, day_of_week] = fields.as_slice() else {
            return Err(format!(
                "a cron expression has six fields (second minute hour day-of-month month day-of-week) or five \
                 without the second, not {}",
                fields.len()
            ));
        };
        Ok(Self {
            second: field(second, &FIELDS[0])?,
            minute: field(minute, &FIELDS[1])?,
            hour: field(hour, &FIELDS[2])?,
            day_of_month: field(day_of_month, &FIELDS[3])?,
            month: field(month, &FIELDS[4])?,
            day_of_week: field(day_of_week, &FIELDS[5])?,
        })
    }

    /// The first due time, in seconds since the epoch, after the second in which `after` lies; `None` if there
    /// is none within five years (`0 0 0 30 2 *`).
    pub fn next_after(&self, after: i64, zone: &TimeZone) -> Option<i64> {
        let mut next = after.checked_add(1)?;
        let mut truncated = false;
        let year_limit = local(next, zone)?.year().saturating_add(YEARS_MAX);
        'wrap: loop {
            let now = local(next, zone)?;
            if now.year() > year_limit {
                return None;
            }
            let mut now = now;
            while !bit(self.month, now.month()) {
                if !truncated {
                    truncated = true;
                    now = now.first_of_month().date().to_datetime(jiff::civil::Time::midnight());
                }
                // The day is the first here, so that a month more never runs over.
                next = instant(now.checked_add(1.month()).ok()?, zone)?;
                now = local(next, zone)?;
                if now.month() == 1 {
                    continue 'wrap;
                }
            }
            while !self.day_matches(now) {
                if !truncated {
                    truncated = true;
                    now = now.date().to_datetime(jiff::civil::Time::midnight());
                }
                next = instant(now.checked_add(1.day()).ok()?, zone)?;
                now = local(next, zone)?;
                if now.day() == 1 {
                    continue 'wrap;
                }
            }
            while !bit(self.hour, now.hour()) {
                if !truncated {
                    truncated = true;
                    next = instant(now.date().at(now.hour(), 0, 0, 0), zone)?;
                }
                next = next.checked_add(3_600)?;
                now = local(next, zone)?;
                if now.hour() == 0 {
                    continue 'wrap;
                }
            }
            while !bit(self.minute, now.minute()) {
                if !truncated {
                    truncated = true;
                    next -= next.rem_euclid(60);
                }
                next = next.checked_add(60)?;
                now = local(next, zone)?;
                if now.minute() == 0 {
                    continue 'wrap;
                }
            }
            while !bit(self.second, now.second()) {
                truncated = true;
                next = next.checked_add(1)?;
                now = local(next, zone)?;
                if now.second() == 0 {
                    continue 'wrap;
                }
            }
            return Some(next);
        }
    }

    fn day_matches(&self, now: DateTime) -> bool {
        let of_month = bit(self.day_of_month, now.day());
        let of_week = bit(self.day_of_week, now.weekday().to_sunday_zero_offset());
        if (self.day_of_month | self.day_of_week) & STAR == 0 {
            of_month || of_week
        } else {
            of_month && of_week
        }
    }
}

fn bit(bits: u64, at: i8) -> bool {
    u32::try_from(at).is_ok_and(|at| bits >> at & 1 == 1)
}

fn offset(at: i64, zone: &TimeZone) -> Option<i64> {
    let at = Timestamp::from_second(at).ok()?;
    Some(i64::from(zone.to_offset(at).seconds()))
}

/// What a clock in the zone shows.
fn local(at: i64, zone: &TimeZone) -> Option<DateTime> {
    let at = Timestamp::from_second(at).ok()?;
    Some(zone.to_offset(at).to_datetime(at))
}

/// When a clock in the zone shows this, by the rule of Go's `time.Date`: guess the offset as if the clock were
/// UTC, and take the one that is in force at the guess.
fn instant(shown: DateTime, zone: &TimeZone) -> Option<i64> {
    let as_utc = jiff::tz::Offset::UTC.to_timestamp(shown).ok()?.as_second();
    let guess = as_utc - offset(as_utc, zone)?;
    Some(as_utc - offset(guess, zone)?)
}

/// A comma-separated list of ranges.
fn field(text: &str, field: &Field) -> Result<u64, String> {
    text.split(',')
        .try_fold(0, |bits, range| Ok(bits | self::range(range, field)?))
        .map_err(|reason: String| format!("{} \"{text}\": {reason}", field.name))
}

/// `number`, `number-number`, `*` or `?`, each with an optional `/step`.
fn range(text: &str, field: &Field) -> Result<u64, String> {
    let (range, step) = match text.split_once('/') {
        None => (text, None),
        Some((range, step)) => (range, Some(number(step, &[])?)),
    };
    let (low, high) = match range.split_once('-') {
        None => (range, None),
        Some((low, high)) => (low, Some(high)),
    };
    let star = matches!(low, "*" | "?");
    let (start, mut end) = if star {
        if high.is_some() {
            return Err("a star has no upper end".to_owned());
        }
        (field.min, field.max)
    } else {
        let start = value(low, field)?;
        (start, high.map_or(Ok(start), |high| value(high, field))?)
    };
    // "N/step" means from N to the end.
    if step.is_some() && high.is_none() {
        end = field.max;
    }
    let step = step.unwrap_or(1);
    if start < field.min || end > field.max {
        return Err(format!("the numbers go from {} to {}", field.min, field.max));
    }
    if start > end {
        return Err(format!("{start} is after {end}"));
    }
    if step == 0 {
        return Err("a step is at least 1".to_owned());
    }
    let bits = (start..=end)
        .step_by(usize::try_from(step).unwrap_or(usize::MAX))
        .fold(0_u64, |bits, at| bits | 1 << at);
    Ok(if star && step == 1 { bits | STAR } else { bits })
}

/// A number or one of the field's names.
fn value(text: &str, field: &Field) -> Result<u32, String> {
    let lower = text.to_ascii_lowercase();
    match field.names.iter().position(|name| *name == lower) {
        Some(at) => Ok(field.min + u32::try_from(at).unwrap_or_default()),
        None => number(text, field.names),
    }
}

fn number(text: &str, names: &[&str]) -> Result<u32, String> {
    // No sign and no more than a few digits: a leading plus or zero is the server's to read as decimal.
    let digits = !text.is_empty() && text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().ok_or_else(|| {
        let names = if names.is_empty() {
            String::new()
        } else {
            format!(" nor one of {}", names.join(", "))
        };
        format!("\"{text}\" is no number{names}")
    })
}

#[cfg(test)]
mod tests;
