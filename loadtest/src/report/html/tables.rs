//! The page's tables: ledger, latencies, cost, thresholds. Pure.

use crate::report::process_names;
use crate::report::svg::escape;
use crate::run::{Run, Step};
use crate::table::{grouped, number};

pub(super) fn ledger(run: &Run) -> String {
    let head = [
        "at<br>once",
        "waves",
        "sent",
        "accepted",
        "received<br>once",
        "lost",
        "dupli-<br>cate",
        "re-<br>jected",
        "shed",
        "un-<br>known",
        "phan-<br>tom",
        "re-<br>ordered",
        "verdict",
    ];
    let rows: String = run.steps.iter().map(ledger_row).collect();
    let details: String = run
        .steps
        .iter()
        .flat_map(|step| {
            step.statuses.iter().chain(&step.failures).map(|(cause, count)| {
                format!("<li>{} at once: {} × {}</li>", step.n, grouped(*count), escape(cause))
            })
        })
        .collect();
    let details = if details.is_empty() {
        String::new()
    } else {
        format!("<ul class=\"notes\">{details}</ul>")
    };
    format!(
        "<h2>Ledger</h2>\n<p class=\"soft\">Every notification is in exactly one class, and the classes \
         add up to what was sent; a step whose ledger does not balance is INVALID.</p>\n{}{details}",
        table(&head, &rows)
    )
}

fn ledger_row(step: &Step) -> String {
    let count = |value: u64, fault: bool| {
        let class = match (value, fault) {
            (0, _) => " class=\"zero\"",
            (_, true) => " class=\"bad\"",
            _ => "",
        };
        format!("<td{class}>{}</td>", grouped(value))
    };
    let cells: String = [
        (step.sent, false),
        (step.accepted, false),
        (step.received_once, false),
        (step.lost, true),
        (step.duplicate, true),
        (step.rejected, true),
        (step.shed, true),
        (step.unknown, true),
        (step.phantom, true),
        (step.reordered, true),
    ]
    .map(|(value, fault)| count(value, fault))
    .concat();
    let status = step.verdict.status.text();
    format!(
        "<tr><td>{}</td><td>{}</td>{cells}<td class=\"{status}\">{status}</td></tr>",
        grouped(u64::from(step.n)),
        step.repeat
    )
}

pub(super) fn latency(run: &Run) -> String {
    let head = [
        "at once",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
        "mean",
        "last of a wave",
        "202 p50",
        "202 p99",
        "lag p50",
        "lag p99",
    ];
    let rows: String = run
        .steps
        .iter()
        .map(|step| {
            let latency = &step.latency_ms;
            let figures = [
                latency.p50,
                latency.p90,
                latency.p99,
                latency.p999,
                latency.max,
                latency.mean,
                step.makespan_ms.p50,
                step.accept_ms.p50,
                step.accept_ms.p99,
                step.generator_lag_ms.p50,
                step.generator_lag_ms.p99,
            ];
            row(step, figures.into_iter().map(Some))
        })
        .collect();
    format!(
        "<h2>Milliseconds</h2>\n<p class=\"soft\">All from the intended send. “202” is the \
         acknowledgement; “lag” is how long the generator took to begin writing, which every other \
         figure includes.</p>\n{}",
        table(&head, &rows)
    )
}

pub(super) fn cost(run: &Run) -> String {
    let names = process_names(run);
    let mut head = vec!["at once".to_owned()];
    for unit in ["CPU s / 1,000", "% of one core", "MiB"] {
        head.extend(names.iter().map(|name| format!("{}<br>{unit}", escape(name))));
    }
    let rows: String = run
        .steps
        .iter()
        .map(|step| {
            let cpu = names.iter().map(|name| step.cpu_s_per_1000.get(name).copied());
            let share = names.iter().map(|name| step.cpu_percent_of_core.get(name).copied());
            let memory = names.iter().map(|name| {
                step.rss_bytes.get(name).map(|bytes| *bytes as f64 / f64::from(1 << 20))
            });
            row(step, cpu.chain(share).chain(memory))
        })
        .collect();
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    format!(
        "<h2>What it costs</h2>\n<p class=\"soft\">CPU seconds for a thousand notifications count the \
         whole step, with the work after the last receipt and the gaps between waves, which weigh on \
         the small ones. Percent of one core is taken while a wave is in flight.</p>\n{}",
        table(&head, &rows)
    )
}

fn row(step: &Step, figures: impl Iterator<Item = Option<f64>>) -> String {
    let cells: String = figures
        .map(|value| format!("<td>{}</td>", value.map_or_else(|| "–".to_owned(), number)))
        .collect();
    format!("<tr><td>{}</td>{cells}</tr>", grouped(u64::from(step.n)))
}

/// Heads are written by this file and may hold a line break.
fn table(head: &[&str], rows: &str) -> String {
    let cells: String = head.iter().map(|name| format!("<th scope=\"col\">{name}</th>")).collect();
    format!(
        "<div class=\"card scroll\"><table><thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
}

pub(super) fn thresholds(run: &Run) -> String {
    if run.thresholds.is_empty() {
        return String::new();
    }
    let rows: String = run
        .thresholds
        .iter()
        .map(|judgement| {
            let actual = judgement.actual.map_or_else(|| "no figure".to_owned(), number);
            let (class, word) =
                if judgement.pass { ("held", "held") } else { ("missed", "missed") };
            format!(
                "<tr><td>{}</td><td>{actual}</td><td class=\"{class}\">{word}</td></tr>",
                escape(&judgement.expr)
            )
        })
        .collect();
    format!("<h2>Thresholds</h2>\n{}", table(&["threshold", "worst", ""], &rows))
}
