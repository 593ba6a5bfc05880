//! What is watched beside the load: processes, machine, nats-server and the sinks, and how the
//! ledger agrees with what the platform counted.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::session::Session;
use crate::clock::now_ns;
use crate::failure::Failure;
use crate::intake::{Channel, Intake};
use crate::load::post::Recipient;
use crate::sampler::{Plan, Sampler};
use crate::sinks::Sinks;
use crate::target::Target;

/// Begins to read the sandbox, if some channel ends there.
pub async fn open_sinks(
    target: &Target,
    run: u32,
    channels: &[Channel],
    recipients: &[Recipient],
    intake: &Arc<Intake>,
) -> Result<Option<Sinks>, Failure> {
    let (Some(sandbox), true) = (&target.sandbox, channels.iter().any(|it| *it != Channel::InApp))
    else {
        return Ok(None);
    };
    let addresses: HashMap<String, u32> = (0_u32..)
        .zip(recipients)
        .flat_map(|(index, recipient)| {
            recipient.addresses.iter().map(move |address| (address.clone(), index))
        })
        .collect();
    Sinks::start(sandbox, run, addresses, Arc::clone(intake)).await.map(Some)
}

impl Session {
    /// What a sampler shall watch.
    pub(super) fn watched(&self) -> Plan {
        Plan {
            started_ns: self.started_ns,
            processes: self.target.processes(),
            nats_monitor: self.target.nats_monitor.clone(),
            data_dir: self.target.data_dir.clone(),
            newest: self.live.sampled.clone(),
        }
    }
}

/// Begins to sample when the measured part begins: the warm-up is no part of any figure.
pub async fn sample_from(from_ns: u64, plan: Plan) -> Sampler {
    tokio::time::sleep(Duration::from_nanos(from_ns.saturating_sub(now_ns()))).await;
    Sampler::start(plan).await
}
