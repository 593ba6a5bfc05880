//! What every request passes through: its id and trace, who may ask, how many at once.
//! Reads: the request's head. Writes: the headers of the answer, the metrics of the request, the body of a
//! problem. Never: trusts a header's form, or tells how a wrong token was wrong.

use std::any::Any;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, ORIGIN, TRANSFER_ENCODING,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use campana_bus::clock;
use campana_bus::ids::RequestId;
use campana_bus::trace::TraceParent;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::problem::{self, Code, Problem};
use crate::state::Sidecar;
use crate::telemetry;

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The header for programs whose HTTP library keeps `Authorization` to itself.
const API_TOKEN: &str = "campana-api-token";
/// Bytes of a request id that a caller chose.
const REQUEST_ID_BYTES_MAX: usize = 128;
/// Up to this size an unread body is read to its end after the answer, and the connection goes on.
const DRAINED_BYTES: u64 = 16 * 1024;

/// Id and trace of one request.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// `req_…`, or the caller's own.
    pub request_id: Arc<str>,
    /// This hop of the caller's trace, or a new trace.
    pub trace: TraceParent,
}

impl Context {
    fn of(headers: &HeaderMap) -> Self {
        let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let request_id = text(&X_REQUEST_ID)
            .filter(|id| is_request_id(id))
            .map_or_else(|| Arc::from(RequestId::fresh().to_string()), Arc::from);
        let trace = text(&TRACEPARENT)
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

/// Only methods that have a route, so that a label stays bounded.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

/// The outermost layer.
pub(crate) async fn observe(mut request: Request, next: Next) -> Response {
    let started = clock::monotonic();
    let context = Context::of(request.headers());
    let method = method_label(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let unread = unread_bytes(request.headers());
    request.extensions_mut().insert(context.clone());

    let mut response = next.run(request).await;

    let code = problem::render(&mut response, &context.request_id);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&context.request_id) {
        headers.insert(X_REQUEST_ID.clone(), value);
    }
    if let Ok(value) = HeaderValue::from_str(&context.trace.to_string()) {
        headers.insert(TRACEPARENT.clone(), value);
    }
    // A body that was refused unread makes the server close the connection. Saying so keeps a client from
    // sending its next request into it (RFC 9112 §9.6).
    if code.is_some() && unread > DRAINED_BYTES {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    telemetry::request(route, method, response.status().as_u16(), started.elapsed());
    tracing::debug!(
        request_id = %context.request_id,
        trace_id = context.trace.trace_id(),
        http.route = route,
        http.method = method,
        http.status = response.status().as_u16(),
        problem = code.map(Code::as_str),
        "request answered"
    );
    response
}

fn unread_bytes(headers: &HeaderMap) -> u64 {
    if headers.contains_key(TRANSFER_ENCODING) {
        return u64::MAX;
    }
    headers.get(CONTENT_LENGTH).map_or(0, |length| {
        length.to_str().ok().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX)
    })
}

/// Rejections of the framework itself (a path that is not UTF-8, say) become problems too.
pub(crate) async fn plain_errors(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    let is_problem = response.extensions().get::<problem::Pending>().is_some();
    if is_problem || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    // Readiness answers 503 with a body of its own.
    if response.headers().contains_key("campana-ready") {
        return response;
    }
    let code = match status.as_u16() {
        404 => Code::NotFound,
        405 => Code::MethodNotAllowed,
        408 => Code::RequestTimeout,
        413 => Code::PayloadTooLarge,
        415 => Code::UnsupportedMediaType,
        400..=499 => Code::InvalidParameter,
        _ => Code::Internal,
    };
    Problem::new(code, "the request could not be read").into_response()
}

pub(crate) fn panicked(cause: Box<dyn Any + Send + 'static>) -> Response {
    let text = cause
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| cause.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    tracing::error!(panic = text, "a request's handler panicked");
    Problem::new(Code::Internal, "the request was not handled; the log has its id").into_response()
}

/// Who may ask, and how many at once.
pub(crate) async fn admit(
    State(sidecar): State<Sidecar>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let is_health = matches!(path, "/healthz" | "/readyz");
    let checked =
        check_target(request.uri(), sidecar.options.limits.target_bytes_max).and_then(|()| {
            match &sidecar.options.api_token {
                _ if is_health => Ok(()),
                Some(token) => check_token(request.headers(), token),
                None => check_origin(request.headers()),
            }
        });
    if let Err(problem) = checked {
        return problem.into_response();
    }
    // An answer to a delivery ends work, so it must not wait behind requests that begin some.
    if is_health || path.starts_with("/v1/deliveries/") {
        return next.run(request).await;
    }
    let Ok(_permit) = sidecar.permits.try_acquire() else {
        return Problem::new(
            Code::Overloaded,
            "too many requests are at work; repeat this one later",
        )
        .into_response();
    };
    let limit = sidecar.options.limits.requests_max;
    telemetry::at_work(limit.saturating_sub(sidecar.permits.available_permits()));
    let response = next.run(request).await;
    telemetry::at_work((limit - 1).saturating_sub(sidecar.permits.available_permits()));
    response
}

fn check_target(uri: &Uri, limit: usize) -> Result<(), Problem> {
    if uri.path_and_query().is_none_or(|target| target.as_str().len() <= limit) {
        return Ok(());
    }
    Err(Problem::new(Code::InvalidParameter, format!("path and query have at most {limit} bytes")))
}

fn check_token(headers: &HeaderMap, token: &SecretString) -> Result<(), Problem> {
    let bearer = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim().as_bytes());
    let given = bearer.or_else(|| headers.get(API_TOKEN).map(HeaderValue::as_bytes));
    // Digests have one length, so that the time of the comparison says nothing about the token.
    let digest = |bytes: &[u8]| Sha256::digest(bytes);
    let right = digest(token.expose_secret().as_bytes());
    if given.is_some_and(|given| bool::from(digest(given).ct_eq(&right))) {
        return Ok(());
    }
    Err(Problem::new(
        Code::Unauthorized,
        "send the sidecar's token as Authorization: Bearer, or in campana-api-token",
    ))
}

/// Without a token, whoever can open a connection to this machine may ask: programs on it, but not the pages
/// in its browsers. A page's request says `Origin`, or it used a name that was made to lead here.
fn check_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let refuse = |detail: &'static str| Err(Problem::new(Code::ForeignOrigin, detail));
    if headers.contains_key(ORIGIN) {
        return refuse("requests with an Origin need a token (--api-token-file)");
    }
    let Some(host) = headers.get(HOST) else { return Ok(()) };
    let host = host.to_str().unwrap_or_default();
    if is_local_host(host) {
        return Ok(());
    }
    refuse("without a token, Host must be localhost or an IP address")
}

fn is_local_host(host: &str) -> bool {
    if host.parse::<std::net::SocketAddr>().is_ok() || host.parse::<std::net::IpAddr>().is_ok() {
        return true;
    }
    let name = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|byte| byte.is_ascii_digit()) { name } else { host }
    });
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || bare.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        headers
    }

    #[test]
    fn tokens_are_taken_from_two_headers() {
        let token = SecretString::from("s3cret");
        for headers in [
            with("authorization", "Bearer s3cret"),
            with("authorization", "bearer  s3cret"),
            with("campana-api-token", "s3cret"),
        ] {
            assert_eq!(check_token(&headers, &token), Ok(()));
        }
        for headers in [
            HeaderMap::new(),
            with("authorization", "s3cret"),
            with("authorization", "Basic s3cret"),
            with("authorization", "Bearer "),
            with("authorization", "Bearer s3cre"),
            with("campana-api-token", "s3cret2"),
            with("campana-app-token", "s3cret"),
        ] {
            assert_eq!(check_token(&headers, &token).unwrap_err().code, Code::Unauthorized);
        }
    }

    #[test]
    fn pages_are_kept_out() {
        for host in
            ["localhost", "localhost:3500", "127.0.0.1:3500", "[::1]:3500", "::1", "10.1.2.3"]
        {
            assert_eq!(check_origin(&with("host", host)), Ok(()), "{host}");
        }
        for host in ["evil.example", "evil.example:3500", "localhost.evil.example", ""] {
            assert!(check_origin(&with("host", host)).is_err(), "{host}");
        }
        assert!(check_origin(&with("origin", "http://localhost:3500")).is_err());
        assert_eq!(check_origin(&HeaderMap::new()), Ok(()));
    }

    #[test]
    fn a_caller_s_id_is_kept_if_it_is_well_formed() {
        assert_eq!(&*Context::of(&with("x-request-id", "abc-1")).request_id, "abc-1");
        for bad in ["", "a b", "<script>", &"x".repeat(129)] {
            assert!(
                Context::of(&with("x-request-id", bad)).request_id.starts_with("req_"),
                "{bad}"
            );
        }
    }
}
