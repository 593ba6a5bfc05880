//! What is injected, one after the other, and under which load. Data only.

use std::time::Duration;

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::intake::Channel;
use crate::model::Kind;
use crate::scenario::{Arrivals, StepSpec};

/// Even load: the effect of a stop or a pause on it can be reckoned with pen and paper.
pub const RATE_PER_S: f64 = 200.0;
/// Where only counts are looked at.
const RATE_COUNTED_PER_S: f64 = 400.0;
/// Receivers, each on a connection of its own.
pub const RECIPIENTS: u32 = 10;
/// How long the target stands still, or the generator stops sending.
pub const STOP: Duration = Duration::from_secs(1);
/// Long enough for its effect to be in the p99, short enough to leave the median alone.
pub const STALL: Duration = Duration::from_millis(300);
pub const DELAY: Duration = Duration::from_millis(50);

const HOLD: Duration = Duration::from_millis(2_500);
const HOLD_COUNTED: Duration = Duration::from_millis(1_500);
/// Ends as soon as everything has arrived; only what is lost waits it out.
const DRAIN: Duration = Duration::from_secs(5);
const DRAIN_LOSS: Duration = Duration::from_secs(3);
const DRAIN_WARM_UP: Duration = Duration::from_secs(2);
const SETTLE: Duration = Duration::from_millis(300);

/// One thing that is injected.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
    ValueEnum,
)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Trial {
    /// Nothing: what the others are compared with
    Control,
    /// The target stands still for a second
    Stop,
    /// It stands still, and the sender waits for it as a careless load generator would
    SenderWaits,
    /// 1 in 100 never arrives
    Loss,
    /// 1 in 100 arrives twice
    Duplicate,
    /// 1 in 100 arrives with other content
    Corrupt,
    /// 1 in 100 arrives after its successor
    Reorder,
    /// 1 in 100 is followed by one that nobody sent
    Phantom,
    /// Everything arrives 50 ms later
    Delay,
    /// The generator is kept from sending for 0.3 s
    Stall,
    /// The books are made wrong
    Books,
}

impl Trial {
    /// In the order in which they run.
    pub const ALL: [Self; 11] = [
        Self::Control,
        Self::Stop,
        Self::SenderWaits,
        Self::Loss,
        Self::Duplicate,
        Self::Corrupt,
        Self::Reorder,
        Self::Phantom,
        Self::Delay,
        Self::Stall,
        Self::Books,
    ];

    /// For tables and names of steps.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Stop => "stop",
            Self::SenderWaits => "sender waits",
            Self::Loss => "loss",
            Self::Duplicate => "duplicate",
            Self::Corrupt => "corrupt",
            Self::Reorder => "reorder",
            Self::Phantom => "phantom",
            Self::Delay => "delay",
            Self::Stall => "stall",
            Self::Books => "books",
        }
    }

    /// Those that were asked for, or all; the control is always the first.
    pub fn chosen(only: &[Self]) -> Vec<Self> {
        let asked =
            |trial: &Self| *trial == Self::Control || only.is_empty() || only.contains(trial);
        Self::ALL.into_iter().filter(asked).collect()
    }

    /// Its load.
    pub fn spec(self, number: usize, of: usize) -> StepSpec {
        let drain = if self == Self::Loss { DRAIN_LOSS } else { DRAIN };
        let (rate_per_s, hold) =
            if self.is_timed() { (RATE_PER_S, HOLD) } else { (RATE_COUNTED_PER_S, HOLD_COUNTED) };
        let spec = step(format!("{number}/{of} {}", self.name()), hold, drain);
        StepSpec { rate_per_s, ..spec }
    }

    /// Requests a second.
    pub fn rate_per_s(self) -> f64 {
        self.spec(1, 1).rate_per_s
    }

    /// Whether its times are looked at.
    fn is_timed(self) -> bool {
        use Trial::{Control, Delay, SenderWaits, Stall, Stop};
        [Control, Stop, SenderWaits, Delay, Stall].contains(&self)
    }

    /// Requests of its load.
    pub fn requests(self) -> u64 {
        let spec = self.spec(1, 1);
        (spec.hold.as_secs_f64() * spec.rate_per_s).round() as u64
    }
}

/// Before the first trial: connections are opened and code is read from disk; judged by nobody.
pub fn warm_up() -> StepSpec {
    step("warm-up".to_owned(), Duration::from_millis(500), DRAIN_WARM_UP)
}

/// Open load without a warm-up: everything that passes the layer is in the books as well.
fn step(name: String, hold: Duration, drain: Duration) -> StepSpec {
    StepSpec {
        name,
        kind: Kind::Open,
        size: 0,
        rate_per_s: RATE_PER_S,
        arrivals: Arrivals::Constant,
        repeat: 0,
        warm_up: Duration::ZERO,
        hold,
        drain,
        settle: SETTLE,
        fan_out: 1,
        channels: vec![Channel::InApp],
        faults: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_trials_fit_in_a_minute_and_in_whole_hundreds() {
        let specs: Vec<StepSpec> = Trial::ALL.into_iter().map(|trial| trial.spec(1, 11)).collect();
        let seconds: f64 = specs.iter().map(|it| (it.hold + it.settle).as_secs_f64()).sum();
        let waited = DRAIN_LOSS.as_secs_f64() + warm_up().hold.as_secs_f64();
        assert!(seconds + waited < 40.0, "{seconds} + {waited}");
        // A step that ends within a hundred would leave it without its fault.
        assert!(Trial::ALL.iter().all(|trial| trial.requests().is_multiple_of(100)));
        let names: Vec<&str> = Trial::ALL.iter().map(|trial| trial.name()).collect();
        assert!(Trial::ALL.is_sorted() && names.len() == Trial::value_variants().len());
    }

    #[test]
    fn the_control_is_always_among_them() {
        assert_eq!(Trial::chosen(&[]), Trial::ALL);
        assert_eq!(
            Trial::chosen(&[Trial::Stall, Trial::Loss]),
            [Trial::Control, Trial::Loss, Trial::Stall]
        );
    }
}
