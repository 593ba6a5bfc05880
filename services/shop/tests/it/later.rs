//! The nightly report: by schedule, at once, and of which day.

use std::time::Duration;

use campana_bus::clock::{self, Micros};
use campana_bus::testing::TestBus;
use campana_bus::topology::EVENTS;
use campana_shop::events::ReportDue;
use campana_shop::store::Store;
use campana_shop::{Options, report};
use jiff::tz::TimeZone;
use serde_json::json;

use crate::harness::{Database, Gateway, Shop, at_rest, place};

#[tokio::test]
async fn the_nightly_report_waits_in_the_stream_and_can_be_had_at_once() {
    let (test, database) = (TestBus::start().await.unwrap(), Database::sqlite());
    let shop = Shop::start(&test, &database, &[]).await;
    let picture =
        shop.shows("the report is scheduled", |picture| picture["report_due_at"].is_i64()).await;
    assert!(picture["report_due_at"].as_i64() > picture["at"].as_i64());
    let schedules = test.bus().schedules(EVENTS, 0, 10).await.unwrap();
    assert_eq!((schedules.len(), schedules[0].key.as_str()), (1, report::SCHEDULE));
    for number in 0..3 {
        assert_eq!(shop.order(number).await.0, 201);
    }
    shop.shows("the orders are reserved", |picture| picture["totals"]["reserved"] == 3).await;
    // The button makes the report of today; should midnight pass meanwhile, that of tomorrow has none of these.
    let day = report::name_of(clock::now(), &TimeZone::UTC);
    assert_eq!(shop.post("/api/demo/report", &json!({})).await.0, 200);
    let picture = shop.shows("the report is made", |picture| picture["reports"] != json!([])).await;
    if report::name_of(clock::now(), &TimeZone::UTC) == day {
        assert_eq!(picture["reports"][0]["orders"], 3, "{picture}");
    }
    shop.stop().await;
}

/// Orders of a day that is long past, so that no midnight comes between.
#[tokio::test]
async fn a_report_counts_its_day_and_nothing_else() {
    let (test, database) = (TestBus::start().await.unwrap(), Database::sqlite());
    let store = Store::open(&database.url()).await.unwrap();
    let at = |text: &str| Micros::from_rfc3339(text).unwrap();
    let moments = [
        ("s-before", "2026-03-28T22:59:59Z"),
        ("s-first", "2026-03-28T23:00:00Z"),
        ("s-large", "2026-03-29T12:00:00Z"),
        ("s-last", "2026-03-29T21:59:59Z"),
        ("s-after", "2026-03-29T22:00:00Z"),
    ];
    for (number, moment) in moments {
        let pieces = if number == "s-large" { 501 } else { 2 };
        place(&store, number, pieces, at(moment)).await;
    }
    let madrid = |options: &mut Options| options.time_zone = "Europe/Madrid".to_owned();
    let shop = Shop::start_as(&test, &database, Gateway::default(), madrid).await;
    shop.shows("the orders are reserved", |picture| picture["totals"]["reserved"] == 5).await;
    let due = ReportDue { day: Some("2026-03-29".to_owned()) };
    // Twice: the later report takes the place of the first.
    for _ in 0..2 {
        test.emit(&due).await.unwrap();
    }
    let picture = shop
        .shows("the report is made", |picture| picture["reports"] != json!([]) && at_rest(picture))
        .await;
    let report = &picture["reports"].as_array().unwrap()[..];
    let fields = ["day", "orders", "units", "cents", "short"].map(|name| report[0][name].clone());
    let pieces: i64 = 2 + 501 + 2;
    let wanted = [json!("2026-03-29"), json!(3), json!(pieces), json!(pieces * 1850), json!(1)];
    assert_eq!((report.len(), fields), (1, wanted));
    // A day that does not exist is nobody's to try again.
    test.emit(&ReportDue { day: Some("2026-02-30".to_owned()) }).await.unwrap();
    let parked = async || test.dead_letters("shop-report").await.unwrap();
    shop.shows("it was handled", at_rest).await;
    let letters = loop {
        match parked().await {
            found if found.is_empty() => tokio::time::sleep(Duration::from_millis(20)).await,
            found => break found,
        }
    };
    assert_eq!(letters[0].reason, "no_such_day");
    shop.stop().await;
}

#[tokio::test]
async fn the_schedule_makes_reports_of_the_day_before() {
    let (test, database) = (TestBus::start().await.unwrap(), Database::sqlite());
    let store = Store::open(&database.url()).await.unwrap();
    // Should midnight pass meanwhile, then today is the day before.
    let now = clock::now();
    for (number, at) in [("s-yesterday", now.plus_seconds(-86_400)), ("s-today", now)] {
        place(&store, number, 3, at).await;
    }
    let every_second = |options: &mut Options| options.report_at = "* * * * * *".to_owned();
    let shop = Shop::start_as(&test, &database, Gateway::default(), every_second).await;
    let picture = shop.shows("a report was made", |picture| picture["reports"] != json!([])).await;
    let report = &picture["reports"][0];
    assert_eq!((&report["orders"], &report["units"]), (&json!(1), &json!(3)), "{picture}");
    let today = report::name_of(clock::now(), &TimeZone::UTC).unwrap();
    assert!(report["day"].as_str().unwrap() < today.as_str());
    shop.stop().await;
}
