//! `run.json`: the canonical artefact of a run, from which every table and picture is drawn and
//! can be drawn again. Additive: a field may be added under one `schema_version`, never changed
//! or removed. `loadtest/run.schema.json` describes it.

mod build;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use build::{StepInput, step};
#[cfg(test)]
pub use tests::sample;

use crate::environment::Environment;
use crate::stats::{Percentiles, Spread, SpreadKind};
use crate::thresholds::Judgement;

/// The version of this shape.
pub const SCHEMA_VERSION: u32 = 1;

/// A whole run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    pub schema_version: u32,
    /// RFC 3339, UTC.
    pub started_at: String,
    pub duration_s: f64,
    /// What a 202 survives: `power`, `process`, or `unknown` for a remote target.
    pub durability: String,
    pub environment: Environment,
    /// The command line, to repeat it.
    pub command: String,
    pub settings: Settings,
    pub steps: Vec<Step>,
    pub thresholds: Vec<Judgement>,
    /// Stopped by ctrl-C: the steps that ran are whole, others are missing.
    pub interrupted: bool,
    /// Receipts that came after their step had been judged.
    pub late: u64,
    /// Set when the run failed before its last step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How the load was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    pub waves: Vec<u32>,
    pub repeat: u32,
    pub warm_up_waves: u32,
    pub settle_ms: u64,
    pub drain_ms: u64,
    pub timeout_ms: u64,
    pub channel: String,
    /// What drives the users, with its version.
    pub senders: String,
    /// How users hold their HTTP connections.
    pub connections: String,
}

/// One step of the sweep.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Step {
    pub kind: String,
    /// Notifications released together.
    pub n: u32,
    /// Measured waves.
    pub repeat: u32,
    pub sent: u64,
    pub accepted: u64,
    pub received_once: u64,
    pub lost: u64,
    pub duplicate: u64,
    pub rejected: u64,
    pub shed: u64,
    pub unknown: u64,
    /// Of the unknown, those that arrived although their answer did not.
    pub unknown_received: u64,
    pub phantom: u64,
    pub reordered: u64,
    /// Answers other than 202, by status.
    pub statuses: BTreeMap<String, u64>,
    /// Requests without an answer, by cause.
    pub failures: BTreeMap<String, u64>,
    /// Intended send to receipt.
    pub latency_ms: Percentiles,
    /// Actual send to receipt.
    pub uncorrected_ms: Percentiles,
    /// Intended send to the 202.
    pub accept_ms: Percentiles,
    /// From the release of a wave to its last receipt.
    pub makespan_ms: Makespan,
    /// How far p50 and p99 move between repeats.
    pub spread_ms: Spreads,
    /// Whole step, with the work that follows the last receipt and the gaps.
    pub cpu_s_per_1000: BTreeMap<String, f64>,
    /// While a wave is in flight; 100 is one core.
    pub cpu_percent_of_core: BTreeMap<String, f64>,
    /// At the end of the step.
    pub rss_bytes: BTreeMap<String, u64>,
    /// Actual minus intended send; part of `latency_ms`.
    pub generator_lag_ms: Lag,
    /// Time stolen by other guests, percent of all cores, during the step.
    pub steal_percent: f64,
    pub verdict: Verdict,
    /// `received_once / sent`.
    pub success_ratio: f64,
    /// 95 % upper bound of the rate at which a notification is not received exactly once.
    pub failure_upper_bound_95: f64,
    /// Quantile and milliseconds, for the percentile curve.
    pub curve: Vec<(f64, f64)>,
    /// The same for actual send to receipt.
    pub uncorrected_curve: Vec<(f64, f64)>,
    /// Each measured wave by itself.
    pub waves: Vec<Wave>,
}

/// Time until the last receipt of a wave, over the repeats.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Makespan {
    pub p50: f64,
    pub max: f64,
}

/// The generator's lateness.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Lag {
    pub p50: f64,
    pub p99: f64,
}

/// Ranges over the repeats.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Spreads {
    pub kind: SpreadKind,
    pub p50: Spread,
    pub p99: Spread,
}

/// One wave in short.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Wave {
    pub received_once: u64,
    pub sent: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

/// Whether the harness trusts its own figure.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Verdict {
    pub status: Status,
    pub reasons: Vec<String>,
}

/// INVALID figures must not be used; SUSPECT ones need their reasons read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    #[default]
    Ok,
    Suspect,
    Invalid,
}

impl Status {
    /// As printed.
    pub fn text(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Suspect => "SUSPECT",
            Self::Invalid => "INVALID",
        }
    }
}
