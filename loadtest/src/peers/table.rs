//! The comparison as text. Pure. Every peer has a line at every step, also where it lost, and where it is missing.

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};

use super::figures::{Figures, Median};
use super::run::{Missing, Report};
use crate::model::Status;
use crate::table::{grouped, number};

const COLUMNS: [&str; 10] = [
    "step",
    "peer",
    "p50 ms",
    "p99 ms",
    "p99 of rounds",
    "received once",
    "goodput/s",
    "CPU s/1000",
    "MiB",
    "verdict",
];
/// Columns of words; all others are numbers.
const WORDS: [usize; 3] = [0, 1, 9];

/// The whole comparison.
pub fn render(report: &Report) -> String {
    let mut table = Table::new();
    table
        .load_style(UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(COLUMNS.iter().map(Cell::new));
    let mut last = "";
    for one in &report.figures {
        // The step is named once; its peers stand below each other.
        let name = if one.step == last { "" } else { &one.step };
        last = &one.step;
        table.add_row(row(name, one).into_iter().map(Cell::new));
    }
    for index in (0..COLUMNS.len()).filter(|index| !WORDS.contains(index)) {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = format!(
        "Latency from the intended send to the receipt in the WebSocket client; medians of {} interleaved rounds.\n\
         CPU and memory are those of all of a peer's processes, without the generator.\n{table}\n",
        report.rounds
    );
    for peer in &report.peers {
        let version = peer.version.as_deref().unwrap_or("unknown version");
        text += &format!("  {}: {version}; accepted survives {}\n", peer.name, peer.survives);
    }
    for Missing { peer, why } in &report.missing {
        text += &format!("  {peer}: not measured: {why}\n");
    }
    for Missing { peer, why } in &report.failed {
        text += &format!("  {peer}: FAILED in {why}\n");
    }
    for one in report.figures.iter().filter(|one| one.status != Status::Ok) {
        for reason in &one.reasons {
            text += &format!("  {} {} at {}: {reason}\n", one.status.text(), one.peer, one.step);
        }
    }
    if report.interrupted {
        text += "  stopped by ctrl-C: later rounds are missing\n";
    }
    text
}

fn row(name: &str, one: &Figures) -> [String; 10] {
    let classes = &one.classes;
    let received = classes.delivered + classes.late;
    [
        name.to_owned(),
        one.peer.to_owned(),
        number(one.p50_ms.median),
        number(one.p99_ms.median),
        range(one.p99_ms),
        format!("{} of {}", grouped(received), grouped(classes.sent)),
        number(one.goodput_per_s.median),
        number(one.cpu_s_per_1000.median),
        number(one.rss_mib.median),
        match one.status {
            Status::Ok => String::new(),
            other => other.text().to_owned(),
        },
    ]
}

fn range(median: Median) -> String {
    format!("{} – {}", number(median.range.low), number(median.range.high))
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::super::figures::{summarise, tests::step};
    use super::super::run::Known;
    use super::*;

    #[test]
    fn every_peer_has_its_line_and_what_is_missing_is_said() {
        let report = Report {
            rounds: 2,
            peers: vec![Known {
                name: "floor",
                version: Some("0.1.0".to_owned()),
                durability: "power".to_owned(),
                survives: "loss of power",
            }],
            figures: summarise(&[
                (Kind::Floor, vec![step("wave 500", 38.0, 63.0, 5_000, 0)]),
                (Kind::Django, vec![step("wave 500", 600.0, 1_100.0, 5_000, 12)]),
            ]),
            missing: vec![Missing { peer: "centrifugo", why: "not on PATH".to_owned() }],
            failed: vec![Missing { peer: "django", why: "round 2: time-out".to_owned() }],
            interrupted: false,
        };
        let text = render(&report);
        for part in [
            "5,000 of 5,000",
            "4,988 of 5,000",
            "1,100",
            "centrifugo: not measured: not on PATH",
            "django: FAILED in round 2: time-out",
            "floor: 0.1.0; accepted survives loss of power",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert_eq!(text.matches("wave 500").count(), 1, "{text}");
    }
}
