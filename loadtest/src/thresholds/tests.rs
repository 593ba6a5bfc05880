//! Expressions, the steps that they find, and how they judge.

use super::*;
use crate::model::{Classes, Distribution, Latency};

fn steps() -> Vec<Step> {
    let one = |name: &str, p99_ms: f64| {
        let intended = Distribution { count: 10, p99_ms, ..Distribution::default() };
        let latency = Latency { intended, ..Latency::default() };
        Step {
            name: name.to_owned(),
            classes: Classes { sent: 10, accepted: 10, delivered: 10, ..Classes::default() },
            latency: [("in_app".to_owned(), latency)].into(),
            ..Step::default()
        }
    };
    vec![one("wave 1", 2.0), one("wave 500", 60.0), one("open 500/s", 9.0)]
}

fn judge(text: &str) -> Judgement {
    text.parse::<Threshold>().unwrap().judge(&steps())
}

#[test]
fn expressions_are_read_with_or_without_a_step() {
    let threshold: Threshold = " p99 <= 100ms @ wave 500 ".parse().unwrap();
    assert_eq!(threshold.to_string(), "p99 <= 100ms @ wave 500");
    assert_eq!((threshold.metric, threshold.step.as_deref()), (Metric::P99, Some("wave500")));
    assert_eq!("lost==0".parse::<Threshold>().unwrap().step, None);
    let of_mail: Threshold = "email:p99<=2000".parse().unwrap();
    assert_eq!(of_mail.channel, Some(Channel::Email));
}

#[test]
fn bad_expressions_say_what_is_wrong() {
    assert_eq!("p99".parse::<Threshold>(), Err(ParseError::NoOperator));
    assert_eq!("p99<=x".parse::<Threshold>(), Err(ParseError::BadBound("x".into())));
    assert_eq!("p99<=nan".parse::<Threshold>(), Err(ParseError::BadBound("nan".into())));
    assert_eq!("p99<=1@ ".parse::<Threshold>(), Err(ParseError::NoStep));
    assert_eq!("fax:p99<=1".parse::<Threshold>(), Err(ParseError::UnknownChannel("fax".into())));
    assert_eq!("sms:cpu<=1".parse::<Threshold>(), Err(ParseError::NotByChannel("cpu".into())));
    let unknown = "p98<=1".parse::<Threshold>().unwrap_err();
    assert!(unknown.to_string().contains("p999"), "{unknown}");
}

#[test]
fn steps_are_found_by_name_or_by_number() {
    assert_eq!(judge("p99<=100@wave 500").actual, Some(60.0));
    assert_eq!(judge("p99<=100@open 500/s").actual, Some(9.0));
    assert_eq!(judge("p99<=100@500").actual, Some(60.0), "the worse of both kinds");
    assert_eq!(
        judge("p99<=100@77"),
        Judgement { expr: "p99<=100@77".into(), actual: None, pass: false }
    );
    let threshold: Threshold = "p50<=1@wave 3".parse().unwrap();
    let refusal = threshold.check(&["wave 1", "wave 2"]).unwrap_err();
    assert!(refusal.contains("wave 1, wave 2"), "{refusal}");
}

#[test]
fn every_step_must_hold_and_the_worst_is_shown() {
    let judgement = judge("p99<=10");
    assert_eq!((judgement.actual, judgement.pass), (Some(60.0), false));
    assert!(judge("p99<=100").pass);
    assert!(judge("success==100@1").pass);
    assert!(!judge("success>100").pass);
    assert!(judge("reordered<1").pass);
}

#[test]
fn no_receipt_passes_no_latency_bound_and_is_not_infinite_in_json() {
    let threshold: Threshold = "p50<=1000".parse().unwrap();
    let judgement = threshold.judge(&[Step::default()]);
    assert_eq!((judgement.actual, judgement.pass), (None, false));
}
