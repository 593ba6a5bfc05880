//! Calls from the bus, answered by the app.
//! Reads: requests on the bus. Writes: requests to the app, and its answers to the callers. Never: keeps a
//! caller waiting for an app that is away.

use std::time::Duration;

use bytes::Bytes;
use campana_bus::headers;
use campana_bus::service::{CallMeta, EndpointOptions, Reply, Service, ServiceError};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::app::{Said, Silence};
use crate::declare::Endpoint;
use crate::telemetry;
use crate::unit::Shared;

/// NATS services have a version; the sidecar does not know the app's.
const VERSION: &str = "1.0.0";
/// Characters of an app's error that travel to the caller.
const ERROR_CHARS_MAX: usize = 500;

/// Serves until the stop, or until the app is away: then other instances get the calls.
pub(crate) async fn run(shared: &Shared, endpoints: &[Endpoint]) -> Result<(), String> {
    let Some(name) = endpoints.first().map(|one| one.service.as_str()) else {
        return Ok(());
    };
    let mut service =
        Service::new(&shared.bus, name, VERSION).description("an app behind a sidecar");
    for endpoint in endpoints {
        let options = EndpointOptions {
            timeout: Duration::from_secs(u64::from(endpoint.timeout_seconds)),
            ..EndpointOptions::default()
        };
        let (shared, one) = (shared.clone(), endpoint.clone());
        service = service.endpoint_raw_with(&endpoint.endpoint, options, move |body, meta| {
            forward(shared.clone(), one.clone(), body, meta)
        });
    }
    let stop = {
        let (soft, app) = (shared.lifecycle.soft.clone(), shared.app.clone());
        async move {
            tokio::select! {
                () = soft.cancelled() => {}
                () = app.wait_down() => {}
            }
        }
    };
    service.run(stop).await.map_err(|error| format!("service {name}: {error}"))
}

async fn forward(
    shared: Shared,
    endpoint: Endpoint,
    body: Bytes,
    meta: CallMeta,
) -> Result<Reply, ServiceError> {
    let request = head(&endpoint, &meta);
    let asked = shared.app.post(&endpoint.path, request, body, shared.answer_bytes_max);
    let answer = match asked.await {
        Ok(said) => understood(said),
        Err(Silence::Away) => Err(ServiceError::new(503, "the app is not reachable")),
        Err(Silence::Broken) => {
            Err(ServiceError::new(502, "the connection to the app broke before its answer"))
        }
        Err(Silence::TooLong) => {
            Err(ServiceError::new(502, "the app's answer was longer than allowed"))
        }
    };
    let status = answer.as_ref().map_or_else(|error| error.code, |_| 200);
    telemetry::served(&endpoint.service, &endpoint.endpoint, status);
    answer
}

fn head(endpoint: &Endpoint, meta: &CallMeta) -> HeaderMap {
    let mut request = HeaderMap::new();
    let mut put = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::try_from(value) {
            request.insert(HeaderName::from_static(name), value);
        }
    };
    put("content-type", headers::get(&meta.headers, "Content-Type").unwrap_or("application/json"));
    put("campana-service", &endpoint.service);
    put("campana-endpoint", &endpoint.endpoint);
    if let Some(deadline) = meta.deadline {
        put("campana-deadline", &deadline.to_rfc3339());
    }
    if let Some(trace) = meta.trace {
        put("traceparent", &trace.child().to_string());
    }
    request
}

fn understood(said: Said) -> Result<Reply, ServiceError> {
    let status = said.status.as_u16();
    if said.status.is_success() {
        let mut reply = Reply::from(said.body.clone());
        if let Some(kind) = said.content_type() {
            headers::set(&mut reply.headers, "Content-Type", kind);
        }
        return Ok(reply);
    }
    // A redirect is nothing that a caller on the bus can follow.
    let code = if (400..=599).contains(&status) { status } else { 502 };
    let words: String = String::from_utf8_lossy(&said.body)
        .chars()
        .filter(|one| !one.is_control())
        .take(ERROR_CHARS_MAX)
        .collect();
    let message = if words.is_empty() { format!("the app answered {status}") } else { words };
    Err(ServiceError::new(code, message))
}
