//! `run.json`: the canonical artefact of a run, from which every table and picture is drawn and can
//! be drawn again. Additive: a field may be added under one `schema_version`, never changed or
//! removed. `loadtest/run.schema.json` describes it. Data only: nothing here reads or decides.
//! Times are seconds since the run began unless their name says otherwise; latencies are
//! milliseconds in summaries and nanoseconds inside histograms.

mod distribution;
mod ledger;
mod series;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use distribution::{Distribution, Interval, Latency, histogram};
pub use ledger::{Classes, Reconciled, Reconciliation};
pub use series::{Heat, Series};

use crate::environment::Environment;
use crate::thresholds::Judgement;

/// The version of this shape.
pub const SCHEMA_VERSION: u32 = 2;

/// The JSON Schema of a run; `run.schema.json` is this text, checked by a test.
pub fn schema() -> schemars::Schema {
    schemars::schema_for!(Run)
}

/// A whole run.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    pub schema_version: u32,
    /// Eight hexadecimal digits, also in every notification's mark.
    pub id: String,
    /// RFC 3339, UTC.
    pub started_at: String,
    pub duration_s: f64,
    /// The command line, to repeat it.
    pub command: String,
    pub scenario: ScenarioFacts,
    pub target: TargetFacts,
    pub environment: Environment,
    /// The processes that made the load; more than one if the run was distributed.
    pub generators: Vec<Generator>,
    /// What the harness alone needs: the same load against an echo in its own process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub null_target: Option<Latency>,
    pub steps: Vec<Step>,
    pub thresholds: Vec<Judgement>,
    /// Set by `saturate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saturation: Option<Saturation>,
    /// Stopped by ctrl-C: the steps that ran are whole, others are missing.
    pub interrupted: bool,
    /// Set when the run failed before its last step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What was asked for.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ScenarioFacts {
    pub name: String,
    pub about: String,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    pub seed: u64,
    pub recipients: u32,
    pub payload_bytes: u32,
    pub slo: Option<Slo>,
}

/// What a step must reach to pass.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Slo {
    /// From the intended send to the receipt in the browser, milliseconds.
    pub p99_ms: f64,
    /// Highest share of what was sent that may be shed, 0 to 1.
    pub shed_ratio_max: f64,
}

/// What was measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct TargetFacts {
    /// `campana`, or the name of a peer.
    pub name: String,
    pub version: Option<String>,
    /// What a 202 survives: `power`, `process`, `none`, or `unknown` for a remote target.
    pub durability: String,
    /// How senders hold their connections.
    pub connections: String,
}

/// One process that made load.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Generator {
    pub name: String,
    pub host: String,
    pub recipients: u32,
    /// What drives the users, with its version.
    pub driver: String,
    /// Where a coordinator found it: a process of its machine, or an address.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub place: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub harness_version: String,
    /// Of its machine; 0 if it was not asked.
    #[serde(default)]
    pub cores: u32,
    /// Its clock against the coordinator's, after the last step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockOffset>,
}

/// How a generator's monotonic clock stood to the coordinator's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClockOffset {
    /// Its clock minus the coordinator's; 0 on one machine.
    pub offset_ms: f64,
    /// The most by which that can be wrong: half of the fastest round trip; 0 on one machine.
    pub error_ms: f64,
    /// The fastest round trip.
    pub trip_ms: f64,
}

/// What one of several generators did in a step.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct GeneratorPart {
    /// As in the run's `generators`.
    pub name: String,
    /// Its own ledger; those of all generators add up to the step's.
    pub classes: Classes,
    /// Actual minus intended send.
    pub lag: Distribution,
    /// Sent ÷ intended, 0 to 1.
    pub achieved_ratio: f64,
    /// Arrivals that were not sent because too many were in flight.
    pub dropped: u64,
    /// Of its process during the measured part; 100 is one core.
    pub cpu_percent_of_core: f64,
    /// Of its process at the end of the step.
    pub rss_bytes: u64,
    /// The most by which its clock can have been misread during the step, drift included.
    pub clock_error_ms: f64,
    /// What it says of its own figures; part of the step's verdict.
    pub verdict: Verdict,
}

/// The three kinds of load; results of different kinds never share an axis.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `size` notifications released together, `repeat` times.
    #[default]
    Wave,
    /// `size` users, each with one notification outstanding.
    Closed,
    /// Arrivals at `rate_per_s`, whatever the platform does.
    Open,
}

impl Kind {
    /// As printed.
    pub fn text(self) -> &'static str {
        match self {
            Self::Wave => "wave",
            Self::Closed => "closed",
            Self::Open => "open",
        }
    }
}

/// How one step was loaded.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Load {
    pub kind: Kind,
    /// Notifications of a wave, or users; 0 for open load.
    pub size: u32,
    /// Arrivals per second of open load; 0 for others.
    pub rate_per_s: f64,
    /// `constant` or `poisson`, for open load.
    pub arrivals: String,
    /// Measured waves; 0 for others.
    pub repeat: u32,
    pub warm_up_s: f64,
    pub hold_s: f64,
    pub drain_s: f64,
    /// Recipients of one notification: 1, or the size of a fan-out.
    pub fan_out: u32,
    pub channels: Vec<String>,
    /// What was done to the platform meanwhile, in words (`restart edge at 10 s`).
    pub faults: Vec<String>,
}

/// One step.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// Unique in the run, for example `wave 500` or `open 5000/s`.
    pub name: String,
    pub load: Load,
    /// When its measured part began and ended.
    pub from_s: f64,
    pub to_s: f64,
    /// Requests by what became of them, and deliveries over all channels.
    pub classes: Classes,
    /// Deliveries by channel.
    pub by_channel: BTreeMap<String, Classes>,
    /// HTTP answers other than 202, by status, and requests without an answer, by cause.
    pub statuses: BTreeMap<String, u64>,
    pub failures: BTreeMap<String, u64>,
    /// Intended send to receipt by channel; `in_app` is the browser's.
    pub latency: BTreeMap<String, Latency>,
    /// Intended send to the 202.
    pub accept: Latency,
    /// Wave: from the release to the last receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub makespan: Option<Distribution>,
    /// Time of each stage, in the order of the way; empty if the platform gave no stamps.
    pub stages: Vec<Stage>,
    /// Received within the deadline, per second of the measured part.
    pub goodput_per_s: f64,
    pub sent_per_s: f64,
    /// Over the whole step, with the work that follows the last receipt and the gaps.
    pub cpu_s_per_1000: BTreeMap<String, f64>,
    /// During the measured part; 100 is one core.
    pub cpu_percent_of_core: BTreeMap<String, f64>,
    /// At the end of the step.
    pub rss_bytes: BTreeMap<String, u64>,
    /// Bytes of the stores (database, streams) at the end of the step.
    #[serde(default)]
    pub stored_bytes: BTreeMap<String, u64>,
    pub generator: GeneratorHealth,
    /// Each generator by itself, if there were several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub generators: Vec<GeneratorPart>,
    /// Against JetStream's counters and the database.
    #[serde(default)]
    pub reconciliation: Reconciliation,
    pub verdict: Verdict,
    /// Each measured wave by itself.
    #[serde(default)]
    pub waves: Vec<Wave>,
    pub series: Series,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heat: Option<Heat>,
    /// Growth of the memory of each process, in a soak.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub memory: BTreeMap<String, Growth>,
    /// Closed load: users, throughput, response time and N ÷ (X·R), which must be near 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub little: Option<f64>,
    /// Seconds from the end of a fault until everything accepted had arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_s: Option<f64>,
}

/// One stage between two stamps.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Stage {
    /// Named after the stamp that ends it.
    pub name: String,
    pub time: Distribution,
}

/// How fast the memory of a process grew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Growth {
    pub bytes_per_hour: f64,
    /// Where the slope lies with 95 %.
    pub interval: Interval,
    /// Whether it stands still; nothing if that cannot be told.
    pub flat: Option<bool>,
}

/// Whether the generator kept up.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct GeneratorHealth {
    /// Actual minus intended send; part of the latency.
    pub lag: Distribution,
    /// How much later than asked a 1 ms timer fired.
    pub canary: Distribution,
    /// Arrivals that were not sent because too many were in flight.
    pub dropped: u64,
    /// Sent ÷ intended, 0 to 1.
    pub achieved_ratio: f64,
    /// Time stolen by other guests, percent of all cores.
    pub steal_percent: f64,
    /// Share of time in which some task waited for a core (PSI), percent.
    pub pressure_percent: Option<f64>,
    /// Receivers that lost their connection although nothing was done to them.
    pub receivers_lost: u32,
    /// First half against second half: relative difference of the medians.
    pub half_difference: Option<f64>,
    /// Coefficient of variation of the throughput of single seconds.
    pub throughput_cv: Option<f64>,
    /// Slope of the backlog, messages per second.
    pub backlog_slope: Option<f64>,
}

/// One wave in short.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Wave {
    pub delivered: u64,
    pub sent: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

/// What the search for the highest rate found.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Saturation {
    /// Highest rate that met the SLO every time, per second.
    pub rate_per_s: f64,
    /// Lowest rate that missed it.
    pub missed_at_per_s: Option<f64>,
    /// Passes at the rate, and misses at 1.1 times it, that confirm it.
    pub confirmed_passes: u32,
    pub confirmed_misses: u32,
    /// In the order in which they were tried: rate and whether it passed.
    pub probes: Vec<(f64, bool)>,
}

/// Whether the harness trusts its own figure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    pub status: Status,
    pub reasons: Vec<String>,
}

/// INVALID figures must not be used; SUSPECT ones need their reasons read.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
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
