//! The composition root: the only place that knows more than one role.
//! Reads: the configuration. Writes: the data directory. Never: handles a notification itself.
//!
//! Everything is bound, opened and checked before anything starts, so that a busy port or a bad secret is
//! one clear line and no side effect.

mod data;
mod listeners;
mod roles;
mod seed;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::{Bus, clock, topology};
use campana_identity::TokenKeys;
use campana_notify::store::Store;
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::ExposeSecret;

use crate::cli::topology as cli_topology;
use crate::config::{Config, Role};
use crate::discovery::Discovery;
use crate::errors::{bad_config, cannot_connect};
use crate::nats::{self, Supervisor};
use crate::ops;

pub use data::DataDir;
pub use listeners::{Listeners, bind_std};

/// How long the embedded server may take to come up.
const NATS_START: Duration = Duration::from_secs(20);
/// How long answers of the metrics listener may take when everything else has ended.
const WATCHED_GRACE: Duration = Duration::from_secs(1);
/// How often `up.json` is compared with what runs.
const DISCOVERY_CHECK: Duration = Duration::from_secs(1);
/// Pause between two tries to reach a server that is coming up.
const NATS_RETRY: Duration = Duration::from_millis(10);

/// The store of this configuration: the configured database, or a SQLite file in the data directory.
pub async fn store(config: &Config) -> anyhow::Result<Store> {
    let configured = config.database.url.expose_secret();
    let url = if configured.is_empty() {
        format!("sqlite://{}", config.data_dir.join("campana.db").display())
    } else {
        configured.to_owned()
    };
    Store::connect(&url).await.map_err(|error| bad_config(format!("database.url: {error}")))
}

/// The signing keys of this configuration: the configured secret, or a generated one in the data directory.
pub fn token_keys(config: &Config) -> anyhow::Result<TokenKeys> {
    let configured = config.auth.token_secret.expose_secret();
    let secret = if configured.is_empty() {
        data::token_secret(&config.data_dir)?
    } else {
        configured.to_owned()
    };
    let previous = config.auth.token_secret_previous.expose_secret();
    let previous = (!previous.is_empty()).then_some(previous.as_bytes());
    let secrets: Vec<&[u8]> = std::iter::once(secret.as_bytes()).chain(previous).collect();
    config
        .edge
        .tokens
        .token_keys(&secrets)
        .map_err(|error| bad_config(format!("auth.token_secret: {error}")))
}

/// A running process.
pub struct Platform {
    lifecycle: Lifecycle,
    /// Of the metrics listener, which ends after everything else, so that a stop can be watched.
    watched: Lifecycle,
    grace: Duration,
    ready: Arc<AtomicBool>,
    nats: Option<Supervisor>,
    /// Held so that a second platform cannot use the same data.
    _data: Option<DataDir>,
    discovery: Option<Discovery>,
    addresses: String,
}

/// What the roles are started with.
pub(crate) struct Parts {
    pub config: Config,
    pub roles: Vec<Role>,
    pub listeners: Listeners,
    pub lifecycle: Lifecycle,
    pub nats_url: String,
    pub store: Store,
    pub token_keys: TokenKeys,
    pub demo_key: Option<String>,
}

impl Platform {
    /// All roles, an embedded nats-server, a SQLite file.
    pub async fn up(mut config: Config) -> anyhow::Result<Self> {
        refuse_open_doors(&config)?;
        let data = DataDir::open(&config)?;
        config.data_dir = data.path().to_owned();
        let listeners = Listeners::bind(&config, &Role::ALL)?;
        let token_keys = token_keys(&config)?;
        let metrics = ops::install_recorder()?;
        let nats = match config.nats.url.as_str() {
            "" => {
                let binary = nats::find(&config.nats.embedded)?;
                Some(Supervisor::start(
                    binary,
                    &config.nats.embedded,
                    config.nats.durability,
                    data.path(),
                )?)
            }
            _ => None,
        };
        let nats_url =
            nats.as_ref().map_or_else(|| config.nats.url.clone(), |nats| nats.url.clone());
        let started = Box::pin(Self::start_up(
            config,
            data,
            listeners,
            token_keys,
            metrics,
            nats_url,
            nats.as_ref(),
        ))
        .await;
        match started {
            Ok(platform) => Ok(Self { nats, ..platform }),
            Err(error) => {
                if let Some(nats) = nats {
                    let _ = tokio::task::spawn_blocking(move || nats.stop()).await;
                }
                Err(error)
            }
        }
    }

    async fn start_up(
        mut config: Config,
        data: DataDir,
        listeners: Listeners,
        token_keys: TokenKeys,
        metrics: PrometheusHandle,
        nats_url: String,
        nats: Option<&Supervisor>,
    ) -> anyhow::Result<Self> {
        if let Some(nats) = nats {
            config.nats.metrics.monitor_urls = vec![nats.monitor.clone()];
        }
        let bus = connect_patiently(&config, &nats_url).await?;
        topology::apply(&bus, &cli_topology::wanted(&config))
            .await
            .context("the streams cannot be set up")?;
        let store = store(&config).await?;
        store.migrate().await.context("the database schema cannot be brought up to date")?;
        let api_key = seed::dev_key(&store, data.path()).await?;
        if config.public.demo {
            seed::demo(&store, &listeners).await?;
        }
        let discovery = Discovery {
            schema_version: 1,
            pid: std::process::id(),
            nats_pid: nats.map_or(0, Supervisor::pid),
            gateway: listeners.gateway_url(&config),
            edge: listeners.http(Role::Edge),
            edge_ws: listeners.edge_ws_url(&config),
            metrics: listeners.ops_url(),
            nats: nats_url.clone(),
            nats_monitor: nats.map_or_else(String::new, |nats| nats.monitor.clone()),
            sandbox: listeners.http(Role::Sandbox),
            smtp: listeners.smtp_address(),
            api_key: api_key.clone(),
            durability: config.nats.durability.as_str().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            data_dir: data.path().to_owned(),
        };
        let demo_key = if config.public.demo {
            Some(seed::demo_key(&store, data.path()).await?)
        } else {
            None
        };
        let parts = Parts {
            roles: Role::ALL.to_vec(),
            listeners,
            lifecycle: Lifecycle::new(),
            nats_url,
            store,
            token_keys,
            demo_key,
            config,
        };
        let platform = Box::pin(Self::start(parts, metrics, bus)).await?;
        discovery.write()?;
        Ok(Self { _data: Some(data), discovery: Some(discovery), ..platform })
    }

    /// Chosen roles against an existing NATS and database.
    pub async fn run(config: Config, roles: &[Role]) -> anyhow::Result<Self> {
        if (roles.contains(&Role::Gateway) || roles.contains(&Role::Edge))
            && config.auth.token_secret.expose_secret().is_empty()
        {
            return Err(bad_config(
                "auth.token_secret is empty: roles in several processes need the same secret",
            ));
        }
        let mut roles = roles.to_vec();
        roles.sort_unstable();
        roles.dedup();
        let listeners = Listeners::bind(&config, &roles)?;
        let token_keys = if config.auth.token_secret.expose_secret().is_empty() {
            // Only channel workers, dispatchers and recorders: they verify no tokens.
            TokenKeys::new(&[0; 32], None)?
        } else {
            token_keys(&config)?
        };
        let metrics = ops::install_recorder()?;
        let nats_url = config.nats.url.clone();
        let bus = connect_patiently(&config, &nats_url).await?;
        topology::apply(&bus, &cli_topology::wanted(&config))
            .await
            .context("the streams cannot be set up")?;
        let store = store(&config).await?;
        if config.database.migrate_at_start && roles.iter().any(|role| role.uses_store()) {
            store.migrate().await.context("the database schema cannot be brought up to date")?;
        }
        let parts = Parts {
            roles,
            listeners,
            lifecycle: Lifecycle::new(),
            nats_url,
            store,
            token_keys,
            demo_key: None,
            config,
        };
        Box::pin(Self::start(parts, metrics, bus)).await
    }

    async fn start(parts: Parts, metrics: PrometheusHandle, bus: Bus) -> anyhow::Result<Self> {
        let lifecycle = parts.lifecycle.clone();
        let ready = Arc::new(AtomicBool::new(false));
        let grace = Duration::from_secs(parts.config.stop_grace_seconds);
        let addresses = parts.listeners.addresses();
        let uses_store = parts.roles.iter().any(|role| role.uses_store());
        let health = ops::Health {
            bus,
            store: uses_store.then(|| parts.store.clone()),
            ready: Arc::clone(&ready),
        };
        let watched = Lifecycle::new();
        Box::pin(roles::start(parts, metrics, health, &watched)).await?;
        ready.store(true, Ordering::Relaxed);
        let (nats, discovery) = (None, None);
        Ok(Self { lifecycle, watched, grace, ready, nats, _data: None, discovery, addresses })
    }

    /// Where everything is, if this is `up`.
    pub fn discovery(&self) -> Option<&Discovery> {
        self.discovery.as_ref()
    }

    /// Role and address of every listener.
    pub fn addresses(&self) -> &str {
        &self.addresses
    }

    /// The nats-server child has another process id after a restart; who watches it reads `up.json`.
    async fn keep_discovery_true(&self) {
        let (Some(nats), Some(written)) = (&self.nats, &self.discovery) else {
            return std::future::pending().await;
        };
        let mut written = written.clone();
        let mut tick = tokio::time::interval(DISCOVERY_CHECK);
        loop {
            tick.tick().await;
            let pid = nats.pid();
            if pid != 0 && pid != written.nats_pid {
                written.nats_pid = pid;
                if let Err(error) = written.write() {
                    tracing::warn!("up.json cannot be updated: {error:#}");
                }
            }
        }
    }

    /// Until a signal or a failed role; then a drain, and the end of the nats-server child.
    pub async fn run_until_stopped(self) -> anyhow::Result<()> {
        let signalled = tokio::select! {
            signal = first_signal() => signal.map(Some)?,
            () = self.lifecycle.soft.cancelled() => None,
            () = self.watched.soft.cancelled() => None,
            () = self.keep_discovery_true() => None,
        };
        self.ready.store(false, Ordering::Relaxed);
        tracing::info!(signal = signalled, "stopping: finishing what is in hand");
        let stopping = self.lifecycle.stop(self.grace);
        tokio::select! {
            clean = stopping => if !clean { tracing::warn!("stopped after the grace period"); },
            _ = first_signal() => {
                tracing::warn!("second signal: dropping what is in hand");
                self.lifecycle.hard.cancel();
            }
        }
        self.watched.stop(WATCHED_GRACE).await;
        if let Some(nats) = self.nats {
            tokio::task::spawn_blocking(move || nats.stop()).await?;
        }
        if let Some(discovery) = &self.discovery {
            Discovery::remove(&discovery.data_dir);
        }
        match self.lifecycle.failure().or_else(|| self.watched.failure()) {
            Some(why) => Err(anyhow::anyhow!("{why}")),
            None => Ok(()),
        }
    }
}

/// Conveniences that are safe on one machine only: the demo gives a working key to everybody who can reach
/// it, and the embedded nats-server asks nobody who they are.
fn refuse_open_doors(config: &Config) -> anyhow::Result<()> {
    let is_loopback = |host: &str| host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    if config.public.demo && !is_loopback(&config.listen.host) {
        return Err(bad_config(format!(
            "the demo page would give its key to everybody who can reach {}: set public.demo=false, \
             or listen on 127.0.0.1",
            config.listen.host
        )));
    }
    if config.nats.url.is_empty() && !is_loopback(&config.nats.embedded.host) {
        return Err(bad_config(format!(
            "nats.embedded.host {} is not a loopback address: the embedded server has no access control; \
             run a nats-server of your own and set nats.url",
            config.nats.embedded.host
        )));
    }
    Ok(())
}

async fn first_signal() -> anyhow::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => Ok("SIGTERM"),
        _ = interrupt.recv() => Ok("SIGINT"),
    }
}

/// Connects to a server that may be just coming up, and waits until its streams answer.
async fn connect_patiently(config: &Config, url: &str) -> anyhow::Result<Bus> {
    let started = clock::monotonic();
    loop {
        let error = match crate::cli::client::connect(config, url, "campana").await {
            Ok(bus) => match bus.jetstream().query_account().await {
                Ok(_) => return Ok(bus),
                Err(error) => {
                    cannot_connect(format!("JetStream at {url} does not answer: {error}"))
                }
            },
            Err(error) => error,
        };
        if started.elapsed() > NATS_START {
            return Err(error);
        }
        tokio::time::sleep(NATS_RETRY).await;
    }
}

impl Role {
    /// Whether the role reads or writes the database.
    pub const fn uses_store(self) -> bool {
        matches!(self, Self::Gateway | Self::Dispatcher | Self::Recorder | Self::Webhook)
    }
}

/// The credentials file of the configuration, if there is one.
pub(crate) fn credentials(config: &Config) -> Option<PathBuf> {
    let path = &config.nats.credentials_file;
    (!path.is_empty()).then(|| PathBuf::from(path))
}
