//! One round of one peer: the engine's own session, opened afresh, put through the scenario.

use tokio_util::sync::CancellationToken;

use super::Peer;
use crate::engine::{Session, SessionPlan};
use crate::failure::Failure;
use crate::load::goose::Driver;
use crate::load::post::Stamping;
use crate::model::Step;
use crate::scenario::Scenario;
use crate::target::Target;

/// Runs every step; fewer if it was stopped. Only the platform could give stage stamps, so nobody is asked for them.
pub async fn run_round(
    peer: &Peer,
    scenario: &Scenario,
    stop: CancellationToken,
) -> Result<Vec<Step>, Failure> {
    let plan = SessionPlan {
        led: None,
        scenario,
        driver: Driver::Goose,
        stamping: Stamping::Off,
        neighbour_key: None,
        logs: None,
        judge_timing: true,
        quiet: false,
        stop: stop.clone(),
    };
    // Only the platform has a monitor that could be asked each second, and an answer costs it 3 ms of CPU.
    let target = Target { nats_monitor: None, ..peer.target.clone() };
    let mut session = Session::open(plan, target).await?;
    let mut steps = Vec::new();
    for spec in &scenario.steps {
        if stop.is_cancelled() {
            break;
        }
        steps.extend(session.step(spec).await?);
    }
    session.tell_afterwards(&mut steps);
    session.close().await;
    Ok(steps)
}
