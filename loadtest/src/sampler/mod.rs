//! What the machine and the processes do while a step runs: one row a second of CPU, memory,
//! steal, pressure, timers and the backlog of the consumers; and exact totals between start and
//! stop. Reads /proc, nats-server's monitor and the sizes of files; writes nothing.

mod canary;
mod nats;
mod samples;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::clock;
use crate::procs::{self, Process};
use canary::{Canary, Gauge};

#[cfg(test)]
pub use nats::Stream;
pub use nats::{Consumer, Monitor, Reader as NatsReader};
pub use samples::Samples;

const SECOND_NS: u64 = 1_000_000_000;
/// Databases of a platform in one directory.
const DATABASE_NAMES: [&str; 1] = ["campana.db"];

/// What to watch.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The run's beginning, as [`clock::now_ns`]: rows are its whole seconds.
    pub started_ns: u64,
    pub processes: Vec<Process>,
    pub nats_monitor: Option<Url>,
    /// Where the platform keeps its database, if that is on this machine.
    pub data_dir: Option<PathBuf>,
    /// Where the newest row is shown while the sampler runs.
    pub newest: watch::Sender<Row>,
}

/// One second.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// The second that this row is about, since the run began.
    pub second: u64,
    /// Cores used, by process.
    pub cpu: BTreeMap<String, f64>,
    pub rss: BTreeMap<String, u64>,
    pub steal_percent: f64,
    /// Share of the second in which some task waited for a core; nothing where PSI is off.
    pub pressure_percent: Option<f64>,
    /// How much later than asked a 1 ms timer fired: in the harness's runtime, and in a thread.
    pub canary_p99_ms: Option<f64>,
    pub canary_bare_p99_ms: Option<f64>,
    /// Messages by `stream/consumer`.
    pub pending: BTreeMap<String, u64>,
    pub ack_pending: BTreeMap<String, u64>,
}

/// Counters at one moment.
#[derive(Clone, Default)]
struct Reading {
    at_ns: u64,
    cpu_ns: BTreeMap<String, u64>,
    steal: (u64, u64),
    pressure_us: Option<u64>,
}

/// A running sampler.
pub struct Sampler {
    plan: Plan,
    rows: Arc<Mutex<Vec<Row>>>,
    gauges: [Arc<Gauge>; 2],
    canary: Canary,
    nats: nats::Reader,
    first: Reading,
    stop: CancellationToken,
    task: tokio::task::JoinSet<()>,
}

impl Sampler {
    /// Begins to sample.
    pub async fn start(plan: Plan) -> Self {
        let stop = CancellationToken::new();
        let nats = nats::Reader::new(plan.nats_monitor.clone());
        let gauges = [Arc::new(Gauge::default()), Arc::new(Gauge::default())];
        let mut task = tokio::task::JoinSet::new();
        let canary = Canary::start(&gauges, &stop, &mut task);
        let rows = Arc::new(Mutex::new(Vec::new()));
        let first = Reading::take(&plan.processes);
        let ticker = Ticker {
            plan: plan.clone(),
            rows: Arc::clone(&rows),
            gauges: gauges.clone(),
            nats: nats.clone(),
            last: first.clone(),
        };
        let stopped = stop.clone();
        task.spawn(async move {
            stopped.run_until_cancelled_owned(ticker.run()).await;
        });
        Self { plan, rows, gauges, canary, nats, first, stop, task }
    }

    /// The newest row, for a live view.
    #[cfg(test)]
    pub fn last(&self) -> Option<Row> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).last().cloned()
    }

    /// Ends the sampling and sums it up.
    pub async fn stop(mut self) -> Samples {
        let last = Reading::take(&self.plan.processes);
        self.stop.cancel();
        let monitor = self.nats.read().await;
        while self.task.join_next().await.is_some() {}
        self.canary.join();
        let mut stored = self.plan.data_dir.as_deref().map(databases).unwrap_or_default();
        if let Some(monitor) = &monitor {
            stored.insert("streams".to_owned(), monitor.stored_bytes());
        }
        let canary = self.gauges[0].whole();
        let rows = std::mem::take(&mut *self.rows.lock().unwrap_or_else(PoisonError::into_inner));
        Samples {
            rows,
            wall_ns: last.at_ns.saturating_sub(self.first.at_ns),
            cpu_ns: last.spent_since(&self.first),
            rss: procs::resident(&self.plan.processes),
            stored,
            steal_percent: procs::steal_percent(self.first.steal, last.steal),
            pressure_percent: last.pressure_since(&self.first),
            canary,
        }
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The task that makes a row when a second is over.
struct Ticker {
    plan: Plan,
    rows: Arc<Mutex<Vec<Row>>>,
    gauges: [Arc<Gauge>; 2],
    nats: nats::Reader,
    last: Reading,
}

impl Ticker {
    async fn run(mut self) {
        loop {
            let since = clock::now_ns().saturating_sub(self.plan.started_ns);
            let left = SECOND_NS - since % SECOND_NS;
            tokio::time::sleep(Duration::from_nanos(left)).await;
            // A timer never fires early, but a run may begin in the middle of a second.
            let row = self.row(since / SECOND_NS).await;
            self.plan.newest.send_replace(row.clone());
            self.rows.lock().unwrap_or_else(PoisonError::into_inner).push(row);
        }
    }

    async fn row(&mut self, second: u64) -> Row {
        let now = Reading::take(&self.plan.processes);
        let wall = now.at_ns.saturating_sub(self.last.at_ns).max(1) as f64;
        let spent = now.spent_since(&self.last);
        let monitor = self.nats.read().await.unwrap_or_default();
        let of = |pick: fn(&Consumer) -> u64| {
            monitor.consumers.iter().map(|(name, one)| (name.clone(), pick(one))).collect()
        };
        let row = Row {
            second,
            cpu: spent.into_iter().map(|(name, ns)| (name, ns as f64 / wall)).collect(),
            rss: procs::resident(&self.plan.processes),
            steal_percent: procs::steal_percent(self.last.steal, now.steal),
            pressure_percent: now.pressure_since(&self.last),
            canary_p99_ms: self.gauges[0].take_p99_ms(),
            canary_bare_p99_ms: self.gauges[1].take_p99_ms(),
            pending: of(|consumer| consumer.pending),
            ack_pending: of(|consumer| consumer.ack_pending),
        };
        self.last = now;
        row
    }
}

impl Reading {
    fn take(processes: &[Process]) -> Self {
        let sample = procs::sample(processes, clock::now_ns());
        Self {
            at_ns: sample.at_ns,
            cpu_ns: sample.cpu_ns,
            steal: procs::steal_ticks(),
            pressure_us: fs::read_to_string("/proc/pressure/cpu").ok().as_deref().and_then(some_us),
        }
    }

    fn spent_since(&self, before: &Self) -> BTreeMap<String, u64> {
        let sample =
            |reading: &Self| procs::Sample { at_ns: reading.at_ns, cpu_ns: reading.cpu_ns.clone() };
        procs::difference(&sample(before), &sample(self))
    }

    fn pressure_since(&self, before: &Self) -> Option<f64> {
        let waited = self.pressure_us?.checked_sub(before.pressure_us?)?;
        let wall_us = self.at_ns.saturating_sub(before.at_ns).max(1) as f64 / 1e3;
        Some((waited as f64 / wall_us * 100.0).min(100.0))
    }
}

/// The total of the line `some avg10=… total=<µs>`.
fn some_us(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with("some "))?;
    line.rsplit_once("total=")?.1.trim().parse().ok()
}

/// Sizes of databases, with what belongs to them (`-wal`, `-shm`).
fn databases(dir: &Path) -> BTreeMap<String, u64> {
    let mut sizes = BTreeMap::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if DATABASE_NAMES.iter().any(|known| name.starts_with(known))
            && let Ok(facts) = entry.metadata()
        {
            *sizes.entry("database".to_owned()).or_default() += facts.len();
        }
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_read_and_differs() {
        let text = "some avg10=1.00 avg60=0.50 avg300=0.10 total=2500\nfull avg10=0.00 total=7\n";
        assert_eq!(some_us(text), Some(2_500));
        assert_eq!(some_us("nonsense"), None);
        let at = |at_ns, us| Reading { at_ns, pressure_us: us, ..Reading::default() };
        let share = at(10_000_000, Some(3_000)).pressure_since(&at(0, Some(2_500)));
        assert!((share.unwrap() - 5.0).abs() < 1e-9);
        assert_eq!(at(1, None).pressure_since(&at(0, Some(1))), None);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_sampler_makes_rows_and_sums_up() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("campana.db"), [0; 100]).unwrap();
        fs::write(dir.path().join("campana.db-wal"), [0; 11]).unwrap();
        fs::write(dir.path().join("up.json"), [0; 50]).unwrap();
        let own = Process::alone("generator", std::process::id());
        let plan = Plan {
            started_ns: clock::now_ns().saturating_sub(5 * SECOND_NS),
            processes: vec![own],
            data_dir: Some(dir.path().to_owned()),
            ..Plan::default()
        };
        let sampler = Sampler::start(plan).await;
        tokio::time::timeout(Duration::from_secs(60), async {
            while sampler.last().is_none() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        let row = sampler.last().unwrap();
        assert!(row.second >= 5 && row.cpu["generator"] > 0.0, "{row:?}");
        let samples = sampler.stop().await;
        assert!(samples.cpu_ns["generator"] > 1_000_000 && !samples.canary.is_empty());
        assert_eq!(samples.stored["database"], 111);
        let mut step = crate::model::Step { from_s: 0.0, to_s: 1e9, ..Default::default() };
        step.classes.sent = 2_000;
        samples.fill(&mut step);
        assert!(step.cpu_s_per_1000["generator"] > 0.0 && step.generator.canary.count > 0);
        assert!(step.series.columns.contains_key("cpu:generator"));
    }
}
