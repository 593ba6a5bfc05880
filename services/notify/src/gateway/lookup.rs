//! Whether recipients and templates exist, behind a cache.
//! Reads: the store. Writes: memory. Never: refuses a notification because the store is away; the
//! dispatcher decides then.

use std::time::{Duration, Instant};

use campana_bus::clock;
use campana_bus::lifecycle::Lifecycle;
use dashmap::DashMap;
use futures::StreamExt as _;

use super::options::GatewayOptions;
use super::state::App;
use crate::store::StoreError;
use crate::store::changed::Changed;

/// Absence is forgotten soon: what is missing is usually about to be written.
const ABSENT_TTL: Duration = Duration::from_secs(1);
/// How long nobody asks again after the store did not answer.
const PAUSE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy)]
struct Seen {
    exists: bool,
    at: Instant,
}

/// What is known to exist.
pub(super) struct Lookups {
    recipients: DashMap<(String, String), Seen>,
    templates: DashMap<(String, String), Seen>,
    asleep_until: std::sync::Mutex<Option<Instant>>,
    ttl: Duration,
    entries_max: usize,
}

/// Which table a name is looked up in.
#[derive(Clone, Copy)]
enum Kind {
    Recipient,
    Template,
}

impl Lookups {
    pub(super) fn new(options: &GatewayOptions) -> Self {
        Self {
            recipients: DashMap::new(),
            templates: DashMap::new(),
            asleep_until: std::sync::Mutex::new(None),
            ttl: Duration::from_secs(options.lookup_cache_seconds),
            entries_max: options.cache_entries_max,
        }
    }

    const fn map(&self, kind: Kind) -> &DashMap<(String, String), Seen> {
        match kind {
            Kind::Recipient => &self.recipients,
            Kind::Template => &self.templates,
        }
    }

    fn known(&self, kind: Kind, tenant: &str, name: &str) -> Option<bool> {
        let seen = *self.map(kind).get(&(tenant.to_owned(), name.to_owned()))?;
        let ttl = if seen.exists { self.ttl } else { ABSENT_TTL };
        (seen.at.elapsed() < ttl).then_some(seen.exists)
    }

    fn remember(&self, kind: Kind, tenant: &str, name: &str, exists: bool) {
        let map = self.map(kind);
        if map.len() >= self.entries_max {
            map.clear();
        }
        map.insert((tenant.to_owned(), name.to_owned()), Seen { exists, at: clock::monotonic() });
    }

    fn is_asleep(&self) -> bool {
        self.asleep_until
            .lock()
            .is_ok_and(|until| until.is_some_and(|until| clock::monotonic() < until))
    }

    fn sleep(&self) {
        if let Ok(mut until) = self.asleep_until.lock() {
            *until = Some(clock::monotonic() + PAUSE);
        }
    }

    /// Forgets what has changed.
    pub(super) fn forget(&self, changed: &Changed) {
        match changed {
            Changed::Recipient { tenant, id } => {
                self.recipients.remove(&(tenant.clone(), id.clone()))
            }
            Changed::Template { tenant, key } => {
                self.templates.remove(&(tenant.clone(), key.clone()))
            }
        };
    }
}

/// Which of `ids` are no recipients, as positions; empty if the store does not answer.
pub(super) async fn missing_recipients(
    app: &App,
    tenant: &str,
    ids: &[(usize, &str)],
) -> Vec<usize> {
    let mut missing = Vec::new();
    let mut unknown = Vec::new();
    for (position, id) in ids {
        match app.lookups.known(Kind::Recipient, tenant, id) {
            Some(true) => {}
            Some(false) => missing.push(*position),
            None => unknown.push((*position, (*id).to_owned())),
        }
    }
    if !unknown.is_empty() {
        let names: Vec<String> = unknown.iter().map(|(_, id)| id.clone()).collect();
        if let Some(found) = ask(app, app.deps.store.recipients_by_id(tenant, &names)).await {
            for (position, id) in &unknown {
                let exists = found.iter().any(|recipient| recipient.id == *id);
                app.lookups.remember(Kind::Recipient, tenant, id, exists);
                if !exists {
                    missing.push(*position);
                }
            }
        }
    }
    missing
}

/// Whether there is certainly no such template.
pub(super) async fn template_is_missing(app: &App, tenant: &str, key: &str) -> bool {
    if let Some(exists) = app.lookups.known(Kind::Template, tenant, key) {
        return !exists;
    }
    let Some(found) = ask(app, app.deps.store.template(tenant, key)).await else {
        return false;
    };
    app.lookups.remember(Kind::Template, tenant, key, found.is_some());
    found.is_none()
}

async fn ask<T>(app: &App, question: impl Future<Output = Result<T, StoreError>>) -> Option<T> {
    if app.lookups.is_asleep() {
        app.metrics.stale_lookups.increment(1);
        return None;
    }
    let why = match tokio::time::timeout(app.options.store_timeout(), question).await {
        Ok(Ok(answer)) => return Some(answer),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer in time".to_owned(),
    };
    app.metrics.stale_lookups.increment(1);
    app.lookups.sleep();
    tracing::warn!(
        "the store does not answer, notifications are accepted without looking names up: {why}"
    );
    None
}

/// Forgets what other gateways say has changed. Without it entries still expire by themselves.
pub(super) async fn listen(app: &App, lifecycle: &Lifecycle) {
    let mut news = match app.deps.bus.client().subscribe(Changed::filter()).await {
        Ok(news) => news,
        Err(error) => {
            tracing::warn!(%error, "changes made by other gateways are seen when the cache expires");
            return;
        }
    };
    let (app, soft) = (app.clone(), lifecycle.soft.clone());
    lifecycle.spawn("gateway lookups", async move {
        loop {
            tokio::select! {
                () = soft.cancelled() => return,
                message = news.next() => match message {
                    Some(message) => {
                        if let Some(changed) = Changed::parse(&message.payload) {
                            app.lookups.forget(&changed);
                        }
                    }
                    None => return,
                }
            }
        }
    });
}
