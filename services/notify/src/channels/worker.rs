//! What every channel worker does around the call of its provider.
//! Reads: a delivery, its ledger. Writes: the provider (through `sender`), one outcome for each attempt.
//! Never: sends what the ledger shows as done, forgets to report, retries what cannot succeed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use campana_bus::clock::{self, Micros};
use campana_bus::consume::{Failure, Handler, Meta};
use campana_bus::ids::DeliveryId;
use campana_bus::publish::{GroupPublisher, Outgoing, StoredAt};
use campana_bus::stamps::{Stage, Stamps};
use campana_bus::{Bus, subjects};
use dashmap::DashSet;
use tokio_util::sync::CancellationToken;

use super::classify::{Class, MessageAction, RecipientAction, Signal, classify};
use super::health::Health;
use super::ledger::{self, Entry};
use super::redact::redact;
use super::reply::{Accepted, Place, Refusal};
use super::sender::Sender;
use super::{ChannelDeps, ChannelOptions, retry};
use crate::contracts::{
    AttemptReport, Channel, Delivery, DeliveryStatus, OUTCOME_TYPE, Outcome, OutcomeEvent,
};
use crate::plan;
use crate::telemetry;

/// How long a delivery is held for a fault that is not its own, before it fails after all.
const HOLD_MAX: Duration = Duration::from_secs(72 * 3600);
/// Longest wait in place for a provider that pauses or has no place; longer ones go back to the queue.
const WAIT_IN_PLACE_MAX: Duration = Duration::from_secs(100);
/// How long a second copy of a delivery stands back while the first one is being sent.
const SAME_DELIVERY_PAUSE: Duration = Duration::from_secs(5);

/// Handles the deliveries of one channel.
pub struct ChannelWorker {
    channel: Channel,
    sender: Sender,
    bus: Bus,
    outcomes: GroupPublisher,
    retry_seconds: Vec<u64>,
    health: Health,
    busy: Arc<DashSet<DeliveryId>>,
    soft: CancellationToken,
}

/// One attempt, as far as it is known before the provider answers.
struct Attempt<'a> {
    delivery: &'a Delivery,
    meta: &'a Meta,
    /// 1 for the first one of this life of the delivery, counted over all copies of the command.
    number: u32,
    possible_duplicate: bool,
    started: Instant,
}

/// Frees the delivery's id when the attempt ends, also when it is dropped.
struct Busy(Arc<DashSet<DeliveryId>>, DeliveryId);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.remove(&self.1);
    }
}

impl ChannelWorker {
    /// A worker that is not running yet.
    ///
    /// # Errors
    /// Says which option makes no sense.
    pub fn new(
        channel: Channel,
        options: &ChannelOptions,
        deps: &ChannelDeps,
        soft: CancellationToken,
    ) -> Result<Self, String> {
        let retry_seconds = match channel {
            Channel::Email => &options.email.retry_seconds,
            Channel::InApp | Channel::Sms | Channel::Whatsapp => &options.twilio.retry_seconds,
            Channel::Webhook => &options.webhook.retry_seconds,
        };
        let sender = Sender::new(channel, options, deps)?;
        telemetry::start_worker(channel, sender.provider(), sender.waits_in_place());
        Ok(Self {
            channel,
            sender,
            bus: deps.bus.clone(),
            outcomes: deps.outcomes.clone(),
            retry_seconds: retry_seconds.clone(),
            health: Health::new(),
            busy: Arc::new(DashSet::new()),
            soft,
        })
    }
}

impl Handler<Delivery> for ChannelWorker {
    async fn handle(&self, delivery: Delivery, meta: Meta) -> Result<(), Failure> {
        if !self.busy.insert(delivery.id) {
            return Err(Failure::defer(
                SAME_DELIVERY_PAUSE,
                "another copy of this delivery is being sent",
            ));
        }
        let _busy = Busy(Arc::clone(&self.busy), delivery.id);
        let stamps =
            Stamps::of(&meta.headers).map(|stamps| stamps.with(Stage::Worker, clock::tick()));
        let mut attempt = Attempt {
            delivery: &delivery,
            meta: &meta,
            number: meta.attempt,
            possible_duplicate: false,
            started: clock::monotonic(),
        };
        if is_expired(&delivery, clock::now()) {
            return self.expire(&attempt).await;
        }
        if meta.redelivered {
            match ledger::look(&self.bus, &delivery, meta.redrives, meta.attempt).await {
                Ok(Entry::Settled) => {
                    telemetry::repeat_dropped(self.channel);
                    return Ok(());
                }
                Ok(Entry::Clear(number)) => attempt.number = number,
                Ok(Entry::Unsure(number)) => {
                    attempt.number = number;
                    attempt.possible_duplicate = true;
                }
                Err(error) => {
                    return Err(Failure::retry(format!(
                        "the attempt ledger does not answer: {error}"
                    )));
                }
            }
        }
        let circuit = self.sender.circuit(&delivery);
        let waiting_since = clock::monotonic();
        let place = match self.place(&delivery).await? {
            Ok(place) => place,
            Err(refusal) => return self.refused(&attempt, &circuit, refusal).await,
        };
        self.admitted(&circuit, waiting_since).await?;
        // What is waited for a place says nothing about the provider.
        attempt.started = clock::monotonic();
        let stamps = stamps.map(|stamps| stamps.with(Stage::Provider, clock::tick()).to_string());
        let reply = self.sender.send(place, &delivery, meta.redrives, stamps.as_deref()).await;
        telemetry::send_stage(self.channel, attempt.started.elapsed());
        match reply {
            Ok(accepted) => {
                let state = self.health.report(&circuit, None, None, clock::monotonic());
                self.show_circuit(state);
                self.accepted(&attempt, accepted).await
            }
            Err(refusal) => self.refused(&attempt, &circuit, refusal).await,
        }
    }

    async fn on_dead(&self, payload: &Bytes, meta: &Meta, reason: &str) -> Result<(), Failure> {
        let Ok(delivery) = serde_json::from_slice::<Delivery>(payload) else {
            tracing::warn!(
                stream.sequence = meta.sequence,
                reason,
                "a delivery that cannot be read was parked; it has no outcome to report"
            );
            return Ok(());
        };
        let attempt = Attempt {
            delivery: &delivery,
            meta,
            number: meta.attempt,
            possible_duplicate: false,
            started: clock::monotonic(),
        };
        // The same id as the worker's own report of this attempt: if that one was stored, this one is dropped.
        let report = self.draft(&attempt, DeliveryStatus::Failed, reason);
        self.report(&attempt, report_id(&attempt), report).await?;
        Ok(())
    }
}

fn is_expired(delivery: &Delivery, now: Micros) -> bool {
    delivery.expires_at.is_some_and(|at| at <= now)
}

fn report_id(attempt: &Attempt<'_>) -> String {
    format!("attempt:{}:{}:{}", attempt.delivery.id, attempt.meta.redrives, attempt.number)
}

fn plus(now: Micros, wait: Duration) -> Micros {
    now.plus_seconds(i64::try_from(wait.as_secs()).unwrap_or(i64::MAX))
}

impl ChannelWorker {
    /// Waits for a place at the provider, as long as for one that pauses. What has none at a stop goes back: the
    /// drain would not end before all that waits were sent.
    async fn place(&self, delivery: &Delivery) -> Result<Result<Place, Refusal>, Failure> {
        let back = |why| Failure::defer(Duration::from_secs(1), why);
        tokio::select! {
            biased;
            place = tokio::time::timeout(WAIT_IN_PLACE_MAX, self.sender.place(delivery)) => {
                place.map_err(|_| back("all requests to the provider take long"))
            }
            () = self.soft.cancelled() => Err(back("stopping")),
        }
    }

    /// Waits for a provider that pauses.
    async fn admitted(&self, circuit: &str, waiting_since: Instant) -> Result<(), Failure> {
        loop {
            let Err(wait) = self.health.admit(circuit, clock::monotonic()) else {
                return Ok(());
            };
            self.show_circuit(2);
            if !self.sender.waits_in_place() || waiting_since.elapsed() + wait > WAIT_IN_PLACE_MAX {
                return Err(Failure::defer(
                    wait.max(Duration::from_secs(1)),
                    "the provider pauses",
                ));
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.soft.cancelled() => return Err(Failure::defer(Duration::from_secs(1), "stopping")),
            }
        }
    }

    /// A channel with a circuit for each host shows none: one gauge cannot stand for thousands.
    fn show_circuit(&self, state: u8) {
        if self.sender.waits_in_place() {
            telemetry::circuit(self.sender.provider(), state);
        }
    }

    async fn accepted(&self, attempt: &Attempt<'_>, accepted: Accepted) -> Result<(), Failure> {
        telemetry::provider_request(self.sender.provider(), "ok", attempt.started.elapsed());
        if attempt.possible_duplicate {
            telemetry::possible_duplicate(self.channel);
        }
        let report = AttemptReport {
            reason: None,
            detail: accepted.detail.as_deref().map(redact),
            provider_message_id: accepted.provider_message_id,
            ..self.draft(attempt, accepted.status, "")
        };
        self.report(attempt, report_id(attempt), report).await?;
        Ok(())
    }

    async fn refused(
        &self,
        attempt: &Attempt<'_>,
        circuit: &str,
        refusal: Refusal,
    ) -> Result<(), Failure> {
        let class = classify(&refusal.signal);
        telemetry::provider_request(
            self.sender.provider(),
            label(&refusal.signal, &class),
            attempt.started.elapsed(),
        );
        // What we refuse ourselves says nothing about the provider.
        if !matches!(refusal.signal, Signal::Refused(_) | Signal::NotReady(_)) {
            let state =
                self.health.report(circuit, Some(&class), refusal.retry_after, clock::monotonic());
            self.show_circuit(state);
        }
        if attempt.possible_duplicate {
            telemetry::possible_duplicate(self.channel);
        }
        let detail = redact(&refusal.detail);
        match class.message {
            MessageAction::Fail => self.fail(attempt, &class, &class.reason, &detail).await,
            MessageAction::Hold => self.hold(attempt, &class, &detail).await,
            MessageAction::Retry | MessageAction::RetrySlow => {
                self.retry(attempt, &class, refusal.retry_after, &detail).await
            }
        }
    }

    /// Given up: reported, and parked so that an operator can redrive it.
    async fn fail(
        &self,
        attempt: &Attempt<'_>,
        class: &Class,
        reason: &str,
        detail: &str,
    ) -> Result<(), Failure> {
        if class.recipient != RecipientAction::None {
            telemetry::suppress_signal(self.channel);
        }
        let opted_out = class.recipient == RecipientAction::OptedOut;
        let status = if opted_out { DeliveryStatus::Suppressed } else { DeliveryStatus::Failed };
        let report = AttemptReport {
            detail: Some(detail.to_owned()),
            ..self.draft(attempt, status, reason)
        };
        self.report(attempt, report_id(attempt), report).await?;
        if opted_out {
            // The person's own wish: nothing to repair, so nothing to park.
            return Ok(());
        }
        Err(Failure::dead(reason, detail))
    }

    /// Not this message's fault: it keeps its attempts and comes back.
    async fn hold(
        &self,
        attempt: &Attempt<'_>,
        class: &Class,
        detail: &str,
    ) -> Result<(), Failure> {
        let now = clock::now();
        let held = now.since(attempt.delivery.accepted_at);
        if u128::try_from(held).unwrap_or_default() > HOLD_MAX.as_micros() {
            return self.fail(attempt, class, &class.reason, detail).await;
        }
        let wait = class.wait
            + class.wait.mul_f64(0.2 * retry::spread(attempt.delivery.id, attempt.number));
        let report = AttemptReport {
            detail: Some(detail.to_owned()),
            retry_at: Some(plus(now, wait)),
            ..self.draft(attempt, DeliveryStatus::Retrying, &class.reason)
        };
        // An id of its own: the attempt itself is still to come and will report under its own.
        self.report(attempt, format!("{}{}", report_id(attempt), ledger::HELD), report).await?;
        Err(Failure::defer(wait, &class.reason))
    }

    async fn retry(
        &self,
        attempt: &Attempt<'_>,
        class: &Class,
        retry_after: Option<Duration>,
        detail: &str,
    ) -> Result<(), Failure> {
        if attempt.meta.is_last {
            return self.fail(attempt, class, &class.reason, detail).await;
        }
        let wait = retry::pause(
            &self.retry_seconds,
            attempt.number,
            class,
            retry_after,
            attempt.delivery.id,
        );
        let now = clock::now();
        // A message that would be too late comes back at its end and is then reported as expired.
        let wait = attempt.delivery.expires_at.map_or(wait, |end| {
            let left = u64::try_from(end.since(now)).unwrap_or_default();
            wait.min(Duration::from_micros(left))
        });
        let at = plus(now, wait);
        let report = AttemptReport {
            detail: Some(detail.to_owned()),
            retry_at: Some(at),
            ..self.draft(attempt, DeliveryStatus::Retrying, &class.reason)
        };
        self.report(attempt, report_id(attempt), report).await?;
        Err(Failure::retry_after(wait, &class.reason))
    }

    async fn expire(&self, attempt: &Attempt<'_>) -> Result<(), Failure> {
        self.report(
            attempt,
            report_id(attempt),
            self.draft(attempt, DeliveryStatus::Expired, plan::EXPIRED),
        )
        .await?;
        Ok(())
    }

    fn draft(&self, attempt: &Attempt<'_>, status: DeliveryStatus, reason: &str) -> AttemptReport {
        AttemptReport {
            delivery_id: attempt.delivery.id,
            channel: Some(attempt.delivery.channel),
            accepted_at: Some(attempt.delivery.accepted_at),
            attempt: attempt.number,
            generation: attempt.meta.redrives,
            status,
            reason: Some(reason.to_owned()).filter(|reason| !reason.is_empty()),
            detail: None,
            provider: self.sender.provider().to_owned(),
            provider_message_id: None,
            duration_ms: u64::try_from(attempt.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            retry_at: None,
            possible_duplicate: attempt.possible_duplicate,
        }
    }

    /// Stores the outcome. Without it the message is not acknowledged: it comes back, finds no report of
    /// this attempt in the ledger and goes out marked as a possible duplicate.
    async fn report(
        &self,
        attempt: &Attempt<'_>,
        id: String,
        report: AttemptReport,
    ) -> Result<StoredAt, Failure> {
        let delivery = attempt.delivery;
        let at = clock::now();
        let outcome = Outcome {
            id,
            notification_id: delivery.notification_id,
            tenant: delivery.tenant.clone(),
            at,
            trace: delivery.trace,
            event: OutcomeEvent::Attempted(report),
        };
        let body =
            serde_json::to_vec(&outcome).map_err(|error| Failure::dead("cannot_encode", error))?;
        let subject = subjects::outcome(&delivery.tenant, &delivery.notification_id.to_string());
        let source = format!("campana/channel/{}", self.channel.as_str());
        let message = Outgoing::new(subject, outcome.id.clone(), Bytes::from(body)).event(
            OUTCOME_TYPE,
            &source,
            at,
            Some(delivery.trace),
        );
        self.outcomes
            .publish(message)
            .await
            .map_err(|error| Failure::retry(format!("the outcome was not stored: {error}")))
    }
}

/// The outcome label of provider metrics.
fn label(signal: &Signal, class: &Class) -> &'static str {
    match (signal, class.message) {
        (Signal::Lost { .. }, _) => "timeout",
        (
            Signal::Smtp { .. } | Signal::Twilio { .. } | Signal::Webhook { .. },
            MessageAction::Retry | MessageAction::RetrySlow,
        ) if class.provider == super::classify::ProviderAction::Slow => "rate_limited",
        (_, MessageAction::Fail) => "permanent",
        (_, MessageAction::Hold | MessageAction::Retry | MessageAction::RetrySlow) => "retryable",
    }
}
