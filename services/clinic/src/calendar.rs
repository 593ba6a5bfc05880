//! The clinic's clock: which times there are on a day, and when reminders are due.
//! Reads: the time zone database that is built in. Writes: nothing. Never: adds hours to a local time.
//!
//! Days and opening hours are local, times that are stored or compared are points in time. Between the two stands
//! only this file, so the two days of a year on which clocks change are right everywhere or nowhere. On those days a
//! clinic that is open all night has 46 and 50 half hours; "a day before" is the same time of day, 23 or 25 hours
//! earlier; "an hour before" is an hour, whatever the clocks do.

use campana_bus::clock::Micros;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};

/// Most times of one day, so that no setup file can ask for millions.
pub const TIMES_PER_DAY_MAX: usize = 300;
/// Shortest appointment, in minutes.
pub const SLOT_MINUTES_MIN: i64 = 5;
const DAY_MINUTES: i64 = 24 * 60;
const MICROS_PER_MINUTE: i64 = 60_000_000;

/// When a clinic is open, in its own time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    /// Minutes after midnight.
    pub opens: i64,
    /// Minutes after midnight, at most 24 hours.
    pub closes: i64,
    /// Minutes of one appointment.
    pub slot_minutes: i64,
    /// Bit 0 is Monday.
    pub weekdays: i64,
}

impl Hours {
    /// What is wrong with them, if anything.
    ///
    /// # Errors
    /// In words for the author of a setup file.
    pub fn check(self) -> Result<Self, &'static str> {
        if self.slot_minutes < SLOT_MINUTES_MIN {
            return Err("an appointment has at least 5 minutes");
        }
        if self.opens < 0 || self.closes > DAY_MINUTES || self.opens >= self.closes {
            return Err("a clinic opens before it closes, both within one day");
        }
        Ok(self)
    }
}

/// A reminder of an appointment.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Reminder {
    /// The same time on the day before.
    DayBefore,
    /// Sixty minutes before.
    HourBefore,
}

impl Reminder {
    /// Both.
    pub const ALL: [Self; 2] = [Self::DayBefore, Self::HourBefore];

    /// Its name in keys.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DayBefore => "day_before",
            Self::HourBefore => "hour_before",
        }
    }

    /// When it is due.
    #[must_use]
    pub fn due(self, zone: &TimeZone, starts_at: Micros) -> Micros {
        match self {
            Self::HourBefore => starts_at.plus_seconds(-3_600),
            // If yesterday had no such time, because clocks jumped over it, jiff takes the time after the jump.
            Self::DayBefore => local(zone, starts_at)
                .checked_sub(1.day())
                .map_or(starts_at.plus_seconds(-86_400), |at| micros(&at)),
        }
    }
}

/// The time zone of this name.
///
/// # Errors
/// If the database has none of it.
pub fn zone(name: &str) -> Result<TimeZone, String> {
    match TimeZone::get(name) {
        Ok(zone) if name == "UTC" || zone.iana_name() == Some(name) => Ok(zone),
        _ => Err(format!("\"{name}\" is no time zone of the IANA database")),
    }
}

/// A point in time as the clinic's clock shows it.
#[must_use]
pub fn local(zone: &TimeZone, at: Micros) -> Zoned {
    Timestamp::from_microsecond(at.0).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(zone.clone())
}

/// Every time of a local day at which an appointment can begin, in their order.
#[must_use]
pub fn times(zone: &TimeZone, hours: Hours, date: Date) -> Vec<Micros> {
    let weekday = i64::from(date.weekday().to_monday_zero_offset());
    if hours.check().is_err() || hours.weekdays >> weekday & 1 == 0 {
        return Vec::new();
    }
    let (Some(first), Some(end)) =
        (moment(zone, date, hours.opens), moment(zone, date, hours.closes))
    else {
        return Vec::new();
    };
    let slot = hours.slot_minutes.saturating_mul(MICROS_PER_MINUTE);
    let starts = std::iter::successors(Some(first), |at| Some(Micros(at.0.saturating_add(slot))));
    starts.take_while(|at| at.0.saturating_add(slot) <= end.0).take(TIMES_PER_DAY_MAX).collect()
}

/// Whether an appointment can begin at this point in time.
#[must_use]
pub fn is_time(zone: &TimeZone, hours: Hours, at: Micros) -> bool {
    times(zone, hours, local(zone, at).date()).contains(&at)
}

/// So many minutes after midnight on the clocks of that day; a time that clocks jump over is the one after the jump,
/// one that they show twice is the first.
fn moment(zone: &TimeZone, date: Date, minutes: i64) -> Option<Micros> {
    let shown = date.to_datetime(Time::midnight()).checked_add(minutes.minutes()).ok()?;
    Some(micros(&shown.to_zoned(zone.clone()).ok()?))
}

fn micros(at: &Zoned) -> Micros {
    Micros(at.timestamp().as_microsecond())
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    const ALWAYS: Hours =
        Hours { opens: 0, closes: DAY_MINUTES, slot_minutes: 30, weekdays: 0b111_1111 };
    const OFFICE: Hours =
        Hours { opens: 9 * 60, closes: 17 * 60, slot_minutes: 30, weekdays: 0b001_1111 };

    fn madrid() -> TimeZone {
        zone("Europe/Madrid").unwrap()
    }

    fn at(text: &str) -> Micros {
        Micros::from_rfc3339(text).unwrap()
    }

    fn shown(at: Micros) -> String {
        local(&madrid(), at).strftime("%F %H:%M").to_string()
    }

    #[test]
    fn an_ordinary_day() {
        let all = times(&madrid(), OFFICE, date(2026, 3, 27));
        assert_eq!(all.len(), 16);
        assert_eq!(all[0], at("2026-03-27T08:00:00Z"));
        assert_eq!(shown(*all.last().unwrap()), "2026-03-27 16:30");
        assert!(times(&madrid(), OFFICE, date(2026, 3, 28)).is_empty(), "Saturday");
    }

    #[test]
    fn clocks_go_forward() {
        // 29 March 2026, 02:00 becomes 03:00.
        let day = date(2026, 3, 29);
        let all = times(&madrid(), ALWAYS, day);
        assert_eq!(all.len(), 46);
        assert!(all.iter().all(|at| local(&madrid(), *at).date() == day));
        assert!(!all.iter().any(|at| shown(*at).contains(" 02:")), "a time that does not exist");
        assert_eq!(times(&madrid(), OFFICE, date(2026, 3, 30))[0], at("2026-03-30T07:00:00Z"));
        // A clinic that opens in the hour that is missing opens when clocks go on.
        let early = Hours { opens: 150, closes: 300, ..ALWAYS };
        assert_eq!(shown(times(&madrid(), early, day)[0]), "2026-03-29 03:30");
    }

    #[test]
    fn clocks_go_back() {
        // 25 October 2026, 03:00 becomes 02:00.
        let all = times(&madrid(), ALWAYS, date(2026, 10, 25));
        assert_eq!(all.len(), 50);
        assert_eq!(all.iter().filter(|at| shown(**at).ends_with("02:30")).count(), 2);
        assert!(all.windows(2).all(|two| two[1].since(two[0]) == 30 * MICROS_PER_MINUTE));
        assert!(all.iter().all(|at| is_time(&madrid(), ALWAYS, *at)));
    }

    #[test]
    fn a_day_before_is_the_same_time_of_day() {
        let day = |text: &str| Reminder::DayBefore.due(&madrid(), at(text));
        // After clocks went forward it is 23 hours earlier, after they went back 25.
        assert_eq!(day("2026-03-29T08:00:00Z"), at("2026-03-28T09:00:00Z"));
        assert_eq!(day("2026-10-25T09:00:00Z"), at("2026-10-24T08:00:00Z"));
        assert_eq!(day("2026-06-02T08:00:00Z"), at("2026-06-01T08:00:00Z"));
        // 02:30 on the 30th: there was no 02:30 the day before.
        assert_eq!(shown(day("2026-03-30T00:30:00Z")), "2026-03-29 03:30");
    }

    #[test]
    fn an_hour_before_is_an_hour() {
        for starts in ["2026-03-29T01:30:00Z", "2026-10-25T01:30:00Z", "2026-06-02T08:00:00Z"] {
            let due = Reminder::HourBefore.due(&madrid(), at(starts));
            assert_eq!(at(starts).since(due), 3_600 * 1_000_000);
        }
        // 03:30, the first half hour after the jump: an hour before, clocks showed 01:30.
        let due = Reminder::HourBefore.due(&madrid(), at("2026-03-29T01:30:00Z"));
        assert_eq!(shown(due), "2026-03-29 01:30");
    }

    #[test]
    fn nonsense_has_no_times() {
        assert!(zone("Mars/Olympus").is_err() && zone("europe/madrid").is_err());
        let bad = Hours { slot_minutes: 0, ..OFFICE };
        assert!(times(&madrid(), bad, date(2026, 3, 27)).is_empty());
        assert!(!is_time(&madrid(), OFFICE, Micros(i64::MAX)));
        assert!(times(&madrid(), ALWAYS, Date::MAX).len() <= TIMES_PER_DAY_MAX);
        let tiny = Hours { slot_minutes: 5, ..ALWAYS };
        assert_eq!(times(&madrid(), tiny, date(2026, 3, 27)).len(), 288);
    }
}
