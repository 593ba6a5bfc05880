//! A step of several generators as run.json has it: figures from the joined books, resources by
//! generator, and one verdict, the worst of all, whose reasons name whom they are about. Pure.

use std::collections::BTreeMap;

use super::protocol::StepPart;
use crate::engine::health;
use crate::engine::step::{complaint, load_of};
use crate::ledger::{Book, join};
use crate::model::{
    self, Classes, Distribution, GeneratorPart, Kind, Latency, Series, Status, Step,
};
use crate::sampler::Samples;
use crate::scenario::StepSpec;
use crate::verdict::{self, Facts};

/// Clocks of a wave may differ by this share of it; less than a millisecond is nobody's fault.
const CLOCK_SHARE_MAX: f64 = 0.1;
const CLOCK_FLOOR_MS: f64 = 1.0;
/// Seconds of generators whose clocks differ by more are not the same seconds.
const CLOCK_SECOND_MS: f64 = 500.0;
/// The agent's process in its own columns.
const OWN: &str = "generator";

/// What one generator had of a step.
pub struct Share {
    pub name: String,
    pub part: StepPart,
    /// The most by which its clock can have been misread.
    pub error_ns: u64,
}

/// All that is known of a step.
pub struct Whole<'a> {
    pub spec: &'a StepSpec,
    pub book: &'a Book,
    pub shares: &'a [Share],
    /// Of the coordinator's machine, with the platform's processes.
    pub samples: Option<Samples>,
    pub complaints: Vec<String>,
}

impl Whole<'_> {
    /// The step, not reconciled and not judged.
    pub fn step(&mut self) -> Step {
        let mut step =
            Step { name: self.spec.name.clone(), load: load_of(self.spec), ..Step::default() };
        self.book.fill(&mut step);
        step.generator.achieved_ratio = ratio(self.book.requests, self.intended());
        if let Some(samples) = self.samples.take() {
            samples.fill(&mut step);
        }
        self.resources(&mut step);
        let recovered: Vec<Option<f64>> =
            self.shares.iter().map(|share| share.part.recovery_s).collect();
        // The last one that had everything.
        step.recovery_s = recovered
            .iter()
            .copied()
            .collect::<Option<Vec<f64>>>()
            .and_then(|all| all.into_iter().reduce(f64::max));
        for share in self.shares {
            for (name, count) in &share.part.counters {
                let most = step.reconciliation.counters.entry(name.clone()).or_insert(0.0);
                // Every generator sees the same sandbox.
                *most = most.max(*count);
            }
        }
        step.generators = self.shares.iter().map(generator).collect();
        health::fill(&mut step);
        step
    }

    fn intended(&self) -> u64 {
        self.shares.iter().map(|share| share.part.intended).sum()
    }

    /// CPU and memory by generator, and the worst of their machines.
    fn resources(&self, step: &mut Step) {
        let sent = step.classes.sent.max(1) as f64;
        let mut canary = model::histogram();
        for Share { name, part, .. } in self.shares {
            let cpu = (part.cpu_s / sent * 1e3 * 1e6).round() / 1e6;
            step.cpu_s_per_1000.insert(name.clone(), cpu);
            step.cpu_percent_of_core.insert(name.clone(), part.cpu_percent_of_core);
            step.rss_bytes.insert(name.clone(), part.rss_bytes);
            let health = &mut step.generator;
            health.steal_percent = health.steal_percent.max(part.steal_percent);
            health.pressure_percent = match (health.pressure_percent, part.pressure_percent) {
                (Some(one), Some(other)) => Some(one.max(other)),
                (one, other) => one.or(other),
            };
            // What cannot be added is told as missing: the whole has fewer timers.
            let _ = part.canary.add_to(&mut canary);
            worst(&mut step.series, &part.sampled);
            join(&mut step.series, &named(&part.sampled, name));
        }
        step.generator.canary = Distribution::of(&canary);
    }

    /// One verdict for all.
    pub fn judge(
        &self,
        step: &mut Step,
        null_target: Option<&Latency>,
        interrupted: bool,
        judge_timing: bool,
    ) {
        let warm_up = complaint(&self.book.warm_up());
        let planned = (step.load.kind != Kind::Closed).then(|| self.intended());
        let mut found = verdict::judge(&Facts {
            step,
            planned,
            sound: self.book.sound(),
            overflow: self.shares.iter().map(|share| share.part.overflow).sum(),
            outside: self.shares.iter().map(|share| share.part.outside).sum(),
            null_target,
            warm_up: warm_up.as_deref(),
            complaints: &self.complaints,
            interrupted,
            judge_timing,
        });
        for share in self.shares {
            for (status, reason) in reasons(step, share) {
                // Said of the whole in the same words, it is this one's alone.
                found.reasons.retain(|known| *known != reason);
                found.status = found.status.max(status);
                found.reasons.push(format!("{}: {reason}", share.name));
            }
        }
        step.verdict = found;
    }
}

/// What is wrong with one generator.
fn reasons(step: &Step, share: &Share) -> Vec<(Status, String)> {
    let own = &share.part.verdict;
    let mut all: Vec<(Status, String)> =
        own.reasons.iter().map(|reason| (own.status, reason.clone())).collect();
    if own.status == Status::Invalid && own.reasons.is_empty() {
        all.push((Status::Invalid, "it does not believe its own figures".to_owned()));
    }
    if share.part.overrun {
        let why = "seconds are missing from the curves over time: it was not read fast enough";
        all.push((Status::Invalid, why.to_owned()));
    }
    let unbalanced = share
        .part
        .book
        .lanes
        .iter()
        .any(|lane| !lane.classes.balanced() || !lane.warm_up.balanced());
    if unbalanced && own.status != Status::Invalid {
        all.push((Status::Invalid, "its ledger does not add up".to_owned()));
    }
    let error_ms = share.error_ns as f64 / 1e6;
    let bound = match step.load.kind {
        Kind::Wave => step.makespan.as_ref().map(|all| all.p50_ms * CLOCK_SHARE_MAX),
        Kind::Closed | Kind::Open => Some(CLOCK_SECOND_MS),
    };
    if bound.is_some_and(|bound| error_ms > bound.max(CLOCK_FLOOR_MS)) {
        let why = format!(
            "its clock is known to {error_ms:.1} ms only: it may have begun that much apart"
        );
        all.push((Status::Suspect, why));
    }
    all
}

fn ratio(part: u64, of: u64) -> f64 {
    if of == 0 { 1.0 } else { (part as f64 / of as f64 * 1e6).round() / 1e6 }
}

fn generator(share: &Share) -> GeneratorPart {
    let part = &share.part;
    let mut classes = Classes { phantom: part.book.phantom_elsewhere, ..Classes::default() };
    part.book.lanes.iter().for_each(|lane| classes.add(&lane.classes));
    let lag = part.book.lag.histogram().map(|lag| Distribution::of(&lag)).unwrap_or_default();
    GeneratorPart {
        name: share.name.clone(),
        classes,
        lag,
        achieved_ratio: ratio(part.book.requests, part.intended),
        dropped: part.book.skipped,
        cpu_percent_of_core: part.cpu_percent_of_core,
        rss_bytes: part.rss_bytes,
        clock_error_ms: (share.error_ns as f64 / 1e3).round() / 1e3,
        verdict: part.verdict.clone(),
    }
}

/// Columns of a generator under its own name.
fn named(sampled: &Series, name: &str) -> Series {
    let own = |column: &String| {
        let kind = column.strip_suffix(OWN)?;
        ["cpu:", "rss:"].contains(&kind).then(|| format!("{kind}{name}"))
    };
    let columns =
        sampled.columns.iter().filter_map(|(column, values)| Some((own(column)?, values.clone())));
    Series { at_s: sampled.at_s.clone(), columns: columns.collect() }
}

/// Columns of machines: of several, the worst counts.
fn worst(series: &mut Series, sampled: &Series) {
    const NAMES: [&str; 4] =
        ["canary_p99_ms", "canary_bare_p99_ms", "steal_percent", "pressure_percent"];
    let second = |at: &f64| at.floor() as i64;
    let mut sums = Series::default();
    let mut rows = BTreeMap::<i64, [Option<f64>; NAMES.len()]>::new();
    for side in [&*series, sampled] {
        for (row, at) in side.at_s.iter().enumerate() {
            let most = rows.entry(second(at)).or_default();
            for (most, name) in most.iter_mut().zip(NAMES) {
                let value = side.columns.get(name).and_then(|column| *column.get(row)?);
                *most = match (*most, value) {
                    (Some(one), Some(other)) => Some(one.max(other)),
                    (one, other) => one.or(other),
                };
            }
        }
    }
    sums.at_s = rows.keys().map(|second| *second as f64).collect();
    for (place, name) in NAMES.into_iter().enumerate() {
        let column = rows.values().map(|row| row[place]).collect();
        sums.columns.insert(name.to_owned(), column);
        series.columns.remove(name);
    }
    join(series, &sums);
}
