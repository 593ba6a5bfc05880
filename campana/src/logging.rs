//! Logs: text for people, JSON for machines, always on standard error; and spans to the exporter, if there is one.
//! Reads: the log section of the configuration. Writes: standard error. Never: personal data; the call
//! sites see to that.

use std::io::IsTerminal;

use campana_bus::observe;
use opentelemetry_sdk::trace::SdkTracer;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::time::UtcTime;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::config::LogOptions;
use crate::errors::bad_config;

/// Installs the subscriber once for the process. The tracer gets the spans of the target
/// [`observe::TARGET`] and nothing else, whatever the log's level is.
pub fn init(options: &LogOptions, tracer: Option<SdkTracer>) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&options.level)
        .map_err(|error| bad_config(format!("log.level \"{}\": {error}", options.level)))?;
    let installed = match tracer {
        None => tracing_subscriber::registry().with(lines(options)?.with_filter(filter)).try_init(),
        Some(tracer) => {
            let spans = tracing_opentelemetry::layer::<Registry>()
                .with_tracer(tracer)
                .with_location(false)
                .with_threads(false)
                .with_level(false)
                .with_target(false)
                .with_tracked_inactivity(false)
                .with_filter(Targets::new().with_target(observe::TARGET, Level::TRACE));
            let filter = filter.add_directive(no_spans()?);
            tracing_subscriber::registry()
                .with(spans)
                .with(lines(options)?.with_filter(filter))
                .try_init()
        }
    };
    installed.map_err(|error| anyhow::anyhow!("the log subscriber cannot be installed: {error}"))
}

/// Spans that go to the exporter are not repeated on each log line.
fn no_spans() -> anyhow::Result<tracing_subscriber::filter::Directive> {
    Ok(format!("{}={}", observe::TARGET, LevelFilter::OFF).parse()?)
}

fn lines<S>(options: &LogOptions) -> anyhow::Result<Box<dyn Layer<S> + Send + Sync>>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let base = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_timer(UtcTime::rfc_3339())
        .with_ansi(colour);
    match options.format.as_str() {
        "text" => Ok(base.with_target(false).boxed()),
        "json" => Ok(base.json().flatten_event(true).boxed()),
        other => Err(bad_config(format!("log.format is \"text\" or \"json\", not \"{other}\""))),
    }
}
