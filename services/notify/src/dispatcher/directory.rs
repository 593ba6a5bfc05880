//! Who the recipients are and what the templates say: the store behind a cache.
//! Reads: the store, and the news that something in it changed. Writes: memory. Never: makes a
//! notification wait for the database longer than the time-out, or lets an outage stop messages to people
//! that are already known.
//!
//! An entry is fresh for its time to live. When the database does not answer, an old entry is used
//! instead (`stale while error`), and for two seconds nobody asks again, so that an outage costs one
//! time-out and not one for each notification.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use campana_bus::lifecycle::Lifecycle;
use campana_bus::{Bus, clock};
use futures::StreamExt;

use crate::cache::Cache;
use crate::plan::{RecipientView, recipient_view, template_view};
use crate::render::{self, CompiledTemplate, RenderError};
use crate::store::changed::Changed;
use crate::store::{Store, Template};

/// Limits of the cache.
#[derive(Clone, Copy, Debug)]
pub struct DirectoryOptions {
    /// How long an entry is fresh.
    pub ttl: Duration,
    /// How long the absence of an entry is fresh: short, since people are written just before they are used.
    pub negative_ttl: Duration,
    /// How old an entry may be when the database does not answer.
    pub stale_max: Duration,
    /// Entries of each kind.
    pub entries: usize,
    /// How long the database may take.
    pub timeout: Duration,
    /// How long nobody asks again after it did not answer.
    pub pause: Duration,
}

impl Default for DirectoryOptions {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(30),
            negative_ttl: Duration::from_secs(2),
            stale_max: Duration::from_secs(24 * 3600),
            entries: 100_000,
            timeout: Duration::from_millis(500),
            pause: Duration::from_secs(2),
        }
    }
}

/// A template as the dispatcher uses it: parsed, or known to be broken.
pub type Parsed = Result<CompiledTemplate, RenderError>;

/// What a lookup found.
#[derive(Clone, Debug)]
pub enum Found<T> {
    /// There it is.
    Yes(Arc<T>),
    /// The store does not have it.
    No,
    /// The store did not answer, and nothing is remembered.
    Unavailable,
}

impl<T> Found<T> {
    /// The value, if there is one.
    #[must_use]
    pub fn get(&self) -> Option<&T> {
        match self {
            Self::Yes(value) => Some(value),
            Self::No | Self::Unavailable => None,
        }
    }
}

/// Tenant and name.
pub type Name = (String, String);

/// What a batch of requests needs to know.
#[derive(Debug, Default)]
pub struct Wanted {
    /// Recipients by tenant.
    pub recipients: BTreeSet<Name>,
    /// Templates by tenant.
    pub templates: BTreeSet<Name>,
}

/// The answers, each name once.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Recipients.
    pub recipients: HashMap<Name, Found<RecipientView>>,
    /// Templates.
    pub templates: HashMap<Name, Found<Parsed>>,
}

struct Entry<T> {
    value: Option<Arc<T>>,
    read_at: Instant,
}

impl<T> Clone for Entry<T> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), read_at: self.read_at }
    }
}

/// The store behind a cache.
pub struct Directory {
    store: Store,
    options: DirectoryOptions,
    recipients: Mutex<Cache<Name, Entry<RecipientView>>>,
    templates: Mutex<Cache<Name, Entry<Parsed>>>,
    /// Counts changes, so that an answer which a change overtook is not remembered.
    changes: AtomicU64,
    asleep_until: Mutex<Option<Instant>>,
}

impl Directory {
    /// An empty cache before this store.
    #[must_use]
    pub fn new(store: Store, options: DirectoryOptions) -> Self {
        Self {
            store,
            options,
            recipients: Mutex::new(Cache::new(options.entries)),
            templates: Mutex::new(Cache::new(options.entries)),
            changes: AtomicU64::new(0),
            asleep_until: Mutex::new(None),
        }
    }

    /// Forgets what others say has changed. Without it entries still expire by themselves.
    pub async fn listen(self: &Arc<Self>, bus: &Bus, lifecycle: &Lifecycle) {
        let mut news = match bus.client().subscribe(Changed::filter()).await {
            Ok(news) => news,
            Err(error) => {
                tracing::warn!(%error, "changes of recipients are not heard; they are seen when the cache expires");
                return;
            }
        };
        let this = Arc::clone(self);
        let soft = lifecycle.soft.clone();
        lifecycle.spawn("directory-news", async move {
            loop {
                let message = tokio::select! {
                    message = news.next() => message,
                    () = soft.cancelled() => return,
                };
                let Some(message) = message else { return };
                if let Some(change) = Changed::parse(&message.payload) {
                    this.forget(change);
                }
            }
        });
    }

    /// Drops one entry.
    pub fn forget(&self, change: Changed) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        match change {
            Changed::Recipient { tenant, id } => lock(&self.recipients).remove(&(tenant, id)),
            Changed::Template { tenant, key } => lock(&self.templates).remove(&(tenant, key)),
        }
    }

    /// Looks everything up, with one query for each tenant and kind.
    pub async fn look_up(&self, wanted: Wanted) -> Snapshot {
        let mut snapshot = Snapshot::default();
        let people = self.known(&self.recipients, wanted.recipients, &mut snapshot.recipients);
        let templates = self.known(&self.templates, wanted.templates, &mut snapshot.templates);
        for (tenant, ids) in people {
            let read = self.ask(self.store.recipients_by_id(&tenant, &ids)).await;
            let read = read.map(|(rows, changes)| {
                (rows.iter().map(|row| (row.id.clone(), recipient_view(row))).collect(), changes)
            });
            self.remember(&self.recipients, &tenant, ids, read, &mut snapshot.recipients);
        }
        for (tenant, keys) in templates {
            let read = self.ask(self.store.templates_by_key(&tenant, &keys)).await;
            let read = read.map(|(rows, changes)| {
                (rows.into_iter().map(|row| self.parse(row)).collect(), changes)
            });
            self.remember(&self.templates, &tenant, keys, read, &mut snapshot.templates);
        }
        snapshot
    }

    /// Answers from fresh entries; returns what has to be read, by tenant.
    fn known<T>(
        &self,
        cache: &Mutex<Cache<Name, Entry<T>>>,
        wanted: BTreeSet<Name>,
        found: &mut HashMap<Name, Found<T>>,
    ) -> BTreeMap<String, Vec<String>> {
        let now = clock::monotonic();
        let mut cache = lock(cache);
        let mut missing: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for name in wanted {
            match cache.get(&name).filter(|entry| self.is_fresh(entry, now)) {
                Some(entry) => {
                    found.insert(name, entry.value.map_or(Found::No, Found::Yes));
                }
                None => missing.entry(name.0).or_default().push(name.1),
            }
        }
        missing
    }

    fn is_fresh<T>(&self, entry: &Entry<T>, now: Instant) -> bool {
        let ttl = if entry.value.is_some() { self.options.ttl } else { self.options.negative_ttl };
        now.saturating_duration_since(entry.read_at) < ttl
    }

    /// Asks the database, unless it did not answer a moment ago. Returns the answer and the number of
    /// changes before the question.
    async fn ask<R, E: std::fmt::Display>(
        &self,
        query: impl Future<Output = Result<R, E>>,
    ) -> Option<(R, u64)> {
        let asleep = *lock(&self.asleep_until);
        if asleep.is_some_and(|until| clock::monotonic() < until) {
            return None;
        }
        let changes = self.changes.load(Ordering::SeqCst);
        let error = match tokio::time::timeout(self.options.timeout, query).await {
            Ok(Ok(rows)) => {
                *lock(&self.asleep_until) = None;
                return Some((rows, changes));
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {:?}", self.options.timeout),
        };
        *lock(&self.asleep_until) = Some(clock::monotonic() + self.options.pause);
        tracing::warn!(%error, "the store does not answer: going on with what is remembered");
        None
    }

    fn parse(&self, row: Template) -> (String, Parsed) {
        let view = template_view(&row);
        // An unchanged template is not parsed again when its entry expires.
        let before =
            lock(&self.templates).get(&(row.tenant, row.key.clone())).and_then(|entry| entry.value);
        if let Some(before) = before
            && let Ok(compiled) = before.as_ref()
            && compiled.hash == render::fingerprint(&view)
        {
            return (row.key, Ok(compiled.clone()));
        }
        (row.key, CompiledTemplate::compile(&view))
    }

    fn remember<T>(
        &self,
        cache: &Mutex<Cache<Name, Entry<T>>>,
        tenant: &str,
        names: Vec<String>,
        read: Option<(HashMap<String, T>, u64)>,
        found: &mut HashMap<Name, Found<T>>,
    ) {
        let now = clock::monotonic();
        let mut cache = lock(cache);
        let Some((mut rows, changes)) = read else {
            for name in names {
                let name = (tenant.to_owned(), name);
                let old = cache
                    .get(&name)
                    .filter(|entry| {
                        now.saturating_duration_since(entry.read_at) < self.options.stale_max
                    })
                    .and_then(|entry| entry.value);
                found.insert(name, old.map_or(Found::Unavailable, Found::Yes));
            }
            return;
        };
        let current = self.changes.load(Ordering::SeqCst) == changes;
        for name in names {
            let value = rows.remove(&name).map(Arc::new);
            let name = (tenant.to_owned(), name);
            if current {
                cache.insert(name.clone(), Entry { value: value.clone(), read_at: now });
            }
            found.insert(name, value.map_or(Found::No, Found::Yes));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A panic while holding the lock leaves a map that is still a map.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
