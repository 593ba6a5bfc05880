//! The rules of Grafana's dashboard-linter, over the typed dashboards.
//! Reads: the model. Writes: what breaks a rule. Never: asks a Prometheus; a test runs every query.
//!
//! The linter's rules on data source, `job` and `instance` variables, reload on change of time and "not
//! editable" hold by construction (`model::common_variables`, `render`); the others are checked here.

use std::collections::BTreeSet;

use super::model::{Board, Kind, Panel, Target, Variable};
use super::{boards, path};
use crate::tidy::rust_text::is_word;
use crate::tidy::tree::{Finding, Rule, Tree};

static LINT: Rule = Rule {
    name: "dashboard-lint",
    why: "a panel without unit, words or a window that fits the scrape interval misleads",
    fix: "change the dashboard in xtask/src/dashboards, then run `cargo xtask gen`",
};

/// Reference letters of queries.
const TARGETS_MAX: usize = 26;

/// Every rule, over every dashboard whose file is in the tree.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for board in boards() {
        let Some(file) = tree.get(&path(&board)) else { continue };
        findings.extend(problems(&board).into_iter().map(|what| LINT.broken(file, 1, what)));
    }
    findings
}

/// What is wrong with a dashboard, in words.
pub fn problems(board: &Board) -> Vec<String> {
    let mut found = Vec::new();
    for wanted in ["datasource", "job", "instance", "quantile"] {
        if !board.variables.iter().any(|variable| name(variable) == wanted) {
            found.push(format!("no variable `{wanted}`"));
        }
    }
    let mut titles = BTreeSet::new();
    for panel in board.rows.iter().flat_map(|row| &row.panels) {
        let mut say = |what: String| found.push(format!("panel \"{}\": {what}", panel.title));
        if !titles.insert(panel.title) && !same_title_may_stand_twice(panel) {
            say("another one has the same title".to_owned());
        }
        words(panel, &mut say);
        for target in &panel.targets {
            query(panel, target, &mut say);
        }
    }
    found
}

fn name(variable: &Variable) -> &str {
    match variable {
        Variable::Datasource => "datasource",
        Variable::Labels { name, .. } | Variable::Fixed { name, .. } => name,
    }
}

/// The same question as a heat map and as a line beside it.
fn same_title_may_stand_twice(panel: &Panel) -> bool {
    panel.kind == Kind::Lines && panel.unit == "s"
}

/// panel-title-description-rule, panel-units-rule, panel-no-targets-rule.
fn words(panel: &Panel, say: &mut impl FnMut(String)) {
    if panel.title.is_empty() || panel.title.ends_with('.') {
        say("a title is some words without a full stop".to_owned());
    }
    if !panel.about.ends_with('.') {
        say("a description is a sentence with a full stop".to_owned());
    }
    if panel.unit.is_empty() {
        say("no unit".to_owned());
    }
    let wanted = if panel.kind == Kind::Text { 0..=0 } else { 1..=TARGETS_MAX };
    if !wanted.contains(&panel.targets.len()) {
        say(format!("{} queries", panel.targets.len()));
    }
}

/// target-promql-rule (as far as brackets go; a test hands every query to promtool),
/// target-job-rule, target-instance-rule, target-rate-interval-rule, target-counter-agg-rule.
fn query(panel: &Panel, target: &Target, say: &mut impl FnMut(String)) {
    let expr = target.expr.as_str();
    let Some(parts) = parts(expr) else {
        return say(format!("brackets do not match in `{expr}`"));
    };
    for Selector { metric, matchers } in &parts.selectors {
        let narrowed = ["job=~\"$job\"", "instance=~\"$instance\""];
        if metric != "ALERTS" && !narrowed.iter().all(|part| matchers.contains(part)) {
            say(format!("`{metric}` is not narrowed to $job and $instance"));
        }
    }
    for window in &parts.windows {
        let fits = matches!(window.as_str(), "$__rate_interval" | "$__range");
        if !fits && panel.fixed_window.is_none() {
            say(format!("window [{window}] instead of [$__rate_interval]"));
        }
        if window == "$__range" && matches!(panel.kind, Kind::Lines | Kind::Stacked) {
            say("a line over the whole time range is always late".to_owned());
        }
    }
    let counted = |metric: &str| {
        ["_total", "_bucket", "_sum", "_count"].iter().any(|end| metric.ends_with(end))
            && !metric.starts_with("nats_")
    };
    let counters = parts.selectors.iter().filter(|one| counted(&one.metric)).count();
    if counters > parts.windows.len() {
        say(format!("a counter without rate() or increase() in `{expr}`"));
    }
    for label in legend_labels(target.legend) {
        let known = [expr.contains(&label), !expr.contains(" by ("), label == "le"];
        if !known.contains(&true) {
            say(format!("the legend shows `{label}`, which `{expr}` does not keep"));
        }
    }
}

struct Selector {
    metric: String,
    matchers: String,
}

struct Parts {
    selectors: Vec<Selector>,
    windows: Vec<String>,
}

/// Selectors and windows of a query; none if its brackets do not match.
fn parts(expr: &str) -> Option<Parts> {
    let mut parts = Parts { selectors: Vec::new(), windows: Vec::new() };
    let mut open: Vec<(char, usize)> = Vec::new();
    let mut quoted = false;
    for (at, c) in expr.char_indices() {
        match c {
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' | '[' | '{' => open.push((c, at)),
            ')' | ']' | '}' => {
                let (opened, from) = open.pop()?;
                if !matches!((opened, c), ('(', ')') | ('[', ']') | ('{', '}')) {
                    return None;
                }
                let inside = expr[from + 1..at].to_owned();
                match c {
                    '}' => {
                        let start = expr[..from].rfind(|c| !is_word(c) && c != ':');
                        let metric = expr[start.map_or(0, |at| at + 1)..from].to_owned();
                        parts.selectors.push(Selector { metric, matchers: inside });
                    }
                    ']' => parts.windows.push(inside),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    (open.is_empty() && !quoted).then_some(parts)
}

fn legend_labels(legend: &str) -> Vec<String> {
    let labels = legend.split("{{").skip(1);
    labels.filter_map(|rest| rest.split_once("}}")).map(|(label, _)| label.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::model::Row;
    use super::*;

    fn found(panel: Panel) -> Vec<String> {
        let board = Board {
            slug: "x",
            title: "X",
            about: "About.",
            variables: super::super::model::common_variables(),
            rows: vec![Row { title: "Row", panels: vec![panel] }],
            from: "now-1h",
            refresh: "10s",
        };
        problems(&board)
    }

    fn asked(expr: &str) -> Vec<String> {
        found(Panel::lines("Title", "s", "About.").query("", expr))
    }

    #[test]
    fn queries_are_narrowed_balanced_and_windowed() {
        let here = "job=~\"$job\",instance=~\"$instance\"";
        assert_eq!(asked(&format!("sum(rate(a_total{{{here}}}[$__rate_interval]))")).len(), 0);
        assert!(asked("sum(a{job=\"x\"})")[0].contains("not narrowed"));
        assert!(asked(&format!("rate(a_total{{{here}}}[5m])"))[0].contains("window [5m]"));
        assert!(asked(&format!("sum(a_total{{{here}}})"))[0].contains("without rate()"));
        assert!(asked(&format!("sum(a{{{here}}}"))[0].contains("brackets"));
        assert!(asked(&format!("rate(a_total{{{here}}}[$__range])"))[0].contains("always late"));
    }

    #[test]
    fn panels_have_words_units_and_queries() {
        assert!(found(Panel::lines("Title", "s", "About."))[0].contains("0 queries"));
        assert!(found(Panel::text("Title", "no full stop", "x"))[0].contains("full stop"));
        let unit = Panel::lines("Title", "", "About.").query("", "vector(1)");
        assert!(found(unit)[0].contains("no unit"));
        let legend =
            Panel::lines("Title", "s", "About.").query("{{gone}}", "sum by (a) (vector(1))");
        assert!(found(legend)[0].contains("`gone`"));
    }
}
