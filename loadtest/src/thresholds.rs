//! Threshold expressions: `p99<=100@wave 500` reads "in the step `wave 500`, p99 is at most
//! 100 ms". Pure. Without `@` every step must hold; `@500` is every step of that size or rate;
//! `email:p99<=2000` looks at one channel. A threshold on a step that did not run is missed: a
//! gate that was never tested has not been passed.

mod metric;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::intake::Channel;
use crate::model::Step;
pub use metric::Metric;

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
    channel: Option<Channel>,
    metric: Metric,
    operator: Operator,
    bound: f64,
    /// The step it looks at, without spaces; every step if none.
    step: Option<String>,
}

/// Why an expression cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseError {
    #[error("no operator; write for example p99<=100@wave 500")]
    NoOperator,
    #[error("unknown metric {0:?}; one of {known}", known = metric::known())]
    UnknownMetric(String),
    #[error("unknown channel {0:?}; one of {known}", known = Channel::ALL.map(Channel::name).join(", "))]
    UnknownChannel(String),
    #[error("{0} is counted for the whole step, not by channel")]
    NotByChannel(String),
    #[error("{0:?} is not a number")]
    BadBound(String),
    #[error("no step after @")]
    NoStep,
}

/// How an expression fared; part of `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Judgement {
    pub expr: String,
    /// The worst value met, or nothing if its step did not run.
    pub actual: Option<f64>,
    pub pass: bool,
}

impl FromStr for Threshold {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (condition, step) = match text.split_once('@') {
            Some((_, step)) if step.trim().is_empty() => return Err(ParseError::NoStep),
            Some((condition, step)) => (without_spaces(condition), Some(without_spaces(step))),
            None => (without_spaces(text), None),
        };
        let (name, operator, bound) = OPERATORS
            .iter()
            .find_map(|(sign, operator)| {
                condition.split_once(sign).map(|(name, bound)| (name, *operator, bound))
            })
            .ok_or(ParseError::NoOperator)?;
        let (channel, name) = match name.split_once(':') {
            Some((channel, name)) => (Some(channel_named(channel)?), name),
            None => (None, name),
        };
        let metric =
            Metric::named(name).ok_or_else(|| ParseError::UnknownMetric(name.to_owned()))?;
        if channel.is_some() && !metric.by_channel() {
            return Err(ParseError::NotByChannel(name.to_owned()));
        }
        let number = bound.trim_end_matches("ms").trim_end_matches('%');
        let bound = match number.parse::<f64>() {
            Ok(value) if value.is_finite() => value,
            _ => return Err(ParseError::BadBound(bound.to_owned())),
        };
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok(Self { text, channel, metric, operator, bound, step })
    }
}

fn without_spaces(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

fn channel_named(name: &str) -> Result<Channel, ParseError> {
    Channel::parse(name).ok_or_else(|| ParseError::UnknownChannel(name.to_owned()))
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Threshold {
    /// A threshold on a step that will not run is a slip of the pen, told before minutes pass.
    pub fn check(&self, step_names: &[&str]) -> Result<(), String> {
        if step_names.iter().any(|name| self.looks_at(name)) {
            return Ok(());
        }
        let wanted = self.step.as_deref().unwrap_or_default();
        Err(format!("there is no step {wanted:?}; the steps are {}", step_names.join(", ")))
    }

    /// Judges the steps that ran.
    pub fn judge(&self, steps: &[Step]) -> Judgement {
        let looked_at = steps.iter().filter(|step| self.looks_at(&step.name));
        let (mut actual, mut pass) = (None, true);
        for step in looked_at {
            let value = self.metric.of(step, self.channel);
            pass &= self.operator.holds(value, self.bound);
            actual = Some(actual.map_or(value, |worst| self.operator.worse(worst, value)));
        }
        let pass = pass && actual.is_some();
        // JSON knows no infinity, which stands for a step without a receipt.
        Judgement { expr: self.text.clone(), actual: actual.filter(|it| it.is_finite()), pass }
    }

    fn looks_at(&self, step_name: &str) -> bool {
        let Some(wanted) = &self.step else { return true };
        let name = without_spaces(step_name);
        name == *wanted
            || ["wave", "closed", "open"].iter().any(|kind| {
                name.strip_prefix(kind)
                    .is_some_and(|rest| rest == wanted || rest.strip_suffix("/s") == Some(wanted))
            })
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
