//! What every metric means, for the `# HELP` lines of the endpoint.
//! Reads: docs/reference/metrics.md, which `cargo xtask gen` makes from the comments above the names and which is
//! part of the program. Writes: descriptions into the metrics recorder. Never: has words of its own, so that the
//! page and the endpoint say the same.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use metrics::{describe_counter, describe_gauge, describe_histogram};

const PAGE: &str = include_str!("../../../docs/reference/metrics.md");

/// A row of the page.
struct Row {
    name: &'static str,
    kind: &'static str,
    meaning: String,
}

static MEANINGS: LazyLock<BTreeMap<&'static str, String>> =
    LazyLock::new(|| rows(PAGE).map(|row| (row.name, row.meaning)).collect());

/// The rows `| `name` | kind | meaning | file |`.
fn rows(page: &'static str) -> impl Iterator<Item = Row> {
    page.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
        let (kind, rest) = rest.split_once(" | ")?;
        let (meaning, _) = rest.rsplit_once(" | ")?;
        Some(Row { name, kind, meaning: meaning.replace("\\|", "|").replace('`', "") })
    })
}

/// The meaning of one metric; empty if the page does not have it yet.
pub fn of(name: &str) -> &'static str {
    MEANINGS.get(name).map_or("", String::as_str)
}

/// Describes every metric; who describes one again later changes nothing.
pub fn describe() {
    for Row { name, kind, meaning } in rows(PAGE) {
        match kind {
            "counter" => describe_counter!(name, meaning),
            "gauge" => describe_gauge!(name, meaning),
            "histogram" => describe_histogram!(name, meaning),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_with_what_is_escaped_in_it() {
        let page = "# M\n| name | kind | meaning | declared in |\n|---|---|---|---|\n\
                    | `campana_a_total` | counter | One `a` \\| b. | x/y.rs |\n";
        let row = rows(page).next().unwrap();
        assert_eq!((row.name, row.kind), ("campana_a_total", "counter"));
        assert_eq!(row.meaning, "One a | b.");
    }

    #[test]
    fn the_page_has_the_metrics_of_this_file_s_neighbours() {
        assert!(of(crate::ops::BUILD_INFO).contains("version"));
        assert_eq!(of("campana_nothing"), "");
    }
}
