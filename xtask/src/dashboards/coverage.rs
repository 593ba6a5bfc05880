//! Every metric is looked at: in a panel, in an alert, or it is said why not.
//! Reads: the catalogue of metrics, `dashboards/`. Writes: what nobody uses. Never: judges how.

use std::collections::BTreeSet;

use crate::catalogue::metrics;
use crate::tidy::rust_text::is_word;
use crate::tidy::tree::{Finding, Rule, Tree};

static UNUSED: Rule = Rule {
    name: "metric-use",
    why: "a metric that no panel and no alert shows costs memory and tells nobody anything",
    fix: "put it into a panel (xtask/src/dashboards) or an alert (dashboards/prometheus/rules), or say in \
          dashboards/reference-only.txt why it is there nevertheless",
};
static STALE: Rule = Rule {
    name: "reference-only",
    why: "a list of exceptions is believed only while every line of it is true",
    fix: "remove the line",
};

const EXCEPTIONS: &str = "dashboards/reference-only.txt";

/// Every rule of this module; nothing in a tree without the list of exceptions.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let Some(list) = tree.get(EXCEPTIONS) else {
        return Vec::new();
    };
    let shown = shown(tree);
    let excused: Vec<(usize, &str, &str)> = excused(&list.text).collect();
    let mut findings = Vec::new();
    let all = metrics(tree);
    for metric in &all {
        let is_excused = excused.iter().any(|(_, name, _)| *name == metric.name);
        if !shown.contains(metric.name.as_str())
            && !is_excused
            && let Some(file) = tree.get(&metric.path)
        {
            let what = format!("`{}` is in no panel and no alert", metric.name);
            findings.push(UNUSED.broken(file, metric.line, what));
        }
    }
    for (line, name, reason) in excused {
        let what = if reason.is_empty() {
            format!("`{name}` without a reason")
        } else if shown.contains(name) {
            format!("`{name}` is in a panel or an alert")
        } else if !all.iter().any(|metric| metric.name == name) {
            format!("there is no metric `{name}`")
        } else {
            continue;
        };
        findings.push(STALE.broken(list, line, what));
    }
    findings
}

/// `name: reason` lines.
fn excused(text: &str) -> impl Iterator<Item = (usize, &str, &str)> {
    let lines = text.lines().enumerate();
    lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#')).map(|(at, line)| {
        let (name, reason) = line.split_once(':').unwrap_or((line, ""));
        (at + 1, name.trim(), reason.trim())
    })
}

/// Names of metrics in dashboards and rules, without the endings of histograms.
fn shown(tree: &Tree) -> BTreeSet<&str> {
    let mut shown = BTreeSet::new();
    for file in tree.files.iter().filter(|file| file.is_under("dashboards")) {
        if !matches!(file.extension(), "json" | "yml" | "yaml") {
            continue;
        }
        for word in file.text.split(|c: char| !is_word(c) && c != ':') {
            shown.insert(word);
            let parts = ["_bucket", "_sum", "_count"];
            shown.extend(parts.iter().filter_map(|part| word.strip_suffix(part)));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tree::places;

    const METRICS: (&str, &str) = (
        "bus/src/telemetry.rs",
        "//! A\n/// Messages.\npub const A: &str = \"campana_a_total\";\n/// Seconds.\npub const B: &str = \"campana_b_seconds\";\n",
    );
    const PANEL: (&str, &str) = ("dashboards/a.json", "rate(campana_b_seconds_bucket{x}[1m])");

    #[test]
    fn every_metric_is_shown_or_excused() {
        let tree =
            |list: &str| places(&check(&Tree::sample(&[METRICS, PANEL, (EXCEPTIONS, list)])));
        assert_eq!(tree(""), ["bus/src/telemetry.rs:3"]);
        assert!(tree("# why\ncampana_a_total: a reason").is_empty());
        assert_eq!(tree("campana_a_total:"), ["dashboards/reference-only.txt:1"]);
        let stale = "campana_a_total: x\ncampana_b_seconds: x\ncampana_gone: x";
        assert_eq!(
            tree(stale),
            ["dashboards/reference-only.txt:2", "dashboards/reference-only.txt:3"]
        );
    }
}
