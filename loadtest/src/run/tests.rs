//! The shape of `run.json`: a sample with every field, checked by hand against the committed
//! schema, and the verdicts of steps that must not be trusted.

use std::collections::BTreeMap;

use serde_json::Value;

use super::*;
use crate::ledger::{Book, Totals, WaveBook};
use crate::procs::Usage;

const SCHEMA: &str = include_str!("../../run.schema.json");

/// A plausible finished run of three steps; pictures and tables are tested with it.
pub fn sample() -> Run {
    let steps = [(1, 2_300_000), (100, 14_000_000), (500, 38_000_000)]
        .map(|(n, median)| step(&input_of(n, &book(n, median), &usage())));
    Run {
        schema_version: SCHEMA_VERSION,
        started_at: "2026-01-02T03:04:05Z".to_owned(),
        duration_s: 61.5,
        durability: "power".to_owned(),
        environment: Environment::sample(),
        command: "campana loadtest sweep --repeat 6".to_owned(),
        settings: Settings {
            waves: vec![1, 100, 500],
            repeat: 6,
            warm_up_waves: 1,
            settle_ms: 200,
            drain_ms: 5_000,
            timeout_ms: 30_000,
            channel: "in_app".to_owned(),
            senders: "goose 0.19".to_owned(),
            connections: "one keep-alive HTTP/1.1 connection per user".to_owned(),
        },
        steps: steps.to_vec(),
        thresholds: vec![Judgement {
            expr: "p99<=100@500".to_owned(),
            actual: Some(63.0),
            pass: true,
        }],
        interrupted: false,
        late: 0,
        error: None,
    }
}

fn usage() -> Usage {
    let cpu = |campana: u64, nats: u64, generator: u64| {
        BTreeMap::from([
            ("campana".to_owned(), campana),
            ("nats-server".to_owned(), nats),
            ("generator".to_owned(), generator),
        ])
    };
    Usage {
        step_cpu_ns: cpu(900_000_000, 600_000_000, 300_000_000),
        busy_cpu_ns: cpu(450_000_000, 300_000_000, 150_000_000),
        busy_wall_ns: 1_000_000_000,
        rss_bytes: cpu(90 << 20, 40 << 20, 60 << 20),
        steal_percent: 0.1,
    }
}

fn book(n: u32, median_ns: u64) -> Book {
    let samples: Vec<u64> =
        (1..=u64::from(n)).map(|i| median_ns / 2 + median_ns * i / u64::from(n)).collect();
    let count = u64::from(n);
    let totals = Totals { sent: count, accepted: count, received_once: count, ..Totals::default() };
    let wave = WaveBook {
        totals: totals.clone(),
        makespan_ns: samples.last().copied(),
        accept_ns: samples.iter().map(|ns| ns / 2).collect(),
        uncorrected_ns: samples.iter().map(|ns| ns - ns / 10).collect(),
        lag_ns: samples.iter().map(|ns| ns / 10).collect(),
        latency_ns: samples,
    };
    Book {
        warm_up: totals,
        totals: Totals {
            sent: count * 6,
            accepted: count * 6,
            received_once: count * 6,
            ..Totals::default()
        },
        waves: vec![wave; 6],
        ..Book::default()
    }
}

fn input_of<'a>(n: u32, book: &'a Book, usage: &'a Usage) -> StepInput<'a> {
    StepInput { n, repeat: 6, book, usage, dropped_receivers: &[], overflow: 0, late: 0 }
}

#[test]
fn a_clean_step_is_ok_and_adds_up() {
    let run = sample();
    for step in &run.steps {
        assert_eq!(step.verdict.status, Status::Ok, "{:?}", step.verdict);
        assert!((step.success_ratio - 1.0).abs() < 1e-12);
    }
    let last = &run.steps[2];
    assert!((last.cpu_s_per_1000["campana"] - 0.3).abs() < 1e-9);
    assert!((last.cpu_percent_of_core["nats-server"] - 30.0).abs() < 1e-9);
    assert!(last.spread_ms.p99.low <= last.latency_ms.p99);
}

#[test]
fn an_unbalanced_or_short_step_is_invalid() {
    let usage = usage();
    let mut book = book(10, 1_000_000);
    book.totals.received_once -= 1;
    let step_unbalanced = step(&input_of(10, &book, &usage));
    assert_eq!(step_unbalanced.verdict.status, Status::Invalid);
    book.totals.received_once += 1;
    let short = step(&StepInput { repeat: 7, ..input_of(10, &book, &usage) });
    assert_eq!(short.verdict.status, Status::Invalid, "{:?}", short.verdict);
}

#[test]
fn a_late_generator_and_lost_receivers_are_suspect() {
    let usage = usage();
    let mut book = book(10, 20_000_000);
    for wave in &mut book.waves {
        wave.lag_ns = vec![15_000_000; 10];
    }
    let dropped = ["closed".to_owned()];
    let found = step(&StepInput { dropped_receivers: &dropped, ..input_of(10, &book, &usage) });
    assert_eq!(found.verdict.status, Status::Suspect);
    assert_eq!(found.verdict.reasons.len(), 2, "{:?}", found.verdict);
}

#[test]
fn the_sample_survives_a_round_trip() {
    let text = serde_json::to_string(&sample()).unwrap();
    let back: Run = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&back).unwrap(), text);
}

#[test]
fn the_schema_describes_exactly_what_is_written() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let value = serde_json::to_value(sample()).unwrap();
    check(&schema, &schema, &value, "$");
}

/// The parts of JSON Schema that the file uses: `$ref`, `type`, `required`, `properties`,
/// `additionalProperties`, `items`, `enum`, `const`, `minimum`.
fn check(root: &Value, schema: &Value, value: &Value, at: &str) {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let target = root.pointer(reference.trim_start_matches('#')).unwrap();
        return check(root, target, value, at);
    }
    if let Some(kind) = schema.get("type") {
        let kinds: Vec<&str> = match kind {
            Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
            other => other.as_str().into_iter().collect(),
        };
        assert!(kinds.iter().any(|kind| is_kind(value, kind)), "{at}: {value} is no {kinds:?}");
    }
    if let Some(constant) = schema.get("const") {
        assert_eq!(constant, value, "{at}");
    }
    if let Some(choices) = schema.get("enum").and_then(Value::as_array) {
        assert!(choices.contains(value), "{at}: {value} is none of {choices:?}");
    }
    if let (Some(minimum), Some(number)) =
        (schema.get("minimum").and_then(Value::as_f64), value.as_f64())
    {
        assert!(number >= minimum, "{at}: {number} < {minimum}");
    }
    check_members(root, schema, value, at);
}

fn check_members(root: &Value, schema: &Value, value: &Value, at: &str) {
    if let (Some(items), Some(list)) = (schema.get("items"), value.as_array()) {
        for (index, item) in list.iter().enumerate() {
            check(root, items, item, &format!("{at}[{index}]"));
        }
    }
    let Some(object) = value.as_object() else {
        return;
    };
    for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
        assert!(object.contains_key(name.as_str().unwrap()), "{at}: {name} is missing");
    }
    for (name, member) in object {
        let at = format!("{at}.{name}");
        match (schema.pointer(&format!("/properties/{name}")), schema.get("additionalProperties")) {
            (Some(described), _) => check(root, described, member, &at),
            (None, Some(rest)) if rest.is_object() => check(root, rest, member, &at),
            (None, Some(Value::Bool(true))) => {}
            _ => panic!("{at} is written but not described in run.schema.json"),
        }
    }
}

fn is_kind(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("unknown type {other}"),
    }
}
