//! Takes events from the intake to the ledger, and waits. The one owner of the ledger while a step
//! runs; it judges nothing and sends nothing.

use std::sync::Arc;
use std::time::Duration;

use crate::agent::lead::Lead;
use crate::clock::now_ns;
use crate::intake::{Event, Intake};
use crate::ledger::Ledger;
use crate::load::closed::Desk;
use crate::recorder::Recorder;

use super::live::Live;

/// How often events are taken while nobody waits for them.
const TAKE_EVERY: Duration = Duration::from_millis(2);

/// The way from the intake to the ledger.
pub struct Pump<'a> {
    pub intake: &'a Intake,
    pub ledger: &'a mut Ledger,
    pub recorder: Option<&'a mut Recorder>,
    pub live: &'a mut Live,
    /// Users of closed load that wait for receipts.
    pub desk: Option<Arc<Desk>>,
    pub buffer: Vec<Event>,
    /// Set while a disturbance is watched.
    pub recovery: Option<Recovery>,
    /// Who gets the seconds, instead of the recorder.
    pub led: Option<Arc<Lead>>,
}

impl Pump<'_> {
    /// Takes what there is.
    pub fn take(&mut self) {
        self.intake.take_into(&mut self.buffer);
        for event in self.buffer.drain(..) {
            if let Some(desk) = &self.desk {
                desk.see(&event);
            }
            self.ledger.enter(event);
        }
        if let Some(recovery) = &mut self.recovery {
            recovery.see(now_ns(), self.ledger.outstanding());
        }
        let intervals = self.ledger.take_intervals();
        if let Some(lead) = &self.led {
            lead.seconds(intervals);
        } else if let Some(recorder) = &mut self.recorder
            && let Err(failure) = recorder.write(&intervals)
        {
            // A full disk costs the logs and not the run; told once.
            tracing::error!("interval logs end here: {failure}");
            self.recorder = None;
        }
    }

    /// Waits a little and takes what there is; at once if somebody waits for it.
    pub async fn turn(&mut self, phase: &'static str, done: f64) {
        if self.desk.is_some() {
            tokio::select! {
                () = self.intake.changed() => {}
                () = tokio::time::sleep(TAKE_EVERY) => {}
            }
        } else {
            tokio::time::sleep(TAKE_EVERY).await;
        }
        self.take();
        self.live.update(self.ledger, phase, done);
    }

    /// Returns when all requests are answered and everything accepted has arrived, or when it has
    /// waited long enough.
    pub async fn drain(&mut self, longest: Duration, done: f64) {
        let began_ns = now_ns();
        self.take();
        while self.ledger.in_flight() > 0
            && Duration::from_nanos(now_ns().saturating_sub(began_ns)) < longest
        {
            self.turn("drain", done).await;
        }
    }

    /// The quiet time in which late repeats of a receipt would show.
    pub async fn settle(&mut self, time: Duration, done: f64) {
        let began_ns = now_ns();
        while Duration::from_nanos(now_ns().saturating_sub(began_ns)) < time {
            self.turn("settle", done).await;
        }
    }
}

/// Watches how long the platform takes to come back after a disturbance: until no more deliveries
/// are outstanding than ever were before it.
#[derive(Clone, Copy, Debug)]
pub struct Recovery {
    /// When the first disturbance begins and the last one is over.
    pub begins_ns: u64,
    pub over_ns: u64,
    usual_max: u64,
    recovered_ns: Option<u64>,
}

impl Recovery {
    /// Nothing seen yet.
    pub fn new(begins_ns: u64, over_ns: u64) -> Self {
        Self { begins_ns, over_ns, usual_max: 0, recovered_ns: None }
    }

    fn see(&mut self, now_ns: u64, outstanding: u64) {
        if now_ns < self.begins_ns {
            self.usual_max = self.usual_max.max(outstanding);
        } else if now_ns >= self.over_ns
            && self.recovered_ns.is_none()
            && outstanding <= self.usual_max
        {
            self.recovered_ns = Some(now_ns);
        }
    }

    /// Seconds from the end of the disturbance.
    pub fn seconds(&self) -> Option<f64> {
        let recovered_ns = self.recovered_ns?;
        Some((recovered_ns.saturating_sub(self.over_ns) as f64 / 1e6).round() / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_is_the_return_to_what_was_usual() {
        let mut recovery = Recovery::new(1_000_000_000, 2_000_000_000);
        recovery.see(500_000_000, 20);
        recovery.see(1_500_000_000, 900);
        recovery.see(2_100_000_000, 400);
        assert_eq!(recovery.seconds(), None);
        recovery.see(2_750_000_000, 19);
        recovery.see(2_900_000_000, 25);
        assert_eq!(recovery.seconds(), Some(0.75));
    }
}
