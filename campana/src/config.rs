//! Configuration: the embedded default file < a TOML file < the environment < flags.
//! Reads: files and the environment, once, at start. Writes: nothing. Never: ignores a key that it does not
//! know, never shows a secret.

mod explain;
mod sources;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::str::FromStr;

use campana_bus::Durability;
use campana_bus::observe::MessagingParent;
use campana_notify::channels::ChannelOptions;
use campana_notify::dispatcher::DispatcherOptions;
use campana_notify::gateway::GatewayOptions;
use campana_notify::recorder::RecorderOptions;
use campana_ws_edge::EdgeOptions;
use secrecy::SecretString;
use serde::Deserialize;

use crate::errors::bad_config;
use crate::ops::dashboards::OpsOptions;
use crate::ops::nats::CollectorOptions;

pub use explain::explain;
pub use sources::{Sources, load};

/// The default file: every option, documented, with its default value.
pub const DEFAULT_FILE: &str = include_str!("config/default.toml");

/// Everything that can be configured.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where embedded data lies.
    pub data_dir: PathBuf,
    /// Seconds that a stop may take.
    pub stop_grace_seconds: u64,
    /// Logs.
    pub log: LogOptions,
    /// Traces.
    pub tracing: TracingOptions,
    /// The bus.
    pub nats: NatsOptions,
    /// The store.
    pub database: DatabaseOptions,
    /// Signing keys.
    pub auth: AuthOptions,
    /// Metrics, health, dashboards.
    pub ops: OpsOptions,
    /// Where the roles listen.
    pub listen: ListenOptions,
    /// What the outside calls us.
    pub public: PublicOptions,
    /// The HTTP API.
    pub gateway: GatewayOptions,
    /// The dispatcher.
    pub dispatcher: DispatcherOptions,
    /// E-mail, SMS, WhatsApp, webhooks.
    pub channels: ChannelOptions,
    /// The recorder.
    pub recorder: RecorderOptions,
    /// The WebSocket edge.
    pub edge: EdgeOptions,
    /// The receivers that need no account.
    pub sandbox: SandboxSection,
}

/// Logs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogOptions {
    /// A tracing filter.
    pub level: String,
    /// `text` or `json`.
    pub format: String,
}

/// Traces.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TracingOptions {
    /// The collector; empty for none.
    pub otlp_endpoint: String,
    /// What the collector asks for, `name=value` pairs.
    pub otlp_headers: SecretString,
    /// How this process is called in traces.
    pub service_name: String,
    /// What else is said about it, each `name=value`.
    pub resource_attributes: Vec<String>,
    /// The share of traces that are recorded.
    pub sample_ratio: f64,
    /// How handling belongs to publishing.
    pub messaging_parent: MessagingParent,
    /// How long the collector may take.
    pub export_timeout_ms: u64,
    /// How long an ended span waits for company.
    pub export_interval_ms: u64,
    /// Spans of one request.
    pub batch_spans_max: usize,
    /// Spans that may wait.
    pub queue_spans_max: usize,
    /// How long a stop may wait for the last spans.
    pub flush_timeout_ms: u64,
}

impl TracingOptions {
    /// What the types cannot say.
    pub fn check(&self) -> anyhow::Result<()> {
        let endpoint = self.otlp_endpoint.as_str();
        let is_http =
            url::Url::parse(endpoint).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if !endpoint.is_empty() && !is_http {
            return Err(bad_config(
                "tracing.otlp_endpoint must be an http or https URL, for example http://127.0.0.1:4318",
            ));
        }
        if !(0.0..=1.0).contains(&self.sample_ratio) {
            return Err(bad_config("tracing.sample_ratio must be between 0 and 1"));
        }
        if self.batch_spans_max == 0 || self.queue_spans_max < self.batch_spans_max {
            return Err(bad_config(
                "tracing.batch_spans_max must be at least 1 and tracing.queue_spans_max not below it",
            ));
        }
        Ok(())
    }
}

/// The bus.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NatsOptions {
    /// Empty for the embedded server.
    pub url: String,
    /// What an acknowledged notification survives.
    pub durability: Durability,
    /// Copies of every stream.
    pub replicas: usize,
    /// Empty for none.
    pub credentials_file: String,
    /// Messages kept per channel.
    pub channel_history_messages: i64,
    /// Seconds that channel messages and outcomes are kept.
    pub channel_age_seconds: u64,
    /// Seconds that it is known which message of a channel was the last one.
    pub channel_meta_age_seconds: u64,
    /// Dead letters kept; -1 for no limit.
    pub dlq_messages: i64,
    /// Bytes of dead letters kept; -1 for no limit.
    pub dlq_bytes: i64,
    /// What is measured of the servers.
    pub metrics: CollectorOptions,
    /// The child of `campana up`.
    pub embedded: EmbeddedNatsOptions,
}

/// The nats-server child of `campana up`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddedNatsOptions {
    /// The program; found on `PATH` if absent.
    #[serde(default, deserialize_with = "empty_is_none")]
    pub binary: Option<PathBuf>,
    /// Where it listens.
    pub host: String,
    /// 0 for any free port.
    pub port: u16,
    /// 0 for any free port.
    pub monitor_port: u16,
    /// JetStream memory limit, in nats-server's notation.
    pub max_memory: String,
    /// JetStream disk limit, in nats-server's notation.
    pub max_file: String,
    /// `campana up` refuses to start with less free disk space.
    pub free_bytes_min: u64,
    /// Whether the server stages atomic batches in `/dev/shm` instead of on the disk, while 32 MiB are free there.
    pub stage_batches_in_memory: bool,
}

/// The store.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseOptions {
    /// Empty for a SQLite file in the data directory.
    pub url: SecretString,
    /// Whether roles bring the schema up to date when they start.
    pub migrate_at_start: bool,
}

/// Signing keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthOptions {
    /// HMAC secret of connection tokens; empty for a generated one in the data directory.
    pub token_secret: SecretString,
    /// The secret before a rotation; empty for none.
    pub token_secret_previous: SecretString,
}

/// Where the roles listen.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenOptions {
    /// One address for all.
    pub host: String,
    /// HTTP API, demo page, API docs.
    pub gateway: u16,
    /// WebSocket.
    pub edge: u16,
    /// Metrics and health.
    pub ops: u16,
    /// The sandbox's SMTP receiver.
    pub sandbox_smtp: u16,
    /// The sandbox's web page and HTTP receivers.
    pub sandbox_web: u16,
    /// Added to every port, so that a second platform can run beside the first.
    pub port_offset: u16,
}

/// What the outside calls us.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicOptions {
    /// The gateway's URL for provider callbacks; empty for the listening address.
    pub gateway_url: String,
    /// The edge's WebSocket URL for browsers; empty for the listening address.
    pub edge_ws_url: String,
    /// Whether the demo page and its session endpoint are served.
    pub demo: bool,
}

/// The receivers that need no account.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SandboxSection {
    /// Channels that `campana up` points at the sandbox instead of a provider.
    pub channels: Vec<String>,
    /// Messages kept.
    pub keep_messages: usize,
    /// Bytes of messages kept.
    pub keep_bytes: usize,
    /// Receipts kept for readers of the feed.
    pub keep_receipts: usize,
    /// Bytes of receipts kept.
    pub keep_receipt_bytes: usize,
}

fn empty_is_none<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<PathBuf>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok((!text.is_empty()).then(|| PathBuf::from(text)))
}

impl Config {
    /// Checks what the types cannot: contradictions between options.
    pub fn check(&self) -> anyhow::Result<()> {
        self.edge.check().map_err(|error| bad_config(format!("edge: {error}")))?;
        self.tracing.check()?;
        self.ops.check().map_err(|error| bad_config(format!("ops.{error}")))?;
        self.nats.metrics.check().map_err(|error| bad_config(format!("nats.metrics.{error}")))?;
        for (name, limit) in
            [("dlq_messages", self.nats.dlq_messages), ("dlq_bytes", self.nats.dlq_bytes)]
        {
            if limit == 0 || limit < -1 {
                return Err(bad_config(format!(
                    "nats.{name} must be at least 1, or -1 for no limit"
                )));
            }
        }
        if self.nats.replicas == 0 {
            return Err(bad_config("nats.replicas must be at least 1"));
        }
        if self.nats.url.is_empty() && self.nats.replicas > 1 {
            return Err(bad_config("nats.replicas above 1 needs a cluster: set nats.url"));
        }
        if self.listen.host.parse::<std::net::IpAddr>().is_err() {
            return Err(bad_config(format!(
                "listen.host \"{}\" is not an IP address",
                self.listen.host
            )));
        }
        Ok(())
    }

    /// Whether `port` 0 or `port + offset` is meant.
    pub fn port(&self, port: u16) -> u16 {
        if port == 0 { 0 } else { port.saturating_add(self.listen.port_offset) }
    }
}

/// The roles of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Accepts notifications over HTTP.
    Gateway,
    /// Plans them.
    Dispatcher,
    /// Writes the status tables.
    Recorder,
    /// Pushes to browsers.
    Edge,
    /// Sends e-mail.
    Email,
    /// Sends text messages.
    Sms,
    /// Sends WhatsApp messages.
    Whatsapp,
    /// Calls webhooks.
    Webhook,
    /// Looks after dead letters.
    Keeper,
    /// Receives what the channels send, so that no account is needed.
    Sandbox,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 10] = [
        Self::Gateway,
        Self::Dispatcher,
        Self::Recorder,
        Self::Edge,
        Self::Email,
        Self::Sms,
        Self::Whatsapp,
        Self::Webhook,
        Self::Keeper,
        Self::Sandbox,
    ];

    /// The name on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Dispatcher => "dispatcher",
            Self::Recorder => "recorder",
            Self::Edge => "edge",
            Self::Email => "email",
            Self::Sms => "sms",
            Self::Whatsapp => "whatsapp",
            Self::Webhook => "webhook",
            Self::Keeper => "keeper",
            Self::Sandbox => "sandbox",
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|role| role.as_str()).collect();
            format!("unknown role \"{text}\"; roles are {}", names.join(", "))
        })
    }
}
