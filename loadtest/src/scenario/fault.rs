//! What a scenario can do to the platform while it is under load. Data only; `engine::faults`
//! does it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::intake::Channel;

/// One disturbance of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// From the start of the measured part.
    pub at: Duration,
    pub what: What,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum What {
    /// This share of the receivers drops its connection at once and comes back.
    Reconnect { share: f64 },
    /// The sandbox answers a channel later for a while.
    SlowProvider { channel: Channel, delay: Duration, lasts: Duration },
    /// Another tenant sends at a rate of its own, which no ledger counts.
    NoisyTenant { rate_per_s: f64, lasts: Duration },
    /// A process that `campana up` supervises is ended and started again by it.
    Restart { process: String },
    /// A process is stopped (SIGSTOP) for a while and goes on.
    Pause { process: String, lasts: Duration },
}

impl Fault {
    /// When it is over, from the start of the measured part; a restart and a reconnection are over
    /// when they have been done.
    pub fn ends(&self) -> Duration {
        match &self.what {
            What::SlowProvider { lasts, .. }
            | What::NoisyTenant { lasts, .. }
            | What::Pause { lasts, .. } => self.at + *lasts,
            What::Reconnect { .. } | What::Restart { .. } => self.at,
        }
    }

    /// In words, for run.json.
    pub fn text(&self) -> String {
        let at = self.at.as_secs_f64();
        match &self.what {
            What::Reconnect { share } => {
                format!("{:.0} % of the receivers reconnect at {at} s", share * 100.0)
            }
            What::SlowProvider { channel, delay, lasts } => format!(
                "provider of {} answers {} ms later from {at} s for {} s",
                channel.name(),
                delay.as_millis(),
                lasts.as_secs_f64()
            ),
            What::NoisyTenant { rate_per_s, lasts } => format!(
                "another tenant sends {rate_per_s}/s from {at} s for {} s",
                lasts.as_secs_f64()
            ),
            What::Restart { process } => format!("restart {process} at {at} s"),
            What::Pause { process, lasts } => {
                format!("pause {process} at {at} s for {} s", lasts.as_secs_f64())
            }
        }
    }
}
