//! Between W3C trace context on messages and the spans of the process.
//! Reads and writes: spans. Never: does anything without the feature `otel`: spans then stay in the process,
//! and messages pass on the context that they came with.

use tracing::Span;

use crate::trace::TraceParent;

#[cfg(feature = "otel")]
mod imp {
    use opentelemetry::Context;
    use opentelemetry::trace::{
        SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    };
    use tracing::Span;
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;

    use crate::trace::TraceParent;

    fn remote(trace: TraceParent) -> SpanContext {
        let (id, span, sampled) = trace.parts();
        SpanContext::new(
            TraceId::from_bytes(id.to_be_bytes()),
            SpanId::from_bytes(span.to_be_bytes()),
            TraceFlags::default().with_sampled(sampled),
            true,
            TraceState::default(),
        )
    }

    pub fn of(span: &Span) -> Option<TraceParent> {
        if span.is_none() {
            return None;
        }
        let context = span.context();
        let span = context.span();
        let found = span.span_context();
        TraceParent::from_parts(
            u128::from_be_bytes(found.trace_id().to_bytes()),
            u64::from_be_bytes(found.span_id().to_bytes()),
            found.is_sampled(),
        )
    }

    pub fn set_parent(span: &Span, parent: TraceParent) {
        // Refused only for a span that has begun or is no span: it then keeps the parent it has.
        let _ = span.set_parent(Context::new().with_remote_span_context(remote(parent)));
    }

    pub fn link(span: &Span, to: TraceParent) {
        span.add_link(remote(to));
    }
}

#[cfg(not(feature = "otel"))]
mod imp {
    use tracing::Span;

    use crate::trace::TraceParent;

    pub fn of(_: &Span) -> Option<TraceParent> {
        None
    }

    pub fn set_parent(_: &Span, _: TraceParent) {}

    pub fn link(_: &Span, _: TraceParent) {}
}

/// The context of a span as messages carry it; `None` if nothing exports spans.
#[must_use]
pub fn context_of(span: &Span) -> Option<TraceParent> {
    imp::of(span)
}

/// Makes a span the child of another process's span. Only for a span that has not begun.
pub fn set_parent(span: &Span, parent: TraceParent) {
    imp::set_parent(span, parent);
}

/// Says that a span has to do with another one, which may be of another trace.
pub fn link(span: &Span, to: TraceParent) {
    imp::link(span, to);
}
