//! The figures that are compared: where each stands in a step and which way is better. Pure.

use serde::{Deserialize, Serialize};

use crate::model::{Kind, Run, Step};
use crate::report::read;

/// A figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    P50,
    P99,
    Throughput,
    Cpu,
}

impl Metric {
    pub const ALL: [Self; 4] = [Self::P50, Self::P99, Self::Throughput, Self::Cpu];

    /// As typed and printed.
    pub fn text(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::Throughput => "throughput",
            Self::Cpu => "cpu",
        }
    }

    pub fn unit(self) -> &'static str {
        match self {
            Self::P50 | Self::P99 => "ms",
            Self::Throughput => "/s",
            Self::Cpu => "s per 1,000",
        }
    }

    pub fn more_is_better(self) -> bool {
        self == Self::Throughput
    }

    /// The figure of a run's step; nothing if it was not measured or says nothing there: a wave's
    /// pauses make its throughput a figure of the schedule.
    pub fn of(self, run: &Run, step: &Step) -> Option<f64> {
        let value = match self {
            Self::P50 => read::intended(step)?.p50_ms,
            Self::P99 => read::intended(step)?.p99_ms,
            Self::Throughput if step.load.kind == Kind::Wave => return None,
            Self::Throughput => step.goodput_per_s,
            Self::Cpu => read::platform_cpu(run, step)?,
        };
        (value.is_finite() && value > 0.0).then_some(value)
    }
}

impl std::str::FromStr for Metric {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|metric| metric.text() == text).ok_or_else(|| {
            format!("unknown figure {text:?}; one of {}", Self::ALL.map(Self::text).join(", "))
        })
    }
}
