//! An OTLP collector inside the test: takes traces over HTTP (protobuf) and keeps them.
//! Reads: `POST /v1/traces`. Writes: memory. Never: outlives its owner, or accepts what is not OTLP.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{Span, status};
use prost::Message as _;
use tokio::task::JoinSet;

/// A span as it was received.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// Its name.
    pub name: String,
    /// `SPAN_KIND_…` without the prefix, in lower case.
    pub kind: String,
    /// Its trace, 32 hexadecimal digits.
    pub trace: String,
    /// Its id, 16 hexadecimal digits.
    pub id: String,
    /// Its parent's id; empty for none.
    pub parent: String,
    /// Trace and span id of everything that it links to.
    pub links: Vec<(String, String)>,
    /// Its attributes, as text.
    pub attributes: BTreeMap<String, String>,
    /// Whether it is marked as failed.
    pub failed: bool,
    /// What is said about its process.
    pub resource: BTreeMap<String, String>,
}

impl Received {
    /// An attribute; empty if it is not there.
    #[must_use]
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

#[derive(Clone, Default)]
struct Store {
    spans: Arc<Mutex<Vec<Received>>>,
}

/// The collector.
#[derive(Debug)]
pub struct Collector {
    /// What to configure as `tracing.otlp_endpoint`.
    pub endpoint: String,
    spans: Arc<Mutex<Vec<Received>>>,
    _server: JoinSet<()>,
}

impl Collector {
    /// Listens on a free port.
    ///
    /// # Errors
    /// If the loopback interface has none.
    pub async fn start() -> Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let store = Store::default();
        let spans = Arc::clone(&store.spans);
        let router = Router::new().route("/v1/traces", post(take)).with_state(store);
        let mut server = JoinSet::new();
        server.spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { endpoint, spans, _server: server })
    }

    /// Everything received so far.
    #[must_use]
    pub fn spans(&self) -> Vec<Received> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The spans of one trace with this name.
    #[must_use]
    pub fn named(&self, trace: &str, name: &str) -> Vec<Received> {
        let mut all = self.spans();
        all.retain(|span| span.trace == trace && span.name == name);
        all
    }

    /// The only span of a trace with this name, if it is there.
    ///
    /// # Errors
    /// If there are several.
    pub fn one(&self, trace: &str, name: &str) -> Result<Option<Received>> {
        let mut found = self.named(trace, name);
        ensure!(found.len() <= 1, "several spans {name}: {found:#?}");
        Ok(found.pop())
    }
}

async fn take(State(store): State<Store>, headers: HeaderMap, body: Bytes) -> StatusCode {
    match decode(&headers, &body) {
        Ok(spans) => {
            store.spans.lock().unwrap_or_else(PoisonError::into_inner).extend(spans);
            StatusCode::OK
        }
        Err(_) => StatusCode::BAD_REQUEST,
    }
}

fn decode(headers: &HeaderMap, body: &Bytes) -> Result<Vec<Received>> {
    let kind = headers.get("content-type").context("no content type")?;
    ensure!(kind == "application/x-protobuf", "{kind:?}");
    let request = ExportTraceServiceRequest::decode(body.clone())?;
    let mut received = Vec::new();
    for group in request.resource_spans {
        let resource =
            texts(group.resource.map(|resource| resource.attributes).unwrap_or_default());
        for span in group.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            received.push(Received { resource: resource.clone(), ..one(span) });
        }
    }
    Ok(received)
}

fn one(span: Span) -> Received {
    let kind = span.kind().as_str_name().trim_start_matches("SPAN_KIND_").to_ascii_lowercase();
    debug_assert_ne!(span.kind(), SpanKind::Unspecified);
    let failed = span.status.is_some_and(|status| status.code() == status::StatusCode::Error);
    Received {
        name: span.name,
        kind,
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        links: span.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect(),
        attributes: texts(span.attributes),
        failed,
        resource: BTreeMap::new(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    attributes
        .into_iter()
        .map(|pair| (pair.key, pair.value.map(text).unwrap_or_default()))
        .collect()
}

fn text(value: AnyValue) -> String {
    match value.value {
        Some(Any::StringValue(text)) => text,
        Some(Any::IntValue(number)) => number.to_string(),
        Some(Any::BoolValue(yes)) => yes.to_string(),
        Some(Any::DoubleValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}
