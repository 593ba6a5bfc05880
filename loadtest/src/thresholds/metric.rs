//! What a threshold may look at, and where it stands in a step. Pure.

use crate::intake::Channel;
use crate::model::{Classes, Distribution, Step};

/// A figure of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    P50,
    P90,
    P99,
    P999,
    Max,
    Mean,
    AcceptP99,
    Makespan,
    Success,
    Delivered,
    Late,
    Lost,
    Duplicate,
    Corrupt,
    Rejected,
    Shed,
    Unknown,
    Phantom,
    Reordered,
    Dropped,
    Goodput,
    Cpu,
    Recovery,
}

const METRICS: [(&str, Metric); 23] = [
    ("p50", Metric::P50),
    ("p90", Metric::P90),
    ("p99", Metric::P99),
    ("p999", Metric::P999),
    ("max", Metric::Max),
    ("mean", Metric::Mean),
    ("accept_p99", Metric::AcceptP99),
    ("makespan", Metric::Makespan),
    ("success", Metric::Success),
    ("delivered", Metric::Delivered),
    ("late", Metric::Late),
    ("lost", Metric::Lost),
    ("duplicate", Metric::Duplicate),
    ("corrupt", Metric::Corrupt),
    ("rejected", Metric::Rejected),
    ("shed", Metric::Shed),
    ("unknown", Metric::Unknown),
    ("phantom", Metric::Phantom),
    ("reordered", Metric::Reordered),
    ("dropped", Metric::Dropped),
    ("goodput", Metric::Goodput),
    ("cpu", Metric::Cpu),
    ("recovery", Metric::Recovery),
];

/// Every name, for messages.
pub fn known() -> String {
    METRICS.map(|(name, _)| name).join(", ")
}

impl Metric {
    /// The metric of that name.
    pub fn named(name: &str) -> Option<Self> {
        METRICS.iter().find(|(known, _)| *known == name).map(|(_, metric)| *metric)
    }

    /// Whether a channel has a figure of its own.
    pub fn by_channel(self) -> bool {
        !matches!(
            self,
            Self::AcceptP99
                | Self::Makespan
                | Self::Dropped
                | Self::Goodput
                | Self::Cpu
                | Self::Recovery
        )
    }

    /// Its value; infinite where there is none, so that no bound from above holds.
    pub fn of(self, step: &Step, channel: Option<Channel>) -> f64 {
        let nothing = Classes::default();
        let classes = match channel {
            Some(channel) => step.by_channel.get(channel.name()).unwrap_or(&nothing),
            None => &step.classes,
        };
        let count = |value: u64| value as f64;
        let latency = |pick: fn(&Distribution) -> f64| {
            distribution(step, channel).filter(|it| it.count > 0).map_or(f64::INFINITY, pick)
        };
        match self {
            Self::P50 => latency(|it| it.p50_ms),
            Self::P90 => latency(|it| it.p90_ms),
            Self::P99 => latency(|it| it.p99_ms),
            Self::P999 => latency(|it| it.p999_ms),
            Self::Max => latency(|it| it.max_ms),
            Self::Mean => latency(|it| it.mean_ms),
            Self::AcceptP99 => {
                let accept = &step.accept.intended;
                if accept.count > 0 { accept.p99_ms } else { f64::INFINITY }
            }
            Self::Makespan => step.makespan.as_ref().map_or(f64::INFINITY, |it| it.max_ms),
            Self::Success if classes.sent == 0 => 0.0,
            Self::Success => classes.success_ratio() * 100.0,
            Self::Delivered => count(classes.delivered),
            Self::Late => count(classes.late),
            Self::Lost => count(classes.lost),
            Self::Duplicate => count(classes.duplicate),
            Self::Corrupt => count(classes.corrupt),
            Self::Rejected => count(classes.rejected),
            Self::Shed => count(classes.shed),
            Self::Unknown => count(classes.unknown),
            Self::Phantom => count(classes.phantom),
            Self::Reordered => count(classes.reordered),
            Self::Dropped => count(step.generator.dropped),
            Self::Goodput => step.goodput_per_s,
            Self::Cpu => step
                .cpu_s_per_1000
                .iter()
                .filter(|(name, _)| *name != "generator")
                .map(|(_, seconds)| seconds)
                .sum(),
            Self::Recovery => step.recovery_s.unwrap_or(f64::INFINITY),
        }
    }
}

/// The channel asked for; else the browser's, else the only one.
fn distribution(step: &Step, channel: Option<Channel>) -> Option<&Distribution> {
    let named = |channel: Channel| step.latency.get(channel.name());
    let latency = match channel {
        Some(channel) => named(channel),
        None => named(Channel::InApp).or_else(|| step.latency.values().next()),
    };
    latency.map(|latency| &latency.intended)
}
