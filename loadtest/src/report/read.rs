//! What a run says, in the terms that tables, pictures and sentences share. Pure. A run.json may be
//! hand-made, cut off or of another harness: counts are added with saturation, lists may be of any
//! length, and what is not there is nothing, never zero.

use std::collections::BTreeSet;

use hdrhistogram::Histogram;

use crate::model::{Classes, Distribution, Interval, Kind, Latency, Run, Status, Step};
use crate::stats::bounds;

/// The channel that a browser watches, which is spoken of first.
const BROWSER: &str = "in_app";
/// A histogram that the harness writes has some kilobytes; more is not decoded.
const HDR_BYTES_MAX: usize = 1 << 20;
/// Colours that the style sheet has for processes, stages and lines.
pub const COLOURS: usize = 8;

/// The latency that a step is judged by: the browser's, or of the channel with most receipts.
pub fn latency(step: &Step) -> Option<(&str, &Latency)> {
    let found = step
        .latency
        .get_key_value(BROWSER)
        .or_else(|| step.latency.iter().max_by_key(|(_, latency)| latency.intended.count));
    let (name, latency) = found?;
    (latency.intended.count > 0).then_some((name.as_str(), latency))
}

/// From the intended send; nothing if nothing arrived.
pub fn intended(step: &Step) -> Option<&Distribution> {
    latency(step).map(|(_, latency)| &latency.intended)
}

/// The whole histogram of a distribution; empty if it cannot be read.
pub fn histogram(distribution: &Distribution) -> Histogram<u64> {
    if distribution.hdr.len() > HDR_BYTES_MAX {
        return crate::model::histogram();
    }
    distribution.histogram()
}

/// The interval of a percentile: over waves or seconds if the harness gave one, else from the
/// ranks of single receipts, which is narrower than the truth.
pub fn interval(distribution: &Distribution, quantile: f64) -> Option<Interval> {
    let given = if quantile > 0.9 { distribution.p99_interval } else { distribution.p50_interval };
    given.or_else(|| {
        let (low, high) = bounds::quantile_interval(&histogram(distribution), quantile)?;
        Some(Interval { low: low as f64 / 1e6, high: high as f64 / 1e6 })
    })
}

/// Whether the harness gave intervals over waves or seconds.
pub fn has_own_intervals(step: &Step) -> bool {
    intended(step).is_some_and(|latency| latency.p50_interval.is_some())
}

/// Received exactly once and whole, in time or late.
pub fn received(classes: &Classes) -> u64 {
    classes.delivered.saturating_add(classes.late)
}

/// Everything that was sent and not received exactly once, shed included.
pub fn failed(classes: &Classes) -> u64 {
    classes.sent.saturating_sub(received(classes))
}

/// Share of what was sent, 0 to 1.
pub fn share(part: u64, classes: &Classes) -> f64 {
    if classes.sent == 0 { 0.0 } else { (part as f64 / classes.sent as f64).clamp(0.0, 1.0) }
}

/// Which share of failures so many trials cannot exclude (95 %), in words.
pub fn bound_text(failures: u64, trials: u64) -> String {
    percent(bounds::failure_upper_bound_95(failures, trials))
}

/// A share as percent, with the digits that small shares need.
pub fn percent(ratio: f64) -> String {
    let value = ratio * 100.0;
    let text = match value {
        value if value >= 10.0 => format!("{value:.1}"),
        value if value >= 0.1 || value == 0.0 => format!("{value:.2}"),
        value if value >= 0.001 => format!("{value:.4}"),
        value => format!("{value:.1e}"),
    };
    let text = if text.contains('.') && !text.contains('e') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    };
    format!("{text}\u{a0}%")
}

/// Whether a process made the load.
pub fn is_generator(run: &Run, process: &str) -> bool {
    process.starts_with("generator") || run.generators.iter().any(|one| one.name == process)
}

/// Every process that was watched: the platform first, the generators last.
pub fn processes(run: &Run) -> Vec<String> {
    let names: BTreeSet<&String> = run
        .steps
        .iter()
        .flat_map(|step| step.cpu_s_per_1000.keys().chain(step.rss_bytes.keys()))
        .collect();
    let mut ordered: Vec<String> = names.into_iter().cloned().collect();
    ordered.sort_by_key(|name| (is_generator(run, name), name.clone()));
    ordered
}

/// The colour of a process, the same in every picture of a run.
pub fn process_class(run: &Run, all: &[String], process: &str) -> String {
    if is_generator(run, process) {
        return "c-generator".to_owned();
    }
    let place = all.iter().position(|name| name == process).unwrap_or(0);
    colour(place)
}

/// The nth colour.
pub fn colour(place: usize) -> String {
    format!("c{}", place % COLOURS + 1)
}

/// CPU of the platform's processes for a thousand deliveries, nats-server included.
pub fn platform_cpu(run: &Run, step: &Step) -> Option<f64> {
    let parts: Vec<f64> = (step.cpu_s_per_1000.iter())
        .filter(|(name, _)| !is_generator(run, name))
        .map(|(_, seconds)| *seconds)
        .collect();
    (!parts.is_empty()).then(|| parts.iter().sum())
}

/// Where a step stands on its kind's axis.
pub fn load(step: &Step) -> f64 {
    if step.load.kind == Kind::Open { step.load.rate_per_s } else { f64::from(step.load.size) }
}

/// The steps of a kind that belong on one curve: one receiver for each, nothing broken meanwhile,
/// not INVALID; smallest load first.
pub fn curve(run: &Run, kind: Kind) -> Vec<&Step> {
    let mut steps: Vec<&Step> = of_kind(run, kind)
        .into_iter()
        .filter(|step| step.load.faults.is_empty() && step.load.fan_out <= 1)
        .filter(|step| step.verdict.status != Status::Invalid && load(step) > 0.0)
        .collect();
    steps.sort_by(|left, right| load(left).total_cmp(&load(right)));
    steps
}

/// All steps of a kind in the order in which they ran.
pub fn of_kind(run: &Run, kind: Kind) -> Vec<&Step> {
    run.steps.iter().filter(|step| step.load.kind == kind).collect()
}

/// The step that the headline speaks of: the paper's wave of 500 if it ran, else the highest load
/// that met the goal (or, without one, that arrived whole).
pub fn spoken_of(run: &Run) -> Option<&Step> {
    let waves = curve(run, Kind::Wave);
    if let Some(step) = waves.iter().find(|step| step.load.size == 500) {
        return Some(step);
    }
    [Kind::Open, Kind::Wave, Kind::Closed]
        .into_iter()
        .find_map(|kind| {
            let steps = curve(run, kind);
            let good = steps.iter().rev().find(|step| meets_goal(run, step));
            good.or(steps.first()).copied()
        })
        .or_else(|| run.steps.iter().max_by(|left, right| load(left).total_cmp(&load(right))))
}

/// Whether a step met the scenario's goal and lost nothing.
pub fn meets_goal(run: &Run, step: &Step) -> bool {
    let classes = &step.classes;
    let whole = classes.lost == 0 && classes.rejected == 0 && classes.corrupt == 0;
    let fast = run.scenario.slo.as_ref().is_none_or(|slo| {
        intended(step).is_some_and(|latency| latency.p99_ms <= slo.p99_ms)
            && share(classes.shed, classes) <= slo.shed_ratio_max
    });
    whole && fast && step.verdict.status != Status::Invalid
}

/// The worst verdict of a run.
pub fn status(run: &Run) -> Status {
    let worst = run.steps.iter().map(|step| step.verdict.status).max().unwrap_or_default();
    if run.steps.is_empty() || run.error.is_some() { Status::Invalid } else { worst }
}

/// Seconds since the run began at which a fault began, if its words say `at N s` (since the step
/// began).
pub fn fault_at(step: &Step, fault: &str) -> Option<f64> {
    let after = fault.rsplit_once(" at ")?.1;
    let number: String =
        after.chars().take_while(|letter| letter.is_ascii_digit() || *letter == '.').collect();
    let rest = after[number.len()..].trim_start();
    let seconds: f64 = number.parse().ok()?;
    let seconds = if rest.starts_with("ms") { seconds / 1e3 } else { seconds };
    rest.starts_with(['s', 'm']).then_some(step.from_s + seconds)
}
