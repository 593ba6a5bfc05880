//! The connection to NATS that everything else borrows.
//! Reads: the environment, in [`Bus::from_env`] only. Writes: nothing. Never: gives up by itself once
//! connected: the client reconnects for ever, and what waits for an acknowledgement has deadlines.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::context::ContextBuilder;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::publish::PUBLISH_DEADLINE;
use crate::replies::Replies;
use crate::telemetry;

/// How long one publish waits for its acknowledgement before it counts as unknown.
/// Short, because a server that died takes the acknowledgement with it and only a repeat brings it back.
const ACK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a question to JetStream may take; whoever asks repeats it or says no.
const API_TIMEOUT: Duration = Duration::from_secs(3);
/// Messages that may wait in one subscription before the client drops them; bounded memory per channel.
const SUBSCRIPTION_CAPACITY: usize = 65_536;

/// What an acknowledged publish survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Loss of power: the server syncs to disk before it acknowledges (`sync_interval: always`).
    #[default]
    Power,
    /// `kill -9` of any process, but not loss of power (lazy sync).
    Process,
}

impl Durability {
    /// The name in configuration and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Power => "power",
            Self::Process => "process",
        }
    }
}

impl FromStr for Durability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "power" => Ok(Self::Power),
            "process" => Ok(Self::Process),
            other => Err(format!("durability is \"power\" or \"process\", not \"{other}\"")),
        }
    }
}

/// How to reach NATS.
#[derive(Clone, Debug)]
pub struct BusOptions {
    /// `nats://host:port`, several separated by commas.
    pub url: String,
    /// The name that the server shows for this connection.
    pub name: String,
    /// Which publishing strategy pays off: atomic batches only help a server that syncs every write.
    pub durability: Durability,
    /// A `.creds` file, if the server wants one.
    pub credentials_file: Option<PathBuf>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The server cannot be reached or refuses us.
    #[error("cannot connect to NATS at {url}: {reason}")]
    Unreachable {
        /// Where we tried.
        url: String,
        /// What the client said.
        reason: String,
    },
    /// The credentials cannot be read.
    #[error("cannot read the NATS credentials {path}: {reason}")]
    Credentials {
        /// Which file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// An environment variable has a value that means nothing.
    #[error("environment variable {name}: {reason}")]
    Environment {
        /// Which variable.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// A connection to NATS; cheap to clone, shared by all tasks of a role.
#[derive(Clone)]
pub struct Bus {
    client: async_nats::Client,
    jetstream: jetstream::Context,
    replies: Arc<Replies>,
    /// Changes whenever the client says something about its connection.
    events: watch::Receiver<()>,
    ack_timeout: Duration,
    publish_deadline: Duration,
    durability: Durability,
    name: String,
    version: Arc<str>,
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus")
            .field("name", &self.name)
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}

impl Bus {
    /// Connects once; later interruptions are healed by the client.
    ///
    /// # Errors
    /// If the server cannot be reached or the credentials cannot be read.
    pub async fn connect(options: BusOptions) -> Result<Self, ConnectError> {
        telemetry::start_connection();
        let (changed, events) = watch::channel(());
        let mut connect = async_nats::ConnectOptions::new()
            .name(&options.name)
            .subscription_capacity(SUBSCRIPTION_CAPACITY)
            .ping_interval(Duration::from_secs(10))
            // Quick at first: an embedded server is back within a second. The first connect waits for nothing.
            .reconnect_delay_callback(|attempt| {
                Duration::from_millis(50 * (attempt as u64).min(20))
            })
            .event_callback(move |event| {
                telemetry::connection_event(&event);
                let _ = changed.send(());
                std::future::ready(())
            });
        if let Some(path) = &options.credentials_file {
            let failed = |reason: std::io::Error| ConnectError::Credentials {
                path: path.display().to_string(),
                reason: reason.to_string(),
            };
            connect = connect.credentials_file(path).await.map_err(failed)?;
        }
        let servers: Vec<&str> =
            options.url.split(',').map(str::trim).filter(|url| !url.is_empty()).collect();
        let unreachable =
            |reason: String| ConnectError::Unreachable { url: redact(&options.url), reason };
        let client =
            connect.connect(servers).await.map_err(|error| unreachable(error.to_string()))?;
        let replies = Replies::start(&client).await.map_err(unreachable)?;
        let jetstream = ContextBuilder::new().timeout(API_TIMEOUT).build(client.clone());
        Ok(Self {
            client,
            jetstream,
            replies,
            events,
            ack_timeout: ACK_TIMEOUT,
            publish_deadline: PUBLISH_DEADLINE,
            durability: options.durability,
            name: options.name,
            version: Arc::from(""),
        })
    }

    /// The same connection with another patience for publishes: how long one waits for its acknowledgement
    /// before it is repeated (2 s if not set), and how long it is repeated ([`PUBLISH_DEADLINE`] if not set).
    #[must_use]
    pub fn with_publish_times(mut self, acknowledgement: Duration, deadline: Duration) -> Self {
        self.ack_timeout = acknowledgement;
        self.publish_deadline = deadline;
        self
    }

    /// Connects as a service author's `main` does: `NATS_URL` (default `nats://127.0.0.1:4222`),
    /// `NATS_CREDS`, `CAMPANA_DURABILITY`.
    ///
    /// # Errors
    /// As [`Bus::connect`], or if a variable makes no sense.
    pub async fn from_env(service: &str) -> Result<Self, ConnectError> {
        let durability = match std::env::var("CAMPANA_DURABILITY") {
            Ok(text) => text.parse().map_err(|reason| ConnectError::Environment {
                name: "CAMPANA_DURABILITY",
                reason,
            })?,
            Err(_) => Durability::default(),
        };
        Self::connect(BusOptions {
            url: std::env::var("NATS_URL").unwrap_or_else(|_| "nats://127.0.0.1:4222".to_owned()),
            name: service.to_owned(),
            durability,
            credentials_file: std::env::var_os("NATS_CREDS").map(PathBuf::from),
        })
        .await
    }

    /// The core client, for plain subscriptions and requests.
    #[must_use]
    pub fn client(&self) -> &async_nats::Client {
        &self.client
    }

    /// The JetStream context; there is one per connection, because each has a task of its own.
    #[must_use]
    pub fn jetstream(&self) -> &jetstream::Context {
        &self.jetstream
    }

    pub(crate) fn replies(&self) -> &Arc<Replies> {
        &self.replies
    }

    /// How long one publish waits for its acknowledgement before it counts as unknown.
    pub(crate) fn ack_timeout(&self) -> Duration {
        self.ack_timeout
    }

    /// How long a publish is repeated before the caller is told.
    pub(crate) fn publish_deadline(&self) -> Duration {
        self.publish_deadline
    }

    /// Changes whenever the client says something about its connection; gone with the connection.
    pub(crate) fn connection_events(&self) -> watch::Receiver<()> {
        self.events.clone()
    }

    /// Connections made so far, the first included.
    pub(crate) fn connects(&self) -> u64 {
        self.client.statistics().connects.load(Ordering::Relaxed)
    }

    /// Whether the connection is gone for good, because it was drained or the server refuses it for ever.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.replies.is_closed()
    }

    /// What an acknowledged publish survives on this server.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// The name of this connection: the service or role.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same connection for a service of this version; it stands in dead letters.
    #[must_use]
    pub fn with_version(self, version: &str) -> Self {
        Self { version: Arc::from(version), ..self }
    }

    /// The version of the service, empty if it was not given.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Whether the client is connected right now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }
}

/// The URL without a password, for logs and errors.
fn redact(url: &str) -> String {
    url.split(',')
        .map(|one| match url::Url::parse(one.trim()) {
            Ok(mut parsed) if parsed.password().is_some() => {
                let _ = parsed.set_password(Some("…"));
                parsed.to_string()
            }
            _ => one.trim().to_owned(),
        })
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        assert!(!redact("nats://user:secret@host:4222").contains("secret"));
        assert_eq!(redact("nats://a:1, nats://b:2"), "nats://a:1,nats://b:2");
    }
}
