//! Wave load: `size` notifications released at one instant, again and again. What one user does
//! in a wave; the engine conducts it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::Aim;
use super::gate::Gate;
use super::goose::Action;
use super::users::{Turn, Users};
use crate::intake::Channel;

/// No wave yet.
const NONE: u32 = u32::MAX;

/// What a user does, for goose or a bare task.
pub fn action(
    users: Arc<Users>,
    gate: Arc<Gate>,
    size: u32,
    fan_out: u32,
    channels: &[Channel],
) -> Action {
    let lasts: Arc<Vec<AtomicU32>> = Arc::new((0..size).map(|_| AtomicU32::new(NONE)).collect());
    let channels: Arc<[Channel]> = channels.into();
    Arc::new(move |index| {
        let (users, gate) = (Arc::clone(&users), Arc::clone(&gate));
        let (lasts, channels) = (Arc::clone(&lasts), Arc::clone(&channels));
        Box::pin(async move {
            let last = Some(lasts[index].load(Ordering::Relaxed)).filter(|last| *last != NONE);
            let Some(wave) = gate.called(last).await else { return false };
            lasts[index].store(wave, Ordering::Relaxed);
            // A refused connection is told by the send, which every called user owes the wave.
            let _ = users.make_ready(index).await;
            let Some(release) = gate.released().await else { return false };
            let recipient = users.recipient_of(index, fan_out);
            let aim = Aim { recipient, fan_out, channels: &channels };
            let part = users.sending.part;
            let slot = part.slot(release.first_slot + part.number(index));
            let turn = Turn { slot, wave: release.wave, intended_ns: release.intended_ns, aim };
            users.send(index, &turn).await;
            true
        })
    })
}
