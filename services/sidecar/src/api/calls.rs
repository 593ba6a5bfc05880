//! `POST /v1/call/{service}/{endpoint}`: ask a service and wait for its answer.
//! Reads: the answer. Writes: one request on the bus. Never: repeats a request by itself.

use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use campana_bus::CallError;
use campana_bus::headers;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::guard::Context;
use crate::input;
use crate::options::is_plain_name;
use crate::problem::{Code, Problem, ProblemDocument};
use crate::state::Sidecar;

/// How long a caller waits if it does not say.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Parameters of a call.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CallQuery {
    /// Seconds to wait for the answer, at most 120; 10 if absent. Also the header `campana-timeout`.
    timeout: Option<String>,
}

/// Call an endpoint of a service
///
/// Any body goes through as it is, with its `Content-Type`, and so does the answer.
#[utoipa::path(
    post, path = "/v1/call/{service}/{endpoint}", tag = "calls",
    params(
        ("service" = String, Path, description = "The service", example = "pricing"),
        ("endpoint" = String, Path, description = "Its endpoint", example = "quote"),
        CallQuery,
    ),
    request_body(content = Object, description = "Anything", content_type = "application/json"),
    responses(
        (status = 200, description = "The answer"),
        (status = "4XX", description = "Refused here, or by the service (`service_error`)", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 502, description = "The service failed", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "Nobody serves it, or the bus is away", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 504, description = "No answer in time", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn post_call(
    State(sidecar): State<Sidecar>,
    Extension(context): Extension<Context>,
    Path((service, endpoint)): Path<(String, String)>,
    uri: Uri,
    head: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    for (what, name) in [("service", &service), ("endpoint", &endpoint)] {
        if !is_plain_name(name) {
            return Err(Problem::new(
                Code::InvalidParameter,
                format!("{what}: 1 to 64 letters, digits, \"-\" and \"_\""),
            ));
        }
    }
    let query = input::query::<CallQuery>(&uri)?;
    let most = sidecar.options.limits.call_timeout_max;
    let timeout = match input::header(&head, "campana-timeout")?.or(query.timeout) {
        Some(text) => input::seconds("timeout", &text, most)?.max(Duration::from_millis(1)),
        None => TIMEOUT,
    };
    let body = input::body(body, &sidecar.options.limits).await?;
    let mut sent = campana_bus::HeaderMap::new();
    headers::set(&mut sent, headers::TRACEPARENT, &context.trace.to_string());
    if let Some(kind) = head.get("content-type").and_then(|kind| kind.to_str().ok()) {
        headers::set(&mut sent, "Content-Type", kind);
    }
    let answer = sidecar.bus.call_raw(&service, &endpoint, sent, body, timeout).await;
    let (said, payload) = answer.map_err(problem)?;
    let mut response = Body::from(payload).into_response();
    let kind = headers::get(&said, "Content-Type").unwrap_or("application/json");
    if let Ok(kind) = HeaderValue::from_str(kind) {
        response.headers_mut().insert("content-type", kind);
    }
    Ok(response)
}

fn problem(error: CallError) -> Problem {
    match error {
        CallError::Timeout => Problem::new(Code::CallTimeout, error.to_string()),
        CallError::NoResponders => Problem::new(Code::NoResponders, error.to_string()),
        CallError::TooLarge { .. } => Problem::new(Code::PayloadTooLarge, error.to_string()),
        CallError::Service { code, message } => {
            let mut problem = Problem::new(Code::ServiceError, message);
            problem.status = (400..=599).contains(&code).then_some(code);
            problem
        }
        error => Problem::new(Code::Unavailable, error.to_string()),
    }
}
