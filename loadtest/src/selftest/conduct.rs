//! What is done beside a step while its load runs: the target is made to stand, the generator is
//! kept from sending, or something wrong is put into the books. It begins when a quarter of the
//! requests has passed, whatever the clock says. Judges nothing.

use std::time::Duration;

use super::lane::{Harm, Plan};
use super::layer::Layer;
use super::stall::{self, Span};
use super::trial::{DELAY, STALL, STOP, Trial};
use crate::clock::now_ns;
use crate::intake::{Event, Intake, Outcome};

const LOOK_EVERY: Duration = Duration::from_millis(1);
/// What is in flight when the sender begins to wait arrives before the target stands.
const BEFORE_STOP: Duration = Duration::from_millis(100);
/// The target goes on before the sender does.
const AFTER_STOP: Duration = Duration::from_millis(50);

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    pub stop: Option<Span>,
    pub stall: Option<Span>,
    /// Wrong entries in the books.
    pub planted: u64,
}

/// What is done to publications in this trial.
pub fn plan(trial: Trial, seed: u64) -> Plan {
    let harm = match trial {
        Trial::Loss => Harm::Drop,
        Trial::Duplicate => Harm::Double,
        Trial::Corrupt => Harm::Corrupt,
        Trial::Reorder => Harm::Swap,
        Trial::Phantom => Harm::Invent,
        Trial::Delay => Harm::Delay { ns: u64::try_from(DELAY.as_nanos()).unwrap_or(u64::MAX) },
        Trial::Control | Trial::Stop | Trial::SenderWaits | Trial::Stall | Trial::Books => {
            Harm::None
        }
    };
    Plan { harm, seed }
}

/// Does it, and returns when it is over.
pub async fn conduct(trial: Trial, layer: &Layer, intake: &Intake) -> Done {
    let shared = &layer.shared;
    shared.until_requests(trial.requests() / 4).await;
    match trial {
        Trial::Stop => {
            let stop = shared.stand(tokio::time::sleep(STOP)).await;
            Done { stop: Some(stop), ..Done::default() }
        }
        Trial::SenderWaits => {
            stall::ask(STOP);
            until(|| stall::began_ns().is_some()).await;
            let began_ns = stall::began_ns().unwrap_or_else(now_ns);
            tokio::time::sleep(BEFORE_STOP).await;
            let ends_ns = u64::try_from((STOP - AFTER_STOP).as_nanos()).unwrap_or(0) + began_ns;
            let left = Duration::from_nanos(ends_ns.saturating_sub(now_ns()));
            let stop = shared.stand(tokio::time::sleep(left)).await;
            until(|| stall::over().is_some()).await;
            Done { stop: Some(stop), stall: stall::over(), planted: 0 }
        }
        Trial::Stall => {
            stall::ask(STALL);
            until(|| stall::over().is_some()).await;
            Done { stall: stall::over(), ..Done::default() }
        }
        Trial::Books => Done { planted: plant(intake, shared.newest_slot()), ..Done::default() },
        _ => Done::default(),
    }
}

async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A request that was made already, and its answer once more.
fn plant(intake: &Intake, slot: u64) -> u64 {
    let now = now_ns();
    let wrong = [
        Event::Sent { slot, wave: 1, recipient: 0, intended_ns: now, sent_ns: now },
        Event::Answered { slot, at_ns: now, outcome: Outcome::Accepted { stamps: None } },
    ];
    let count = wrong.len() as u64;
    wrong.into_iter().for_each(|event| intake.push(event));
    count
}
