//! The file as it is written: every number with its place, so that a refusal can name the line.
//! Nothing is decided here; `check` does.

use serde::Deserialize;
use toml::Spanned;

use super::Arrivals;
use crate::model::Kind;

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawScenario {
    pub name: Spanned<String>,
    pub about: Spanned<String>,
    pub seed: Option<Spanned<i64>>,
    pub recipients: Option<Spanned<i64>>,
    pub payload_bytes: Option<Spanned<i64>>,
    pub channels: Option<Spanned<Vec<String>>>,
    pub timeout_s: Option<Spanned<f64>>,
    pub deadline_s: Option<Spanned<f64>>,
    pub in_flight_max: Option<Spanned<i64>>,
    #[serde(default)]
    pub idempotency_keys: bool,
    pub judge_timing: Option<bool>,
    #[serde(default)]
    pub thresholds: Vec<Spanned<String>>,
    pub slo: Option<RawSlo>,
    pub steps: Spanned<Vec<Spanned<RawStep>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawSlo {
    pub p99_ms: Spanned<f64>,
    pub shed_ratio_max: Option<Spanned<f64>>,
}

/// A step, or one for each number of a list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawStep {
    pub kind: Kind,
    pub name: Option<Spanned<String>>,
    pub size: Option<Spanned<OneOrMany<i64>>>,
    pub rate_per_s: Option<Spanned<OneOrMany<f64>>>,
    pub arrivals: Option<Spanned<Arrivals>>,
    pub repeat: Option<Spanned<i64>>,
    pub warm_up_s: Option<Spanned<f64>>,
    pub hold_s: Option<Spanned<f64>>,
    pub drain_s: Option<Spanned<f64>>,
    pub settle_s: Option<Spanned<f64>>,
    pub fan_out: Option<Spanned<i64>>,
    pub channels: Option<Spanned<Vec<String>>>,
    #[serde(default)]
    pub faults: Vec<Spanned<RawFault>>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a number or a list of numbers")]
pub enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T: Copy> OneOrMany<T> {
    pub fn all(&self) -> Vec<T> {
        match self {
            Self::One(value) => vec![*value],
            Self::Many(values) => values.clone(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawWhat {
    Reconnect,
    SlowProvider,
    NoisyTenant,
    Restart,
    Pause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessName {
    NatsServer,
    Campana,
}

impl ProcessName {
    pub fn name(self) -> &'static str {
        match self {
            Self::NatsServer => "nats-server",
            Self::Campana => "campana",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawFault {
    pub what: RawWhat,
    pub at_s: Spanned<f64>,
    pub lasts_s: Option<Spanned<f64>>,
    pub share: Option<Spanned<f64>>,
    pub channel: Option<Spanned<String>>,
    pub delay_ms: Option<Spanned<i64>>,
    pub rate_per_s: Option<Spanned<f64>>,
    pub process: Option<Spanned<ProcessName>>,
}
