//! Starting the roles of a process, each on a connection of its own.
//! Reads: the configuration. Writes: nothing. Never: lets a role end unseen: each is essential.

use std::time::Duration;

use axum::Router;
use campana_bus::dlq::keeper::{self, KeeperOptions};
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::{EnvelopePublisher, GroupPublisher};
use campana_bus::topology::{CHANNELS, DELIVERIES, OUTCOMES, REQUESTS};
use campana_bus::{Bus, BusOptions};
use campana_identity::KeySet;
use campana_notify::channels::{self, ChannelDeps, ChannelOptions};
use campana_notify::contracts::Channel;
use campana_notify::dispatcher::{self, DispatcherDeps};
use campana_notify::gateway::{self, DemoOptions, GatewayDeps};
use campana_notify::recorder;
use campana_sandbox::{SandboxListeners, SandboxOptions};
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::{ExposeSecret, SecretString};

use super::{Listeners, Parts, credentials, seed, store_file};
use crate::config::{Config, Role};
use crate::errors::{bad_config, cannot_connect};
use crate::{landing, ops};

/// Between two groups of outcomes, for which nobody waits but the acknowledgement of what they are about: at 1,700
/// attempts a second groups as they came had 28 members, near the 20 below which each costs a disk write of its own.
const OUTCOMES_PACE: Duration = Duration::from_millis(20);
/// Between two messages with outcomes of plans. An envelope of requests keeps its place at the dispatcher until they are
/// stored; longer, and the places would run out before the processor does.
const PLANS_PACE: Duration = Duration::from_millis(25);
/// Signs what goes to the sandbox's webhook receiver. Not a secret: the sandbox keeps nobody's data.
const SANDBOX_WEBHOOK_SECRET: &str = "whsec_Y2FtcGFuYSBzYW5kYm94IHdlYmhvb2tz";

/// Everything that starting one role needs.
struct Starter {
    parts: Parts,
    options: ChannelOptions,
    front: Option<Router>,
}

/// Starts every role and the metrics listener, which lives on while the roles stop.
pub async fn start(
    mut parts: Parts,
    metrics: PrometheusHandle,
    health: ops::Health,
    watched: &Lifecycle,
) -> anyhow::Result<()> {
    let mut front = None;
    if let Some(listener) = parts.listeners.ops.take() {
        // NATS is measured where the dead letters are looked after: by few processes, of which one speaks.
        let collector = parts.roles.contains(&Role::Keeper);
        let collector = collector.then(|| parts.config.nats.metrics.clone());
        let viewer = parts.config.ops.clone();
        let nats = collector.map(|options| ops::nats::start(&health.bus, &options, watched));
        let nats = nats.unwrap_or_default();
        front = front_pages(&parts, metrics.clone(), nats.clone());
        let work = ops::run(listener, metrics, health, nats, viewer, watched.clone());
        watched.spawn_essential("ops", work);
    }
    let options = channel_options(&parts.config, &parts.listeners);
    let roles = parts.roles.clone();
    let mut starter = Starter { parts, options, front };
    for role in roles {
        starter.start(role).await?;
    }
    Ok(())
}

impl Starter {
    async fn start(&mut self, role: Role) -> anyhow::Result<()> {
        match role {
            Role::Gateway => self.gateway().await,
            Role::Dispatcher => self.dispatcher().await,
            Role::Recorder => self.recorder().await,
            Role::Edge => self.edge().await,
            Role::Email => self.channel(role, Channel::Email).await,
            Role::Sms => self.channel(role, Channel::Sms).await,
            Role::Whatsapp => self.channel(role, Channel::Whatsapp).await,
            Role::Webhook => self.channel(role, Channel::Webhook).await,
            Role::Keeper => self.keeper().await,
            Role::Sandbox => self.sandbox(),
        }
    }

    async fn bus(&self, role: Role) -> anyhow::Result<Bus> {
        Bus::connect(BusOptions {
            url: self.parts.nats_url.clone(),
            name: format!("campana-{}", role.as_str()),
            durability: self.parts.config.nats.durability,
            credentials_file: credentials(&self.parts.config),
        })
        .await
        .map(|bus| bus.with_version(env!("CARGO_PKG_VERSION")))
        .map_err(|error| cannot_connect(error.to_string()))
    }

    fn lifecycle(&self) -> Lifecycle {
        self.parts.lifecycle.clone()
    }

    /// The configured keys that connection tokens are checked with.
    fn verifying(&self) -> anyhow::Result<KeySet> {
        let refused = |why| bad_config(format!("edge.tokens: {why}"));
        let public = self.parts.config.edge.tokens.key_set(&[]).map_err(refused)?;
        self.parts.token_keys.key_set().joined(&public).map_err(refused)
    }

    async fn gateway(&mut self) -> anyhow::Result<()> {
        let Some(listener) = self.parts.listeners.roles.remove(&Role::Gateway) else {
            return Ok(());
        };
        let (bus, lifecycle) = (self.bus(Role::Gateway).await?, self.lifecycle());
        let listeners = &self.parts.listeners;
        let twilio = self.options.twilio.auth_token.clone();
        let deps = GatewayDeps {
            store: self.parts.store.clone(),
            requests: EnvelopePublisher::start(&bus, REQUESTS, &lifecycle),
            channels: GroupPublisher::start(&bus, CHANNELS, &lifecycle),
            outcomes: GroupPublisher::start(&bus, OUTCOMES, &lifecycle),
            token_keys: self.parts.token_keys.clone(),
            verifying: self.verifying()?,
            tokens: self.parts.config.edge.tokens.clone(),
            ws_url: listeners.edge_ws_url(&self.parts.config),
            demo: self.parts.demo_key.clone().map(|key| DemoOptions {
                api_key: SecretString::from(key),
                sandbox_url: Some(listeners.http(Role::Sandbox)).filter(|url| !url.is_empty()),
                metrics_url: Some(format!("{}/metrics", listeners.ops_url())),
            }),
            front: self.front.take(),
            twilio_auth_token: (!twilio.expose_secret().is_empty()).then_some(twilio),
            public_url: listeners.gateway_url(&self.parts.config),
            bus,
        };
        let work =
            gateway::run(listener, self.parts.config.gateway.clone(), deps, lifecycle.clone());
        lifecycle.spawn_essential("gateway", essential(work));
        Ok(())
    }

    async fn dispatcher(&self) -> anyhow::Result<()> {
        let (bus, lifecycle) = (self.bus(Role::Dispatcher).await?, self.lifecycle());
        let deps = DispatcherDeps {
            store: self.parts.store.clone(),
            channels: GroupPublisher::start(&bus, CHANNELS, &lifecycle),
            deliveries: GroupPublisher::start(&bus, DELIVERIES, &lifecycle),
            outcomes: EnvelopePublisher::start_paced(&bus, OUTCOMES, PLANS_PACE, &lifecycle),
            bus,
        };
        let work = dispatcher::run(self.parts.config.dispatcher.clone(), deps, lifecycle.clone());
        lifecycle.spawn_essential("dispatcher", essential(work));
        Ok(())
    }

    async fn recorder(&self) -> anyhow::Result<()> {
        let (bus, lifecycle) = (self.bus(Role::Recorder).await?, self.lifecycle());
        let work = recorder::run(
            self.parts.config.recorder.clone(),
            self.parts.store.clone(),
            bus,
            lifecycle.clone(),
        );
        lifecycle.spawn_essential("recorder", essential(work));
        Ok(())
    }

    async fn edge(&mut self) -> anyhow::Result<()> {
        let Some(listener) = self.parts.listeners.roles.remove(&Role::Edge) else {
            return Ok(());
        };
        let (bus, lifecycle) = (self.bus(Role::Edge).await?, self.lifecycle());
        let mut options = self.parts.config.edge.clone();
        let drain_ms = [options.drain_delay_ms, options.drain_window_ms, options.drain_finish_ms];
        let drain_ms = drain_ms.into_iter().fold(0, u64::saturating_add);
        if drain_ms >= self.parts.config.stop_grace_seconds.saturating_mul(1_000) {
            return Err(bad_config(
                "edge.drain_delay_ms, drain_window_ms and drain_finish_ms together must be shorter than \
                 stop_grace_seconds, or clients are cut in the middle",
            ));
        }
        if self.parts.demo_key.is_some() {
            // The demo page is served by the gateway, which is another origin than the edge.
            let demo_url = self.parts.listeners.gateway_url(&self.parts.config);
            options.allowed_origins.push(origin(&demo_url).to_owned());
            options
                .allowed_origins
                .push(self.parts.listeners.http(Role::Gateway).replace("127.0.0.1", "localhost"));
        }
        let keys = self.verifying()?;
        let work = campana_ws_edge::run(listener, options, bus, keys, lifecycle.clone());
        lifecycle.spawn_essential("edge", essential(work));
        Ok(())
    }

    async fn channel(&self, role: Role, channel: Channel) -> anyhow::Result<()> {
        let (bus, lifecycle) = (self.bus(role).await?, self.lifecycle());
        let deps = ChannelDeps {
            // Only webhooks are signed with a recipient's own secret.
            store: role.uses_store().then(|| self.parts.store.clone()),
            outcomes: GroupPublisher::start_paced(&bus, OUTCOMES, OUTCOMES_PACE, &lifecycle),
            bus,
        };
        let work = channels::run_channel(channel, self.options.clone(), deps, lifecycle.clone());
        lifecycle.spawn_essential(role.as_str(), essential(work));
        Ok(())
    }

    async fn keeper(&self) -> anyhow::Result<()> {
        let (bus, lifecycle) = (self.bus(Role::Keeper).await?, self.lifecycle());
        let mine = lifecycle.clone();
        let work = async move { keeper::run(&bus, KeeperOptions::default(), mine).await };
        lifecycle.spawn_essential("keeper", essential(work));
        Ok(())
    }

    fn sandbox(&mut self) -> anyhow::Result<()> {
        let listeners = &mut self.parts.listeners;
        let (Some(web), Some(smtp)) =
            (listeners.roles.remove(&Role::Sandbox), listeners.smtp.take())
        else {
            return Ok(());
        };
        let chosen = &self.parts.config.sandbox;
        let options = SandboxOptions {
            keep: chosen.keep_messages,
            keep_bytes: chosen.keep_bytes,
            keep_receipts: chosen.keep_receipts,
            keep_receipt_bytes: chosen.keep_receipt_bytes,
            webhook_secrets: seed::PEOPLE
                .map(|name| (name.to_owned(), SANDBOX_WEBHOOK_SECRET.to_owned()))
                .to_vec(),
            ..SandboxOptions::default()
        };
        let lifecycle = self.lifecycle();
        let work = campana_sandbox::run(SandboxListeners { smtp, web }, options, lifecycle.clone());
        lifecycle.spawn_essential("sandbox", essential(work));
        Ok(())
    }
}

/// The landing page, where the demo is on: `campana up` on a loopback address.
fn front_pages(
    parts: &Parts,
    metrics: PrometheusHandle,
    nats: ops::nats::Reading,
) -> Option<Router> {
    parts.demo_key.as_ref()?;
    let (config, listeners) = (&parts.config, &parts.listeners);
    let (gateway, ops) = (listeners.gateway_url(config), listeners.ops_url());
    let about = landing::About {
        durability: config.nats.durability.as_str(),
        database: store_file(config),
        links: landing::Links {
            bell: format!("{gateway}/bell"),
            examples: format!("{gateway}/examples"),
            api_docs: format!("{gateway}/docs/"),
            openapi: format!("{gateway}/openapi.json"),
            guides: format!("{gateway}/guides"),
            gateway,
            mailbox: listeners.http(Role::Sandbox),
            dashboards: format!("{ops}/dashboards"),
            metrics: format!("{ops}/metrics"),
            health: format!("{ops}/readyz"),
            websocket: listeners.edge_ws_url(config),
        },
    };
    let sources = landing::Sources { metrics, nats, apps: parts.apps.clone() };
    Some(landing::router(about, sources, &parts.lifecycle))
}

async fn essential<E: std::fmt::Display>(
    work: impl Future<Output = Result<(), E>>,
) -> Result<(), String> {
    Box::pin(work).await.map_err(|error| format!("{error:#}"))
}

/// The channels' options, pointed at this process's sandbox where the configuration says so.
/// The part of an address that browsers call the origin: without the path behind it.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    url[host..].find('/').map_or(url, |path| &url[..host + path])
}

fn channel_options(config: &Config, listeners: &Listeners) -> ChannelOptions {
    let mut options = config.channels.clone();
    options.public_url = listeners.gateway_url(config);
    let Some(smtp) = listeners.smtp_socket() else {
        return options;
    };
    let web = listeners.http(Role::Sandbox);
    let to_sandbox = |name: &str| config.sandbox.channels.iter().any(|channel| channel == name);
    if to_sandbox("email") {
        options.email.host = smtp.ip().to_string();
        options.email.port = smtp.port();
        options.email.tls = channels::SmtpTls::None;
        options.email.username = String::new();
    }
    if to_sandbox("sms") || to_sandbox("whatsapp") {
        let sandbox = SandboxOptions::default();
        options.twilio.base_url = web;
        options.twilio.account_sid = sandbox.twilio_account_sid;
        options.twilio.auth_token = SecretString::from(sandbox.twilio_auth_token);
        options.twilio.sms_from = "+12025550199".to_owned();
        options.twilio.whatsapp_from = "+12025550198".to_owned();
    }
    if to_sandbox("webhook") {
        options.webhook.allow_networks.push(format!(
            "{}/{}",
            smtp.ip(),
            if smtp.is_ipv4() { 32 } else { 128 }
        ));
        if options.webhook.default_secret.expose_secret().is_empty() {
            options.webhook.default_secret = SecretString::from(SANDBOX_WEBHOOK_SECRET);
        }
    }
    options
}
