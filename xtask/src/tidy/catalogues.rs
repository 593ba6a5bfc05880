//! Names that two places must agree on: metrics and dashboards, error codes and their pages.
//! Reads: `dashboards/`, `docs/errors/`, string literals of the code. Writes: nothing.
//! Never: checks a dashboard's queries; only that what they name exists.

use std::collections::BTreeSet;

use super::rust_text::is_word;
use super::tree::{File, Finding, Rule, Tree};
use crate::catalogue::{is_own_metric, metrics};

static DASHBOARDS: Rule = Rule {
    name: "dashboard-metrics",
    why: "a panel of a metric that nobody writes stays empty and looks like peace",
    fix: "use a name from docs/reference/metrics.md, or write the metric",
};
static MEANING: Rule = Rule {
    name: "metric-meaning",
    why: "the metric reference is made from these comments",
    fix: "put a `///` line above the name that says what is counted or measured",
};
static ERROR_PAGES: Rule = Rule {
    name: "error-pages",
    why: "every error that a caller sees links to a page with meaning, cause and remedy",
    fix: "add docs/errors/<code>.md, or remove what no error uses",
};

static ONE_MEANING: Rule = Rule {
    name: "metric-twice",
    why: "one name with two meanings adds up what does not belong together",
    fix: "give one of them another name, or declare it in one place",
};
static RUNBOOKS: Rule = Rule {
    name: "runbooks",
    why: "an alert wakes somebody who then needs to know what to do",
    fix: "add docs/runbooks/<Alert>.md and link it as runbook_url, or remove what no alert uses",
};

const RULES: &str = "dashboards/prometheus/rules";
const RUNBOOK_PAGES: &str = "docs/runbooks";
/// What somebody who was woken needs.
const RUNBOOK_HEADINGS: [&str; 5] =
    ["Meaning", "First look", "Causes", "Remedy", "When it is harmless"];
const PROBLEMS: [&str; 2] = ["services/notify/src/gateway/problem", "services/sidecar/src/problem"];
const PAGES: &str = "docs/errors";

/// Every rule of this module.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    dashboards(tree, &mut findings);
    meanings(tree, &mut findings);
    runbooks(tree, &mut findings);
    error_pages(tree, &mut findings);
    findings
}

fn dashboards(tree: &Tree, findings: &mut Vec<Finding>) {
    // The dashboards are made in xtask: what it says about them proves nothing.
    let product = tree.product_rust().filter(|(file, _)| !file.is_under("xtask"));
    let literals = product.flat_map(|(_, rust)| &rust.literals);
    let known: BTreeSet<&str> = literals.map(|literal| literal.text.as_str()).collect();
    for file in tree.files.iter().filter(|file| file.is_under("dashboards")) {
        if !matches!(file.extension(), "json" | "yml" | "yaml") {
            continue;
        }
        for (index, line) in file.text.lines().enumerate() {
            for word in words(line).filter(|word| is_own_metric(word)) {
                if !["", "_bucket", "_sum", "_count"]
                    .iter()
                    .any(|part| word.strip_suffix(part).is_some_and(|name| known.contains(name)))
                {
                    findings.push(DASHBOARDS.broken(
                        file,
                        index + 1,
                        format!("no metric `{word}`"),
                    ));
                }
            }
        }
    }
}

/// Names in a query; a colon is part of a recording rule's name, which is none of a metric.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !is_word(c) && c != ':')
}

/// Every alert has a page of its name, which it links; every page has an alert.
fn runbooks(tree: &Tree, findings: &mut Vec<Finding>) {
    let mut alerts = BTreeSet::new();
    for file in tree.files.iter().filter(|file| file.is_under(RULES)) {
        let mut last: Option<(&str, usize)> = None;
        for (index, line) in file.text.lines().enumerate() {
            let line = line.trim().trim_start_matches("- ");
            if let Some(alert) = line.strip_prefix("alert:") {
                unlinked(file, last.replace((alert.trim(), index + 1)), findings);
                alerts.insert(alert.trim());
                if tree.get(&format!("{RUNBOOK_PAGES}/{}.md", alert.trim())).is_none() {
                    let what = format!("no page for the alert `{}`", alert.trim());
                    findings.push(RUNBOOKS.broken(file, index + 1, what));
                }
            }
            if let (Some((alert, _)), Some(url)) = (last, line.strip_prefix("runbook_url:"))
                && url.trim().trim_matches('"').ends_with(&format!("/{RUNBOOK_PAGES}/{alert}.md"))
            {
                last = None;
            }
        }
        unlinked(file, last, findings);
    }
    for page in tree.files.iter().filter(|file| file.is_under(RUNBOOK_PAGES)) {
        let name = page.path[RUNBOOK_PAGES.len() + 1..].trim_end_matches(".md");
        if name == "README" {
            continue;
        }
        if !alerts.contains(name) {
            findings.push(RUNBOOKS.broken(page, 1, format!("no alert is called `{name}`")));
        }
        for heading in RUNBOOK_HEADINGS {
            if !page.text.lines().any(|line| line.strip_prefix("## ") == Some(heading)) {
                findings.push(RUNBOOKS.broken(page, 1, format!("no heading `## {heading}`")));
            }
        }
    }
}

fn unlinked(file: &File, alert: Option<(&str, usize)>, findings: &mut Vec<Finding>) {
    if let Some((alert, line)) = alert {
        let what = format!("`{alert}` has no runbook_url of its page");
        findings.push(RUNBOOKS.broken(file, line, what));
    }
}

fn meanings(tree: &Tree, findings: &mut Vec<Finding>) {
    let mut before = String::new();
    for metric in metrics(tree) {
        if metric.name == before
            && let Some(file) = tree.get(&metric.path)
        {
            let what = format!("`{}` is declared elsewhere, too", metric.name);
            findings.push(ONE_MEANING.broken(file, metric.line, what));
        }
        before.clone_from(&metric.name);
        if metric.meaning.is_empty()
            && let Some(file) = tree.get(&metric.path)
        {
            let what = format!("`{}` has no meaning", metric.name);
            findings.push(MEANING.broken(file, metric.line, what));
        }
    }
}

fn error_pages(tree: &Tree, findings: &mut Vec<Finding>) {
    let codes = problem_codes(tree);
    for (file, line, code) in &codes {
        if tree.get(&format!("{PAGES}/{code}.md")).is_none() {
            findings.push(ERROR_PAGES.broken(file, *line, format!("no page for `{code}`")));
        }
    }
    if codes.is_empty() {
        // The table has another form now, or is gone: a rule that finds nothing must not pass.
        for file in PROBLEMS.iter().filter_map(|table| tree.get(&format!("{table}.rs"))) {
            findings.push(ERROR_PAGES.broken(file, 1, "no rows `Name, \"code\", status, …` found"));
        }
        return;
    }
    for page in tree.files.iter().filter(|file| file.is_under(PAGES)) {
        let code = page.path[PAGES.len() + 1..].trim_end_matches(".md");
        if code != "README" && !codes.iter().any(|(_, _, known)| known == code) {
            findings.push(ERROR_PAGES.broken(page, 1, format!("no error has the code `{code}`")));
        }
    }
}

/// The rows `Name, "code", 404, …` of the tables of problem documents.
fn problem_codes(tree: &Tree) -> Vec<(&File, usize, String)> {
    let files = tree.product_rust().filter(|(file, _)| {
        PROBLEMS.iter().any(|table| file.path == format!("{table}.rs") || file.is_under(table))
    });
    let mut codes = Vec::new();
    for (file, rust) in files {
        let mut line_before = 0;
        for literal in rust.literals.iter().filter(|literal| !rust.is_test_line(literal.line)) {
            let first_on_line = literal.line != line_before;
            line_before = literal.line;
            if first_on_line && is_row(&rust.code[literal.line - 1]) && is_code(&literal.text) {
                codes.push((file, literal.line, literal.text.clone()));
            }
        }
    }
    codes
}

/// A name, a string, an HTTP status: codes of single fields have no status and no page.
/// `Name, "code", 404, …` of a problem, or `Name, "code";` of a wrong field.
fn is_row(line: &str) -> bool {
    let line = line.trim();
    let (line, field) = line.strip_suffix(';').map_or((line, false), |rest| (rest, true));
    let mut cells = line.split(',').map(str::trim);
    let named = cells.next().is_some_and(|name| !name.is_empty() && name.chars().all(is_word));
    let coded = cells.next() == Some("\"\"");
    let status = cells.next();
    let is_status =
        |text: &str| text.len() == 3 && text.chars().all(|digit| digit.is_ascii_digit());
    named && coded && status.map_or(field, is_status)
}

fn is_code(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::super::tree::places;
    use super::*;

    const METRICS: (&str, &str) = (
        "bus/src/telemetry.rs",
        "//! A\n/// Messages.\npub const A: &str = \"campana_a_total\";\n/// Seconds.\npub const B: &str = \"campana_b_seconds\";\n",
    );

    #[test]
    fn dashboards_name_only_what_exists() {
        let found =
            |query: &str| places(&check(&Tree::sample(&[METRICS, ("dashboards/a.json", query)])));
        assert!(found("sum(rate(campana_a_total[5m])) / campana:a:ratio").is_empty());
        assert!(found("histogram_quantile(0.9, campana_b_seconds_bucket{x=\"1\"})").is_empty());
        assert_eq!(found("\n\"campana_gone_total\""), ["dashboards/a.json:2"]);
    }

    #[test]
    fn metrics_have_a_meaning() {
        let bare = ("bus/src/telemetry.rs", "//! A\npub const A: &str = \"campana_a_total\";");
        assert_eq!(places(&check(&Tree::sample(&[bare]))), ["bus/src/telemetry.rs:2"]);
    }

    #[test]
    fn a_name_is_declared_once() {
        let again =
            ("campana/src/ops.rs", "//! A\n/// Other.\npub const A: &str = \"campana_a_total\";\n");
        assert_eq!(places(&check(&Tree::sample(&[METRICS, again]))), ["campana/src/ops.rs:3"]);
    }

    #[test]
    fn alerts_have_pages_and_pages_have_alerts() {
        let rule = |url: &str| {
            format!(
                "groups:\n- rules:\n  - alert: Down\n    expr: up == 0\n    annotations:\n      runbook_url: \"{url}\"\n"
            )
        };
        let (good, bad) =
            (rule("https://x/docs/runbooks/Down.md"), rule("https://x/docs/runbooks/Up.md"));
        let text = RUNBOOK_HEADINGS.map(|heading| format!("## {heading}\n")).concat();
        let page = ("docs/runbooks/Down.md", text.as_str());
        let index = ("docs/runbooks/README.md", "# All");
        let found = |files: &[(&str, &str)]| places(&check(&Tree::sample(files)));
        assert!(found(&[(&format!("{RULES}/a.yml"), &good), page, index]).is_empty());
        assert_eq!(found(&[(&format!("{RULES}/a.yml"), &bad), page]), [format!("{RULES}/a.yml:3")]);
        assert_eq!(found(&[(&format!("{RULES}/a.yml"), &good)]), [format!("{RULES}/a.yml:3")]);
        assert_eq!(found(&[page]), ["docs/runbooks/Down.md:1"]);
        let bare = ("docs/runbooks/Down.md", "# Down");
        assert_eq!(
            found(&[(&format!("{RULES}/a.yml"), &good), bare]).len(),
            RUNBOOK_HEADINGS.len()
        );
    }

    #[test]
    fn errors_have_pages_and_pages_have_errors() {
        let problems = (
            "services/notify/src/gateway/problem.rs",
            "codes! {\n NotFound, \"not_found\", 404, false, \"nothing_here\";\n}\nfields! {\n Empty, \"empty\";\n}",
        );
        let page = |name: &'static str| (name, "# Page");
        let tree = |files: &[(&str, &str)]| places(&check(&Tree::sample(files)));
        let pages = ["docs/errors/not_found.md", "docs/errors/empty.md", "docs/errors/README.md"];
        let [not_found, empty, index] = pages.map(page);
        assert!(tree(&[problems, not_found, empty, index]).is_empty());
        assert_eq!(
            tree(&[problems, page("docs/errors/gone.md")]),
            [
                "services/notify/src/gateway/problem.rs:2",
                "services/notify/src/gateway/problem.rs:5",
                "docs/errors/gone.md:1"
            ]
        );
    }
}
