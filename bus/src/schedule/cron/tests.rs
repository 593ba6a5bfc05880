//! Cron expressions: what is refused, what is next, and the two nights a year that are not like the others.

use super::*;
use crate::clock::Micros;

fn next(expression: &str, zone: &str, after: &str) -> Option<String> {
    let zone = TimeZone::get(zone).unwrap();
    let after = Micros::from_rfc3339(after).unwrap().0 / 1_000_000;
    let next = Cron::parse(&normalize(expression)).unwrap().next_after(after, &zone)?;
    Some(Micros(next * 1_000_000).to_rfc3339())
}

#[test]
fn the_next_time_is_found() {
    let at = |expression: &str, after: &str| next(expression, "UTC", after).unwrap();
    assert_eq!(at("*/15 * * * * *", "2026-01-01T00:00:14Z"), "2026-01-01T00:00:15Z");
    assert_eq!(at("*/15 * * * * *", "2026-01-01T00:00:15Z"), "2026-01-01T00:00:30Z");
    assert_eq!(at("30 9 * * mon-fri", "2026-01-02T09:30:00Z"), "2026-01-05T09:30:00Z");
    assert_eq!(at("0 0 29 2 *", "2026-03-01T00:00:00Z"), "2028-02-29T00:00:00Z");
    assert_eq!(at("@monthly", "2026-12-31T23:59:59Z"), "2027-01-01T00:00:00Z");
    assert_eq!(at("@weekly", "2026-01-01T00:00:00Z"), "2026-01-04T00:00:00Z");
    // Both days restricted: either.
    assert_eq!(at("0 0 13 * fri", "2026-01-01T00:00:00Z"), "2026-01-02T00:00:00Z");
    // A step larger than 1 is a restriction, even after a star.
    assert_eq!(at("0 0 */2 * fri", "2026-01-01T00:00:00Z"), "2026-01-02T00:00:00Z");
    assert_eq!(next("0 0 30 2 *", "UTC", "2026-01-01T00:00:00Z"), None);
}

#[test]
fn a_skipped_time_does_not_fire_and_a_repeated_one_fires_twice() {
    let berlin = |after: &str| next("0 30 2 * * *", "Europe/Berlin", after).unwrap();
    // 2026-03-29: 02:00 becomes 03:00.
    assert_eq!(berlin("2026-03-28T01:30:00Z"), "2026-03-30T00:30:00Z");
    // 2026-10-25: 03:00 becomes 02:00.
    assert_eq!(berlin("2026-10-24T01:00:00Z"), "2026-10-25T00:30:00Z");
    assert_eq!(berlin("2026-10-25T00:30:00Z"), "2026-10-25T01:30:00Z");
    assert_eq!(berlin("2026-10-25T01:30:00Z"), "2026-10-26T01:30:00Z");
    // Half an hour beside the hour, and a zone whose clock changes by half an hour.
    let at = |zone: &str, after: &str| next("0 0 9 * * *", zone, after).unwrap();
    assert_eq!(at("Asia/Kolkata", "2026-01-01T00:00:00Z"), "2026-01-01T03:30:00Z");
    assert_eq!(at("Australia/Lord_Howe", "2026-04-05T00:00:00Z"), "2026-04-05T22:30:00Z");
}

#[test]
fn what_the_server_would_refuse_or_choke_on_is_refused_with_a_reason() {
    for (expression, part) in [
        ("* * *", "not 3"),
        ("* * * * * * *", "not 7"),
        ("60 * * * * *", "second \"60\": the numbers go from 0 to 59"),
        ("* * 24 * * *", "hour"),
        ("* * * 0 * *", "day of month"),
        ("* * * * 13 *", "month"),
        ("* * * * * 7", "day of week"),
        ("* * * * * someday", "nor one of sun, mon"),
        ("5-1 * * * * *", "5 is after 1"),
        ("*/0 * * * * *", "a step is at least 1"),
        (", * * * * *", "is no number"),
        ("1,,2 * * * * *", "is no number"),
        ("-1 * * * * *", "is no number"),
        ("1/2/3 * * * * *", "is no number"),
        ("@fortnightly", "not 1"),
        ("", "not 0"),
    ] {
        let reason = Cron::parse(&normalize(expression)).unwrap_err();
        assert!(reason.contains(part), "{expression}: {reason}");
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_parsed_without_panic(text in "[0-9*/,?a-z -]{0,40}", at in 0_i64..4_000_000_000) {
        if let Ok(cron) = Cron::parse(&normalize(&text)) {
            let zone = TimeZone::get("America/New_York").unwrap();
            if let Some(next) = cron.next_after(at, &zone) {
                proptest::prop_assert!(next > at);
                let shown = local(next, &zone).unwrap();
                proptest::prop_assert!(bit(cron.second, shown.second()) && bit(cron.minute, shown.minute()));
                proptest::prop_assert!(bit(cron.hour, shown.hour()) && cron.day_matches(shown));
            }
        }
    }
}
