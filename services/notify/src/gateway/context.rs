//! What every request carries through the gateway: its id and its trace.
//! Reads: the headers `x-request-id` and `traceparent`. Writes: the same headers of the answer, the
//! metrics of the request, the body of a problem. Never: trusts a header's form.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use campana_bus::clock;
use campana_bus::ids::RequestId;
use campana_bus::trace::TraceParent;

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
    fn from_headers(headers: &HeaderMap) -> Self {
        let request_id = headers
            .get(&X_REQUEST_ID)
            .and_then(|value| value.to_str().ok())
            .filter(|id| is_request_id(id))
            .map_or_else(|| Arc::from(RequestId::fresh().to_string()), Arc::from);
        let trace = headers
            .get(&TRACEPARENT)
            .and_then(|value| value.to_str().ok())
            .and_then(TraceParent::parse)
            .map_or_else(TraceParent::fresh, TraceParent::child);
        Self { request_id, trace }
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
    let context = RequestContext::from_headers(request.headers());
    let method = metrics::method_label(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    request.extensions_mut().insert(context.clone());

    let mut response = next.run(request).await;

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
        let context = RequestContext::from_headers(&headers);
        assert_eq!(&*context.request_id, "abc-1");
        assert_eq!(context.trace.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");

        for bad in ["", "a b", "<script>", &"x".repeat(129)] {
            headers.insert("x-request-id", HeaderValue::from_str(bad).unwrap());
            assert!(RequestContext::from_headers(&headers).request_id.starts_with("req_"), "{bad}");
        }
    }
}
