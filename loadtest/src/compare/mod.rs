//! `compare`: whether one group of runs is better or worse than another, or whether nobody can tell.
//! The run is the unit, because variance between runs is what a change has to beat; a figure is the
//! median of the runs' own, its interval a bootstrap over runs, its p-value that of a rank test, and
//! several looks are paid for by Holm's correction. Reads run.json files, or makes the runs itself in
//! interleaved rounds (`live`); writes the comparison. Pure but for `files`, `live` and `platforms`.

pub mod args;
mod decide;
mod files;
mod gate;
mod html;
mod live;
mod metric;
mod platforms;
mod sides;
#[cfg(test)]
mod tests;
mod text;

use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::failure::{EXIT_FAILED, EXIT_THRESHOLD_MISSED, Failure};
use crate::model::Interval;
use crate::stats::shift::Shift;
use args::CompareArgs;

pub use decide::decide;
pub use files::compare;
pub use gate::{Judged, RatioGate};
pub use metric::Metric;

/// The version of comparison.json.
pub const SCHEMA_VERSION: u32 = 1;
/// Below this many runs a side the rank test can hardly decide anything.
pub const RUNS_WANTED: usize = 5;
/// The level of the corrected p-value.
const LEVEL: f64 = 0.05;

/// The command: measures first if it was given platforms, then compares and prints.
pub async fn command(arguments: CompareArgs, stop: CancellationToken) -> Result<ExitCode, Failure> {
    let (found, text) = if arguments.is_live() {
        live::measure(&arguments, stop).await?
    } else {
        compare(&arguments)?
    };
    print!("{text}");
    Ok(match (found.interrupted, found.pass) {
        // A gate that was not run to its end has not been passed.
        (true, _) => ExitCode::from(EXIT_FAILED),
        (false, false) => ExitCode::from(EXIT_THRESHOLD_MISSED),
        (false, true) => ExitCode::SUCCESS,
    })
}

/// How to decide.
#[derive(Clone, Debug)]
pub struct Options {
    /// What counts as the same, as a share: 0.05 is 5 % up or down.
    pub margin: f64,
    /// The one figure that was declared before the runs; the others are then only shown.
    pub primary: Option<Primary>,
    /// Steps to look at; all that both sides have if empty.
    pub steps: Vec<String>,
    /// Compare what is not comparable, with a warning.
    pub force: bool,
    pub gate: Gate,
    /// Bounds of ratios; they decide instead of the margin if there are any.
    pub gates: Vec<RatioGate>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            margin: 0.05,
            primary: None,
            steps: Vec::new(),
            force: false,
            gate: Gate::Worse,
            gates: Vec::new(),
        }
    }
}

/// A figure of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Primary {
    pub metric: Metric,
    /// Of every step if none.
    pub step: Option<String>,
}

/// When the exit code is 10. Both look at the bound of the interval, never at the point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// When a figure has been shown to be worse: even the near end of its interval is beyond the margin
    #[default]
    Worse,
    /// Unless a figure has been shown not to be worse: the far end of its interval is within the margin
    NotProven,
    /// Never
    Off,
}

/// What came of one figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Better,
    Worse,
    Same,
    CannotTell,
}

impl Verdict {
    /// As printed.
    pub fn text(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Same => "same",
            Self::CannotTell => "cannot tell",
        }
    }
}

/// One figure of one step on both sides.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Test {
    pub step: String,
    pub metric: Metric,
    /// One figure per run.
    pub a: Vec<f64>,
    pub b: Vec<f64>,
    pub a_median: f64,
    pub b_median: f64,
    /// b ÷ a, and its 95 % bootstrap interval; nothing with fewer than two runs a side.
    pub ratio: f64,
    pub interval: Option<Interval>,
    pub p: f64,
    /// After Holm's correction over all figures that decide.
    pub p_corrected: f64,
    /// Whether this figure decides, or is only shown beside the primary one.
    pub decides: bool,
    pub verdict: Verdict,
    /// Why it is this verdict.
    pub reason: String,
}

/// The shift of a step's whole distribution.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StepShift {
    pub step: String,
    pub shifts: Vec<Shift>,
}

/// What a side is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Side {
    pub name: String,
    pub runs: Vec<String>,
    pub target: String,
    /// Where it came from: the command that started it, or its folder. Of runs that were finished
    /// before, nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// The whole answer; also comparison.json.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Comparison {
    pub schema_version: u32,
    pub a: Side,
    pub b: Side,
    pub margin: f64,
    pub gate: Gate,
    /// Set when a figure was declared beforehand.
    pub primary: Option<Primary>,
    pub tests: Vec<Test>,
    pub shifts: Vec<StepShift>,
    pub warnings: Vec<String>,
    /// Every bound of a ratio at every step that it looks at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<Judged>,
    /// Stopped by ctrl-C before the last round.
    #[serde(default)]
    pub interrupted: bool,
    /// Of all figures that decide.
    pub verdict: Verdict,
    /// Whether the gate holds.
    pub pass: bool,
}
