//! The metrics of one consumer, looked up once: a message must not pay for building labels.
//! Reads: nothing. Writes: the metrics recorder that is installed when the consumer starts. Never: puts an id,
//! a name that users chose or an address into a label; stream and durable names are chosen by operators.

use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};

use super::{
    ATTEMPTS, CONSUMED, DEAD_LETTERS, OPERATION_SECONDS, PARK_FAILURES, PROCESS_SECONDS, SETTLED,
};
use crate::subjects::template;

/// How a message can be settled: `schedule` is a stored copy and an acknowledgement, `ack_lost` an answer that
/// could not be sent, so that the message comes again.
const RESULTS: [&str; 5] = ["ack", "nak", "term", "schedule", "ack_lost"];
/// Why a message is given up by its own consumer.
const CLASSES: [&str; 4] = ["permanent", "max_deliver", "poison", "expired"];
/// Why it could not be filed.
const PARK_ERRORS: [&str; 4] = ["full", "unreachable", "too_large", "refused"];
/// What is told to the server.
const OPERATIONS: [&str; 3] = ["ack", "nak", "term"];
/// How a call of a handler can end.
const ENDS: [&str; 3] = ["", "timeout", "panic"];

/// The handles of one consumer. All label values are there from the start, with 0.
#[derive(Clone)]
pub(crate) struct ConsumerMeter {
    consumed: Counter,
    processed: [Histogram; ENDS.len()],
    settled: [Counter; RESULTS.len()],
    attempts: Histogram,
    answered: [Histogram; OPERATIONS.len()],
    unanswered: [Histogram; OPERATIONS.len()],
}

impl std::fmt::Debug for ConsumerMeter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConsumerMeter").finish_non_exhaustive()
    }
}

impl ConsumerMeter {
    /// The handles of a consumer that takes `filter` from `stream`.
    pub fn new(stream: &str, consumer: &str, filter: &str) -> Self {
        let template = template(filter);
        let settled = |result: &'static str| counter!(SETTLED, "stream" => stream.to_owned(), "consumer" => consumer.to_owned(), "result" => result);
        let operation = |name: &'static str, error: &'static str| {
            histogram!(OPERATION_SECONDS, "messaging_system" => "nats", "messaging_operation_name" => name,
                "messaging_destination_template" => template, "error_type" => error)
        };
        let processed = |error: &'static str| {
            histogram!(PROCESS_SECONDS, "messaging_system" => "nats", "messaging_operation_name" => "process",
                "messaging_destination_template" => template,
                "messaging_consumer_group_name" => consumer.to_owned(), "error_type" => error)
        };
        let meter = Self {
            consumed: counter!(CONSUMED, "messaging_system" => "nats", "messaging_operation_name" => "fetch",
                "messaging_destination_template" => template,
                "messaging_consumer_group_name" => consumer.to_owned(), "error_type" => ""),
            processed: ENDS.map(processed),
            settled: RESULTS.map(settled),
            attempts: histogram!(ATTEMPTS, "consumer" => consumer.to_owned()),
            answered: OPERATIONS.map(|name| operation(name, "")),
            unanswered: OPERATIONS.map(|name| operation(name, "closed")),
        };
        meter.settled.iter().chain([&meter.consumed]).for_each(|counter| counter.increment(0));
        for (name, reasons) in [(DEAD_LETTERS, CLASSES), (PARK_FAILURES, PARK_ERRORS)] {
            for reason in reasons {
                counter!(name, "stream" => stream.to_owned(), "consumer" => consumer.to_owned(), "reason" => reason)
                    .increment(0);
            }
        }
        meter
    }

    /// A message arrived.
    pub fn consumed(&self) {
        self.consumed.increment(1);
    }

    /// A handler's call ended: well, by a `timeout` or a `panic`.
    pub fn processed(&self, error: &'static str, took: Duration) {
        if let Some(handle) = of(&ENDS, &self.processed, error) {
            handle.record(took.as_secs_f64());
        }
    }

    /// A message was settled.
    pub fn settled(&self, result: &'static str, attempt: u32) {
        if let Some(handle) = of(&RESULTS, &self.settled, result) {
            handle.increment(1);
        }
        self.attempts.record(f64::from(attempt));
    }

    /// An `ack`, `nak` or `term` was handed to the connection, or could not be.
    pub fn answered(&self, operation: &'static str, sent: bool, took: Duration) {
        let handles = if sent { &self.answered } else { &self.unanswered };
        if let Some(handle) = of(&OPERATIONS, handles, operation) {
            handle.record(took.as_secs_f64());
        }
    }
}

fn of<'a, T>(names: &[&str], handles: &'a [T], name: &str) -> Option<&'a T> {
    names.iter().position(|known| *known == name).and_then(|at| handles.get(at))
}
