//! `GET /debug/trace`: the frames of one user or one connection on all edge nodes, as JSON lines.
//! Reads: the query. Writes: the answer, line by line. Never: answers another machine: what the listener shows
//! besides is for monitoring systems, this is for people who may log in here.

use std::net::SocketAddr;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use campana_bus::Bus;
use campana_bus::lifecycle::Lifecycle;
use campana_ws_edge::trace::{self, TraceRequest};
use futures::StreamExt as _;
use serde::Deserialize;
use tokio::sync::mpsc;

/// Lines that may wait for a slow reader.
const LINES_WAITING_MAX: usize = 4_096;

/// What a trace needs.
#[derive(Clone)]
pub struct Traces {
    pub bus: Bus,
    pub lifecycle: Lifecycle,
}

/// The query of a trace.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Asked {
    tenant: String,
    user: String,
    client: String,
    seconds: u64,
    frames: u64,
    payloads: bool,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            tenant: campana_identity::DEFAULT_TENANT.to_owned(),
            user: String::new(),
            client: String::new(),
            seconds: 60,
            frames: 10_000,
            payloads: false,
        }
    }
}

/// Streams lines until the trace ends or the caller leaves.
pub async fn serve(
    State(traces): State<Traces>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
) -> Response {
    if !peer.ip().to_canonical().is_loopback() {
        let text = "traces are for callers on this machine: use `campana edge trace` elsewhere\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    let Asked { tenant, user, client, seconds, frames, payloads } = match asked {
        Ok(Query(asked)) => asked,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    };
    let by = "a caller of /debug/trace on this machine".to_owned();
    let request = TraceRequest { tenant, user, client, seconds, frames, payloads, by };
    if let Err(error) = request.check() {
        return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response();
    }
    let (lines, taken) = mpsc::channel::<String>(LINES_WAITING_MAX);
    let (bus, stop) = (traces.bus, traces.lifecycle.soft.clone());
    traces.lifecycle.spawn("trace", async move {
        let told = lines.clone();
        let ended = tokio::select! {
            ended = trace::run(&bus, request, lines) => ended,
            () = stop.cancelled() => Ok(()),
        };
        if let Err(error) = ended {
            let line = serde_json::json!({"kind": "failed", "error": error}).to_string();
            let _ = told.send(line).await;
        }
    });
    let body = futures::stream::unfold(taken, async |mut taken| {
        let line = taken.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(line + "\n")), taken))
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (kind, Body::from_stream(body.boxed())).into_response()
}
