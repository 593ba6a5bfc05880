//! Handling messages in turn: each waits for the one of its key before it, and is tried again in place.
//! Reads and writes: as [`super`]. Never: gives a message that failed back while the process goes on,
//! because the messages of its key behind it would pass it.
//!
//! Everything that waits sends heartbeats, so that the server does not offer it to anybody else.

use std::future::Future;
use std::time::Duration;

use super::decide::{self, Decision, InPlace};
use super::lanes::{Passed, Turn};
use super::settle::{Incoming, Settler};
use super::single::Single;
use super::{Failure, Handler};
use crate::telemetry;

/// Pause before a dead letter that could not be stored is tried again.
const PARK_PAUSE: Duration = Duration::from_secs(2);

/// What became of a message in turn.
enum Ended {
    Settled,
    GivenBack,
}

impl<T: Send + 'static, H: Handler<T>> Single<T, H> {
    /// One message to its end, in its turn.
    pub(super) async fn in_turn(&self, mut message: Incoming, mut turn: Turn) {
        let settler = &self.settler;
        telemetry::ordered_keys(&settler.spec.durable, turn.lanes().keys());
        let mut beat = Beat::new(settler);
        let ended = match beat.during(&message, turn.wait()).await {
            Passed::Go => self.until_settled(&mut message, &turn, &mut beat).await,
            Passed::GiveBack => Ended::GivenBack,
        };
        match ended {
            Ended::Settled => turn.settled(),
            Ended::GivenBack => {
                // Before the next one hears of it, so that the server takes them back in order.
                settler.nak(&message, Duration::ZERO).await;
                turn.given_back();
            }
        }
    }

    async fn until_settled(
        &self,
        message: &mut Incoming,
        turn: &Turn,
        beat: &mut Beat<'_>,
    ) -> Ended {
        let spec = &self.settler.spec;
        loop {
            let decision = match decide::exhausted(message.meta.attempt, spec.max_attempts) {
                Some(parked) => parked,
                None => {
                    let result = self.attempt(message, turn, beat).await;
                    decide::after(
                        &result,
                        message.meta.attempt,
                        spec.max_attempts,
                        &spec.backoff,
                        rand::random(),
                    )
                }
            };
            let (pause, counts) = match decide::in_place(decision, message.meta.attempt) {
                InPlace::Settle(decision) => return self.end(message, decision, beat).await,
                InPlace::Again { after, counts } => (after, counts),
            };
            telemetry::retried_in_place(&spec.durable);
            message.meta.attempt = message.meta.attempt.saturating_add(u32::from(counts));
            message.meta.is_last = message.meta.attempt >= spec.max_attempts;
            message.meta.redelivered = true;
            if self.stopped_within(message, pause, beat).await {
                return Ended::GivenBack;
            }
        }
    }

    /// Settles; a dead letter that cannot be stored keeps its key waiting until it can. Only what was surely
    /// parked counts as settled, because a settled message that comes again is acknowledged unseen.
    async fn end(&self, message: &Incoming, decision: Decision, beat: &mut Beat<'_>) -> Ended {
        loop {
            let told = self.settle(message, decision.clone()).await;
            if decision == Decision::Ack || told == "term" {
                return Ended::Settled;
            }
            if self.stopped_within(message, PARK_PAUSE, beat).await {
                return Ended::GivenBack;
            }
        }
    }

    /// Waits; true if the consumer shall stop meanwhile.
    async fn stopped_within(
        &self,
        message: &Incoming,
        pause: Duration,
        beat: &mut Beat<'_>,
    ) -> bool {
        let stopped = async {
            tokio::select! {
                () = tokio::time::sleep(pause) => false,
                () = self.soft.cancelled() => true,
            }
        };
        beat.during(message, stopped).await
    }

    async fn attempt(
        &self,
        message: &Incoming,
        turn: &Turn,
        beat: &mut Beat<'_>,
    ) -> Result<(), Failure> {
        if let Some(why) = turn.keyless {
            return Err(Failure::retry(why));
        }
        // Released with the answer: a pause between attempts keeps nobody else from working.
        let _room = beat.during(message, turn.lanes().room()).await;
        self.handle(message).await
    }
}

/// The heartbeats of one message, from its arrival to its end: many short waits must not put them off.
struct Beat<'a> {
    settler: &'a Settler,
    next: tokio::time::Interval,
}

impl<'a> Beat<'a> {
    fn new(settler: &'a Settler) -> Self {
        let mut next = tokio::time::interval(settler.spec.ack_wait / 3);
        next.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        next.reset();
        Self { settler, next }
    }

    /// Waits with heartbeats.
    async fn during<R>(&mut self, message: &Incoming, wait: impl Future<Output = R>) -> R {
        tokio::pin!(wait);
        loop {
            tokio::select! {
                biased;
                _ = self.next.tick() => self.settler.progress(message).await,
                done = &mut wait => return done,
            }
        }
    }
}
