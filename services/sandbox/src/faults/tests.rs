//! Fault decisions, without any server.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::decide::{Counted, decide};
use super::*;
use crate::metrics::Stats;

fn rule(value: serde_json::Value) -> Rule {
    let rule: Rule = serde_json::from_value(value).unwrap();
    rule.check().unwrap();
    rule
}

fn book(rules: Vec<serde_json::Value>) -> FaultBook {
    let book = FaultBook::new(Arc::new(Stats::default()));
    book.replace(rules.into_iter().map(rule).collect()).unwrap();
    book
}

fn smtp(stage: Stage, recipients: &'static [&'static str]) -> Facts<'static> {
    Facts { channel: FaultChannel::Smtp, stage, recipients }
}

const REQUEST: Facts<'static> =
    Facts { channel: FaultChannel::Twilio, stage: Stage::Request, recipients: &["+15551234567"] };

#[test]
fn a_reply_strikes_at_its_stage_and_recipient_only() {
    let book = book(vec![json!({
        "channel": "smtp", "match": {"recipient": "ANN@"},
        "effect": {"kind": "reply", "stage": "rcpt", "code": 451, "enhanced": "4.7.1"}
    })]);
    assert_eq!(book.decide(&smtp(Stage::Data, &["ann@x"])).action, None);
    assert_eq!(book.decide(&smtp(Stage::Rcpt, &["bob@x"])).action, None);
    let action = book.decide(&smtp(Stage::Rcpt, &["ann@x"])).action.unwrap();
    let text = "scripted fault".to_owned();
    assert_eq!(action, Action::Reply { code: 451, enhanced: "4.7.1".to_owned(), text });
    assert_eq!((book.view()[0].seen, book.view()[0].applied), (1, 1));
}

#[test]
fn times_switches_a_rule_off() {
    let rule = json!({"channel": "twilio", "times": 2, "effect": {"kind": "http", "status": 503}});
    let book = book(vec![rule]);
    let hits = (0..5).filter(|_| book.decide(&REQUEST).action.is_some()).count();
    assert_eq!(hits, 2);
    assert!(!book.view()[0].active);
}

#[test]
fn every_nth_counts_only_what_matches() {
    let book = book(vec![json!({
        "channel": "smtp", "match": {"recipient": "ann", "every": 3}, "effect": {"kind": "close"}
    })]);
    let stage = Stage::AfterDot;
    let mut hits = Vec::new();
    for n in 0..9 {
        book.decide(&smtp(stage, &["bob@x"]));
        if book.decide(&smtp(stage, &["ann@x"])).action.is_some() {
            hits.push(n);
        }
    }
    assert_eq!(hits, [2, 5, 8]);
}

#[test]
fn chance_is_seeded_and_near_its_probability() {
    let script = json!({
        "channel": "twilio", "match": {"probability": 0.3, "seed": 7},
        "effect": {"kind": "http", "status": 500}
    });
    let story = || -> Vec<bool> {
        let book = book(vec![script.clone()]);
        (0..1_000).map(|_| book.decide(&REQUEST).action.is_some()).collect()
    };
    let first = story();
    assert_eq!(first, story());
    let hits = first.iter().filter(|hit| **hit).count();
    assert!((250..350).contains(&hits), "{hits}");
}

#[test]
fn delays_add_up_and_the_first_replacement_wins_without_using_up_the_second() {
    let fixed = |ms: u64| json!({"kind": "delay", "delay": {"kind": "fixed", "ms": ms}});
    let book = book(vec![
        json!({"channel": "twilio", "effect": fixed(20)}),
        json!({"channel": "twilio", "times": 1, "effect": {"kind": "http", "status": 429}}),
        json!({"channel": "twilio", "times": 1, "effect": {"kind": "close", "when": "after"}}),
        json!({"channel": "twilio", "effect": fixed(30)}),
    ]);
    let first = book.decide(&REQUEST);
    assert_eq!(first.delay, Duration::from_millis(50));
    assert!(matches!(first.action, Some(Action::Http { status: 429, .. })));
    let second = book.decide(&REQUEST);
    assert_eq!(second.action, Some(Action::Close { when: When::After }));
    assert_eq!(book.decide(&REQUEST).action, None);
}

#[test]
fn distributions_come_from_the_draws_alone() {
    let with = |delay: serde_json::Value| {
        let rule = rule(json!({"channel": "twilio", "effect": {"kind": "delay", "delay": delay}}));
        move |draw: f64| {
            let counted = Counted { rule: rule.clone(), seen: 0, applied: 0 };
            decide(&[counted], &REQUEST, |_| draw).delay.as_secs_f64() * 1_000.0
        }
    };
    let uniform = with(json!({"kind": "uniform", "min_ms": 10, "max_ms": 20}));
    assert!((uniform(0.0) - 10.0).abs() < 1e-6 && (uniform(0.5) - 15.0).abs() < 1e-6);
    let lognormal = with(json!({"kind": "lognormal", "median_ms": 100.0, "sigma": 0.5}));
    // A draw of 0 makes the normal number 0, which is the median.
    assert!((lognormal(0.0) - 100.0).abs() < 1e-6, "{}", lognormal(0.0));
    let wild = with(json!({"kind": "lognormal", "median_ms": 600000.0, "sigma": 5.0}));
    assert!(wild(0.999_999) <= 600_000.0);
}

#[test]
fn callbacks_and_outcomes_do_not_replace_the_answer() {
    let book = book(vec![
        json!({"channel": "twilio", "effect": {"kind": "callbacks", "mode": {"kind": "lost", "statuses": ["sent"]}}}),
        json!({"channel": "twilio", "effect": {"kind": "callbacks", "mode": {"kind": "duplicated", "copies": 3}}}),
        json!({"channel": "twilio", "effect": {"kind": "outcome", "error_code": 30003}}),
    ]);
    let decision = book.decide(&REQUEST);
    assert_eq!(decision.action, None);
    assert_eq!(decision.outcome, Some(30_003));
    assert_eq!(decision.callbacks.copies, 3);
    assert_eq!(decision.callbacks.lost, Some(vec!["sent".to_owned()]));
}

#[test]
fn impossible_rules_are_refused() {
    let wrong = [
        json!({"channel": "smtp", "effect": {"kind": "http", "status": 500}}),
        json!({"channel": "twilio", "effect": {"kind": "reply", "stage": "rcpt", "code": 451}}),
        json!({"channel": "smtp", "effect": {"kind": "reply", "stage": "rcpt", "code": 250}}),
        json!({"channel": "smtp", "effect": {"kind": "reply", "stage": "rcpt", "code": 451, "enhanced": "5.1.1"}}),
        json!({"channel": "smtp", "effect": {"kind": "reply", "stage": "rcpt", "code": 451, "text": "a\r\n250 ok"}}),
        json!({"channel": "smtp", "match": {"recipient": "a"}, "effect": {"kind": "close", "stage": "connect"}}),
        json!({"channel": "webhook", "effect": {"kind": "close", "stage": "rcpt"}}),
        json!({"channel": "twilio", "match": {"probability": 1.5}, "effect": {"kind": "close"}}),
        json!({"channel": "twilio", "match": {"every": 0}, "effect": {"kind": "close"}}),
        json!({"channel": "twilio", "times": 0, "effect": {"kind": "close"}}),
        json!({"channel": "smtp", "effect": {"kind": "delay", "delay": {"kind": "fixed", "ms": 600001}}}),
    ];
    for value in wrong {
        let rule: Rule = serde_json::from_value(value.clone()).unwrap();
        assert!(rule.check().is_err(), "{value}");
    }
    let unknown = json!({"channel": "smtp", "effect": {"kind": "close"}, "matches": {}});
    assert!(serde_json::from_value::<Rule>(unknown).is_err());
    let book = FaultBook::new(Arc::new(Stats::default()));
    let many = vec![rule(json!({"channel": "smtp", "effect": {"kind": "close"}})); 101];
    assert!(book.replace(many).is_err());
}

#[test]
fn rules_are_added_and_removed_by_id() {
    let book = book(vec![json!({"channel": "smtp", "effect": {"kind": "close"}})]);
    let id = book.add(rule(json!({"channel": "webhook", "effect": {"kind": "hang"}}))).unwrap();
    assert!(book.remove("flt_1"));
    assert!(!book.remove("flt_1"));
    assert_eq!(book.view().iter().map(|view| view.id.clone()).collect::<Vec<_>>(), [id]);
}

#[test]
fn magic_recipients() {
    let never = || -> bool { panic!("asked about greylisting") };
    let code = |decision: Decision| match decision.action {
        Some(Action::Reply { code, enhanced, .. }) => format!("{code} {enhanced}"),
        other => format!("{other:?}"),
    };
    assert_eq!(code(magic_smtp(Stage::Rcpt, "Bounce+tag@x", never)), "550 5.1.1");
    assert_eq!(code(magic_smtp(Stage::AfterDot, "spam@x", never)), "550 5.7.1");
    assert_eq!(magic_smtp(Stage::AfterDot, "bounce@x", never), Decision::default());
    assert_eq!(magic_smtp(Stage::Rcpt, "ann@x", never), Decision::default());
    assert_eq!(code(magic_smtp(Stage::Rcpt, "greylist@x", || true)), "451 4.7.1");
    assert_eq!(magic_smtp(Stage::Rcpt, "greylist@x", || false), Decision::default());
    let mut memory = GreylistMemory::default();
    assert!(memory.first_time("a@x", "greylist@x"));
    assert!(!memory.first_time("A@x", "greylist@x"));
    assert!(memory.first_time("b@x", "greylist@x"));

    let number = |n: &str| match magic_twilio(n).action {
        Some(Action::Http { status, code, .. }) => Some((status, code.unwrap())),
        _ => None,
    };
    assert_eq!(number("+15005550001"), Some((400, 21_211)));
    assert_eq!(number("+15005550009"), Some((400, 21_614)));
    assert_eq!(number("+15005550006"), None);
    assert_eq!(magic_twilio("+15005553003").outcome, Some(30_003));
    assert_eq!(magic_twilio("+15551234567"), Decision::default());
    assert_eq!(magic_twilio_sender("+15005550007"), Some(21_606));

    assert!(matches!(
        magic_webhook("status-503").action,
        Some(Action::Http { status: 503, retry_after: Some(1), .. })
    ));
    assert_eq!(magic_webhook("status-99"), Decision::default());
    assert_eq!(magic_webhook("slow-250").delay, Duration::from_millis(250));
    assert_eq!(magic_webhook("orders"), Decision::default());
}

#[test]
fn every_preset_is_a_valid_rule_with_its_own_key() {
    let presets = presets();
    let keys: std::collections::HashSet<_> = presets.iter().map(|preset| preset.key).collect();
    assert_eq!(keys.len(), presets.len());
    for preset in presets {
        preset.rule.check().unwrap();
    }
}

#[test]
fn the_example_in_the_readme_works() {
    let readme = include_str!("../../README.md");
    let example = readme.split("```json").nth(1).unwrap().split("```").next().unwrap();
    let script: serde_json::Value = serde_json::from_str(example).unwrap();
    let rules = script["rules"].as_array().unwrap().clone();
    assert_eq!(book(rules).view().len(), 5);
}
