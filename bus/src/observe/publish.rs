//! Spans of what is published, and the context that messages carry.
//! Reads: the current span, the message's headers. Writes: a span, the header `traceparent`. Never: overwrites a
//! context of another trace.

use tracing::field::Empty;
use tracing::{Level, Span};

use super::{TARGET, context_of, current, enabled, failed, link, redriven_from, set_parent};
use crate::headers;
use crate::publish::{Outgoing, Part, PublishError, StoredAt, label};
use crate::subjects::{stream_of, template, template_value};
use crate::trace::TraceParent;

/// The span of a publish, and its context written into the message: a child of the current span, unless the
/// message says that it belongs to another trace; then of that one, and the current span is linked.
pub(crate) fn publishing(message: &mut Outgoing) -> Span {
    let own = headers::trace(&message.headers);
    if !enabled() {
        if own.is_none()
            && let Some(trace) = current()
        {
            headers::set(&mut message.headers, headers::TRACEPARENT, &trace.to_string());
        }
        return Span::none();
    }
    let span = publish_span(&message.subject, &message.message_id, message.payload.len());
    match redriven_from(&message.headers) {
        // A redrive begins a trace: it is no child of anything, and linked to what was given up.
        Some(old) if context_of(&Span::current()).is_none() => link(&span, old),
        _ => place(&span, own),
    }
    if let Some(trace) = context_of(&span).or_else(|| if own.is_none() { current() } else { None })
    {
        headers::set(&mut message.headers, headers::TRACEPARENT, &trace.to_string());
    }
    span
}

/// The same for parts of an envelope that one caller has: one span for all of them. The context of one alone is written
/// into it; several keep their own.
pub(crate) fn publishing_parts(subject: &str, parts: &mut [Part]) -> Span {
    let bytes = parts.iter().map(|part| part.body.len()).sum();
    let own = if let [only] = parts { only.trace } else { None };
    let Some(first) = parts.first().filter(|_| enabled()) else {
        if let [only] = parts {
            only.trace = own.or_else(current);
        }
        return Span::none();
    };
    let span = publish_span(subject, &first.id, bytes);
    place(&span, own);
    if let [only] = parts {
        span.record("messaging.message.conversation_id", &only.id);
        only.trace = context_of(&span).or(own).or_else(current);
    }
    span
}

fn publish_span(subject: &str, id: &str, bytes: usize) -> Span {
    let template = template(subject);
    tracing::span!(
        target: TARGET, Level::TRACE, "publish",
        otel.name = format!("publish {template}"), otel.kind = "producer", otel.status_code = Empty,
        messaging.system = "nats",
        messaging.operation.name = "publish", messaging.operation.type = "send",
        messaging.destination.name = stream_of(subject), messaging.destination.template = template,
        messaging.message.id = id, messaging.message.conversation_id = Empty,
        messaging.message.body.size = bytes, error.type = Empty,
        campana.tenant = template_value(subject, "tenant"), campana.channel = template_value(subject, "channel"),
        campana.stream_seq = Empty,
    )
}

/// Gives a publish span its parent.
fn place(span: &Span, own: Option<TraceParent>) {
    let around = context_of(&Span::current());
    match (own, around) {
        (Some(own), Some(around)) if own.same_trace(around) => {}
        (Some(own), around) => {
            set_parent(span, own);
            if let Some(around) = around {
                link(span, around);
            }
        }
        (None, Some(_)) => {}
        (None, None) => {
            if let Some(trace) = current() {
                set_parent(span, trace);
            }
        }
    }
}

/// What became of a publish.
pub(crate) fn published(span: &Span, result: &Result<StoredAt, PublishError>) {
    match result {
        Ok(stored) => {
            span.record("campana.stream_seq", stored.sequence);
        }
        Err(_) => failed(span, label(result)),
    }
}

/// The span of a stored message's last step: out of NATS to somebody who waits for it.
#[must_use]
pub fn pushing(trace: TraceParent, subject: &str, sequence: u64, bytes: usize) -> Span {
    let template = template(subject);
    let span = tracing::span!(
        target: TARGET, parent: None, Level::TRACE, "send",
        otel.name = format!("send {template}"), otel.kind = "producer", otel.status_code = Empty,
        messaging.system = "nats",
        messaging.operation.name = "send", messaging.operation.type = "send",
        messaging.destination.name = stream_of(subject), messaging.destination.template = template,
        messaging.message.body.size = bytes, error.type = Empty,
        campana.stream_seq = sequence, campana.tenant = template_value(subject, "tenant"),
    );
    set_parent(&span, trace);
    span
}
