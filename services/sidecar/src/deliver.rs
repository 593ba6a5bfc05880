//! Hands one message to the app and turns what happens into a settlement.
//! Reads: the message. Writes: a request to the app. Never: counts an attempt against a message that the
//! app has not seen, or lets a message go before the app's verdict.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use campana_bus::clock;
use campana_bus::consume::{Failure, Handler, Meta};
use campana_bus::lifecycle::Lifecycle;
use tokio::time::Instant;

use crate::answer::{ANSWER_BYTES_MAX, Answer, Verdict, verdict};
use crate::app::{App, Said, Silence};
use crate::cloudevent::{Handover, write};
use crate::declare::{DeadLetters, Subscription};
use crate::in_hand::{Decision, Holding, InHand};
use crate::telemetry;

/// How long a message is put off while the app is away.
const AWAY_PAUSE: Duration = Duration::from_secs(5);
/// Pause between two tries to reach an app that says it is there.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// Delivers the messages of one subscription.
pub(crate) struct Deliverer {
    pub name: Arc<str>,
    pub subscription: Subscription,
    pub app: App,
    pub in_hand: InHand,
    pub lifecycle: Lifecycle,
}

/// What became of one handover.
enum Outcome {
    Verdict(Verdict),
    Away,
}

impl Handler<Bytes> for Deliverer {
    async fn handle(&self, payload: Bytes, meta: Meta) -> Result<(), Failure> {
        let started = clock::monotonic();
        let given_up = Instant::now() + self.app.hold();
        let verdict = loop {
            // An app that its health check gave up may still have an open port: a message that it gets
            // there would cost an attempt, and in an ordered subscription all of them.
            if self.app.is_up()
                && let Outcome::Verdict(verdict) = self.hand_over(&payload, &meta).await
            {
                break verdict;
            }
            if !self.app_is_back(given_up).await {
                telemetry::delivered(&self.name, "defer", started.elapsed());
                return Err(Failure::defer(AWAY_PAUSE, "the app is not reachable"));
            }
        };
        let (result, settlement) = self.settle(verdict, &meta);
        telemetry::delivered(&self.name, result, started.elapsed());
        settlement
    }
}

impl Deliverer {
    /// Waits for the app: as long as configured, for ever if the order must be kept, but never longer than
    /// until the stop. (A stop gives ordered messages back as they are, because copies would lose their
    /// places; the server counts that as a delivery, and so it costs an attempt.)
    async fn app_is_back(&self, given_up: Instant) -> bool {
        let back = async {
            tokio::time::sleep(RECONNECT_PAUSE).await;
            self.app.wait_up().await;
        };
        let over = async {
            if self.subscription.ordered {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep_until(given_up).await;
        };
        tokio::select! {
            biased;
            () = self.lifecycle.soft.cancelled() => false,
            () = over => false,
            () = back => true,
        }
    }

    async fn hand_over(&self, payload: &Bytes, meta: &Meta) -> Outcome {
        let limits = (self.subscription.timeout(), self.subscription.hold());
        let holding = self.in_hand.open(&self.name, limits.0, limits.1);
        let id = holding.id.to_string();
        let handover = Handover {
            id: &id,
            subscription: &self.name,
            trace: meta.trace.map(campana_bus::trace::TraceParent::child),
        };
        let (headers, body) = write(self.subscription.mode, payload, meta, &handover);
        let request = self.app.post(&self.subscription.path, headers, body, ANSWER_BYTES_MAX);
        let said = tokio::select! {
            said = request => Some(said),
            () = holding.expired() => None,
        };
        let status = said.as_ref().and_then(|said| said.as_ref().ok()).map(|said| said.status);
        telemetry::answered(&self.name, status.map(|status| status.as_u16()));
        let verdict = match said {
            Some(Err(Silence::Away)) => return Outcome::Away,
            Some(Ok(said)) => self.understand(&said),
            Some(Err(Silence::TooLong)) => retry("the app's answer was longer than allowed", true),
            Some(Err(Silence::Broken)) => {
                retry("the connection to the app broke before its answer", false)
            }
            None => retry("the app did not answer in time", false),
        };
        Outcome::Verdict(self.spoken(&holding, verdict).await)
    }

    fn understand(&self, said: &Said) -> Verdict {
        let answer = Answer {
            status: said.status.as_u16(),
            retry_after: said.retry_after(),
            content_type: said.content_type(),
            body: &said.body,
        };
        verdict(answer, self.subscription.answer_later, clock::now())
    }

    /// What the app said by the delivery's id goes before what its answer to the request means.
    async fn spoken(&self, holding: &Holding, verdict: Verdict) -> Verdict {
        let late = if verdict == Verdict::Later {
            tokio::select! {
                () = holding.decided() => Verdict::Ack,
                () = holding.expired() => retry("the app promised an answer and gave none", false),
            }
        } else {
            verdict
        };
        match holding.close() {
            None => late,
            Some(Decision::Ack) => Verdict::Ack,
            Some(Decision::Retry { after }) => Verdict::Retry {
                after,
                why: "the app asked for a retry".to_owned(),
                misconfigured: false,
            },
            Some(Decision::Dead { reason, error }) => Verdict::Dead { reason, why: error },
        }
    }

    fn settle(&self, verdict: Verdict, meta: &Meta) -> (&'static str, Result<(), Failure>) {
        let drops = self.subscription.dead_letters == DeadLetters::Drop;
        match verdict {
            Verdict::Ack | Verdict::Later => ("ack", Ok(())),
            Verdict::Retry { why, .. } if meta.is_last && drops => self.dropped(meta, &why),
            Verdict::Retry { after, why, misconfigured } => {
                if misconfigured {
                    tracing::warn!(
                        subscription = %self.name, path = self.subscription.path, attempt = meta.attempt,
                        "{why}: check the path and the token; the message is tried again"
                    );
                }
                let failure = after.map_or_else(
                    || Failure::retry(&why),
                    |after| Failure::retry_after(after, &why),
                );
                ("retry", Err(failure))
            }
            Verdict::Dead { why, .. } if drops => self.dropped(meta, &why),
            Verdict::Dead { reason, why } => ("dead", Err(Failure::dead(reason, why))),
        }
    }

    fn dropped(&self, meta: &Meta, why: &str) -> (&'static str, Result<(), Failure>) {
        tracing::warn!(
            subscription = %self.name, stream.sequence = meta.sequence, attempt = meta.attempt,
            "message dropped, as the subscription says: {why}"
        );
        ("drop", Ok(()))
    }
}

fn retry(why: &str, misconfigured: bool) -> Verdict {
    Verdict::Retry { after: None, why: why.to_owned(), misconfigured }
}
