//! Conducts the waves of one step: wait until every user is at the gate, release, watch the
//! ledger until all has arrived or the drain is over, leave a quiet gap, repeat.

use tokio_util::sync::CancellationToken;

use super::live::{LOAD, WARM_UP};
use super::pump::Pump;
use crate::clock::now_ns;
use crate::load::gate::Gate;
use crate::load::{Offered, Sending};
use crate::sampler::{Plan, Sampler};
use crate::scenario::StepSpec;

/// The wave before the measured ones: it opens connections and fills caches.
pub const WARM_UP_WAVES: u32 = 1;

/// Runs the warm-up and the measured waves; fewer than asked if it was stopped.
pub async fn conduct(
    pump: &mut Pump<'_>,
    gate: &Gate,
    sending: &Sending,
    spec: &StepSpec,
    watched: Plan,
    stop: &CancellationToken,
) -> (Offered, Option<Sampler>) {
    let users = u64::from(spec.size);
    let (mut offered, mut sampler) = (Offered::default(), None);
    for wave in 0..WARM_UP_WAVES + spec.repeat {
        tokio::select! {
            () = gate.call(wave, spec.size as usize) => {}
            () = stop.cancelled() => break,
        }
        if wave == WARM_UP_WAVES {
            sampler = Some(Sampler::start(watched.clone()).await);
        }
        let before = pump.ledger.requests();
        let intended_ns = gate.release(wave, sending.next_slots(users));
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
