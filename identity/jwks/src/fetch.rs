//! Fetches JWKS documents and keeps the keys that tokens are checked with fresh.
//! Reads: addresses that the operator configured, over HTTP. Writes: the keys in use.
//! Never: follows a redirect, reads more than a document may have, or fetches because a stranger wants it more
//! often than [`campana_identity::RefreshOptions`] allows.
//!
//! One task does it all. Whoever holds a token of an unknown key asks it and waits; all that ask during one fetch
//! share the next answer.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use campana_bus::clock;
use campana_bus::lifecycle::Lifecycle;
use campana_identity::{JWKS_BYTES_MAX, Jwks, JwksOptions, JwksRefresh, KeySet, Standing};
use futures::future::join_all;
use http::{HeaderMap, StatusCode, header};
use reqwest::Client;
use tokio::sync::{mpsc, oneshot};

use crate::{LiveKeys, metrics};

/// How long a source may take, from the first packet to the last byte.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection to it may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How many may wait for keys at once; more are told that there are none now.
const WAITING_MAX: usize = 4_096;
/// How often the age of keys is looked at.
const CHECK_EVERY: Duration = Duration::from_secs(10);

type Waiting = oneshot::Sender<Result<(), ()>>;

/// Asks the task for keys; cheap to clone.
#[derive(Debug, Clone)]
pub struct Fetcher(Option<mpsc::Sender<Waiting>>);

impl Fetcher {
    /// Until the sources were asked, or need not be asked again so soon. An error means that one of them does not
    /// answer, so that a missing key says nothing.
    ///
    /// # Errors
    /// Nothing but that: the sources were asked and one did not answer, or too many wait.
    pub async fn ask(&self) -> Result<(), ()> {
        let Some(task) = &self.0 else { return Ok(()) };
        let (waiting, answer) = oneshot::channel();
        task.try_send(waiting).map_err(|_| ())?;
        answer.await.unwrap_or(Err(()))
    }
}

/// Starts the task, if there are sources.
///
/// # Errors
/// If there can be no HTTP client.
pub fn start(live: &Arc<LiveKeys>, lifecycle: &Lifecycle) -> anyhow::Result<Fetcher> {
    metrics::initialise();
    let sources = live.sources();
    if sources.is_empty() {
        metrics::keys(live.verifier().keys().len(), 0);
        return Ok(Fetcher(None));
    }
    let client = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(FETCH_TIMEOUT)
        .user_agent(concat!("campana/", env!("CARGO_PKG_VERSION")))
        .build()
        .context("the client that fetches keys")?;
    // Any number that differs between nodes spreads their fetches.
    let seed = u64::try_from(clock::now().0).unwrap_or(0);
    let sources = sources.iter().map(|one| Source::new(one, seed)).collect();
    let (task, asked) = mpsc::channel(WAITING_MAX);
    let keeper = Keeper { live: Arc::clone(live), client, sources };
    let soft = lifecycle.soft.clone();
    lifecycle.spawn("token keys", async move {
        tokio::select! {
            () = soft.cancelled() => {}
            () = keeper.run(asked) => {}
        }
    });
    Ok(Fetcher(Some(task)))
}

struct Source {
    options: JwksOptions,
    refresh: JwksRefresh,
    /// The last good document, and when it came.
    keys: Option<(KeySet, i64)>,
    /// Whether the last attempt worked.
    answers: bool,
}

impl Source {
    fn new(options: &JwksOptions, seed: u64) -> Self {
        let refresh = JwksRefresh::new(options.refresh, seed);
        Self { options: options.clone(), refresh, keys: None, answers: false }
    }

    fn take(&mut self, fetched: Result<(KeySet, Option<i64>), Failure>, now: i64) {
        self.answers = fetched.is_ok();
        metrics::fetched(match &fetched {
            Ok(_) => "ok",
            Err(Failure::Unavailable(_)) => "unavailable",
            Err(Failure::Malformed(_)) => "malformed",
        });
        match fetched {
            Ok((keys, max_age)) => {
                self.refresh.succeeded(now, max_age);
                self.keys = Some((keys, now));
            }
            Err(Failure::Unavailable(why) | Failure::Malformed(why)) => {
                self.refresh.failed();
                tracing::warn!(
                    error = %why,
                    url = self.options.url,
                    "a JWKS document could not be fetched: its last keys stay in use for a while"
                );
            }
        }
    }

    /// The keys that may be used, and how old their document is.
    fn usable(&self, now: i64) -> Option<(&KeySet, i64)> {
        let (keys, at) = self.keys.as_ref()?;
        match self.refresh.standing(now) {
            Standing::Fresh | Standing::Stale => Some((keys, now.saturating_sub(*at).max(0))),
            Standing::TooOld | Standing::Missing => None,
        }
    }
}

struct Keeper {
    live: Arc<LiveKeys>,
    client: Client,
    sources: Vec<Source>,
}

impl Keeper {
    async fn run(mut self, mut asked: mpsc::Receiver<Waiting>) {
        loop {
            self.fetch(|refresh, now| refresh.due(now)).await;
            let wait = self.until_due(unix());
            tokio::select! {
                first = asked.recv() => {
                    let Some(first) = first else { return };
                    let mut waiting = vec![first];
                    while let Ok(more) = asked.try_recv() {
                        waiting.push(more);
                    }
                    self.fetch(|refresh, now| refresh.unknown_key(now)).await;
                    let answer = if self.sources.iter().all(|one| one.answers) { Ok(()) } else { Err(()) };
                    for one in waiting {
                        // Who asked may be gone.
                        let _ = one.send(answer);
                    }
                }
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Fetches from all sources for which it is time, and takes over what they have.
    async fn fetch(&mut self, wanted: impl Fn(&mut JwksRefresh, i64) -> bool) {
        let now = unix();
        let client = &self.client;
        let fetching = self.sources.iter_mut().map(|source| {
            let wanted = wanted(&mut source.refresh, now);
            async move {
                if wanted {
                    let limit = u64::try_from(source.options.refresh.attempt_seconds_max);
                    let limit = Duration::from_secs(limit.unwrap_or(1)).min(FETCH_TIMEOUT);
                    let fetched = tokio::time::timeout(limit, get(client, &source.options)).await;
                    let slow = |_| Failure::Unavailable("it took too long".to_owned());
                    source.take(fetched.unwrap_or_else(|late| Err(slow(late))), unix());
                }
            }
        });
        join_all(fetching).await;
        self.put_to_use(unix());
    }

    fn put_to_use(&self, now: i64) {
        let usable: Vec<(&KeySet, i64)> =
            self.sources.iter().filter_map(|source| source.usable(now)).collect();
        match self.live.replace(usable.iter().map(|(keys, _)| *keys)) {
            Ok(keys) => {
                let age = usable.iter().map(|(_, age)| *age).max().unwrap_or(0);
                metrics::keys(keys, age);
            }
            Err(why) => tracing::error!(error = %why, "fetched keys cannot be used together"),
        }
    }

    fn until_due(&self, now: i64) -> Duration {
        let due = self.sources.iter().map(|source| source.refresh.due_at(now)).min();
        let seconds = due.map_or(i64::MAX, |at| at.saturating_sub(now)).max(1);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(1)).min(CHECK_EVERY)
    }
}

fn unix() -> i64 {
    clock::now().0.div_euclid(1_000_000)
}

#[derive(Debug)]
enum Failure {
    /// No answer, or none with a document.
    Unavailable(String),
    /// An answer that is no JWKS.
    Malformed(String),
}

async fn get(client: &Client, source: &JwksOptions) -> Result<(KeySet, Option<i64>), Failure> {
    let away = |error: reqwest::Error| Failure::Unavailable(error.without_url().to_string());
    let request = client.get(&source.url).header(header::ACCEPT, "application/json");
    let mut response = request.send().await.map_err(away)?;
    if response.status() != StatusCode::OK {
        return Err(Failure::Unavailable(format!("status {}", response.status().as_u16())));
    }
    let max_age = max_age(response.headers());
    let mut document = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(away)? {
        document.extend_from_slice(&chunk);
        if document.len() > JWKS_BYTES_MAX {
            break;
        }
    }
    let found = Jwks::parse(&document, &source.algorithms)
        .map_err(|error| Failure::Malformed(error.to_string()))?;
    if found.skipped > 0 {
        tracing::debug!(skipped = found.skipped, "a JWKS document has keys that cannot be used");
    }
    Ok((found.keys, max_age))
}

/// How long the source says its document may be kept (RFC 9111 §5.2.2).
fn max_age(headers: &HeaderMap) -> Option<i64> {
    let values = headers.get_all(header::CACHE_CONTROL).into_iter();
    let mut directives = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .map(str::trim);
    directives.find_map(|directive| match directive.split_once('=') {
        Some((name, seconds)) if name.eq_ignore_ascii_case("max-age") => {
            seconds.trim_matches('"').parse::<u32>().ok().map(i64::from)
        }
        None if ["no-cache", "no-store"].iter().any(|one| directive.eq_ignore_ascii_case(one)) => {
            Some(0)
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use campana_identity::{RefreshOptions, TokenKeys, TokenOptions, VerifyKey};

    use super::*;

    #[test]
    fn a_source_says_how_long_its_document_lives() {
        let headers =
            |value: &str| HeaderMap::from_iter([(header::CACHE_CONTROL, value.parse().unwrap())]);
        assert_eq!(max_age(&HeaderMap::new()), None);
        assert_eq!(max_age(&headers("public, max-age=300")), Some(300));
        assert_eq!(max_age(&headers("Max-Age=\"60\"")), Some(60));
        assert_eq!(max_age(&headers("no-store")), Some(0));
        assert_eq!(max_age(&headers("private, must-revalidate")), None);
        for nonsense in ["max-age=-1", "max-age=x", "max-age=99999999999", "max-age"] {
            assert_eq!(max_age(&headers(nonsense)), None, "{nonsense}");
        }
    }

    #[test]
    fn keys_of_a_source_that_is_long_gone_are_dropped() {
        let refresh =
            RefreshOptions { ttl_seconds: 100, stale_seconds_max: 50, ..Default::default() };
        let mut source = Source::new(&JwksOptions { refresh, ..JwksOptions::default() }, 0);
        assert!(source.usable(0).is_none());
        let key = VerifyKey::short_hmac(b"k", &[campana_identity::TokenAlgorithm::Hs256]).unwrap();
        let keys = KeySet::new(vec![key]).unwrap();
        assert!(source.refresh.due(0));
        source.take(Ok((keys, None)), 0);
        assert_eq!(source.usable(60).unwrap().1, 60);
        assert!(source.refresh.due(100));
        source.take(Err(Failure::Unavailable("away".to_owned())), 101);
        assert!(source.usable(149).is_some());
        assert!(source.usable(150).is_none());
    }

    #[tokio::test]
    async fn without_sources_nobody_waits() {
        let keys = TokenKeys::new(&[7; 32], None).unwrap().key_set().clone();
        let live = Arc::new(LiveKeys::new(keys, &TokenOptions::default()));
        let fetcher = start(&live, &Lifecycle::new()).unwrap();
        assert_eq!(fetcher.ask().await, Ok(()));
    }
}
