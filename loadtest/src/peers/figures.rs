//! What the rounds of one peer come to. Pure: steps of `run.json` in, medians out.
//! A round is the unit: its percentiles are summarised by the median and the range over rounds, never averaged, and
//! counts are added up. A step that the harness itself does not trust keeps its figures and says so.

use serde::Serialize;

use super::Kind;
use crate::model::{Classes, Interval, Status, Step};

/// The channel whose latency is compared.
const CHANNEL: &str = "in_app";
/// Not part of what a peer costs.
const GENERATOR: &str = "generator";

/// One peer at one step, over all rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    pub peer: &'static str,
    pub step: String,
    pub rounds: usize,
    pub p50_ms: Median,
    pub p99_ms: Median,
    pub accept_p99_ms: Median,
    /// Received in time, per second of the measured part.
    pub goodput_per_s: Median,
    /// Of all its processes, without the generator.
    pub cpu_s_per_1000: Median,
    pub rss_mib: Median,
    /// Over all rounds.
    pub classes: Classes,
    /// The worst of the rounds, and why.
    pub status: Status,
    pub reasons: Vec<String>,
}

/// The middle of the rounds, and their range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Median {
    pub median: f64,
    pub range: Interval,
}

impl Median {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let (Some(low), Some(high)) = (values.first(), values.last()) else {
            return Self::default();
        };
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        Self { median, range: Interval { low: *low, high: *high } }
    }
}

/// Summarises the rounds of each peer, step by step, in the order in which both first appear.
pub fn summarise(rounds: &[(Kind, Vec<Step>)]) -> Vec<Figures> {
    let mut keys: Vec<(&str, Kind)> = Vec::new();
    for (kind, steps) in rounds {
        for step in steps {
            let key = (step.name.as_str(), *kind);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    // By step first: a reader compares peers, not steps.
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in &keys {
        if !names.contains(name) {
            names.push(name);
        }
    }
    keys.sort_by_key(|(name, _)| names.iter().position(|one| one == name));
    keys.into_iter().map(|(name, kind)| figures(rounds, name, kind)).collect()
}

fn figures(rounds: &[(Kind, Vec<Step>)], name: &str, kind: Kind) -> Figures {
    let steps: Vec<&Step> = rounds
        .iter()
        .filter(|(of, _)| *of == kind)
        .flat_map(|(_, steps)| steps.iter().filter(|step| step.name == name))
        .collect();
    let over = |read: &dyn Fn(&Step) -> Option<f64>| {
        Median::of(steps.iter().filter_map(|step| read(step)).collect())
    };
    let latency = |step: &Step| step.latency.get(CHANNEL).map(|found| found.intended.clone());
    let mut classes = Classes::default();
    let mut reasons: Vec<String> = Vec::new();
    for step in &steps {
        classes.add(&step.classes);
        for reason in &step.verdict.reasons {
            if !reasons.contains(reason) {
                reasons.push(reason.clone());
            }
        }
    }
    Figures {
        peer: kind.name(),
        step: name.to_owned(),
        rounds: steps.len(),
        p50_ms: over(&|step| latency(step).map(|found| found.p50_ms)),
        p99_ms: over(&|step| latency(step).map(|found| found.p99_ms)),
        accept_p99_ms: over(&|step| Some(step.accept.intended.p99_ms)),
        goodput_per_s: over(&|step| Some(step.goodput_per_s)),
        cpu_s_per_1000: over(&|step| Some(without_generator(&step.cpu_s_per_1000, |cpu| *cpu))),
        rss_mib: over(&|step| {
            Some(without_generator(&step.rss_bytes, |bytes| *bytes as f64 / f64::from(1 << 20)))
        }),
        classes,
        status: steps.iter().map(|step| step.verdict.status).max().unwrap_or_default(),
        reasons,
    }
}

fn without_generator<T>(
    all: &std::collections::BTreeMap<String, T>,
    value: impl Fn(&T) -> f64,
) -> f64 {
    all.iter()
        .filter(|(name, _)| *name != GENERATOR)
        .map(|(_, one)| value(one))
        .fold(0.0, |sum, one| sum + one)
}

#[cfg(test)]
pub mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{Distribution, Latency, Verdict};

    /// A step with these latencies.
    pub fn step(name: &str, p50_ms: f64, p99_ms: f64, sent: u64, lost: u64) -> Step {
        let intended = Distribution { p50_ms, p99_ms, ..Distribution::default() };
        let latency = Latency { intended, ..Latency::default() };
        let classes =
            Classes { sent, accepted: sent, delivered: sent - lost, lost, ..Classes::default() };
        let spent = |generator: f64, one: f64, other: f64| {
            BTreeMap::from([
                (GENERATOR.to_owned(), generator),
                ("a".to_owned(), one),
                ("b".to_owned(), other),
            ])
        };
        Step {
            name: name.to_owned(),
            classes,
            latency: BTreeMap::from([(CHANNEL.to_owned(), latency)]),
            cpu_s_per_1000: spent(9.0, 0.25, 0.5),
            ..Step::default()
        }
    }

    #[test]
    fn medians_are_over_rounds_and_counts_are_sums() {
        let mut suspect = step("wave 50", 9.0, 90.0, 500, 3);
        suspect.verdict =
            Verdict { status: Status::Suspect, reasons: vec!["stolen time".to_owned()] };
        let rounds = vec![
            (Kind::Floor, vec![step("wave 1", 1.0, 2.0, 10, 0), step("wave 50", 4.0, 8.0, 500, 0)]),
            (Kind::Django, vec![step("wave 1", 5.0, 6.0, 10, 0)]),
            (Kind::Floor, vec![step("wave 1", 3.0, 9.0, 10, 0), suspect]),
            (Kind::Floor, vec![step("wave 1", 2.0, 4.0, 10, 0)]),
        ];
        let all = summarise(&rounds);
        let order: Vec<_> = all.iter().map(|one| (one.step.as_str(), one.peer)).collect();
        assert_eq!(order, [("wave 1", "floor"), ("wave 1", "django"), ("wave 50", "floor")]);
        assert_eq!((all[0].p50_ms.median, all[0].p99_ms.median), (2.0, 4.0));
        assert_eq!(all[0].p99_ms.range, Interval { low: 2.0, high: 9.0 });
        assert_eq!((all[0].rounds, all[0].classes.sent), (3, 30));
        assert!((all[0].cpu_s_per_1000.median - 0.75).abs() < 1e-9, "without the generator");
        assert_eq!((all[2].p50_ms.median, all[2].classes.lost), (6.5, 3));
        assert_eq!((all[2].status, all[2].reasons.len()), (Status::Suspect, 1));
    }

    #[test]
    fn nothing_gives_nothing() {
        assert!(summarise(&[]).is_empty());
        assert_eq!(Median::of(Vec::new()), Median::default());
    }
}
