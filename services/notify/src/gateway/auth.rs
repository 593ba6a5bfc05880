//! Who calls: API keys and their roles, and the rate of each key.
//! Reads: the header `Authorization`, the store (behind a cache). Writes: nothing.
//! Never: asks the store for a known key on the way of a request, or keeps a key's secret; the cache
//! holds hashes. While the database is away, keys that were good stay good: an outage of status pages
//! must not stop messages.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use campana_bus::clock;
use campana_identity::{ApiKey, Role};
use dashmap::DashMap;

use super::options::GatewayOptions;
use super::problem::{Code, Problem};
use super::rate::{Bucket, Verdict};
use super::state::App;
use crate::store::KeyRow;

/// How long an unknown key is remembered as unknown.
const UNKNOWN_TTL: Duration = Duration::from_secs(2);
/// Ages of a cached key, in times to live, up to which it is used while it is refreshed behind the scenes.
const BACKGROUND_REFRESHES: u32 = 6;

/// Who calls.
#[derive(Clone)]
pub(super) struct Caller {
    entry: Arc<Entry>,
    started: Instant,
    row: Arc<KeyRow>,
}

impl Caller {
    /// Whose requests these are.
    pub(super) fn tenant(&self) -> &str {
        &self.row.tenant
    }

    /// The public id of the key, for logs.
    pub(super) fn key_id(&self) -> &str {
        &self.row.id
    }

    /// Takes the cost of more than one notification.
    pub(super) fn take(&self, cost: u32) -> Verdict {
        let now = self.started.elapsed();
        match self.entry.bucket.lock() {
            Ok(mut bucket) => bucket.take(cost, now),
            Err(poisoned) => poisoned.into_inner().take(cost, now),
        }
    }
}

struct Entry {
    key: Mutex<Known>,
    refreshing: AtomicBool,
    bucket: Mutex<Bucket>,
}

#[derive(Clone)]
struct Known {
    /// `None`: the store has no such key.
    row: Option<Arc<KeyRow>>,
    at: Instant,
}

/// Keys by hash.
pub(super) struct KeyCache {
    entries: DashMap<String, Arc<Entry>>,
    started: Instant,
    ttl: Duration,
    entries_max: usize,
    rate: u32,
    burst: u32,
}

impl KeyCache {
    pub(super) fn new(options: &GatewayOptions) -> Self {
        Self {
            entries: DashMap::new(),
            started: clock::monotonic(),
            ttl: Duration::from_secs(options.key_cache_seconds),
            entries_max: options.cache_entries_max,
            rate: options.rate_per_second,
            burst: options.rate_burst,
        }
    }

    fn remember(&self, hash: String, row: Option<Arc<KeyRow>>) -> Arc<Entry> {
        let known = Known { row, at: clock::monotonic() };
        if let Some(entry) = self.entries.get(&hash) {
            *lock(&entry.key) = known;
            return Arc::clone(&entry);
        }
        if self.entries.len() >= self.entries_max {
            // Guessed keys must not fill the memory; real keys come back with one question each.
            self.entries.retain(|_, entry| lock(&entry.key).row.is_some());
        }
        let entry = Arc::new(Entry {
            key: Mutex::new(known),
            refreshing: AtomicBool::new(false),
            bucket: Mutex::new(Bucket::new(self.rate, self.burst, self.started.elapsed())),
        });
        self.entries.insert(hash, Arc::clone(&entry));
        entry
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The text after `Bearer `.
pub(super) fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let header = headers.get(AUTHORIZATION).ok_or_else(|| {
        Problem::new(Code::Unauthorized, "send the header Authorization: Bearer <key>")
    })?;
    let text = header.to_str().unwrap_or("");
    match text.split_once(' ') {
        Some((scheme, token))
            if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() =>
        {
            Ok(token.trim())
        }
        _ => Err(Problem::new(
            Code::Unauthorized,
            "the Authorization header must have the form Bearer <key>",
        )),
    }
}

async fn identify(app: &App, headers: &HeaderMap) -> Result<Caller, Problem> {
    let key = ApiKey::parse(bearer(headers)?)
        .map_err(|error| Problem::new(Code::Unauthorized, error.to_string()))?;
    let hash = key.hash().to_string();
    let entry = find(app, hash).await?;
    let row = lock(&entry.key).row.clone();
    match row {
        // One answer for unknown, expired and withdrawn keys: a caller learns nothing about a key it lost.
        Some(row) if row.is_live(clock::now()) => {
            Ok(Caller { entry, started: app.keys.started, row })
        }
        _ => Err(Problem::new(Code::Unauthorized, "the API key is unknown, expired or withdrawn")),
    }
}

async fn find(app: &App, hash: String) -> Result<Arc<Entry>, Problem> {
    let cache = &app.keys;
    let cached = cache.entries.get(&hash).map(|entry| Arc::clone(&entry));
    if let Some(entry) = &cached {
        let known = lock(&entry.key).clone();
        let age = known.at.elapsed();
        let ttl = if known.row.is_some() { cache.ttl } else { UNKNOWN_TTL.min(cache.ttl) };
        if age < ttl {
            return Ok(Arc::clone(entry));
        }
        if known.row.is_some() && age < ttl * BACKGROUND_REFRESHES {
            refresh_behind(app, hash, entry);
            return Ok(Arc::clone(entry));
        }
    }
    match ask(app, &hash).await {
        Ok(row) => Ok(cache.remember(hash, row)),
        Err(why) => match cached.filter(|entry| lock(&entry.key).row.is_some()) {
            Some(entry) => {
                app.metrics.stale_keys.increment(1);
                // Do not ask again on every request while the database is away.
                lock(&entry.key).at = clock::monotonic();
                Ok(entry)
            }
            None => {
                tracing::warn!("an API key cannot be checked: {why}");
                Err(Problem::new(
                    Code::StoreUnavailable,
                    "API keys cannot be checked at the moment",
                )
                .retry_after(1))
            }
        },
    }
}

async fn ask(app: &App, hash: &str) -> Result<Option<Arc<KeyRow>>, String> {
    match tokio::time::timeout(app.options.store_timeout(), app.deps.store.key_by_hash(hash)).await
    {
        Ok(Ok(row)) => Ok(row.map(Arc::new)),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the store did not answer in time".to_owned()),
    }
}

fn refresh_behind(app: &App, hash: String, entry: &Arc<Entry>) {
    if entry.refreshing.swap(true, Ordering::AcqRel) {
        return;
    }
    let (this, entry) = (app.clone(), Arc::clone(entry));
    app.lifecycle.spawn("api key refresh", async move {
        match ask(&this, &hash).await {
            Ok(row) => {
                this.keys.remember(hash, row);
            }
            Err(_) => {
                this.metrics.stale_keys.increment(1);
                lock(&entry.key).at = clock::monotonic();
            }
        }
        entry.refreshing.store(false, Ordering::Release);
    });
}

/// Layer of the routes that readers may call.
pub(super) async fn reader(State(app): State<App>, request: Request, next: Next) -> Response {
    authorize(app, Role::Reader, request, next).await
}

/// Layer of the routes that senders may call.
pub(super) async fn sender(State(app): State<App>, request: Request, next: Next) -> Response {
    authorize(app, Role::Sender, request, next).await
}

/// Layer of the routes that admins may call.
pub(super) async fn admin(State(app): State<App>, request: Request, next: Next) -> Response {
    authorize(app, Role::Admin, request, next).await
}

async fn authorize(app: App, required: Role, mut request: Request, next: Next) -> Response {
    let sends = request.method() == axum::http::Method::POST
        && request.uri().path().starts_with("/v1/notifications");
    let caller = match permit(&app, required, request.headers()).await {
        Ok(caller) => caller,
        Err(problem) => {
            if sends {
                app.metrics.rejected(problem.code, 1);
            }
            return problem.into_response();
        }
    };
    let verdict = caller.take(1);
    if !verdict.allowed {
        if sends {
            app.metrics.rejected(Code::RateLimited, 1);
        }
        return limited(verdict, app.options.rate_burst);
    }
    request.extensions_mut().insert(caller);
    let mut response = next.run(request).await;
    // A batch reports what it left itself.
    if !response.headers().contains_key("ratelimit-remaining") {
        rate_headers(&mut response, verdict, app.options.rate_burst);
    }
    response
}

async fn permit(app: &App, required: Role, headers: &HeaderMap) -> Result<Caller, Problem> {
    let caller = identify(app, headers).await?;
    let role = caller.row.role.parse::<Role>().map_err(|_| {
        tracing::error!(key = caller.row.id, "an API key in the store has an unknown role");
        Problem::new(Code::Forbidden, "the API key's role is not known")
    })?;
    if role.allows(required) {
        Ok(caller)
    } else {
        let detail = format!("this needs the role {required}, the API key has the role {role}");
        Err(Problem::new(Code::Forbidden, detail))
    }
}

/// The answer to a caller who is too fast.
pub(super) fn limited(verdict: Verdict, burst: u32) -> Response {
    let detail = format!("this API key may make this request again in {} s", verdict.wait_seconds);
    let mut response = Problem::new(Code::RateLimited, detail).into_response();
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(verdict.wait_seconds.max(1)));
    rate_headers(&mut response, verdict, burst);
    response
}

/// Tells the caller how much is left.
pub(super) fn rate_headers(response: &mut Response, verdict: Verdict, burst: u32) {
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("ratelimit-limit"), HeaderValue::from(burst));
    headers.insert(
        HeaderName::from_static("ratelimit-remaining"),
        HeaderValue::from(verdict.remaining),
    );
    headers.insert(
        HeaderName::from_static("ratelimit-reset"),
        HeaderValue::from(verdict.wait_seconds),
    );
}
