//! Which context a published message carries, with and without an exporter.

use bytes::Bytes;

use super::*;
use crate::publish::Outgoing;

fn message() -> Outgoing {
    Outgoing::new("app.t.s.e", "m1", Bytes::new())
}

fn with(trace: TraceParent) -> Outgoing {
    message().header(headers::TRACEPARENT, &trace.to_string())
}

#[tokio::test]
async fn without_a_subscriber_a_publish_passes_on_the_context_of_the_handled_message() {
    let handled = TraceParent::fresh();
    let publish = async |mut message: Outgoing| {
        assert!(publishing(&mut message).is_none());
        headers::trace(&message.headers)
    };
    let none = Span::none;
    assert_eq!(within(none(), Some(handled), publish(message())).await, Some(handled));
    assert_eq!(publish(message()).await, None);
    let own = TraceParent::fresh();
    assert_eq!(within(none(), Some(handled), publish(with(own))).await, Some(own));
    assert!(outgoing(own).same_trace(own) && outgoing(own) != own);
}

#[cfg(feature = "otel")]
mod exported {
    use std::sync::{Arc, Mutex, PoisonError};

    use opentelemetry::Context;
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanProcessor};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Debug, Default)]
    struct Kept(Arc<Mutex<Vec<SpanData>>>);

    impl SpanProcessor for Kept {
        fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &Context) {}

        fn on_end(&self, span: SpanData) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(span);
        }

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _: std::time::Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    /// What ends while `work` runs.
    fn spans_of(work: impl FnOnce()) -> Vec<SpanData> {
        let kept = Kept::default();
        let provider = SdkTracerProvider::builder().with_span_processor(kept.clone()).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        std::mem::take(&mut *kept.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn carried(mut message: Outgoing) -> TraceParent {
        drop(publishing(&mut message));
        headers::trace(&message.headers).expect("a published message has a context")
    }

    fn around() -> Span {
        tracing::span!(target: TARGET, Level::TRACE, "around")
    }

    #[test]
    fn a_message_carries_the_context_of_its_publish_span() {
        let own = TraceParent::fresh();
        let mut seen = Vec::new();
        let spans = spans_of(|| {
            seen.push(carried(with(own)));
            let around = around();
            let inside = context_of(&around).expect("the span is exported");
            seen.push(inside);
            seen.push(around.in_scope(|| carried(message())));
            seen.push(around.in_scope(|| carried(with(inside.child()))));
            seen.push(around.in_scope(|| carried(with(own))));
        });
        let [alone, inside, plain, same, other] = seen[..] else { panic!("{seen:?}") };
        assert!(alone.same_trace(own) && alone != own);
        assert!(plain.same_trace(inside) && same.same_trace(inside) && other.same_trace(own));
        let parents: Vec<u64> = spans
            .iter()
            .filter(|span| span.name.starts_with("publish app.{tenant}"))
            .map(|span| u64::from_be_bytes(span.parent_span_id.to_bytes()))
            .collect();
        let (own, inside) = (own.parts().1, inside.parts().1);
        assert_eq!(parents, [own, inside, inside, own]);
        // What is published for another trace is linked to the span that does it.
        let links: Vec<usize> = spans.iter().map(|span| span.links.len()).collect();
        assert_eq!(links, [0, 0, 0, 1, 0], "{spans:#?}");
    }

    #[test]
    fn a_redrive_begins_a_trace_that_links_to_the_old_one() {
        let (old, minted) = (TraceParent::fresh(), TraceParent::fresh());
        let redriven = with(minted).header(headers::REDRIVEN_FROM_TRACE, &old.to_string());
        let mut carried_on = None;
        let spans = spans_of(|| carried_on = Some(carried(redriven)));
        let [span] = &spans[..] else { panic!("{spans:#?}") };
        assert_eq!(span.parent_span_id, opentelemetry::trace::SpanId::INVALID);
        assert_eq!(span.links.len(), 1);
        assert_eq!(span.links[0].span_context.trace_id().to_string(), old.trace_id());
        assert!(!carried_on.expect("it was published").same_trace(old));
    }
}
