//! Deferred: a report of each day, made in the night after it.
//! Reads: `ReportDue`, the shop's tables. Writes: the schedule, table `reports`. Never: keeps a timer: the schedule
//! lies in the stream and fires whether or not the shop runs.

use campana_bus::Bus;
use campana_bus::clock::Micros;
use campana_bus::consume::{ConsumeError, Failure, Meta};
use campana_bus::schedule::{self, ScheduleError, When};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use crate::events::ReportDue;
use crate::shop::Shop;

/// Who makes the report.
pub const DURABLE: &str = "shop-report";
/// The schedule's name: the next start with another time replaces it.
pub const SCHEDULE: &str = "shop-nightly-report";

/// One day in the shop's time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Day {
    /// `2026-11-22`.
    pub name: String,
    /// Its first microsecond.
    pub from: i64,
    /// The first one after it; a day may have 23 or 25 hours.
    pub until: i64,
}

/// Schedules the nightly report and makes it until `stop`.
///
/// # Errors
/// If the consumer cannot be created.
pub async fn run(bus: Bus, shop: Shop, stop: impl Future<Output = ()>) -> Result<(), ConsumeError> {
    let maker = bus.consumer::<ReportDue>(DURABLE).max_in_flight(1);
    maker.run(move |due, meta| make(shop.clone(), due, meta), stop).await
}

/// Has the server say every night that the report is due.
///
/// # Errors
/// If the time means nothing, or the server refuses.
pub async fn every_night(bus: &Bus, at: &str, time_zone: &str) -> Result<(), ScheduleError> {
    let (expression, time_zone) = (at.to_owned(), Some(time_zone.to_owned()));
    let when = When::Cron { expression, time_zone };
    bus.emit_at(&ReportDue::default(), &when, SCHEDULE).await.map(drop)
}

async fn make(shop: Shop, due: ReportDue, meta: Meta) -> Result<(), Failure> {
    let at = schedule::due_at(&meta.headers, meta.published_at).unwrap_or(meta.published_at);
    let day = match &due.day {
        Some(name) => day(name, &shop.time_zone),
        None => day_before(at, &shop.time_zone),
    };
    let day = day.ok_or_else(|| Failure::dead("no_such_day", "the day cannot be read"))?;
    shop.store.report(&meta, &day).await?;
    shop.floor.changed();
    Ok(())
}

/// The day before a moment, where the shop is; pure.
#[must_use]
pub fn day_before(at: Micros, zone: &TimeZone) -> Option<Day> {
    let today = Timestamp::from_microsecond(at.0).ok()?.to_zoned(zone.clone()).date();
    span(today.yesterday().ok()?, zone)
}

/// A day by its name; pure.
#[must_use]
pub fn day(name: &str, zone: &TimeZone) -> Option<Day> {
    span(name.parse().ok()?, zone)
}

/// The name of the day of a moment; pure.
#[must_use]
pub fn name_of(at: Micros, zone: &TimeZone) -> Option<String> {
    Some(Timestamp::from_microsecond(at.0).ok()?.to_zoned(zone.clone()).date().to_string())
}

fn span(date: Date, zone: &TimeZone) -> Option<Day> {
    let start = |date: Date| Some(date.to_zoned(zone.clone()).ok()?.timestamp().as_microsecond());
    let next = date.checked_add(1.day()).ok()?;
    Some(Day { name: date.to_string(), from: start(date)?, until: start(next)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    #[test]
    fn a_day_is_as_long_as_the_clocks_say() {
        let zone = TimeZone::get("Europe/Madrid").unwrap();
        let hours = |name: &str| {
            let day = day(name, &zone).unwrap();
            (day.until - day.from) / HOUR
        };
        assert_eq!((hours("2026-03-29"), hours("2026-10-25"), hours("2026-11-22")), (23, 25, 24));
    }

    #[test]
    fn the_report_is_about_yesterday_where_the_shop_is() {
        let at = Micros::from_rfc3339("2026-11-22T01:00:00Z").unwrap();
        let of = |zone: &str| day_before(at, &TimeZone::get(zone).unwrap()).unwrap().name;
        assert_eq!(of("UTC"), "2026-11-21");
        assert_eq!(of("America/Bogota"), "2026-11-20");
        assert!(day("tomorrow", &TimeZone::UTC).is_none());
    }
}
