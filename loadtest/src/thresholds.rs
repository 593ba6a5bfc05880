//! Threshold expressions: `p99<=100@500` reads "in the step of 500, p99 is at most 100 ms".
//! Pure. Without `@n` every step must hold. A threshold on a step that did not run is missed:
//! a gate that was never tested has not been passed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::run::Step;

/// What a threshold may look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    P50,
    P90,
    P99,
    P999,
    Max,
    Mean,
    AcceptP99,
    Makespan,
    Success,
    Lost,
    Duplicate,
    Rejected,
    Shed,
    Unknown,
    Phantom,
    Reordered,
}

const METRICS: [(&str, Metric); 16] = [
    ("p50", Metric::P50),
    ("p90", Metric::P90),
    ("p99", Metric::P99),
    ("p999", Metric::P999),
    ("max", Metric::Max),
    ("mean", Metric::Mean),
    ("accept_p99", Metric::AcceptP99),
    ("makespan", Metric::Makespan),
    ("success", Metric::Success),
    ("lost", Metric::Lost),
    ("duplicate", Metric::Duplicate),
    ("rejected", Metric::Rejected),
    ("shed", Metric::Shed),
    ("unknown", Metric::Unknown),
    ("phantom", Metric::Phantom),
    ("reordered", Metric::Reordered),
];

/// Longest first, so that `<=` is not read as `<`.
const OPERATORS: [(&str, Operator); 5] = [
    ("<=", Operator::AtMost),
    (">=", Operator::AtLeast),
    ("==", Operator::Equal),
    ("<", Operator::Below),
    (">", Operator::Above),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    AtMost,
    AtLeast,
    Equal,
    Below,
    Above,
}

/// A parsed expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    text: String,
    metric: Metric,
    operator: Operator,
    bound: f64,
    /// The step it looks at; every step if none.
    pub step: Option<u32>,
}

/// Why an expression cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseError {
    #[error("no operator; write for example p99<=100@500")]
    NoOperator,
    #[error("unknown metric {0:?}; one of {known}", known = known_metrics())]
    UnknownMetric(String),
    #[error("{0:?} is not a number")]
    BadBound(String),
    #[error("{0:?} after @ is not a wave size")]
    BadStep(String),
}

/// How an expression fared; part of `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    pub expr: String,
    /// The worst value met, or nothing if its step did not run.
    pub actual: Option<f64>,
    pub pass: bool,
}

impl FromStr for Threshold {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let (condition, step) = match compact.split_once('@') {
            Some((condition, n)) => {
                let step = n.parse().map_err(|_| ParseError::BadStep(n.to_owned()))?;
                (condition, Some(step))
            }
            None => (compact.as_str(), None),
        };
        let (name, operator, bound) = OPERATORS
            .iter()
            .find_map(|(sign, operator)| {
                condition.split_once(sign).map(|(name, bound)| (name, *operator, bound))
            })
            .ok_or(ParseError::NoOperator)?;
        let metric = METRICS
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, metric)| *metric)
            .ok_or_else(|| ParseError::UnknownMetric(name.to_owned()))?;
        let number = bound.trim_end_matches("ms").trim_end_matches('%');
        let bound = number.parse().map_err(|_| ParseError::BadBound(bound.to_owned()))?;
        Ok(Self { text: compact.clone(), metric, operator, bound, step })
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Threshold {
    /// Judges the steps that ran.
    pub fn judge(&self, steps: &[Step]) -> Judgement {
        let values = steps
            .iter()
            .filter(|step| self.step.is_none_or(|n| n == step.n))
            .map(|step| self.metric.of(step));
        let (mut actual, mut pass) = (None, true);
        for value in values {
            pass &= self.operator.holds(value, self.bound);
            actual = Some(actual.map_or(value, |worst| self.operator.worse(worst, value)));
        }
        Judgement { expr: self.text.clone(), actual, pass: pass && actual.is_some() }
    }
}

impl Operator {
    fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::AtMost => value <= bound,
            Self::AtLeast => value >= bound,
            // Counts and whole percents are exact in a double.
            Self::Equal => (value - bound).abs() < f64::EPSILON,
            Self::Below => value < bound,
            Self::Above => value > bound,
        }
    }

    fn worse(self, left: f64, right: f64) -> f64 {
        match self {
            Self::AtMost | Self::Below | Self::Equal => left.max(right),
            Self::AtLeast | Self::Above => left.min(right),
        }
    }
}

impl Metric {
    fn of(self, step: &Step) -> f64 {
        match self {
            // A step in which nothing arrived has no latency, and no latency bound holds for it.
            Self::P50 | Self::P90 | Self::P99 | Self::P999 | Self::Max | Self::Mean
                if step.received_once + step.duplicate == 0 =>
            {
                f64::INFINITY
            }
            Self::P50 => step.latency_ms.p50,
            Self::P90 => step.latency_ms.p90,
            Self::P99 => step.latency_ms.p99,
            Self::P999 => step.latency_ms.p999,
            Self::Max => step.latency_ms.max,
            Self::Mean => step.latency_ms.mean,
            Self::AcceptP99 => step.accept_ms.p99,
            Self::Makespan => step.makespan_ms.max,
            Self::Success => step.success_ratio * 100.0,
            Self::Lost => step.lost as f64,
            Self::Duplicate => step.duplicate as f64,
            Self::Rejected => step.rejected as f64,
            Self::Shed => step.shed as f64,
            Self::Unknown => step.unknown as f64,
            Self::Phantom => step.phantom as f64,
            Self::Reordered => step.reordered as f64,
        }
    }
}

fn known_metrics() -> String {
    METRICS.map(|(name, _)| name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::sample;

    fn judge(text: &str) -> Judgement {
        text.parse::<Threshold>().unwrap().judge(&sample().steps)
    }

    #[test]
    fn expressions_are_read_with_or_without_a_step() {
        let threshold: Threshold = " p99 <= 100ms @ 500 ".parse().unwrap();
        assert_eq!(threshold.to_string(), "p99<=100ms@500");
        assert_eq!((threshold.metric, threshold.step), (Metric::P99, Some(500)));
        assert_eq!("lost==0".parse::<Threshold>().unwrap().step, None);
    }

    #[test]
    fn bad_expressions_say_what_is_wrong() {
        assert_eq!("p99".parse::<Threshold>(), Err(ParseError::NoOperator));
        assert_eq!("p99<=x".parse::<Threshold>(), Err(ParseError::BadBound("x".into())));
        assert_eq!("p99<=1@all".parse::<Threshold>(), Err(ParseError::BadStep("all".into())));
        let unknown = "p98<=1".parse::<Threshold>().unwrap_err();
        assert!(unknown.to_string().contains("p999"), "{unknown}");
    }

    #[test]
    fn a_step_that_did_not_run_is_missed() {
        let judgement = judge("p99<=100@77");
        assert_eq!((judgement.actual, judgement.pass), (None, false));
    }

    #[test]
    fn every_step_must_hold_and_the_worst_is_shown() {
        let run = sample();
        let worst = run.steps.iter().map(|step| step.latency_ms.p99).fold(0.0, f64::max);
        let judgement = judge("p99<=1");
        assert_eq!((judgement.actual, judgement.pass), (Some(worst), false));
        assert!(judge("p99<=100000").pass);
        assert!(judge("success==100@1").pass);
        assert!(!judge("success>100").pass);
        assert!(judge("reordered<1").pass);
    }

    #[test]
    fn no_receipt_passes_no_latency_bound() {
        let mut step = sample().steps[0].clone();
        step.received_once = 0;
        step.duplicate = 0;
        let threshold: Threshold = "p50<=1000".parse().unwrap();
        assert!(!threshold.judge(&[step]).pass);
    }
}
