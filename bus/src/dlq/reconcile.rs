//! The reconciler: work-queue messages that nobody will take.
//! Reads: every work queue, its consumers, and the messages that look forgotten. Writes: the `DLQ` stream, and
//! takes what is filed out of its queue; two gauges. Never: touches a message that somebody may still handle.
//!
//! A message of a work queue stays until it is acknowledged, so one that no consumer will offer again stays for
//! ever and is seen by nobody. There are two kinds:
//!
//! - **Below the floor.** Everything up to a consumer's acknowledgement floor is settled; what is stored there
//!   and passes its filters had all its deliveries (`max_deliver`, or a termination whose removal got lost).
//!   A message in flight, put off by a delayed negative acknowledgement or waiting for a slow handler is
//!   *pending*, and the floor never passes a pending message. New messages are above it. The floor moves with
//!   acknowledgements; if nothing at all is pending, everything that was delivered counts as below it.
//! - **Unwanted.** No filter of any consumer takes the subject: the consumer was deleted or renamed. It may as
//!   well not have been created yet, so such messages are reported at once and filed only when they are old
//!   ([`ReconcileOptions::unwanted_after`]). Messages that wait for their time (`_delay.`, `_schedule.`) are
//!   nobody's by intention and left alone.
//!
//! A state that is read while it changes can mislead: an acknowledgement moves the floor before the message is
//! removed, and replicas lag. So a message is only a *candidate* when it is found first. It is filed if it is
//! found again after [`ReconcileOptions::settle`], for the same incarnation of the consumer, with floor and
//! filters read anew, and the stream's leader still has it.
//!
//! Logs have no such messages: a reader that gave up leaves the message to the others. For readers of logs
//! with a delivery limit, the messages beyond it are compared with those that were filed, and the difference
//! is reported.

mod find;
mod judge;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::clock;
use crate::connect::Bus;
use crate::fetch::FetchError;
use crate::lifecycle::Lifecycle;
use crate::telemetry;

use super::backstop::{Source, file_and_remove};
use super::letter::{Failed, FiledBy};

pub use judge::{NOBODY, Stranded, Why};

/// Messages that may be candidates at the same time; more are looked at when these are done.
const CANDIDATES_MAX: usize = 10_000;

/// How careful and how diligent the reconciler is.
#[derive(Clone, Copy, Debug)]
pub struct ReconcileOptions {
    /// Between two rounds.
    pub every: Duration,
    /// How long a message must look forgotten before it is filed.
    pub settle: Duration,
    /// Age of a message that no consumer wants before it is filed.
    pub unwanted_after: Duration,
    /// Messages looked at in one round.
    pub look_max: usize,
    /// Messages filed in one round.
    pub file_max: usize,
}

impl Default for ReconcileOptions {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(60),
            settle: Duration::from_secs(60),
            unwanted_after: Duration::from_secs(24 * 60 * 60),
            look_max: 5_000,
            file_max: 500,
        }
    }
}

/// Runs rounds until the soft stop.
pub async fn run(bus: &Bus, options: ReconcileOptions, lifecycle: Lifecycle) {
    let mut reconciler = Reconciler::new(bus, options);
    let mut tick = tokio::time::interval(options.every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = lifecycle.soft.cancelled() => return,
            _ = tick.tick() => {}
        }
        tokio::select! {
            () = lifecycle.soft.cancelled() => return,
            round = reconciler.round() => if let Err(error) = round {
                tracing::warn!("work queues could not be reconciled this time: {error}");
            },
        }
    }
}

/// What one round found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Messages that nobody will take, filed or not yet.
    pub stranded: Vec<Stranded>,
    /// How many of them were filed.
    pub filed: usize,
}

/// Remembers candidates from round to round.
#[derive(Debug)]
pub struct Reconciler {
    bus: Bus,
    options: ReconcileOptions,
    /// When each candidate was found first.
    candidates: BTreeMap<Stranded, Instant>,
}

impl Reconciler {
    /// A reconciler that has seen nothing yet.
    #[must_use]
    pub fn new(bus: &Bus, options: ReconcileOptions) -> Self {
        Self { bus: bus.clone(), options, candidates: BTreeMap::new() }
    }

    /// One round over all streams.
    ///
    /// # Errors
    /// If the server does not answer; what was filed before that stays filed.
    pub async fn round(&mut self) -> Result<Round, FetchError> {
        let mut round = Round::default();
        let mut budget = self.options.look_max;
        for stream in find::streams(&self.bus).await? {
            let name = stream.cached_info().config.name.clone();
            let found = find::stranded(&self.bus, &stream, &mut budget).await?;
            let source = Source::of(stream);
            report(&name, &found);
            for one in &found.messages {
                if round.filed < self.options.file_max && self.is_ripe(one) {
                    round.filed += usize::from(self.file(one, &source).await?);
                }
            }
            round.stranded.extend(found.messages);
        }
        self.forget_all_but(&round.stranded);
        Ok(round)
    }

    /// Whether a message was found often and long enough. The first time it becomes a candidate.
    fn is_ripe(&mut self, one: &Stranded) -> bool {
        let now = clock::monotonic();
        match self.candidates.get(one) {
            Some(first) => now.duration_since(*first) >= self.options.settle,
            None => {
                if self.candidates.len() < CANDIDATES_MAX {
                    self.candidates.insert(one.clone(), now);
                }
                false
            }
        }
    }

    /// What is not found any more was handled after all, or was filed.
    fn forget_all_but(&mut self, stranded: &[Stranded]) {
        let found: std::collections::BTreeSet<&Stranded> = stranded.iter().collect();
        self.candidates.retain(|one, _| found.contains(one));
    }

    async fn file(&self, one: &Stranded, source: &Source) -> Result<bool, FetchError> {
        // The leader's word; a replica may still show what was acknowledged.
        let Some(message) = source.message(one.sequence).await? else {
            return Ok(false);
        };
        let age = clock::now().since(message.time);
        let unwanted_after = i64::try_from(self.options.unwanted_after.as_micros());
        if one.why == Why::Unwanted && age < unwanted_after.unwrap_or(i64::MAX) {
            return Ok(false);
        }
        let failed = Failed {
            stream: &one.stream,
            consumer: &one.consumer,
            sequence: one.sequence,
            subject: &message.subject,
            headers: &message.headers,
            payload: message.payload.clone(),
            stored_at: message.time,
            first_failure: None,
            attempts: 0,
            class: "stranded",
            reason: one.why.as_str(),
            error: one.why.explained(),
            filed_by: FiledBy::Reconciler,
        };
        match file_and_remove(&self.bus, &failed, source).await {
            Ok(()) => Ok(true),
            Err(error) => {
                tracing::error!(stream = one.stream, stream.sequence = one.sequence, "{error}");
                Ok(false)
            }
        }
    }
}

fn report(stream: &str, found: &find::Found) {
    for why in Why::ALL {
        let count = found.messages.iter().filter(|one| one.why == why).count();
        telemetry::stranded(stream, why.as_str(), count as u64);
        if count > 0 {
            tracing::warn!(
                stream,
                stranded.why = why.as_str(),
                stranded.messages = count,
                "messages that nobody will take: {}",
                why.explained()
            );
        }
    }
    telemetry::stranded(stream, "unfiled", found.unfiled);
    if found.unfiled > 0 {
        tracing::warn!(
            stream,
            stranded.messages = found.unfiled,
            "a consumer with a delivery limit has given up messages that were not filed: their advisories \
             were lost"
        );
    }
}
