//! Traces for others to look at: from spans in this process to an OTLP collector.
//! Reads: the tracing section of the configuration. Writes: OTLP over HTTP, protobuf bodies, to the collector;
//! its own counters. Never: holds up a message: what does not fit into the queue is counted and forgotten, and a
//! collector that is away costs one log line a minute.

mod export;

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context as _;
use campana_bus::observe;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, SpanExporter as _};
use secrecy::ExposeSecret as _;

use crate::config::{Config, TracingOptions};
use crate::errors::bad_config;
use crate::logging;

use export::{Exporting, Queue};

/// Where collectors take traces, behind their address (OTLP/HTTP specification).
const TRACES_PATH: &str = "/v1/traces";
/// The conventions that names and attributes follow.
const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

/// Everything that can be wrong has been found; nothing is sent yet.
pub struct Prepared {
    provider: SdkTracerProvider,
    exporting: Exporting,
    flush_timeout: Duration,
}

/// What the options ask for; `None` if no collector is configured.
fn prepare(options: &TracingOptions) -> anyhow::Result<Option<Prepared>> {
    if options.otlp_endpoint.is_empty() {
        return Ok(None);
    }
    options.check()?;
    observe::set_messaging_parent(options.messaging_parent);
    let resource = resource(options)?;
    let mut exporter = exporter(options)?;
    exporter.set_resource(&resource);
    let (queue, spans) = Queue::new(options.queue_spans_max);
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(options.sample_ratio)));
    let provider = SdkTracerProvider::builder()
        .with_sampler(sampler)
        .with_resource(resource)
        .with_span_processor(queue)
        .build();
    let exporting = Exporting::new(
        exporter,
        spans,
        options.batch_spans_max,
        Duration::from_millis(options.export_interval_ms),
    );
    let flush_timeout = Duration::from_millis(options.flush_timeout_ms);
    Ok(Some(Prepared { provider, exporting, flush_timeout }))
}

/// Logs and traces of this process: installs the one subscriber. What is returned belongs into [`around`].
pub fn install(config: &Config) -> anyhow::Result<Option<Prepared>> {
    let prepared = prepare(&config.tracing)?;
    logging::init(&config.log, prepared.as_ref().map(Prepared::tracer))?;
    Ok(prepared)
}

impl Prepared {
    /// What makes spans of the process's spans.
    fn tracer(&self) -> SdkTracer {
        let scope = InstrumentationScope::builder("campana")
            .with_version(env!("CARGO_PKG_VERSION"))
            .with_schema_url(SCHEMA_URL);
        self.provider.tracer_with_scope(scope.build())
    }
}

/// Does the work of a process, exports meanwhile, and sends what is left at its end, within the deadline.
pub async fn around<T>(prepared: Option<Prepared>, work: impl Future<Output = T>) -> T {
    let Some(Prepared { exporting, flush_timeout, provider }) = prepared else {
        return work.await;
    };
    let running = exporting.start();
    let result = work.await;
    running.finish(flush_timeout).await;
    drop(provider);
    result
}

fn exporter(options: &TracingOptions) -> anyhow::Result<SpanExporter> {
    let timeout = Duration::from_millis(options.export_timeout_ms);
    let client = reqwest::Client::builder()
        .connect_timeout(timeout)
        .timeout(timeout)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .context("the client for traces cannot be made")?;
    SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(endpoint(&options.otlp_endpoint))
        .with_headers(headers(options.otlp_headers.expose_secret())?)
        .with_timeout(timeout)
        .build()
        .map_err(|error| bad_config(format!("tracing.otlp_endpoint: {error}")))
}

/// The address with the path for traces, unless it has it.
fn endpoint(configured: &str) -> String {
    let base = configured.trim_end_matches('/');
    if base.ends_with(TRACES_PATH) { base.to_owned() } else { format!("{base}{TRACES_PATH}") }
}

/// `name=value` pairs, separated by commas. Errors never show a value.
fn headers(text: &str) -> anyhow::Result<HashMap<String, String>> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            pair.split_once('=')
                .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
                .filter(|(name, value)| {
                    http::HeaderName::try_from(name).is_ok()
                        && http::HeaderValue::try_from(value).is_ok()
                })
                .ok_or_else(|| {
                    bad_config("tracing.otlp_headers wants name=value pairs, separated by commas")
                })
        })
        .collect()
}

fn resource(options: &TracingOptions) -> anyhow::Result<Resource> {
    let mut attributes = vec![
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new(
            "service.instance.id",
            format!("{}-{}", std::process::id(), campana_bus::clock::now().0),
        ),
    ];
    for pair in &options.resource_attributes {
        let (name, value) =
            pair.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
                bad_config(format!("tracing.resource_attributes wants name=value, not \"{pair}\""))
            })?;
        attributes.push(KeyValue::new(name.to_owned(), value.to_owned()));
    }
    Ok(Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_service_name(options.service_name.clone())
        .with_attributes(attributes)
        .build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_added_once() {
        for configured in
            ["http://127.0.0.1:4318", "http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"]
        {
            assert_eq!(endpoint(configured), "http://127.0.0.1:4318/v1/traces");
        }
        assert_eq!(endpoint("https://tempo/otlp"), "https://tempo/otlp/v1/traces");
    }

    #[test]
    fn headers_are_pairs_and_never_shown() {
        let good = headers("Authorization=Basic YTpi==, x-scope-orgid=1,").unwrap();
        assert_eq!(good["Authorization"], "Basic YTpi==");
        assert_eq!(good["x-scope-orgid"], "1");
        let error = headers("hunter2").unwrap_err().to_string();
        assert!(error.contains("otlp_headers") && !error.contains("hunter2"), "{error}");
    }
}
