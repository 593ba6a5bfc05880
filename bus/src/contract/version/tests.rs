//! What a reader of version 2 does with every other version, and with what is none.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    order: String,
    cents: u64,
}

impl Event for Order {
    const SERVICE: &'static str = "shop";
    const NAME: &'static str = "ordered";
    const VERSION: u32 = 2;

    /// Version 1 counted in whole units.
    fn upcast(version: u32, mut body: Value) -> Result<Value, UpcastError> {
        assert_eq!(version, 1);
        let units = body["units"].as_u64().ok_or_else(|| UpcastError::new("no units"))?;
        body["cents"] = (units * 100).into();
        Ok(body)
    }
}

const NOW: Micros = Micros(1_800_000_000_000_000);

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.insert(*name, *value);
    }
    map
}

fn told(event_type: &str, seconds_ago: i64) -> HeaderMap {
    let at = NOW.plus_seconds(-seconds_ago).to_rfc3339();
    headers(&[(headers::CE_TYPE, event_type), (headers::CE_TIME, &at)])
}

fn dead_reason<T: fmt::Debug>(result: Result<T, Failure>) -> String {
    match result {
        Err(Failure::Dead { reason, .. }) => reason,
        other => panic!("expected a dead letter, not {other:?}"),
    }
}

const BODY: &[u8] = br#"{"order":"o-1","cents":250,"colour":"blue"}"#;

#[test]
fn the_own_version_is_decoded_and_unknown_fields_are_ignored() {
    let expected = Order { order: "o-1".into(), cents: 250 };
    let order: Order = decode(BODY, &told("shop.ordered.v2", 0), NOW).unwrap();
    assert_eq!(order, expected);
    let plain: Order = decode(BODY, &HeaderMap::new(), NOW).unwrap();
    assert_eq!(plain, expected);
    let other_case: Order = decode(BODY, &headers(&[("CE-Type", "shop.ordered.v2")]), NOW).unwrap();
    assert_eq!(other_case, expected);
    let encoded: Order = decode(BODY, &told("shop%2Eordered.v2", 0), NOW).unwrap();
    assert_eq!(encoded, expected);
}

#[test]
fn an_older_version_is_brought_up() {
    let old: Order =
        decode(br#"{"order":"o-1","units":3}"#, &told("shop.ordered.v1", 0), NOW).unwrap();
    assert_eq!(old.cents, 300);
    let result = decode::<Order>(br#"{"order":"o-1"}"#, &told("shop.ordered.v1", 0), NOW);
    assert_eq!(dead_reason(result), "cannot_upcast");
}

#[test]
fn a_newer_version_waits_for_a_newer_reader_and_is_parked_in_the_end() {
    let pause = |seconds_ago| match accept::<Order>(&told("shop.ordered.v3", seconds_ago), NOW) {
        Err(Failure::Defer { after, .. }) => after.as_secs(),
        other => panic!("expected to be put off, not {other:?}"),
    };
    assert_eq!((pause(0), pause(9), pause(60), pause(3_599)), (5, 5, 30, 300));
    assert_eq!(pause(-200), 5, "a clock that is a little ahead");
    let late = accept::<Order>(&told("shop.ordered.v3", 3_600), NOW);
    assert_eq!(dead_reason(late), "unsupported_version");
}

#[test]
fn a_newer_version_without_a_believable_time_has_its_attempts() {
    let far = told("shop.ordered.v3", -10_000);
    let none = headers(&[(headers::CE_TYPE, "shop.ordered.v3")]);
    let wrong = headers(&[(headers::CE_TYPE, "shop.ordered.v3"), (headers::CE_TIME, "soon")]);
    for map in [far, none, wrong] {
        let said = accept::<Order>(&map, NOW);
        assert!(matches!(said, Err(Failure::Retry { after: Some(_), .. })), "{said:?}");
    }
}

#[test]
fn another_type_is_parked() {
    for event_type in [
        "shop.order.v2",
        "shop.ordered",
        "shop.ordered.v",
        "shop.ordered.v0",
        "shop.ordered.v02",
        "shop.ordered.v+2",
        "shop.ordered.v2.v1",
        "shop.ordered.v99999999999",
        "com.example.ordered",
        "%FF",
        "",
    ] {
        let result = decode::<Order>(BODY, &told(event_type, 0), NOW);
        assert_eq!(dead_reason(result), "unexpected_type", "{event_type}");
    }
}

#[test]
fn structured_events_are_read_too() {
    let map = headers(&[("Content-Type", "application/cloudevents+json; charset=utf-8")]);
    let body = |event_type: &str| {
        json!({"specversion": "1.0", "id": "1", "source": "/shop", "type": event_type,
            "time": NOW.to_rfc3339(), "data": {"order": "o-1", "cents": 250, "units": 7}})
        .to_string()
    };
    let order: Order = decode(body("shop.ordered.v2").as_bytes(), &map, NOW).unwrap();
    assert_eq!(order.cents, 250);
    let order: Order = decode(body("shop.ordered.v1").as_bytes(), &map, NOW).unwrap();
    assert_eq!(order.cents, 700);
    let newer = decode::<Order>(body("shop.ordered.v3").as_bytes(), &map, NOW);
    assert!(matches!(newer, Err(Failure::Defer { .. })), "{newer:?}");
    assert_eq!(dead_reason(decode::<Order>(b"{}", &map, NOW)), "not_a_cloudevent");
}
