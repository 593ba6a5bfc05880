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

use crate::apps::{self, Apps, Surroundings, Wanted};
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
/// How often somebody sees whether batches are staged in memory.
const STAGING_CHECK: Duration = Duration::from_secs(2);
/// Pause between two tries to reach a server that is coming up.
const NATS_RETRY: Duration = Duration::from_millis(10);

/// The store of this configuration: the configured database, or a SQLite file in the data directory.
pub async fn store(config: &Config) -> anyhow::Result<Store> {
    let configured = config.database.url.expose_secret();
    let file = store_file(config).map(|file| format!("sqlite://{}", file.display()));
    let url = file.unwrap_or_else(|| configured.to_owned());
    Store::connect(&url).await.map_err(|error| bad_config(format!("database.url: {error}")))
}

/// The SQLite file, if no other database is configured.
fn store_file(config: &Config) -> Option<PathBuf> {
    let configured = config.database.url.expose_secret();
    configured.is_empty().then(|| config.data_dir.join("campana.db"))
}

/// The secret that tokens are signed with: the configured one, or a generated one in the data directory.
fn token_secret(config: &Config) -> anyhow::Result<String> {
    match config.auth.token_secret.expose_secret() {
        "" => data::token_secret(&config.data_dir),
        configured => Ok(configured.to_owned()),
    }
}

/// The signing keys of this configuration: the configured secret, or a generated one in the data directory.
pub fn token_keys(config: &Config) -> anyhow::Result<TokenKeys> {
    let secret = token_secret(config)?;
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
    apps: Option<apps::Running>,
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
    /// What is known of the applications beside the platform.
    pub apps: Apps,
}

/// What `up` has opened and checked before anything starts.
struct Opened {
    config: Config,
    data: DataDir,
    listeners: Listeners,
    token_keys: TokenKeys,
    metrics: PrometheusHandle,
    apps: Option<apps::Plan>,
}

impl Platform {
    /// All roles, an embedded nats-server, a SQLite file, and the wanted applications beside them.
    pub async fn up(mut config: Config, wanted: Option<&Wanted>) -> anyhow::Result<Self> {
        refuse_open_doors(&config)?;
        let data = DataDir::open(&config)?;
        config.data_dir = data.path().to_owned();
        let apps = match wanted {
            Some(wanted) => Some(plan_apps(wanted, &mut config)?),
            None => None,
        };
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
        let opened = Opened { config, data, listeners, token_keys, metrics, apps };
        let started = Box::pin(Self::start_up(opened, nats_url, nats.as_ref())).await;
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
        opened: Opened,
        nats_url: String,
        nats: Option<&Supervisor>,
    ) -> anyhow::Result<Self> {
        let Opened { mut config, data, listeners, token_keys, metrics, apps } = opened;
        if let Some(nats) = nats {
            config.nats.metrics.monitor_urls = vec![nats.monitor.clone()];
        }
        let bus = connect_patiently(&config, &nats_url).await?;
        topology::apply(&bus, &cli_topology::wanted(&config))
            .await
            .context("the streams cannot be set up")?;
        if let Some(nats) = nats {
            nats.tend_staging();
        }
        let store = store(&config).await?;
        store.migrate().await.context("the database schema cannot be brought up to date")?;
        let api_key = seed::dev_key(&store, data.path()).await?;
        if config.public.demo {
            seed::demo(&store, &listeners).await?;
        }
        let around = match &apps {
            Some(_) => Some(surroundings(&config, &listeners, &store, &nats_url).await?),
            None => None,
        };
        let mut discovery = Discovery {
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
            apps: Vec::new(),
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
            apps: apps.as_ref().map_or_else(Apps::none, |plan| plan.apps.clone()),
            config,
        };
        let platform = Box::pin(Self::start(parts, metrics, bus)).await?;
        let running = match apps.zip(around) {
            Some((plan, around)) => Some(plan.start(&around, &platform.lifecycle)?),
            None => None,
        };
        discovery.apps = running.as_ref().map_or_else(Vec::new, |running| running.apps.records());
        discovery.write()?;
        Ok(Self { apps: running, _data: Some(data), discovery: Some(discovery), ..platform })
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
            apps: Apps::none(),
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
        let (nats, apps, discovery) = (None, None, None);
        Ok(Self { lifecycle, watched, grace, ready, nats, apps, _data: None, discovery, addresses })
    }

    /// Where everything is, if this is `up`.
    pub fn discovery(&self) -> Option<&Discovery> {
        self.discovery.as_ref()
    }

    /// What is known of the applications beside it.
    pub fn apps(&self) -> Apps {
        self.apps.as_ref().map_or_else(Apps::none, |running| running.apps.clone())
    }

    /// Role and address of every listener.
    pub fn addresses(&self) -> &str {
        &self.addresses
    }

    /// A nats-server that was started again stages batches on the disk until somebody looks after it.
    async fn keep_batches_in_memory(&self) {
        let Some(nats) = &self.nats else {
            return std::future::pending().await;
        };
        let mut tick = tokio::time::interval(STAGING_CHECK);
        loop {
            tick.tick().await;
            nats.tend_staging();
        }
    }

    /// The nats-server child has another process id after a restart, and applications come and go; who watches them
    /// reads `up.json`.
    async fn keep_discovery_true(&self) {
        let Some(written) = &self.discovery else {
            return std::future::pending().await;
        };
        let (mut written, apps) = (written.clone(), self.apps());
        let mut tick = tokio::time::interval(DISCOVERY_CHECK);
        loop {
            tick.tick().await;
            let pid = self.nats.as_ref().map_or(0, Supervisor::pid);
            let pid = if pid == 0 { written.nats_pid } else { pid };
            let apps = apps.records();
            if pid != written.nats_pid || apps != written.apps {
                (written.nats_pid, written.apps) = (pid, apps);
                if let Err(error) = written.write() {
                    tracing::warn!("up.json cannot be updated: {error:#}");
                }
            }
        }
    }

    /// Until a signal or a failed role; then the end of the applications, a drain, and the end of the nats-server child.
    pub async fn run_until_stopped(self) -> anyhow::Result<()> {
        let signalled = tokio::select! {
            signal = first_signal() => signal.map(Some)?,
            () = self.lifecycle.soft.cancelled() => None,
            () = self.watched.soft.cancelled() => None,
            () = self.keep_discovery_true() => None,
            () = self.keep_batches_in_memory() => None,
        };
        self.ready.store(false, Ordering::Relaxed);
        tracing::info!(signal = signalled, "stopping: finishing what is in hand");
        if let Some(apps) = &self.apps {
            apps.stop(first_signal()).await;
        }
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

/// What the applications need before anything starts: secrets in the data directory, ports, configuration.
fn plan_apps(wanted: &Wanted, config: &mut Config) -> anyhow::Result<apps::Plan> {
    if config.edge.api.key.expose_secret().is_empty() {
        config.edge.api.key = data::edge_api_key(&config.data_dir)?.into();
    }
    let data_dir = config.data_dir.clone();
    apps::Plan::prepare(wanted, config, &data_dir)
}

/// What the applications are told of this platform.
async fn surroundings(
    config: &Config,
    listeners: &Listeners,
    store: &Store,
    nats_url: &str,
) -> anyhow::Result<Surroundings> {
    let nats_credentials = credentials(config)
        .map(|file| {
            std::path::absolute(&file)
                .with_context(|| format!("nats.credentials_file {}", file.display()))
        })
        .transpose()?;
    let (sidecar_token_file, sidecar_token) = data::sidecar_token(&config.data_dir)?;
    Ok(Surroundings {
        sidecar_token_file,
        sidecar_token: sidecar_token.into(),
        nats_url: nats_url.to_owned(),
        nats_credentials,
        gateway: listeners.http(Role::Gateway),
        public_gateway: listeners.gateway_url(config),
        edge_ws: listeners.edge_ws_url(config),
        edge: listeners.http(Role::Edge),
        edge_secret: token_secret(config)?.into(),
        edge_key: config.edge.api.key.clone(),
        api_keys: seed::app_keys(store, &config.data_dir).await?,
    })
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
