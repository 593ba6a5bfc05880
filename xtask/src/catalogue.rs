//! The metrics of the platform, found where they are declared.
//! Reads: `const NAME: &str = "…"` with its `///` comment, and the macro that writes it.
//! Writes: nothing; `drift` turns this into docs/reference/metrics.md.
//! Never: starts the program: a metric that nothing has written yet belongs to the list as well.

use std::fmt::Write;

use crate::tidy::rust_text::{RustText, is_word};
use crate::tidy::tree::{File, Tree};

/// One declared metric.
pub struct Metric {
    pub name: String,
    pub kind: &'static str,
    pub meaning: String,
    pub path: String,
    pub line: usize,
}

/// What our metrics begin with; those of `nats_` are the collector's.
const OWN_PREFIXES: [&str; 6] =
    ["campana_", "loadtest_", "nats_varz_", "nats_server_", "nats_stream_", "nats_consumer_"];
/// Names of other things that begin so.
const NO_METRICS: [&str; 1] = ["campana_span"];

/// Whether this word names a metric that our code writes.
pub fn is_own_metric(word: &str) -> bool {
    let ours =
        OWN_PREFIXES.iter().any(|prefix| word.starts_with(prefix)) && !NO_METRICS.contains(&word);
    let convention = ["http_server_", "messaging_"].iter().any(|prefix| word.starts_with(prefix))
        && ["_total", "_seconds", "_bytes", "_bucket", "_sum", "_count"]
            .iter()
            .any(|unit| word.ends_with(unit));
    (ours || convention)
        && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Every declared metric in order of its name.
pub fn metrics(tree: &Tree) -> Vec<Metric> {
    let files = tree.product_rust().filter(|(file, _)| !file.is_under("xtask"));
    let mut found: Vec<Metric> =
        files.flat_map(|(file, rust)| declared(tree, file, rust)).collect();
    found.sort_by(|a, b| (&a.name, &a.path).cmp(&(&b.name, &b.path)));
    found
}

fn declared(tree: &Tree, file: &File, rust: &RustText) -> Vec<Metric> {
    let mut found = Vec::new();
    // The harness also names metrics of the platform, which it reads.
    let is_own = |name: &str| {
        is_own_metric(name) && (!file.is_under("loadtest") || name.contains("loadtest_"))
    };
    for literal in rust.literals.iter().filter(|literal| is_own(&literal.text)) {
        // rustfmt may put a long name on the line after its constant.
        let at = (literal.line.saturating_sub(1)..=literal.line).rev().find(|&line| {
            line > 0
                && rust.code[line - 1].contains("const ")
                && rust.code[line - 1].contains("&str")
        });
        let Some(line) = at.filter(|_| !rust.is_test_line(literal.line)) else {
            continue;
        };
        let constant = rust.code[line - 1].split_once("const ").map_or("", |(_, rest)| rest);
        let constant = constant.split(|c| !is_word(c)).next().unwrap_or_default();
        found.push(Metric {
            name: literal.text.clone(),
            kind: kind(tree, file, constant),
            meaning: comment_above(&file.text, line),
            path: file.path.clone(),
            line,
        });
    }
    found
}

/// The macro that is called with the constant tells the kind; other crates may use the same name.
fn kind(tree: &Tree, declared_in: &File, constant: &str) -> &'static str {
    let crate_folder = declared_in.path.split("/src/").next().unwrap_or_default();
    for (_, rust) in tree.product_rust().filter(|(file, _)| file.is_under(crate_folder)) {
        let code: String = rust.code.concat().split_whitespace().collect();
        for kind in ["counter", "gauge", "histogram"] {
            // The collector writes no recorder but a text, through a function of the same name.
            for call in [format!("{kind}!("), format!("{kind}(")] {
                let mut calls = code.match_indices(&call).map(|(start, found)| {
                    code[start + found.len()..].split([',', ')']).next().unwrap_or_default()
                });
                if calls.any(|argument| argument.rsplit("::").next() == Some(constant)) {
                    return kind;
                }
            }
        }
    }
    ""
}

fn comment_above(text: &str, line: usize) -> String {
    let lines: Vec<&str> = text.lines().take(line - 1).collect();
    let comment =
        lines.iter().rev().map(|line| line.trim()).take_while(|line| line.starts_with("///"));
    let mut words: Vec<&str> = comment.map(|line| line.trim_start_matches("///").trim()).collect();
    words.reverse();
    words.join(" ")
}

/// The reference page.
pub fn page(tree: &Tree) -> String {
    let mut page = String::from(
        "# Metrics\n\nEvery metric that the platform writes. Made by `cargo xtask gen` from the code.\n\n\
         | name | kind | meaning | declared in |\n|---|---|---|---|\n",
    );
    for metric in metrics(tree) {
        let Metric { name, kind, meaning, path, .. } = metric;
        let meaning = meaning.replace('|', "\\|");
        // Writing to a string cannot fail.
        let _ = writeln!(page, "| `{name}` | {kind} | {meaning} | {path} |");
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_lists_name_kind_and_meaning() {
        let tree = Tree::sample(&[
            (
                "bus/src/telemetry.rs",
                "//! A\n/// Messages settled,\n/// by result.\npub const SETTLED: &str =\n    \"campana_settled_total\";\npub const OTHER: &str = \"not a metric\";\n",
            ),
            (
                "bus/src/x.rs",
                "//! B\nfn a() { counter!(\n    telemetry::SETTLED, \"a\" => \"b\").increment(1); }",
            ),
        ]);
        let row = "| `campana_settled_total` | counter | Messages settled, by result. | bus/src/telemetry.rs |\n";
        assert!(page(&tree).ends_with(row), "{}", page(&tree));
    }

    #[test]
    fn what_the_harness_reads_is_not_its_own() {
        let harness = "//! A\n/// Read.\nconst A: &str = \"campana_a_total\";\n/// Own.\nconst B: &str = \"campana_loadtest_b\";\n";
        let tree = Tree::sample(&[("loadtest/src/x.rs", harness)]);
        let names: Vec<String> = metrics(&tree).into_iter().map(|metric| metric.name).collect();
        assert_eq!(names, ["campana_loadtest_b"]);
    }

    #[test]
    fn labels_are_no_metrics() {
        assert!(is_own_metric("messaging_process_duration_seconds"));
        assert!(!is_own_metric("messaging_system") && !is_own_metric("campana:x:ratio"));
    }
}
