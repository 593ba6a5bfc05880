//! `GET /overview.json`: applications, links and numbers of this platform, for the landing page.
//! Reads: the metrics registry and the NATS collector's last reading in memory, the sizes of two files. Writes:
//! nothing. Never: asks itself over HTTP, answers from a reading that is older than a second, holds more than
//! five minutes of history, or tells of a person, a key or an address that is not linked on the page.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use campana_bus::clock;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::topology::{DELIVERIES, OUTCOMES, REQUESTS};
use campana_notify::contracts::Channel;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use tokio::sync::Mutex;

use super::numbers::{Quantiles, Totals, rate};
use crate::apps::{AppRecord, AppState, Apps};
use crate::ops;

/// Between two points of the history.
const STEP: Duration = Duration::from_secs(2);
/// Five minutes of them.
const POINTS: usize = 151;
/// Rates of now are those of the last ten seconds.
const RECENT_POINTS: usize = 5;
/// How long an answer is good for everybody who asks.
const FRESH: Duration = Duration::from_secs(1);

/// Where everything is, for people and programs on this machine.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Links {
    pub gateway: String,
    pub bell: String,
    pub examples: String,
    pub api_docs: String,
    pub openapi: String,
    pub guides: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mailbox: String,
    pub dashboards: String,
    pub metrics: String,
    pub health: String,
    pub websocket: String,
}

/// What does not change while the process runs.
#[derive(Clone, Debug)]
pub struct About {
    /// `power` or `process`.
    pub durability: &'static str,
    pub links: Links,
    /// The SQLite file; none if the database is a server.
    pub database: Option<PathBuf>,
}

/// Where the numbers come from.
#[derive(Clone)]
pub struct Sources {
    pub metrics: PrometheusHandle,
    pub nats: ops::nats::Reading,
    pub apps: Apps,
}

/// The answers; cheap to clone.
#[derive(Clone)]
pub struct Overview(Arc<Inner>);

struct Inner {
    about: About,
    sources: Sources,
    started: Instant,
    history: Mutex<History>,
}

#[derive(Default)]
struct History {
    points: VecDeque<(Instant, Totals)>,
    answer: Option<(Instant, Arc<str>)>,
}

#[derive(Serialize)]
struct Answer<'a> {
    schema_version: u32,
    version: &'static str,
    durability: &'static str,
    uptime_seconds: u64,
    apps: Vec<AppNow>,
    links: &'a Links,
    numbers: Numbers,
}

/// What `up.json` says of an application, without accounts and paths of this machine's files.
#[derive(Serialize)]
struct AppNow {
    name: String,
    title: String,
    url: String,
    state: AppState,
    /// Why it does not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl From<AppRecord> for AppNow {
    fn from(AppRecord { name, title, url, state, reason, .. }: AppRecord) -> Self {
        Self { name, title, url, state, reason }
    }
}

#[derive(Debug, PartialEq, Serialize)]
struct Numbers {
    accepted: Counted,
    refused: u64,
    delivered: Counted,
    channels: Vec<ChannelNumbers>,
    /// From the stream to the socket of a browser.
    push: Option<Quantiles>,
    clients: u64,
    waiting: Waiting,
    dead_letters: u64,
    nats: Part,
    database: Part,
    history: Curves,
}

/// Since the start of the process, and for each second of the last ten.
#[derive(Debug, PartialEq, Serialize)]
struct Counted {
    total: u64,
    per_second: f64,
}

#[derive(Debug, PartialEq, Serialize)]
struct ChannelNumbers {
    channel: &'static str,
    delivered: Counted,
    failed: u64,
    /// From acceptance to the end, in the last five minutes; none if nothing ended.
    took: Option<Quantiles>,
}

/// Messages that are stored and not settled; none while nobody measures NATS.
#[derive(Debug, PartialEq, Serialize)]
struct Waiting {
    requests: Option<u64>,
    deliveries: Option<u64>,
    outcomes: Option<u64>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Part {
    up: bool,
    bytes: Option<u64>,
}

/// For each second, oldest first.
#[derive(Debug, PartialEq, Serialize)]
struct Curves {
    step_ms: u64,
    accepted: Vec<f64>,
    delivered: Vec<f64>,
}

impl Overview {
    /// Begins to keep the history.
    pub fn start(about: About, sources: Sources, lifecycle: &Lifecycle) -> Self {
        let history = Mutex::new(History::default());
        let inner = Inner { about, sources, started: clock::monotonic(), history };
        let overview = Self(Arc::new(inner));
        let (mine, soft) = (overview.clone(), lifecycle.soft.clone());
        lifecycle.spawn("landing history", async move {
            let mut tick = tokio::time::interval(STEP);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = soft.cancelled() => return,
                    _ = tick.tick() => {}
                }
                let point = (clock::monotonic(), mine.totals());
                let mut history = mine.0.history.lock().await;
                history.push(point);
            }
        });
        overview
    }

    fn totals(&self) -> Totals {
        let Sources { metrics, nats, .. } = &self.0.sources;
        Totals::read(&metrics.render(), &nats.text(clock::monotonic()))
    }

    /// The answer as JSON, at most a second old. Who asks meanwhile waits for the one who reads.
    ///
    /// # Errors
    /// Never in practice: the answer consists of texts, numbers and lists.
    pub async fn json(&self) -> serde_json::Result<Arc<str>> {
        let mut history = self.0.history.lock().await;
        let now = clock::monotonic();
        if let Some((at, text)) = &history.answer
            && now.duration_since(*at) < FRESH
        {
            return Ok(Arc::clone(text));
        }
        let totals = self.totals();
        let database = match &self.0.about.database {
            Some(file) => size(file).await,
            None => None,
        };
        let about = &self.0.about;
        let answer = Answer {
            schema_version: 1,
            version: env!("CARGO_PKG_VERSION"),
            durability: about.durability,
            uptime_seconds: now.duration_since(self.0.started).as_secs(),
            apps: self.0.sources.apps.records().into_iter().map(AppNow::from).collect(),
            links: &about.links,
            numbers: history.numbers(now, &totals, database),
        };
        let text: Arc<str> = Arc::from(serde_json::to_string(&answer)?);
        history.answer = Some((now, Arc::clone(&text)));
        Ok(text)
    }
}

impl History {
    fn push(&mut self, point: (Instant, Totals)) {
        if self.points.len() == POINTS {
            self.points.pop_front();
        }
        self.points.push_back(point);
    }

    fn numbers(&self, now: Instant, totals: &Totals, database: Option<u64>) -> Numbers {
        let nothing = (now, Totals::default());
        let recent = self.points.iter().rev().nth(RECENT_POINTS - 1).or(self.points.front());
        let (recent_at, recent) = recent.unwrap_or(&nothing);
        let between = now.duration_since(*recent_at);
        // Less than the five minutes of the history means: since the start, so from nothing.
        let full = self.points.len() == POINTS;
        let oldest = self.points.front().filter(|_| full).map_or(&nothing.1, |(_, totals)| totals);
        let counted =
            |later, earlier| Counted { total: later, per_second: rate(later, earlier, between) };
        let channels = Channel::ALL.iter().enumerate().map(|(at, channel)| {
            let (later, earlier) = (&totals.channels[at], &recent.channels[at]);
            ChannelNumbers {
                channel: channel.as_str(),
                delivered: counted(later.delivered, earlier.delivered),
                failed: later.failed,
                took: later.took.since(&oldest.channels[at].took),
            }
        });
        let waits = |stream: &str| {
            let known = !totals.waiting.is_empty();
            known.then(|| totals.waiting.get(stream).copied().unwrap_or_default())
        };
        Numbers {
            accepted: counted(totals.accepted, recent.accepted),
            refused: totals.refused,
            delivered: counted(totals.delivered(), recent.delivered()),
            channels: channels.collect(),
            push: totals.push.since(&oldest.push),
            clients: totals.clients,
            waiting: Waiting {
                requests: waits(REQUESTS),
                deliveries: waits(DELIVERIES),
                outcomes: waits(OUTCOMES),
            },
            dead_letters: totals.dead_letters,
            nats: Part { up: totals.nats_up, bytes: totals.stored_bytes },
            database: Part { up: totals.database_up, bytes: database },
            history: self.curves(),
        }
    }

    fn curves(&self) -> Curves {
        let steps = || self.points.iter().zip(self.points.iter().skip(1));
        let curve = |count: fn(&Totals) -> u64| {
            let rates = steps().map(|((from, earlier), (to, later))| {
                rate(count(later), count(earlier), to.duration_since(*from))
            });
            rates.collect()
        };
        Curves {
            step_ms: u64::try_from(STEP.as_millis()).unwrap_or(u64::MAX),
            accepted: curve(|totals| totals.accepted),
            delivered: curve(Totals::delivered),
        }
    }
}

/// Of the file and of its write-ahead log.
async fn size(file: &Path) -> Option<u64> {
    let main = tokio::fs::metadata(file).await.ok()?.len();
    let mut log = file.as_os_str().to_owned();
    log.push("-wal");
    let log = tokio::fs::metadata(PathBuf::from(log)).await.map_or(0, |found| found.len());
    Some(main + log)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(accepted: u64) -> Totals {
        Totals { accepted, ..Totals::default() }
    }

    #[test]
    fn rates_are_of_ten_seconds_and_the_history_is_bounded() {
        let begin = clock::monotonic();
        let mut history = History::default();
        let empty = history.numbers(begin, &totals(7), None);
        assert_eq!(empty.accepted, Counted { total: 7, per_second: 0.0 });
        assert_eq!(empty.waiting, Waiting { requests: None, deliveries: None, outcomes: None });
        for step in 0..400 {
            let at = begin + STEP * step;
            history.push((at, totals(u64::from(step) * 20)));
        }
        assert_eq!(history.points.len(), POINTS);
        let now = begin + STEP * 400;
        let numbers = history.numbers(now, &totals(8_000), Some(9));
        assert_eq!(numbers.accepted, Counted { total: 8_000, per_second: 10.0 });
        assert_eq!(numbers.history.accepted, vec![10.0; POINTS - 1]);
        assert_eq!(numbers.database.bytes, Some(9));
    }
}
