//! The recorder role: the only writer of the status tables.
//! Reads: the stream `OUTCOMES`, in batches; receipts (`seen`). Writes: tables `notifications`, `deliveries`, `outcomes`
//! (see `store::status`), and the metrics of completed deliveries. Never: acknowledges what is not
//! committed; while the database is away the outcomes wait in the stream.

mod seen;

use std::time::Duration;

use bytes::Bytes;
use campana_bus::consume::{self, BatchHandler, BatchOptions, ConsumerSpec, Failure, Meta};
use campana_bus::headers::ENVELOPE_PARTS;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::decode_parts;
use campana_bus::{Bus, topology};
use serde::{Deserialize, Serialize};

use crate::contracts::{Channel, DeliveryStatus, Outcome};
use crate::store::Store;
use crate::store::status::{Applied, Completion};

/// Deliveries that ended, by channel and outcome.
pub const COMPLETED: &str = "campana_notifications_completed_total";
/// Deliveries of which a provider told more later, by channel and outcome.
pub const CONFIRMED: &str = "campana_notifications_confirmed_total";
/// Seconds from acceptance to the outcome that ended a delivery, by channel. In-app ends when the message
/// is stored on the person's channel.
pub const E2E_SECONDS: &str = "campana_notification_e2e_duration_seconds";
/// Outcomes recorded, by result (fresh or repeated).
pub const RECORDED: &str = "campana_recorder_outcomes_total";
/// Seconds that a batch's transaction took.
pub const BATCH_SECONDS: &str = "campana_recorder_batch_duration_seconds";

/// Messages of one batch; some are envelopes of 256 outcomes, and the next batch fills up meanwhile.
const MESSAGES_MAX: usize = 128;
/// Pause before a batch is tried again while the database is away.
const OUTAGE_PAUSE: Duration = Duration::from_secs(1);

/// Options of the recorder role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecorderOptions {
    /// Outcomes in one transaction.
    pub batch_max: usize,
    /// Milliseconds that the first outcome waits for company.
    pub batch_wait_ms: u64,
}

impl Default for RecorderOptions {
    fn default() -> Self {
        Self { batch_max: 500, batch_wait_ms: 50 }
    }
}

/// Records outcomes until the soft stop.
///
/// # Errors
/// If the stream or its consumer is refused.
pub async fn run(
    options: RecorderOptions,
    store: Store,
    bus: Bus,
    lifecycle: Lifecycle,
) -> anyhow::Result<()> {
    let spec = ConsumerSpec {
        // Short, so that what a killed recorder held is soon recorded by the next; repeats change nothing.
        ack_wait: Duration::from_secs(10),
        filters: outcome_filters(),
        max_in_flight: MESSAGES_MAX,
        ..ConsumerSpec::new(topology::OUTCOMES, "recorder", "")
    };
    let batches = BatchOptions {
        max: options.batch_max.min(MESSAGES_MAX),
        wait: Duration::from_millis(options.batch_wait_ms),
    };
    describe();
    let seen = seen::run(&bus, store.clone(), &lifecycle);
    let outcomes = async {
        consume::run_batches(
            &bus,
            spec,
            batches,
            Recorder { store: store.clone(), transaction_max: options.batch_max.max(1) },
            lifecycle.clone(),
        )
        .await?;
        Ok(())
    };
    tokio::try_join!(outcomes, seen)?;
    Ok(())
}

struct Recorder {
    store: Store,
    /// Outcomes in one transaction.
    transaction_max: usize,
}

impl BatchHandler for Recorder {
    async fn handle(&self, batch: Vec<(Bytes, Meta)>) -> Result<(), Failure> {
        let mut outcomes = Vec::with_capacity(batch.len());
        let mut bad = None;
        for (payload, meta) in &batch {
            for body in bodies(payload, meta) {
                match serde_json::from_slice(&body) {
                    Ok(outcome) => outcomes.push(clean(outcome)),
                    Err(error) => bad = Some(Failure::dead("undecodable", error)),
                }
            }
        }
        // A batch with a bad message fails as a whole; the library then hands over each alone. Of one alone,
        // what is good is recorded all the same.
        match bad {
            Some(bad) if batch.len() > 1 => Err(bad),
            bad => self.apply(&outcomes).await.and_then(|()| bad.map_or(Ok(()), Err)),
        }
    }
}

impl Recorder {
    async fn apply(&self, outcomes: &[Outcome]) -> Result<(), Failure> {
        // Messages hold up to many outcomes each, and other writers of the database wait for a transaction.
        for chunk in outcomes.chunks(self.transaction_max) {
            let started = campana_bus::clock::monotonic();
            match self.store.apply_outcomes(chunk).await {
                Ok(applied) => {
                    metrics::histogram!(BATCH_SECONDS).record(started.elapsed().as_secs_f64());
                    count(&applied);
                }
                // A database may be away for a day: status must catch up afterwards, so it costs no attempt.
                Err(error) if error.is_outage() => return Err(Failure::defer(OUTAGE_PAUSE, error)),
                Err(error) => return Err(Failure::retry(error)),
            }
        }
        Ok(())
    }
}

/// The outcomes of a message: an envelope of many, or one alone.
fn bodies(payload: &Bytes, meta: &Meta) -> Vec<Bytes> {
    let is_envelope = campana_bus::headers::get(&meta.headers, ENVELOPE_PARTS).is_some();
    match is_envelope.then(|| decode_parts(payload)).flatten() {
        Some(parts) => parts.into_iter().map(|part| part.body).collect(),
        None => vec![payload.clone()],
    }
}

/// The subjects of all outcomes, as the topology has them.
fn outcome_filters() -> Vec<String> {
    topology::platform(topology::TopologyOptions::default())
        .streams
        .into_iter()
        .filter(|stream| stream.name == topology::OUTCOMES)
        .flat_map(|stream| stream.subjects)
        // The others are the library's own: what waits for its time, or for one consumer.
        .filter(|subject| !subject.starts_with('_'))
        .collect()
}

/// PostgreSQL's text has no U+0000, and one provider's answer must not block a batch for ever.
fn clean(mut outcome: Outcome) -> Outcome {
    use crate::contracts::OutcomeEvent;
    if let OutcomeEvent::Attempted(report) = &mut outcome.event {
        for text in [&mut report.reason, &mut report.detail, &mut report.provider_message_id]
            .into_iter()
            .flatten()
        {
            if text.contains('\0') {
                *text = text.replace('\0', "\u{fffd}");
            }
        }
    }
    outcome
}

fn outcome_label(status: DeliveryStatus) -> &'static str {
    match status {
        // The channel parks what it gives up; `failed` here is what an operator can redrive.
        DeliveryStatus::Failed => "failed",
        other => other.as_str(),
    }
}

fn count(applied: &Applied) {
    metrics::counter!(RECORDED, "result" => "fresh").increment(applied.fresh as u64);
    metrics::counter!(RECORDED, "result" => "repeated").increment(applied.repeated as u64);
    for Completion { channel, status, micros, confirmed } in &applied.completed {
        let channel = channel.map_or("unknown", Channel::as_str);
        let outcome = outcome_label(*status);
        if *confirmed {
            metrics::counter!(CONFIRMED, "channel" => channel, "outcome" => outcome).increment(1);
        } else {
            metrics::counter!(COMPLETED, "channel" => channel, "outcome" => outcome).increment(1);
        }
        if matches!(status, DeliveryStatus::Delivered | DeliveryStatus::Sent) {
            let seconds = Duration::from_micros(u64::try_from(*micros).unwrap_or(0)).as_secs_f64();
            metrics::histogram!(E2E_SECONDS, "channel" => channel).record(seconds);
        }
    }
}

/// Every series exists from the start, so that the first failure is seen as an increase.
fn describe() {
    metrics::describe_counter!(COMPLETED, "deliveries that ended");
    metrics::describe_counter!(CONFIRMED, "later words of providers");
    metrics::describe_histogram!(
        E2E_SECONDS,
        metrics::Unit::Seconds,
        "from acceptance to the outcome; in-app ends when stored on the channel"
    );
    metrics::describe_counter!(RECORDED, "outcomes recorded");
    metrics::describe_histogram!(BATCH_SECONDS, metrics::Unit::Seconds, "transaction of one batch");
    const FINAL: [DeliveryStatus; 6] = [
        DeliveryStatus::Delivered,
        DeliveryStatus::Sent,
        DeliveryStatus::Failed,
        DeliveryStatus::Suppressed,
        DeliveryStatus::Canceled,
        DeliveryStatus::Expired,
    ];
    for channel in Channel::ALL {
        for status in FINAL {
            let (channel, outcome) = (channel.as_str(), outcome_label(status));
            metrics::counter!(COMPLETED, "channel" => channel, "outcome" => outcome).increment(0);
        }
    }
    for result in ["fresh", "repeated"] {
        metrics::counter!(RECORDED, "result" => result).increment(0);
    }
}
