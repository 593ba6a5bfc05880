//! Spans of what is handled: one message, a part of an envelope, many messages together, and the answers.
//! Reads: messages in hand. Writes: spans. Never: names a subject in a span, or makes a span that nobody wants.

use tracing::field::Empty;
use tracing::{Level, Span};

use super::{LINKED, TARGET, context_of, enabled, failed, link, redriven_from, set_parent};
use crate::consume::{Failure, Meta};
use crate::headers;
use crate::subjects::{template, template_value};
use crate::trace::TraceParent;

/// The messages whose contexts one span of many links to at most, as the SDKs' default limit.
const LINKS_MAX: usize = 128;

/// The span of one message's handling, from its arrival to its settlement. The message's context becomes that of
/// the span, so that what follows belongs to it.
pub(crate) fn processing(meta: &mut Meta, bytes: usize) -> Span {
    if !enabled() {
        return Span::none();
    }
    // An envelope of several has no context of its own; its span begins a trace that links to its parts.
    let span = process_span(meta, bytes, &meta.subject);
    adopt(&span, meta.trace);
    if let Some(old) = redriven_from(&meta.headers) {
        link(&span, old);
    }
    meta.trace = context_of(&span).or(meta.trace);
    span
}

fn adopt(span: &Span, parent: Option<TraceParent>) {
    match parent {
        Some(parent) if LINKED.load(std::sync::atomic::Ordering::Relaxed) => link(span, parent),
        Some(parent) => set_parent(span, parent),
        None => {}
    }
}

fn process_span(meta: &Meta, bytes: usize, subject: &str) -> Span {
    // What came back after a while is still what was published once.
    let original = headers::get(&meta.headers, headers::ORIGINAL_SUBJECT).unwrap_or(subject);
    let template = template(original);
    tracing::span!(
        target: TARGET, parent: None, Level::TRACE, "process",
        otel.name = format!("process {template}"), otel.kind = "consumer", otel.status_code = Empty,
        messaging.system = "nats",
        messaging.operation.name = "process", messaging.operation.type = "process",
        messaging.destination.name = &*meta.stream, messaging.destination.template = template,
        messaging.consumer.group.name = &*meta.consumer,
        messaging.message.id = meta.message_id.as_deref(),
        messaging.message.conversation_id = template_value(original, "notification"),
        messaging.message.body.size = bytes, messaging.batch.message_count = Empty,
        error.type = Empty,
        campana.stream_seq = meta.sequence, campana.delivery_attempt = meta.attempt,
        campana.redrives = meta.redrives, campana.result = Empty,
        campana.tenant = template_value(original, "tenant"),
        campana.channel = template_value(original, "channel"),
    )
}

/// Says that a span handles these contexts together.
pub(crate) fn link_all(span: &Span, traces: impl ExactSizeIterator<Item = Option<TraceParent>>) {
    if span.is_disabled() {
        return;
    }
    span.record("messaging.batch.message_count", traces.len());
    for trace in traces.flatten().take(LINKS_MAX) {
        link(span, trace);
    }
}

/// The span of one part of an envelope of several: in the part's own trace, linked to the span of the whole.
/// Returns it with the context for what the part causes.
pub(crate) fn processing_part(
    meta: &Meta,
    whole: &Span,
    id: &str,
    bytes: usize,
    trace: Option<TraceParent>,
) -> (Span, Option<TraceParent>) {
    if whole.is_disabled() {
        return (Span::none(), trace);
    }
    let span = process_span(meta, bytes, &meta.subject);
    span.record("messaging.message.conversation_id", id);
    adopt(&span, trace);
    if let Some(whole) = context_of(whole) {
        link(&span, whole);
    }
    let trace = context_of(&span).or(trace);
    (span, trace)
}

/// What a handler said about one part.
pub(crate) fn handled(span: &Span, result: &Result<(), Failure>) {
    match result {
        Ok(()) => {}
        Err(Failure::Defer { .. }) => {
            span.record("campana.result", "defer");
        }
        Err(Failure::Retry { .. }) => failed(span, "retry"),
        Err(Failure::Dead { .. }) => failed(span, "dead"),
    }
}

/// A span over several messages that are handled in one go, linked to all of them.
pub(crate) fn processing_batch<'a>(
    first: &Meta,
    traces: impl ExactSizeIterator<Item = Option<&'a TraceParent>>,
) -> Span {
    if !enabled() {
        return Span::none();
    }
    let template = template(&first.subject);
    let span = tracing::span!(
        target: TARGET, parent: None, Level::TRACE, "process",
        otel.name = format!("process {template}"), otel.kind = "consumer", otel.status_code = Empty,
        messaging.system = "nats",
        messaging.operation.name = "process", messaging.operation.type = "process",
        messaging.destination.name = &*first.stream, messaging.destination.template = template,
        messaging.consumer.group.name = &*first.consumer, messaging.batch.message_count = Empty,
        error.type = Empty,
    );
    link_all(&span, traces.map(|trace| trace.copied()));
    span
}

/// The span of an answer to the server inside the span of the message's handling.
pub(crate) fn answering(process: &Span, operation: &'static str, meta: &Meta) -> Span {
    if process.is_disabled() {
        return Span::none();
    }
    let template = template(&meta.subject);
    tracing::span!(
        target: TARGET, parent: process, Level::TRACE, "settle",
        otel.name = format!("{operation} {template}"), otel.kind = "client", otel.status_code = Empty,
        messaging.system = "nats",
        messaging.operation.name = operation, messaging.operation.type = "settle",
        messaging.destination.name = &*meta.stream, messaging.destination.template = template,
        messaging.consumer.group.name = &*meta.consumer,
        messaging.message.id = meta.message_id.as_deref(), error.type = Empty,
        campana.stream_seq = meta.sequence,
    )
}
