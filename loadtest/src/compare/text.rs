//! The comparison on stdout and in one sentence. Pure.

use super::{Comparison, Gate, Judged, Test, Verdict};
use crate::table::{grid, number};

/// As text.
pub(super) fn render(found: &Comparison) -> String {
    let rows: Vec<Vec<String>> = found.tests.iter().map(row).collect();
    let mut text = format!("{}\n{}\n", sentence(found), grid(&head(), &rows));
    for test in
        found.tests.iter().filter(|test| test.verdict == Verdict::CannotTell && test.decides)
    {
        text += &format!("  {} of {}: {}\n", test.metric.text(), test.step, test.reason);
    }
    for warning in &found.warnings {
        text += &format!("  warning: {warning}\n");
    }
    text + &format!("  gate: {}\n", gate(found))
}

/// The answer first.
pub(super) fn sentence(found: &Comparison) -> String {
    let margin = number(found.margin * 100.0);
    let answer = match found.verdict {
        Verdict::Better => "B is better than A".to_owned(),
        Verdict::Worse => "B is worse than A".to_owned(),
        Verdict::Same => format!("A and B are the same within ±{margin} %"),
        Verdict::CannotTell => "these runs cannot tell A from B".to_owned(),
    };
    let stopped = if found.interrupted { ", stopped before the last round" } else { "" };
    format!(
        "{answer}: {} runs of A ({}), {} of B ({}){stopped}",
        found.a.runs.len(),
        found.a.target,
        found.b.runs.len(),
        found.b.target
    )
}

pub(super) fn gate(found: &Comparison) -> String {
    let bounds = found.gates.iter().map(bound).collect::<Vec<_>>().join("; ");
    let rule = match found.gate {
        Gate::Worse | Gate::NotProven if !bounds.is_empty() => &bounds,
        Gate::Off => "off",
        Gate::Worse => "no figure may have been shown to be worse beyond the margin",
        Gate::NotProven => "every figure must have been shown not to be worse beyond the margin",
    };
    format!("{} ({rule})", if found.pass { "held" } else { "MISSED" })
}

fn bound(gate: &Judged) -> String {
    let word = if gate.pass { "held" } else { "MISSED" };
    let range = gate.interval.map_or_else(
        || "no interval".to_owned(),
        |range| format!("{:.3} to {:.3}", range.low, range.high),
    );
    // An expression that names its step says it already.
    if gate.expr.contains('@') {
        return format!("{} {word}: {range}", gate.expr);
    }
    format!("{} {word} at {}: {range}", gate.expr, gate.step)
}

/// Every figure that decides in one line, while rounds go on.
pub(super) fn so_far(found: &Comparison) -> String {
    let one = |test: &Test| {
        let range = test
            .interval
            .map_or(String::new(), |range| format!(" ({:.2} to {:.2})", range.low, range.high));
        format!("{} of {} {:.2}{range}", test.metric.text(), test.step, test.ratio)
    };
    let all: Vec<String> = found.tests.iter().filter(|test| test.decides).map(one).collect();
    format!("B ÷ A so far: {}", all.join(", "))
}

pub(super) fn head() -> Vec<String> {
    ["step", "figure", "A", "B", "B ÷ A", "95 % interval", "p", "corrected", "verdict"]
        .map(str::to_owned)
        .to_vec()
}

pub(super) fn row(test: &Test) -> Vec<String> {
    let interval = test
        .interval
        .map_or_else(|| "–".to_owned(), |range| format!("{:.3} to {:.3}", range.low, range.high));
    vec![
        test.step.clone(),
        format!("{} {}", test.metric.text(), test.metric.unit()),
        number(test.a_median),
        number(test.b_median),
        format!("{:.3}", test.ratio),
        interval,
        number(test.p),
        if test.decides { number(test.p_corrected) } else { "–".to_owned() },
        if test.decides {
            test.verdict.text().to_owned()
        } else {
            format!("({})", test.verdict.text())
        },
    ]
}
