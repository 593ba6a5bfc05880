//! The one log line of a settled message.
//! Reads: how it was settled. Writes: a log event, the end of its span. Never: puts a body, an address or an
//! unbounded text into a line.

use std::time::Duration;

use tracing::{Level, Span};

use super::{bounded, failed};
use crate::consume::Meta;

/// How a message was settled.
#[derive(Clone, Debug)]
pub(crate) struct Settled<'a> {
    /// `ack`, `nak`, `term`, `schedule` or `ack_lost`.
    pub result: &'static str,
    /// Why: nothing for a handled message, else `retry`, `defer`, `not_stored` or the class of a dead letter.
    pub class: &'static str,
    /// The handler's machine-readable reason.
    pub reason: &'a str,
    /// What went wrong, as the handler said it; bounded here.
    pub error: &'a str,
    /// From arrival to settlement.
    pub took: Duration,
}

/// Writes the one line of a settled message, and what became of it into its span.
pub(crate) fn settled(span: &Span, meta: &Meta, settled: &Settled<'_>) {
    span.record("campana.result", settled.result);
    if !settled.class.is_empty() {
        failed(span, settled.class);
    }
    macro_rules! line {
        ($level:expr) => {
            tracing::event!(
                target: "campana_bus::settled", $level,
                stream = &*meta.stream, consumer = &*meta.consumer, stream.sequence = meta.sequence,
                attempt = meta.attempt, result = settled.result,
                class = (!settled.class.is_empty()).then_some(settled.class),
                reason = (!settled.reason.is_empty()).then(|| bounded(settled.reason)),
                error = (!settled.error.is_empty()).then(|| bounded(settled.error)),
                duration_ms = settled.took.as_secs_f64() * 1_000.0,
                trace_id = meta.trace.map(|trace| trace.trace_id()),
                "message settled"
            )
        };
    }
    match (settled.result, settled.class) {
        // A deferral is what a handler planned, and an outage defers many messages again and again.
        ("ack", _) | (_, "defer") => line!(Level::DEBUG),
        ("term" | "ack_lost", _) | (_, "not_stored") => line!(Level::WARN),
        _ => line!(Level::INFO),
    }
}
