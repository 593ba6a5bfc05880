//! Gates on a ratio: `p99<=1.05@wave 500` reads "in the step `wave 500`, p99 of B is at most 1.05 times
//! A's". Pure. What is held against the bound is the interval, never the point: with `--fail-if worse`
//! a gate is missed when the whole interval lies beyond the bound and the rank test agrees, with
//! `not-proven` unless the whole interval lies within it.

use serde::{Deserialize, Serialize};

use super::{Gate, LEVEL, Metric, Test};
use crate::model::Interval;

/// A bound of a ratio.
#[derive(Clone, Debug, PartialEq)]
pub struct RatioGate {
    text: String,
    metric: Metric,
    /// Whether the bound is the most that is allowed, or the least.
    most: bool,
    bound: f64,
    /// Of every step that has the figure if none.
    step: Option<String>,
}

/// How a gate fared at one step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Judged {
    pub expr: String,
    pub step: String,
    pub interval: Option<Interval>,
    pub pass: bool,
}

impl std::str::FromStr for RatioGate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (condition, step) = match text.split_once('@') {
            Some((_, step)) if step.trim().is_empty() => return Err("no step after @".to_owned()),
            Some((condition, step)) => (condition, Some(step.trim().to_owned())),
            None => (text, None),
        };
        let (name, most, bound) = match (condition.split_once("<="), condition.split_once(">=")) {
            (Some((name, bound)), _) => (name, true, bound),
            (None, Some((name, bound))) => (name, false, bound),
            (None, None) => {
                return Err("write for example p99<=1.05 or throughput>=0.95@open 500/s".to_owned());
            }
        };
        let number: f64 =
            bound.trim().parse().map_err(|_| format!("{:?} is not a number", bound.trim()))?;
        if !(number > 0.0 && number.is_finite()) {
            return Err("a ratio is above 0; 1 is no change".to_owned());
        }
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok(Self { text, metric: name.trim().parse()?, most, bound: number, step })
    }
}

impl RatioGate {
    /// Whether this figure decides about the gate.
    pub fn looks_at(&self, metric: Metric, step: &str) -> bool {
        self.metric == metric && self.step.as_deref().is_none_or(|wanted| wanted == step)
    }

    /// The gate at every step that it looks at; nothing if none has the figure.
    pub fn judge(&self, tests: &[Test], mode: Gate) -> Vec<Judged> {
        tests
            .iter()
            .filter(|test| self.looks_at(test.metric, &test.step))
            .map(|test| Judged {
                expr: self.text.clone(),
                step: test.step.clone(),
                interval: test.interval,
                pass: self.holds(test, mode),
            })
            .collect()
    }

    fn holds(&self, test: &Test, mode: Gate) -> bool {
        match (mode, test.interval) {
            (Gate::Off, _) | (Gate::Worse, None) => true,
            (Gate::NotProven, None) => false,
            (Gate::Worse, Some(interval)) => {
                let beyond =
                    if self.most { interval.low > self.bound } else { interval.high < self.bound };
                !beyond || test.p_corrected > LEVEL
            }
            (Gate::NotProven, Some(interval)) => {
                if self.most {
                    interval.high <= self.bound
                } else {
                    interval.low >= self.bound
                }
            }
        }
    }

    /// As typed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Why it can never be judged with these steps, if so: told before minutes pass.
    pub fn check(&self, steps: &[&str]) -> Result<(), String> {
        match &self.step {
            Some(wanted) if !steps.contains(&wanted.as_str()) => Err(format!(
                "gate {}: there is no step {wanted:?}; the steps are {}",
                self.text,
                steps.join(", ")
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Verdict;

    fn test(low: f64, high: f64, p: f64) -> Test {
        Test {
            step: "wave 100".to_owned(),
            metric: Metric::P99,
            a: Vec::new(),
            b: Vec::new(),
            a_median: 1.0,
            b_median: 1.0,
            ratio: f64::midpoint(low, high),
            interval: Some(Interval { low, high }),
            p,
            p_corrected: p,
            decides: true,
            verdict: Verdict::CannotTell,
            reason: String::new(),
        }
    }

    fn passes(gate: &str, test: Test, mode: Gate) -> bool {
        let judged = gate.parse::<RatioGate>().unwrap().judge(&[test], mode);
        assert_eq!(judged.len(), 1);
        judged[0].pass
    }

    #[test]
    fn the_interval_is_held_against_the_bound() {
        let gate = "p99 <= 1.05@wave 100";
        // Beyond, across and within the bound.
        for (low, high, worse, proven) in
            [(1.06, 1.2, false, false), (1.01, 1.2, true, false), (0.9, 1.04, true, true)]
        {
            assert_eq!(passes(gate, test(low, high, 0.01), Gate::Worse), worse, "{low} {high}");
            assert_eq!(passes(gate, test(low, high, 0.01), Gate::NotProven), proven, "{low}");
            assert!(passes(gate, test(low, high, 0.01), Gate::Off));
        }
        assert!(passes(gate, test(1.06, 1.2, 0.2), Gate::Worse), "too few runs to say so");
        assert!(!passes("p99>=0.95", test(0.7, 0.9, 0.01), Gate::Worse));
        assert!(passes("p99>=0.95", test(0.96, 1.1, 0.01), Gate::NotProven));
        let none = Test { interval: None, ..test(1.0, 1.0, 1.0) };
        assert!(passes(gate, none.clone(), Gate::Worse) && !passes(gate, none, Gate::NotProven));
    }

    #[test]
    fn what_cannot_be_read_or_judged_is_told() {
        for bad in ["p99", "p98<=1", "p99<=x", "p99<=0", "p99<=-1", "p99<=1@", "p99<1", "cpu>=nan"]
        {
            assert!(bad.parse::<RatioGate>().is_err(), "{bad}");
        }
        let gate: RatioGate = "cpu<=1.1@wave 5".parse().unwrap();
        assert!(gate.judge(&[test(1.0, 1.0, 1.0)], Gate::Worse).is_empty());
        assert!(gate.check(&["wave 5"]).is_ok());
        assert!(gate.check(&["wave 50"]).unwrap_err().contains("wave 50"));
    }
}
