//! What all handlers of the gateway share.
//! Reads and writes: nothing by itself.

use std::ops::Deref;
use std::sync::Arc;

use campana_bus::Bus;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::{EnvelopePublisher, GroupPublisher};
use campana_identity::{KeySet, TokenKeys, TokenOptions};
use campana_jwks::{Fetcher, LiveKeys};
use secrecy::SecretString;
use tokio::sync::Semaphore;

use super::admission::Admission;
use super::auth::KeyCache;
use super::idempotency::Idempotency;
use super::lookup::Lookups;
use super::metrics::Metrics;
use super::options::GatewayOptions;
use crate::store::Store;

/// What the composition root hands to the gateway.
#[derive(Clone, Debug)]
pub struct GatewayDeps {
    /// Recipients, templates, keys and status.
    pub store: Store,
    /// For the idempotency bucket, the backlog and announcements.
    pub bus: Bus,
    /// Publishes on `REQUESTS`.
    pub requests: EnvelopePublisher,
    /// Publishes on `CHANNELS`.
    pub channels: GroupPublisher,
    /// Publishes on `OUTCOMES`.
    pub outcomes: GroupPublisher,
    /// Signs connection tokens.
    pub token_keys: TokenKeys,
    /// Checks connection tokens, with the keys of [`GatewayDeps::tokens`]; those of JWKS documents are fetched.
    pub verifying: KeySet,
    /// What a connection token must say, as for the edge; tokens are minted to fit it.
    pub tokens: TokenOptions,
    /// Where browsers connect to the edge, for example `ws://127.0.0.1:8000/connection/websocket`.
    pub ws_url: String,
    /// The demo page's session, if the demo is on.
    pub demo: Option<DemoOptions>,
    /// Pages that the composition root puts at `/` and beside the gateway's own; without them `/` is the bell.
    pub front: Option<axum::Router>,
    /// Verifies Twilio's callbacks; without it they are refused.
    pub twilio_auth_token: Option<SecretString>,
    /// Scheme, host and port under which callers reach the gateway, without a slash at the end.
    pub public_url: String,
}

/// What the demo page gets. It shows a working API key to everyone who can reach the gateway: for
/// machines of developers, never for a deployment.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// A key of role sender.
    pub api_key: SecretString,
    /// Where the sandbox's mailbox page is, if it runs.
    pub sandbox_url: Option<String>,
    /// Where the metrics are, if they are served.
    pub metrics_url: Option<String>,
}

/// State of the handlers; cheap to clone.
#[derive(Clone)]
pub(super) struct App(Arc<Inner>);

pub(super) struct Inner {
    pub(super) options: GatewayOptions,
    pub(super) deps: GatewayDeps,
    pub(super) keys: KeyCache,
    pub(super) lookups: Lookups,
    pub(super) admission: Admission,
    pub(super) idempotency: Idempotency,
    pub(super) metrics: Metrics,
    pub(super) status_waiters: Semaphore,
    /// The keys of connection tokens.
    pub(super) token_keys: Arc<LiveKeys>,
    /// Fetches those that are not there yet.
    pub(super) fetcher: Fetcher,
    pub(super) lifecycle: Lifecycle,
}

impl App {
    /// # Errors
    /// If keys of connection tokens cannot be fetched on this machine at all.
    pub(super) fn new(
        options: GatewayOptions,
        deps: GatewayDeps,
        lifecycle: Lifecycle,
    ) -> anyhow::Result<Self> {
        let token_keys = Arc::new(LiveKeys::new(deps.verifying.clone(), &deps.tokens));
        let fetcher = campana_jwks::start(&token_keys, &lifecycle)?;
        Ok(Self(Arc::new(Inner {
            keys: KeyCache::new(&options),
            lookups: Lookups::new(&options),
            admission: Admission::new(&options),
            idempotency: Idempotency::new(deps.bus.clone(), &options),
            metrics: Metrics::new(),
            status_waiters: Semaphore::new(options.status_waiters_max),
            token_keys,
            fetcher,
            options,
            deps,
            lifecycle,
        })))
    }
}

impl Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}
