//! Whether two groups of runs may be compared at all, and what weakens the comparison. Pure.

use std::collections::BTreeSet;

use super::{Options, RUNS_WANTED};
use crate::model::{Run, Status};
use crate::report::read;

/// Beyond this many scaled deviations from the median a run is called an outlier (Iglewicz and
/// Hoaglin 1993).
const OUTLIER_SCORE: f64 = 3.5;

/// Why the two cannot be compared; empty if they can.
pub(super) fn differences(a: &[Run], b: &[Run]) -> Vec<String> {
    if a.is_empty() || b.is_empty() {
        return vec!["a side has no run".to_owned()];
    }
    let all = || a.iter().chain(b);
    let mut found = Vec::new();
    let mut one_value = |what: &str, values: BTreeSet<String>| {
        if values.len() > 1 {
            let list: Vec<String> = values.into_iter().collect();
            found.push(format!("{what} differs: {}", list.join(" and ")));
        }
    };
    one_value("the scenario", all().map(|run| run.scenario.name.clone()).collect());
    one_value(
        "the scenario's content (SHA-256)",
        all().map(|run| short(&run.scenario.sha256)).collect(),
    );
    one_value("durability", all().map(|run| run.target.durability.clone()).collect());
    one_value(
        "the number of recipients",
        all().map(|run| run.scenario.recipients.to_string()).collect(),
    );
    one_value(
        "the payload in bytes",
        all().map(|run| run.scenario.payload_bytes.to_string()).collect(),
    );
    one_value("the number of cores", all().map(|run| run.environment.cores.to_string()).collect());
    one_value("the processor", all().map(|run| run.environment.cpu_model.clone()).collect());
    for step in all().flat_map(|run| &run.steps).map(|step| &step.name).collect::<BTreeSet<_>>() {
        let kinds: BTreeSet<String> = all()
            .flat_map(|run| &run.steps)
            .filter(|one| one.name == *step)
            .map(|one| {
                format!("{} of {} to {}", one.load.kind.text(), read::load(one), one.load.fan_out)
            })
            .collect();
        one_value(&format!("the load of {step}"), kinds);
    }
    for run in all() {
        let void = run.steps.iter().filter(|step| step.verdict.status == Status::Invalid);
        for step in void {
            found.push(format!(
                "{} of run {} is INVALID, its figures must not be used",
                step.name, run.id
            ));
        }
    }
    found
}

fn short(hash: &str) -> String {
    hash.chars().take(12).collect()
}

/// What a reader must know although the comparison was made.
pub(super) fn warnings(a: &[Run], b: &[Run], figures: usize, options: &Options) -> Vec<String> {
    let mut found = Vec::new();
    let fewest = a.len().min(b.len());
    if fewest < RUNS_WANTED {
        found.push(format!("only {fewest} runs a side; at least {RUNS_WANTED} are wanted"));
    }
    let needed = runs_needed(figures);
    if fewest < needed && fewest >= 2 {
        let declared = options.primary.is_some() || !options.gates.is_empty();
        let or = if declared { "" } else { ", or declare one with --primary" };
        found.push(format!(
            "{figures} figures decide: with fewer than {needed} runs a side no p-value can get below 0.05 \
             after Holm's correction{or}"
        ));
    }
    let ids: BTreeSet<&str> = a.iter().map(|run| run.id.as_str()).collect();
    if b.iter().any(|run| ids.contains(run.id.as_str())) {
        found.push("the same run stands on both sides".to_owned());
    }
    if !interleaved(a, b) {
        found.push(
            "all runs of one side are older than those of the other: a drift of the machine would look like \
             a difference; interleave them (A B B A)"
                .to_owned(),
        );
    }
    let debug = |run: &Run| {
        run.environment.profile == "debug"
            || run.environment.campana_profile.as_deref() == Some("debug")
    };
    if a.iter().chain(b).any(debug) {
        found.push("a debug build took part".to_owned());
    }
    found
}

/// Runs a side from which on the smallest possible p-value, times the number of figures, is below 5 %.
pub(super) fn runs_needed(figures: usize) -> usize {
    (2..=20)
        .find(|runs| crate::stats::rank::smallest_p(*runs, *runs) * figures.max(1) as f64 <= 0.05)
        .unwrap_or(20)
}

/// Whether neither side lies wholly before the other; times are RFC 3339 in UTC, which sorts as text.
fn interleaved(a: &[Run], b: &[Run]) -> bool {
    let ends = |runs: &[Run]| {
        let times: BTreeSet<String> = runs.iter().map(|run| run.started_at.clone()).collect();
        Some((times.first()?.clone(), times.last()?.clone()))
    };
    match (ends(a), ends(b)) {
        (Some(a), Some(b)) => (a.0 <= b.1 && b.0 <= a.1) || (a.0 == a.1 && b.0 == b.1),
        _ => true,
    }
}

/// Whether a list holds a run far from the others, by the modified z-score.
pub(super) fn has_outlier(values: &[f64]) -> bool {
    let middle = crate::stats::bootstrap::median(values);
    let distances: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    let usual = crate::stats::bootstrap::median(&distances);
    values.len() >= RUNS_WANTED
        && usual > 0.0
        && distances.iter().any(|distance| 0.674_5 * distance / usual > OUTLIER_SCORE)
}
