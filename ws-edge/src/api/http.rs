//! Lets requests to the server API in: key, method, size, number, form; in this order.
//! Reads: HTTP requests. Writes: HTTP answers. Never: reads a body before the key is good.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use axum::routing::post;
use http::{HeaderMap, Request, StatusCode};

use super::answer::{self, Failure};
use super::commands::Caller;
use super::{Method, batch};
use crate::codes::error;
use crate::metrics;
use crate::server::Node;

/// How long a caller may take to send its request.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// The API's paths: `/api/<method>`.
pub(crate) fn routes() -> Router<Arc<Node>> {
    Router::new().route("/api/{method}", post(handle))
}

async fn handle(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    request: Request<Body>,
) -> Response {
    let (head, body) = request.into_parts();
    match serve(&node, &name, query.as_deref(), &head.headers, body).await {
        Ok(response) => response,
        Err(turned_away) => turned_away.response(),
    }
}

/// Why a request is not even looked at.
struct TurnedAway {
    status: StatusCode,
    /// The metric's label.
    reason: &'static str,
    failure: Failure,
}

impl TurnedAway {
    fn new(status: StatusCode, reason: &'static str, failure: Failure) -> Self {
        Self { status, reason, failure }
    }

    fn response(self) -> Response {
        metrics::api_refused(self.reason);
        answer::refuse(self.status, &self.failure)
    }
}

async fn serve(
    node: &Arc<Node>,
    name: &str,
    query: Option<&str>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, TurnedAway> {
    let keys = &node.api_keys;
    if keys.is_empty() {
        let why = "the server API is off: configure edge.api.key or edge.api.keys";
        let failure = Failure::because(error::NOT_AVAILABLE, why);
        return Err(TurnedAway::new(StatusCode::NOT_FOUND, "off", failure));
    }
    let Some(grant) = keys.grant(headers, query) else {
        let why = "no good API key: send it in the header X-API-Key";
        let failure = Failure::because(error::UNAUTHORIZED, why);
        return Err(TurnedAway::new(StatusCode::UNAUTHORIZED, "key", failure));
    };
    let Some(method) = Method::parse(name) else {
        let failure = Failure::from(error::METHOD_NOT_FOUND);
        return Err(TurnedAway::new(StatusCode::NOT_FOUND, "method", failure));
    };
    let Ok(_slot) = node.api_slots.try_acquire() else {
        let failure = Failure::from(error::TOO_MANY_REQUESTS);
        return Err(TurnedAway::new(StatusCode::SERVICE_UNAVAILABLE, "busy", failure));
    };
    let text = text(node, body).await?;
    let caller = Caller { node, grant };
    let response = match method {
        Method::Batch => batch::run(caller, &text).await,
        method => {
            let statuses = headers
                .get("x-centrifugo-error-mode")
                .is_some_and(|mode| mode.as_bytes() == b"transport");
            caller.run(method, &text).await.map(|answer| answer::respond(&answer, statuses))
        }
    };
    response.ok_or_else(|| {
        let why = "the body is not the JSON that this method takes";
        let failure = Failure::because(error::BAD_REQUEST, why);
        TurnedAway::new(StatusCode::BAD_REQUEST, "malformed", failure)
    })
}

/// The whole body; none is the same as an empty object.
async fn text(node: &Node, body: Body) -> Result<String, TurnedAway> {
    let most = node.rules.options.api.body_bytes_max;
    let malformed = |why| {
        let failure = Failure::because(error::BAD_REQUEST, why);
        TurnedAway::new(StatusCode::BAD_REQUEST, "malformed", failure)
    };
    let read = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, most)).await;
    let bytes = read.map_err(|_| malformed("the body did not come in time"))?.map_err(|_| {
        let failure =
            Failure::because(error::LIMIT_EXCEEDED, format!("a request has at most {most} bytes"));
        TurnedAway::new(StatusCode::PAYLOAD_TOO_LARGE, "size", failure)
    })?;
    match bytes.is_empty() {
        true => Ok("{}".to_owned()),
        false => String::from_utf8(bytes.into()).map_err(|_| malformed("the body is not UTF-8")),
    }
}
