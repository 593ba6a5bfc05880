//! Conducts the waves of one step: wait until every user is at the gate, release, watch the
//! ledger until all has arrived or the drain is over, leave a quiet gap, repeat.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::live::{LOAD, WARM_UP};
use super::pump::Pump;
use crate::agent::lead::{self, Lead};
use crate::clock::now_ns;
use crate::load::gate::Gate;
use crate::load::{Offered, Sending};
use crate::sampler::{Plan, Sampler};
use crate::scenario::StepSpec;

/// The wave before the measured ones: it opens connections and fills caches.
pub const WARM_UP_WAVES: u32 = 1;

/// Who says when, and what is watched meanwhile.
pub struct Timing {
    /// Who leads, if waves are released with those of other generators.
    pub led: Option<Arc<Lead>>,
    pub watched: Plan,
    pub stop: CancellationToken,
}

/// Runs the warm-up and the measured waves; fewer than asked if it was stopped.
pub async fn conduct(
    pump: &mut Pump<'_>,
    gate: &Gate,
    sending: &Sending,
    spec: &StepSpec,
    timing: Timing,
) -> (Offered, Option<Sampler>) {
    let Timing { led, watched, stop } = timing;
    let own = sending.part.count(spec.size);
    let users = u64::from(own);
    let (mut offered, mut sampler) = (Offered::default(), None);
    for wave in 0..WARM_UP_WAVES + spec.repeat {
        tokio::select! {
            () = gate.call(wave, own as usize) => {}
            () = stop.cancelled() => break,
        }
        if wave == WARM_UP_WAVES {
            sampler = Some(Sampler::start(watched.clone()).await);
        }
        let before = pump.ledger.requests();
        let numbers = || sending.take_numbers(u64::from(spec.size));
        let intended_ns = match &led {
            None => gate.release(wave, numbers()),
            Some(lead) => {
                let Some(at_ns) = lead.instant(&stop).await else { break };
                lead::until(at_ns, &stop).await;
                gate.release_for(wave, numbers(), at_ns);
                at_ns
            }
        };
        if wave == WARM_UP_WAVES {
            offered.from_ns = intended_ns;
        }
        if wave >= WARM_UP_WAVES {
            offered.waves += 1;
            offered.intended += users;
        }
        let (phase, done) = (if wave == 0 { WARM_UP } else { LOAD }, f64::from(wave));
        // Requests end by their own time-out.
        while pump.ledger.requests() < before + users || pump.ledger.unanswered() > 0 {
            pump.turn(phase, done).await;
        }
        pump.drain(spec.drain, done).await;
        offered.to_ns = now_ns();
        tokio::select! {
            () = pump.settle(spec.settle, done + 1.0) => {}
            () = stop.cancelled() => {}
        }
        if stop.is_cancelled() {
            break;
        }
    }
    (offered, sampler)
}
