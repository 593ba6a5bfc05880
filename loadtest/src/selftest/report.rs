//! What a selftest found, for people and for programs: `--json` prints [`Report`], which
//! `loadtest/selftest.schema.json` describes. Additive: a field may be added under one
//! `schema_version`, never changed or removed. Data and text only; nothing is judged here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::trial::Trial;
use crate::model::Status;
use crate::table::{grid, number};

/// The version of this shape.
pub const SCHEMA_VERSION: u32 = 1;

/// A whole selftest.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    pub schema_version: u32,
    /// What stood behind the layer: `campana` or `echo in the generator`.
    pub target: String,
    /// Fixes which notifications are hit.
    pub seed: u64,
    pub duration_s: f64,
    /// Whether every row is ok.
    pub passed: bool,
    /// Stopped by ctrl-C: rows are missing.
    pub interrupted: bool,
    pub rows: Vec<Row>,
}

/// One trial.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Row {
    pub trial: Trial,
    /// In words, with the layer's own counts and times.
    pub text: String,
    pub outcome: Outcome,
    pub injected: Injected,
    /// The harness's own verdict of the step, with its reasons.
    pub verdict: Status,
    pub reasons: Vec<String>,
    pub checks: Vec<Check>,
    /// What to do, unless it is ok.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// What was done, as the layer itself counted and timed it. Times are milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Injected {
    /// Requests that passed to the target.
    pub requests: u64,
    /// Publications that came from it, each once.
    pub publications: u64,
    pub dropped: u64,
    pub doubled: u64,
    pub corrupted: u64,
    pub swapped: u64,
    pub invented: u64,
    /// Wrong entries in the books.
    pub planted: u64,
    /// How long the layer kept publications.
    pub held_p50_ms: f64,
    pub held_max_ms: f64,
    /// How long the target stood still.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_ms: Option<f64>,
    /// How long the generator was kept from sending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall_ms: Option<f64>,
    /// What the figures must be, as an observer in the layer reckons them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<Witness>,
}

/// The times as an observer in the layer knows them from outside of the harness: from the schedule,
/// from when requests came, from when publications were about to be written on, and from when their
/// readers answered a WebSocket ping behind them. The harness's figures must lie in between.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Witness {
    /// From the scheduled moment until the publication was about to be written on.
    pub latency: Seen,
    /// From the scheduled moment until its reader had surely read it.
    pub until_read: Seen,
    /// `latency` without the time for which the layer kept it.
    pub unheld_p50_ms: f64,
    /// From the earliest moment at which it can have been sent until it had surely been read.
    pub since_sent_p99_ms: f64,
    /// From the scheduled moment until the request came.
    pub lag: Seen,
}

/// Times in short, milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Seen {
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

/// One figure of the harness against what it must be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    pub what: String,
    pub unit: Unit,
    pub expected: f64,
    /// Allowed range.
    pub low: f64,
    pub high: f64,
    /// What the harness said.
    pub reported: f64,
    /// Why the range is as wide as it is.
    pub why: String,
    /// Holds in every trial; the table leaves it out unless it does not.
    pub general: bool,
    pub outcome: Outcome,
}

/// What a check's numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Count,
    Milliseconds,
    /// 1 is yes, 0 is no.
    YesNo,
}

/// How a check or a row ended.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Ok,
    /// The machine was so restless that the figure would fit with or without the fault.
    Unclear,
    Failed,
}

impl Outcome {
    /// As printed.
    pub fn text(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unclear => "UNCLEAR",
            Self::Failed => "FAILED",
        }
    }
}

/// The JSON Schema of a report.
pub fn schema() -> schemars::Schema {
    schemars::schema_for!(Report)
}

impl Report {
    /// As text.
    pub fn render(&self) -> String {
        let head = ["what the harness must say", "expected", "allowed", "it says", ""];
        let rows: Vec<Vec<String>> = self.rows.iter().flat_map(lines).collect();
        let mut text = format!("selftest against {}; injected were:\n", self.target);
        for row in &self.rows {
            text += &format!("  {:<13}{}\n", row.trial.name(), row.text);
        }
        text += &format!("{}\n", grid(&head.map(str::to_owned), &rows));
        for why in self.reasons_of_ranges() {
            text += &format!("  allowed: {why}\n");
        }
        for row in &self.rows {
            if let Some(advice) = &row.advice {
                text += &format!("  {} {}: {advice}\n", row.outcome.text(), row.trial.name());
            }
        }
        text + &self.summary()
    }

    /// Each once, in the order of the table; a count needs none.
    fn reasons_of_ranges(&self) -> Vec<&str> {
        let mut reasons: Vec<&str> = Vec::new();
        let checks = self.rows.iter().flat_map(|row| &row.checks);
        for check in checks.filter(|check| check.unit == Unit::Milliseconds) {
            if !reasons.contains(&check.why.as_str()) {
                reasons.push(&check.why);
            }
        }
        reasons
    }

    fn summary(&self) -> String {
        let ok = self.rows.iter().filter(|row| row.outcome == Outcome::Ok).count();
        let all = self.rows.len();
        let seconds = number(self.duration_s);
        if self.interrupted {
            return format!("  stopped after {all} trials, {ok} of them ok: nothing is proved\n");
        }
        if self.passed {
            return format!("  all {all} trials were seen at their size, in {seconds} s\n");
        }
        format!(
            "  only {ok} of {all} trials were seen at their size: do not rely on this harness here\n"
        )
    }
}

/// What is special about the trial, and what is wrong; of a control that is fine, everything.
fn lines(row: &Row) -> Vec<Vec<String>> {
    let shown = |check: &&Check| {
        !check.general || check.outcome != Outcome::Ok || row.trial == Trial::Control
    };
    let line = |check: &Check| {
        vec![
            format!("{}: {}", row.trial.name(), check.what),
            check.say(check.expected),
            check.allowed(),
            check.say(check.reported),
            check.outcome.text().to_owned(),
        ]
    };
    row.checks.iter().filter(shown).map(line).collect()
}

impl Check {
    fn say(&self, value: f64) -> String {
        match self.unit {
            Unit::Count => format!("{value:.0}"),
            Unit::Milliseconds => format!("{value:.1} ms"),
            Unit::YesNo if value > 0.5 => "yes".to_owned(),
            Unit::YesNo => "no".to_owned(),
        }
    }

    fn allowed(&self) -> String {
        match self.unit {
            Unit::Milliseconds => format!("{:.1} to {:.1}", self.low, self.high),
            Unit::Count | Unit::YesNo => "exactly".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The schema is printed by `campana-loadtest selftest --schema`.
    #[test]
    fn the_committed_schema_is_this_one() {
        let committed: serde_json::Value =
            serde_json::from_str(include_str!("../../selftest.schema.json")).unwrap();
        let own = serde_json::to_value(schema()).unwrap();
        assert!(
            committed == own,
            "campana-loadtest selftest --schema > loadtest/selftest.schema.json"
        );
    }

    #[test]
    fn the_table_says_what_was_wrong_and_what_to_do() {
        let check = Check {
            what: "lost".to_owned(),
            unit: Unit::Count,
            expected: 6.0,
            low: 6.0,
            high: 6.0,
            reported: 5.0,
            why: "a count".to_owned(),
            general: false,
            outcome: Outcome::Failed,
        };
        let row = Row {
            trial: Trial::Loss,
            text: "6 of 600 dropped".to_owned(),
            outcome: Outcome::Failed,
            injected: Injected::default(),
            verdict: Status::Ok,
            reasons: Vec::new(),
            checks: vec![check],
            advice: Some("ask".to_owned()),
        };
        let mut report = Report {
            schema_version: SCHEMA_VERSION,
            target: "campana".to_owned(),
            seed: 1,
            duration_s: 9.0,
            passed: false,
            interrupted: false,
            rows: vec![row],
        };
        let text = report.render();
        for part in
            ["loss", "exactly", "FAILED", "6 of 600 dropped", "FAILED loss: ask", "only 0 of 1"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        report.passed = true;
        assert!(report.render().contains("all 1 trials"));
        let json = serde_json::to_string(&report).unwrap();
        let back: Report = serde_json::from_str(&json).unwrap();
        assert_eq!(back.rows[0].checks, report.rows[0].checks);
    }
}
