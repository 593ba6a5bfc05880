//! What a message leaves behind for those who watch: its spans, and one log line when it is settled.
//! Reads: messages and their trace context. Writes: spans, log events, the trace context of what is published.
//! Never: builds a text that nobody wants; puts a subject, an address or a body into a span or a line.
//!
//! Names and attributes follow the OpenTelemetry messaging conventions, semantic conventions 1.44, which are
//! still in development; the names stand here and nowhere else. `publish` is a producer span from the call to
//! the stream's answer, `process` a consumer span from the arrival to the settlement, and `ack`, `nak` and
//! `term` are client spans inside it. All have the level TRACE and the target [`TARGET`], which no log
//! configuration turns on by accident: without a subscriber for it a span costs one comparison.
//!
//! A message carries the context of its `publish` span in the header `traceparent`. Its `process` span is the
//! child of that by default, so that one trace holds the whole way; many messages handled together are linked
//! instead. Without the feature `otel` spans stay in the process, and what a handler publishes passes on the
//! context of the message that it handles.

mod context;
mod process;
mod publish;
mod settled;
mod text;

use std::sync::atomic::{AtomicBool, Ordering};

use tracing::{Instrument as _, Level, Span};

use crate::headers;
use crate::trace::TraceParent;

pub use context::{context_of, link, set_parent};
pub(crate) use process::{
    answering, handled, link_all, processing, processing_batch, processing_part,
};
pub use publish::pushing;
pub(crate) use publish::{published, publishing, publishing_parts};
pub(crate) use settled::{Settled, settled};
pub use text::bounded;

/// The target of every span, for filters: `campana_span=trace`.
pub const TARGET: &str = "campana_span";

/// How a `process` span of one message belongs to the span that published it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessagingParent {
    /// As its child: one trace from the first publish to the last effect.
    #[default]
    Child,
    /// By a link: every handling begins a trace of its own, as the conventions suggest.
    Link,
}

/// One switch for the process, like the subscriber that the spans go to.
static LINKED: AtomicBool = AtomicBool::new(false);

/// Chooses for the whole process; call it before consumers run.
pub fn set_messaging_parent(parent: MessagingParent) {
    LINKED.store(parent == MessagingParent::Link, Ordering::Relaxed);
}

tokio::task_local! {
    /// The context of the message that the current task handles.
    static HANDLED: Option<TraceParent>;
}

/// Whether somebody wants spans.
#[must_use]
pub fn enabled() -> bool {
    tracing::span_enabled!(target: TARGET, Level::TRACE)
}

/// The context that something published now belongs to: of the current span if spans are exported, else of the
/// message being handled.
#[must_use]
pub fn current() -> Option<TraceParent> {
    let span = if enabled() { context_of(&Span::current()) } else { None };
    span.or_else(handled_here)
}

fn handled_here() -> Option<TraceParent> {
    HANDLED.try_with(|trace| *trace).ok().flatten()
}

/// The same for something that begins here: a new trace, or `None` if the span of its publish begins one.
pub(crate) fn current_or_fresh() -> Option<TraceParent> {
    current().or_else(|| (!enabled()).then(TraceParent::fresh))
}

/// The context that a call to the outside carries: of the current span if spans are exported, else a hop of
/// its own of `trace`.
#[must_use]
pub fn outgoing(trace: TraceParent) -> TraceParent {
    let span = if enabled() { context_of(&Span::current()) } else { None };
    span.unwrap_or_else(|| trace.child())
}

/// Runs a future inside a span, and lets what it publishes know which trace it belongs to.
pub fn within<T>(
    span: Span,
    trace: Option<TraceParent>,
    work: impl Future<Output = T>,
) -> impl Future<Output = T> {
    // One wrapping for all cases, because each more would make the task of every message larger.
    HANDLED.scope(trace.or_else(handled_here), work.instrument(span))
}

/// Marks a span as failed, with a bounded class of the error.
pub fn failed(span: &Span, class: &'static str) {
    span.record("error.type", class);
    span.record("otel.status_code", "ERROR");
}

fn redriven_from(all: &async_nats::HeaderMap) -> Option<TraceParent> {
    TraceParent::parse(headers::get(all, headers::REDRIVEN_FROM_TRACE)?)
}

#[cfg(test)]
mod tests;
