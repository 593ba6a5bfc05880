//! What a run shall do, as a TOML file says it. Reads one file or one of those that are built in;
//! writes nothing. Everything is checked before the first notification is sent: a slip of the pen
//! must not cost an hour. docs/loadtest-scenarios.md explains every key.

mod catalogue;
mod check;
mod fault;
mod raw;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use catalogue::{listed, text_of};
pub use fault::{Fault, What};

use crate::failure::Failure;
use crate::intake::Channel;
use crate::model::{Kind, Slo};
use crate::thresholds::Threshold;

/// Most recipients of a run: each is a socket here and one in the platform.
pub const RECIPIENTS_MAX: u32 = 60_000;

const PAYLOAD_BYTES_DEFAULT: u32 = 256;
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
const DEADLINE_DEFAULT: Duration = Duration::from_secs(10);
const IN_FLIGHT_DEFAULT: u32 = 2_000;

/// A checked scenario.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: String,
    pub about: String,
    /// SHA-256 of the file, hexadecimal; of the arguments if there was no file.
    pub sha256: String,
    /// Two runs with one seed send at the same intended moments to the same recipients.
    pub seed: u64,
    pub recipients: u32,
    pub payload_bytes: u32,
    pub slo: Option<Slo>,
    pub thresholds: Vec<Threshold>,
    /// How long one request may take.
    pub timeout: Duration,
    /// Open load: requests without an answer above which an arrival is dropped and counted.
    pub in_flight_max: u32,
    /// Whether each request carries an Idempotency-Key.
    pub idempotency_keys: bool,
    /// Received within it is goodput; after it, late.
    pub deadline: Duration,
    /// Whether this machine's lateness may make a step INVALID.
    pub judge_timing: bool,
    pub steps: Vec<StepSpec>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepSpec {
    /// Unique in the scenario.
    pub name: String,
    pub kind: Kind,
    /// Notifications of a wave, or users of closed load; 0 for open load.
    pub size: u32,
    /// Arrivals a second of open load; 0 for others.
    pub rate_per_s: f64,
    pub arrivals: Arrivals,
    /// Measured waves; 0 for others.
    pub repeat: u32,
    /// Before the measured part of closed and open load; a wave has one wave instead.
    pub warm_up: Duration,
    pub hold: Duration,
    /// How long the last receipts are waited for.
    pub drain: Duration,
    /// Quiet time after a wave, and after the step.
    pub settle: Duration,
    /// Recipients of each notification.
    pub fan_out: u32,
    pub channels: Vec<Channel>,
    pub faults: Vec<Fault>,
}

impl StepSpec {
    /// Recipients that must exist for this step.
    pub fn recipients_needed(&self) -> u32 {
        let senders = if self.kind == Kind::Open { 1 } else { self.size };
        senders.max(self.fan_out)
    }

    /// How long the step takes at most, for the progress bar and the limit of `ci`.
    pub fn seconds(&self) -> f64 {
        (self.warm_up + self.hold + self.drain + self.settle).as_secs_f64()
    }
}

/// How open load arrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// Evenly spaced.
    #[default]
    Constant,
    /// Independent of each other, as many independent people are.
    Poisson,
}

impl Arrivals {
    /// As written in files and run.json.
    pub fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Poisson => "poisson",
        }
    }
}

impl Scenario {
    /// A built-in scenario by its name, or a file by its path.
    pub fn load(name_or_path: &str) -> Result<Self, Failure> {
        let (file, text) = catalogue::text_of(name_or_path)?;
        Self::read(&file, &text)
    }

    /// Reads and checks a scenario; `file` is for messages.
    pub fn read(file: &str, text: &str) -> Result<Self, Failure> {
        check::scenario(file, text).map_err(|error| Failure::Usage(error.to_string()))
    }

    /// A scenario without a file: for `sweep`, `saturate`, peers and the harness's own floor.
    pub fn of_steps(name: &str, seed: u64, recipients: u32, mut steps: Vec<StepSpec>) -> Self {
        check::number_repeated_names(&mut steps);
        Self {
            name: name.to_owned(),
            about: String::new(),
            sha256: check::sha256(&format!("{name} {seed} {recipients} {steps:?}")),
            seed,
            recipients,
            payload_bytes: PAYLOAD_BYTES_DEFAULT,
            slo: None,
            thresholds: Vec::new(),
            timeout: TIMEOUT_DEFAULT,
            in_flight_max: IN_FLIGHT_DEFAULT,
            idempotency_keys: false,
            deadline: DEADLINE_DEFAULT,
            judge_timing: true,
            steps,
        }
    }

    /// The name for a folder of results.
    pub fn slug(&self) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        self.name.chars().map(plain).take(40).collect()
    }
}
