//! The table on stdout. Pure: a run in, text out.

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};

use crate::model::{Run, Status, Step};
use crate::report::{read, words};

const COLUMNS: [&str; 11] = [
    "step",
    "p50 ms",
    "p90 ms",
    "p99 ms",
    "max ms",
    "received once",
    "lost",
    "shed",
    "CPU s/1000",
    "lag p99",
    "verdict",
];

/// The whole result as text.
pub fn render(run: &Run) -> String {
    let said = words::headline(run);
    let rows: Vec<Vec<String>> = run.steps.iter().map(|step| row(run, step)).collect();
    let mut text = format!(
        "{}: {}. {}\n{}\n{}\n",
        said.subject,
        said.result,
        said.proof,
        words::measured(run),
        grid(&COLUMNS.map(str::to_owned), &rows)
    );
    for (status, reason) in words::warnings(run) {
        text += &format!("  {} {}\n", status.text(), plain(&reason));
    }
    for step in &run.steps {
        for (cause, count) in step.statuses.iter().chain(&step.failures) {
            text += &format!("  {}: {} × {}\n", plain(&step.name), grouped(*count), plain(cause));
        }
    }
    for judgement in &run.thresholds {
        let actual = judgement.actual.map_or_else(|| "no figure".to_owned(), number);
        let word = if judgement.pass { "held" } else { "MISSED" };
        text += &format!("  threshold {}: {word} (worst {actual})\n", plain(&judgement.expr));
    }
    text
}

/// Rows under a head; all but the first column to the right.
pub fn grid(head: &[String], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table
        .load_style(UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(head.iter().map(Cell::new));
    for row in rows {
        table.add_row(row.iter().map(|cell| Cell::new(plain(cell))));
    }
    for index in 1..head.len() {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

fn row(run: &Run, step: &Step) -> Vec<String> {
    let latency = read::intended(step);
    let of = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), number);
    vec![
        step.name.clone(),
        of(latency.map(|latency| latency.p50_ms)),
        of(latency.map(|latency| latency.p90_ms)),
        of(latency.map(|latency| latency.p99_ms)),
        of(latency.map(|latency| latency.max_ms)),
        format!("{} of {}", grouped(read::received(&step.classes)), grouped(step.classes.sent)),
        grouped(step.classes.lost),
        grouped(step.classes.shed),
        of(read::platform_cpu(run, step)),
        number(step.generator.lag.p99_ms),
        match step.verdict.status {
            Status::Ok => String::new(),
            other => other.text().to_owned(),
        },
    ]
}

/// Names come from files and from the platform; a terminal would obey what they hold.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{FFFD}' } else { letter }).collect()
}

/// Three significant digits are what the figures can bear.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1e12 => format!("{value:.2e}"),
        size if size >= 1_000.0 => {
            format!("{}{}", if value < 0.0 { "-" } else { "" }, grouped(size.round() as u64))
        }
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 || size == 0.0 => format!("{value:.2}"),
        size if size < 0.000_5 => format!("{value:.1e}"),
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
    use crate::report::sample;

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(25_000), "25,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(
            [0.0, 0.0421, 2.345, 38.04, 204.4, 5_000.4, 0.000_02].map(number),
            ["0.00", "0.042", "2.35", "38.0", "204", "5,000", "2.0e-5"]
        );
    }

    #[test]
    fn the_table_tells_steps_thresholds_and_troubles() {
        let mut run = sample::waves();
        run.steps[0].verdict.status = Status::Suspect;
        run.steps[0].verdict.reasons = vec!["a \u{1b}[31mreason".to_owned()];
        run.steps[1].statuses.insert("429".to_owned(), 3);
        run.thresholds = vec![crate::thresholds::Judgement {
            expr: "p99<=50@500".to_owned(),
            actual: Some(63.0),
            pass: false,
        }];
        let text = render(&run);
        for part in [
            "SUSPECT wave 1: a \u{FFFD}[31mreason",
            "wave 10: 3 × 429",
            "MISSED (worst 63.0)",
            "25,000 of 25,000",
            "survives a loss of power",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
    }
}
