//! The table on stdout. Pure: a run in, text out.

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};

use crate::run::{Run, Status, Step};

const COLUMNS: [&str; 11] = [
    "at once",
    "waves",
    "p50 ms",
    "p90 ms",
    "p99 ms",
    "max ms",
    "received once",
    "not 202",
    "CPU s/1000",
    "lag p99",
    "verdict",
];

/// The whole result as text.
pub fn render(run: &Run) -> String {
    let mut table = Table::new();
    table
        .load_style(UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(COLUMNS.iter().map(Cell::new));
    for step in &run.steps {
        table.add_row(row(step).into_iter().map(Cell::new));
    }
    for index in 0..COLUMNS.len() - 1 {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = format!(
        "Latency from the intended send to the receipt in the WebSocket client; durability {}.\n{table}\n",
        run.durability
    );
    for step in &run.steps {
        for reason in &step.verdict.reasons {
            text += &format!("  {} at {}: {reason}\n", step.verdict.status.text(), step.n);
        }
        for (cause, count) in step.statuses.iter().chain(&step.failures) {
            text += &format!("  at {}: {count} × {cause}\n", step.n);
        }
    }
    for judgement in &run.thresholds {
        let actual = judgement.actual.map_or_else(|| "no figure".to_owned(), number);
        let word = if judgement.pass { "held" } else { "MISSED" };
        text += &format!("  threshold {}: {word} (worst {actual})\n", judgement.expr);
    }
    if run.interrupted {
        text += "  stopped by ctrl-C: later steps are missing\n";
    }
    if let Some(error) = &run.error {
        text += &format!("  the run broke off: {error}\n");
    }
    text
}

fn row(step: &Step) -> [String; 11] {
    let cpu: f64 =
        step.cpu_s_per_1000.iter().filter(|(name, _)| *name != "generator").map(|(_, s)| s).sum();
    let latency = &step.latency_ms;
    [
        grouped(u64::from(step.n)),
        step.repeat.to_string(),
        number(latency.p50),
        number(latency.p90),
        number(latency.p99),
        number(latency.max),
        format!("{} of {}", grouped(step.received_once), grouped(step.sent)),
        grouped(step.sent - step.accepted),
        number(cpu),
        number(step.generator_lag_ms.p99),
        match step.verdict.status {
            Status::Ok => String::new(),
            other => other.text().to_owned(),
        },
    ]
}

/// Three significant digits are what the figures can bear.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Thousands apart: 25,000.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::sample;

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(25_000), "25,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(
            [0.0, 0.0421, 2.345, 38.04, 204.4].map(number),
            ["0.00", "0.042", "2.35", "38.0", "204"]
        );
    }

    #[test]
    fn the_table_tells_steps_thresholds_and_troubles() {
        let mut run = sample();
        run.steps[0].verdict.status = Status::Suspect;
        run.steps[0].verdict.reasons = vec!["a reason".to_owned()];
        run.steps[1].statuses.insert("429".to_owned(), 3);
        run.thresholds[0].pass = false;
        let text = render(&run);
        for part in [
            "SUSPECT at 1: a reason",
            "at 100: 3 × 429",
            "MISSED (worst 63.0)",
            "3,000 of 3,000",
            "durability power",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }
}
