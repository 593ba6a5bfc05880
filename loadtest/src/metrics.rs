//! What Prometheus can scrape while a run goes on, so that generator and platform stand on one time
//! axis. Fed once a second from the ledger's books and the sampler's newest row; counts only what is
//! measured, so that its last state and run.json agree. Has a recorder of its own: nothing else in
//! the process can write into it.

mod endpoint;
mod growing;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use metrics::{Counter, Histogram, counter, gauge, histogram, with_local_recorder};
use metrics::{describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

pub use endpoint::{Endpoint, Serving};

use crate::failure::Failure;
use crate::ledger::Book;
use crate::model::{Classes, Kind, Step};
use crate::sampler;
use crate::scenario::Scenario;
use growing::Growing;

/// 1, with the run's number (also in every notification's mark) and its scenario as labels.
pub const INFO: &str = "campana_loadtest_info";
/// Requests a second that the schedule of open load asks for now; 0 in the warm-up, between steps, and
/// for waves and users, which have no rate of their own.
pub const TARGET_RATE: &str = "campana_loadtest_target_rate";
/// Requests that have no answer yet, or were accepted and have not fully arrived.
pub const IN_FLIGHT: &str = "campana_loadtest_in_flight_notifications";
/// 1 while the generator keeps its schedule in the step that runs or ran last, 0 if its figures are void.
pub const GENERATOR_VALID: &str = "campana_loadtest_generator_valid";
/// Measured requests that were sent, by the kind of load.
pub const SENT: &str = "campana_loadtest_sent_total";
/// Measured deliveries by channel and what became of them; lost ones are known when their step ends. A
/// delivery that turns out wrong after it was counted as delivered or lost is in both: a counter never goes back.
pub const NOTIFICATIONS: &str = "campana_loadtest_notifications_total";
/// How much later than intended measured requests were sent.
pub const LAG: &str = "campana_loadtest_lag_seconds";
/// From the intended or the actual send to the first receipt, by channel.
pub const E2E: &str = "campana_loadtest_e2e_duration_seconds";
/// Time between two stamps of a notification on its way, named after the stamp that ends it.
pub const STAGE: &str = "campana_loadtest_stage_duration_seconds";
/// Cores in use over the last second, by process; the generator is `loadtest`.
pub const CPU: &str = "campana_loadtest_process_cpu_cores";
/// Resident memory by process; the generator is `loadtest`.
pub const RESIDENT: &str = "campana_loadtest_process_resident_bytes";

/// The edges of the platform's own histograms, so that both can be laid on each other.
const SECONDS: [f64; 20] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0,
    2.5, 5.0, 10.0, 30.0,
];
/// The page that is made from the comments above the names.
const PAGE: &str = include_str!("../../docs/reference/metrics.md");
/// The channel of receipts on a channel that the step has not, or between two steps.
const ELSEWHERE: &str = "other";
/// How reports call this process, and how the dashboards do.
const GENERATOR: (&str, &str) = ("generator", "loadtest");

type Pick = fn(&Classes) -> u64;

/// What becomes of deliveries, all counted from 0.
const OUTCOMES: [(&str, Pick); 11] = [
    ("delivered", |classes| classes.delivered),
    ("late", |classes| classes.late),
    ("lost", |classes| classes.lost),
    ("duplicate", |classes| classes.duplicate),
    ("corrupt", |classes| classes.corrupt),
    ("shed", |classes| classes.shed),
    ("rejected", |classes| classes.rejected),
    ("unknown", |classes| classes.unknown),
    ("dead", |classes| classes.dead),
    (PHANTOM, |classes| classes.phantom),
    ("reordered", |classes| classes.reordered),
];
const PHANTOM: &str = "phantom";

/// The state of the open step, beside its books.
#[derive(Clone, Copy, Debug)]
pub struct Now<'a> {
    pub kind: Kind,
    pub target_rate: f64,
    pub in_flight: u64,
    pub generator_valid: bool,
    /// The sampler's newest row.
    pub sampled: &'a sampler::Row,
}

/// Deliveries by channel, of steps that are over.
type Totals = BTreeMap<String, Classes>;

/// Writes the metrics of one run.
pub struct Meter {
    run: String,
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    totals: Totals,
    sent: BTreeMap<&'static str, u64>,
    times: Growing,
}

impl Meter {
    /// Every family with its labels, at 0.
    pub fn new(run: String, scenario: &Scenario) -> Result<Self, Failure> {
        let recorder = PrometheusBuilder::new()
            .set_buckets(&SECONDS)
            .map_err(|error| Failure::failed("the metrics", error))?
            .build_recorder();
        let handle = recorder.handle();
        let meter = Self {
            run,
            recorder,
            handle,
            totals: Totals::new(),
            sent: BTreeMap::new(),
            times: Growing::default(),
        };
        with_local_recorder(&meter.recorder, || {
            describe(PAGE);
            meter.register(scenario);
        });
        meter.handle.run_upkeep();
        Ok(meter)
    }

    /// For the endpoint.
    pub fn handle(&self) -> PrometheusHandle {
        self.handle.clone()
    }

    fn register(&self, scenario: &Scenario) {
        gauge!(INFO, "run" => self.run.clone(), "scenario" => scenario.name.clone()).set(1.0);
        gauge!(GENERATOR_VALID, "run" => self.run.clone()).set(1.0);
        self.idle();
        // A histogram is there as soon as it is asked for.
        let _ = self.lag();
        for step in &scenario.steps {
            self.sent(step.kind).absolute(0);
            for channel in &step.channels {
                for (outcome, _) in OUTCOMES {
                    self.deliveries(channel.name(), outcome).absolute(0);
                }
                for basis in ["intended", "actual"] {
                    let _ = self.e2e(channel.name(), basis);
                }
            }
        }
        self.deliveries(ELSEWHERE, PHANTOM).absolute(0);
        for stage in Book::stage_names() {
            let _ = self.stage(stage);
        }
    }

    /// No step runs.
    fn idle(&self) {
        gauge!(TARGET_RATE, "run" => self.run.clone()).set(0.0);
        gauge!(IN_FLIGHT, "run" => self.run.clone()).set(0.0);
    }

    fn sent(&self, kind: Kind) -> Counter {
        counter!(SENT, "run" => self.run.clone(), "kind" => kind.text())
    }

    fn deliveries(&self, channel: &str, outcome: &'static str) -> Counter {
        counter!(NOTIFICATIONS, "run" => self.run.clone(), "channel" => channel.to_owned(), "outcome" => outcome)
    }

    fn lag(&self) -> Histogram {
        histogram!(LAG, "run" => self.run.clone())
    }

    fn e2e(&self, channel: &'static str, basis: &'static str) -> Histogram {
        histogram!(E2E, "run" => self.run.clone(), "channel" => channel, "basis" => basis)
    }

    fn stage(&self, stage: &str) -> Histogram {
        histogram!(STAGE, "run" => self.run.clone(), "stage" => stage.to_owned())
    }

    /// The open step, a second later.
    pub fn show(&mut self, book: &Book, now: &Now<'_>) {
        let mut times = std::mem::take(&mut self.times);
        with_local_recorder(&self.recorder, || {
            gauge!(TARGET_RATE, "run" => self.run.clone()).set(now.target_rate);
            gauge!(IN_FLIGHT, "run" => self.run.clone()).set(now.in_flight as f64);
            self.valid(now.generator_valid);
            self.processes(now.sampled);
            let before = self.sent.get(now.kind.text()).copied().unwrap_or(0);
            self.sent(now.kind).absolute(before + book.requests);
            for lane in &book.lanes {
                self.classes(lane.channel.name(), &lane.classes);
            }
            let elsewhere = Classes { phantom: book.phantom_elsewhere, ..Classes::default() };
            self.classes(ELSEWHERE, &elsewhere);
            self.times(book, &mut times);
        });
        self.times = times;
        // Folds what was recorded into the buckets, also if nobody scrapes.
        self.handle.run_upkeep();
    }

    /// The step's books are closed; what was lost is told by [`Self::judged`].
    pub fn close(&mut self, book: &Book, kind: Kind) {
        let mut times = std::mem::take(&mut self.times);
        let sent = self.sent.entry(kind.text()).or_default();
        *sent += book.requests;
        let sent = *sent;
        with_local_recorder(&self.recorder, || {
            self.idle();
            self.sent(kind).absolute(sent);
            self.times(book, &mut times);
        });
        self.handle.run_upkeep();
    }

    /// A step as run.json will have it.
    pub fn judged(&mut self, step: &Step, generator_valid: bool) {
        add(&mut self.totals, step);
        let nothing = Classes::default();
        with_local_recorder(&self.recorder, || {
            self.valid(generator_valid);
            for channel in self.totals.keys() {
                self.classes(channel, &nothing);
            }
        });
    }

    /// All steps, with what arrived for them after they had been judged.
    pub fn told(&mut self, steps: &[Step]) {
        self.totals.clear();
        let Some((last, before)) = steps.split_last() else { return };
        before.iter().for_each(|step| add(&mut self.totals, step));
        self.judged(last, crate::verdict::keeps_schedule(last));
    }

    fn valid(&self, valid: bool) {
        gauge!(GENERATOR_VALID, "run" => self.run.clone()).set(f64::from(u8::from(valid)));
    }

    /// A channel's count of the open step, on top of the steps before it.
    fn classes(&self, channel: &str, open: &Classes) {
        let before = self.totals.get(channel);
        for (outcome, pick) in OUTCOMES {
            if channel == ELSEWHERE && outcome != PHANTOM {
                continue;
            }
            self.deliveries(channel, outcome).absolute(before.map_or(0, pick) + pick(open));
        }
    }

    fn processes(&self, sampled: &sampler::Row) {
        let shown = |name: &String| {
            if name == GENERATOR.0 { GENERATOR.1.to_owned() } else { name.clone() }
        };
        for (name, cores) in &sampled.cpu {
            gauge!(CPU, "run" => self.run.clone(), "process" => shown(name)).set(*cores);
        }
        for (name, bytes) in &sampled.rss {
            gauge!(RESIDENT, "run" => self.run.clone(), "process" => shown(name))
                .set(*bytes as f64);
        }
    }

    fn times(&self, book: &Book, times: &mut Growing) {
        if let Some(lag) = book.lag() {
            times.hand_on("lag", lag, &self.lag());
        }
        for lane in &book.lanes {
            let name = lane.channel.name();
            let sides = [("intended", &lane.intended), ("actual", &lane.actual)];
            for (basis, all) in sides {
                times.hand_on(&format!("{basis}:{name}"), all, &self.e2e(name, basis));
            }
        }
        for (name, all) in book.stage_times() {
            times.hand_on(&format!("stage:{name}"), all, &self.stage(&name));
        }
    }
}

fn add(totals: &mut Totals, step: &Step) {
    let mut elsewhere = step.classes.phantom;
    for (channel, classes) in &step.by_channel {
        elsewhere = elsewhere.saturating_sub(classes.phantom);
        totals.entry(channel.clone()).or_default().add(classes);
    }
    totals.entry(ELSEWHERE.to_owned()).or_default().phantom += elsewhere;
}

/// Takes the meanings from the reference page, so that page and endpoint say the same.
fn describe(page: &'static str) {
    for line in page.lines() {
        let Some((name, rest)) = line.strip_prefix("| `").and_then(|row| row.split_once("` | "))
        else {
            continue;
        };
        let Some((kind, rest)) = rest.split_once(" | ") else { continue };
        let meaning = rest.rsplit_once(" | ").map_or(rest, |(meaning, _)| meaning);
        let meaning = meaning.replace("\\|", "|").replace('`', "");
        match kind {
            _ if !name.starts_with("campana_loadtest_") => {}
            "counter" => describe_counter!(name, meaning),
            "gauge" => describe_gauge!(name, meaning),
            _ => describe_histogram!(name, meaning),
        }
    }
}
