//! What every request carries through the gateway: its id and its trace.
//! Reads: the headers `x-request-id` and `traceparent`. Writes: the same headers of the answer, the
//! metrics of the request, the body of a problem. Never: trusts a header's form.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use campana_bus::ids::RequestId;
use campana_bus::trace::TraceParent;
use campana_bus::{clock, observe};
use tracing::field::Empty;
use tracing::{Level, Span};

use super::state::App;
use super::{metrics, problem};

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Bytes of a request id that a caller chose.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Id and trace of one request.
#[derive(Clone, Debug)]
pub(super) struct RequestContext {
    /// `req_…`, or the caller's own.
    pub(super) request_id: Arc<str>,
    /// This hop of the caller's trace, or a new trace.
    pub(super) trace: TraceParent,
}

impl RequestContext {
    /// `span` is that of the request; its context is the trace if spans are exported.
    fn new(headers: &HeaderMap, span: &Span) -> Self {
        let request_id = headers
            .get(&X_REQUEST_ID)
            .and_then(|value| value.to_str().ok())
            .filter(|id| is_request_id(id))
            .map_or_else(|| Arc::from(RequestId::fresh().to_string()), Arc::from);
        let caller = headers
            .get(&TRACEPARENT)
            .and_then(|value| value.to_str().ok())
            .and_then(TraceParent::parse);
        if let Some(caller) = caller {
            observe::set_parent(span, caller);
        }
        let trace = observe::context_of(span)
            .unwrap_or_else(|| caller.map_or_else(TraceParent::fresh, TraceParent::child));
        Self { request_id, trace }
    }
}

/// The server span of a request (OpenTelemetry HTTP conventions).
fn request_span(method: &'static str, route: &str) -> Span {
    if !observe::enabled() {
        return Span::none();
    }
    tracing::span!(
        target: observe::TARGET, parent: None, Level::TRACE, "request",
        otel.name = format!("{method} {route}"), otel.kind = "server", otel.status_code = Empty,
        http.request.method = method, http.route = route, http.response.status_code = Empty,
        url.scheme = "http", error.type = Empty,
    )
}

fn answered(span: &Span, status: u16) {
    span.record("http.response.status_code", status);
    if status >= 500 {
        span.record("error.type", status.to_string());
        span.record("otel.status_code", "ERROR");
    }
}

/// Letters, digits and a few marks: an id is copied into logs and answers.
fn is_request_id(id: &str) -> bool {
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':'))
}

/// The outermost layer.
pub(super) async fn observe(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let started = clock::monotonic();
    let method = metrics::method_label(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let span = request_span(method, route.as_ref().map_or("unmatched", MatchedPath::as_str));
    let context = RequestContext::new(request.headers(), &span);
    request.extensions_mut().insert(context.clone());

    let mut response = observe::within(span.clone(), Some(context.trace), next.run(request)).await;
    answered(&span, response.status().as_u16());

    let code = problem::render(&mut response, &context.request_id);
    if let Ok(value) = HeaderValue::from_str(&context.request_id) {
        response.headers_mut().insert(X_REQUEST_ID.clone(), value);
    }
    if let Ok(value) = HeaderValue::from_str(&context.trace.to_string()) {
        response.headers_mut().insert(TRACEPARENT.clone(), value);
    }
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    app.metrics.request(route, method, response.status().as_u16(), started.elapsed());
    if tracing::enabled!(tracing::Level::DEBUG) {
        tracing::debug!(
            request_id = %context.request_id,
            trace_id = context.trace.trace_id(),
            http.route = route,
            http.method = method,
            http.status = response.status().as_u16(),
            problem = code.map(problem::Code::as_str),
            "request answered"
        );
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_s_id_and_trace_are_kept_if_they_are_well_formed() {
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", HeaderValue::from_static("abc-1"));
        headers.insert(
            "traceparent",
            HeaderValue::from_static("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        );
        let context = RequestContext::new(&headers, &Span::none());
        assert_eq!(&*context.request_id, "abc-1");
        assert_eq!(context.trace.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");

        for bad in ["", "a b", "<script>", &"x".repeat(129)] {
            headers.insert("x-request-id", HeaderValue::from_str(bad).unwrap());
            let context = RequestContext::new(&headers, &Span::none());
            assert!(context.request_id.starts_with("req_"), "{bad}");
        }
    }
}
