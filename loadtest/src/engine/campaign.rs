//! A run of several steps as run.json has it: opened, stepped, finished. Whatever happens after
//! the receivers are open, run.json is written with what there is.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use time::format_description::well_known::Rfc3339;
use tokio_util::sync::CancellationToken;

use super::null_target::NullTarget;
use super::output;
use super::session::{Session, SessionPlan};
use super::source::Source;
use super::view;
use crate::agent::fleet::{Crew, Fleet};
use crate::clock::{now_ns, utc_now};
use crate::environment;
use crate::failure::Failure;
use crate::intake::{Channel, Intake};
use crate::limits;
use crate::load::goose::Driver;
use crate::load::post::Stamping;
use crate::metrics::{Endpoint, Meter, Serving};
use crate::model::{self, Kind, Latency, Run, ScenarioFacts, Status, Step, TargetFacts};
use crate::progress;
use crate::scenario::{Arrivals, Scenario, StepSpec};
use crate::stats::round3;
use crate::target::Target;
use crate::thresholds::Threshold;

/// How the harness's own floor is taken: a second of even load on a few receivers.
const NULL_RATE_PER_S: f64 = 500.0;
const NULL_RECIPIENTS: u32 = 10;
const NULL_WARM_UP: Duration = Duration::from_millis(200);
const NULL_HOLD: Duration = Duration::from_secs(1);
const NULL_DRAIN: Duration = Duration::from_secs(2);

/// What the commands have in common.
#[derive(Clone, Debug)]
pub struct Options {
    pub driver: Driver,
    pub stamping: Stamping,
    /// Folder for the results.
    pub out: Option<PathBuf>,
    /// Thresholds beside the scenario's.
    pub thresholds: Vec<Threshold>,
    pub neighbour_key: Option<String>,
    /// Whether the harness's own floor is measured first.
    pub null_target: bool,
    pub judge_timing: bool,
    /// Other processes that make the load, if this one shall not.
    pub crew: Crew,
    /// Where Prometheus may scrape while the run goes on.
    pub metrics: Option<SocketAddr>,
    pub quiet: bool,
    /// As typed, for run.json.
    pub command: String,
}

/// A run in progress.
pub struct Campaign {
    source: Source,
    pub run: Run,
    dir: PathBuf,
    thresholds: Vec<Threshold>,
    stop: CancellationToken,
    serving: Option<Serving>,
    /// Ends with the run.
    _bar: tokio::task::JoinSet<()>,
}

/// A finished run and where it lies.
pub struct Finished {
    pub run: Run,
    pub dir: PathBuf,
}

impl Finished {
    /// Whether some figure must not be used, or the run broke off.
    pub fn invalid(&self) -> bool {
        self.run.error.is_some()
            || self.run.steps.iter().any(|step| step.verdict.status == Status::Invalid)
    }

    /// Whether some threshold was missed.
    pub fn missed(&self) -> bool {
        self.run.thresholds.iter().any(|judgement| !judgement.pass)
    }
}

impl Campaign {
    /// Opens the target for a scenario; nothing is written if that fails.
    pub async fn open(
        scenario: &Scenario,
        target: Target,
        options: &Options,
        stop: CancellationToken,
    ) -> Result<Self, Failure> {
        let names: Vec<&str> = scenario.steps.iter().map(|step| step.name.as_str()).collect();
        for threshold in &options.thresholds {
            threshold
                .check(&names)
                .map_err(|why| Failure::Usage(format!("threshold {threshold}: {why}")))?;
        }
        let dir = output::dir(options.out.as_deref(), &scenario.slug())?;
        let started_at = utc_now().format(&Rfc3339).unwrap_or_default();
        let endpoint = bind(options).await?;
        let mut source = open(scenario, target, options, &dir, &stop).await?;
        let serving = endpoint.map(|it| measured(it, &mut source, scenario)).transpose()?;
        let processes = source.processes();
        let environment =
            environment::capture(source.target(), &processes, limits::open_files()).await;
        let floor = match options.null_target {
            true => Some(null_target(options, &stop).await?),
            false => None,
        };
        source.set_null_target(floor.clone());
        let run = Run {
            schema_version: model::SCHEMA_VERSION,
            id: format!("{:08x}", source.run()),
            started_at,
            duration_s: 0.0,
            command: options.command.clone(),
            scenario: scenario_facts(scenario),
            target: target_facts(source.target()),
            environment,
            generators: source.generators(scenario, options.driver),
            null_target: floor,
            steps: Vec::new(),
            thresholds: Vec::new(),
            saturation: None,
            interrupted: false,
            error: None,
        };
        let mut thresholds = scenario.thresholds.clone();
        thresholds.extend(options.thresholds.iter().cloned());
        let mut bar = tokio::task::JoinSet::new();
        if progress::is_shown(options.quiet) {
            bar.spawn(view::draw(source.live().subscribe(), processes));
        }
        Ok(Self { source, run, dir, thresholds, stop, serving, _bar: bar })
    }

    /// Runs one step and keeps it; false if the run shall not go on.
    pub async fn step(&mut self, spec: &StepSpec) -> bool {
        match self.source.step(spec).await {
            Ok(step) => self.run.steps.extend(step),
            Err(failure) => self.run.error = Some(failure.to_string()),
        }
        self.run.interrupted = self.stop.is_cancelled();
        !self.run.interrupted && self.run.error.is_none()
    }

    /// Where senders and receivers of this process put events; of several generators, nobody does.
    pub fn intake(&self) -> Arc<Intake> {
        match &self.source {
            Source::Own(session) => session.intake(),
            Source::Fleet(_) => Arc::default(),
        }
    }

    /// The step that ran last.
    pub fn last(&self) -> Option<&Step> {
        self.run.steps.last()
    }

    /// Judges the thresholds, writes everything and closes.
    pub async fn finish(mut self) -> Result<Finished, Failure> {
        if let Err(failure) = self.source.tell_afterwards(&mut self.run.steps).await {
            self.run.error.get_or_insert(failure.to_string());
        }
        self.source.live().told(&self.run.steps);
        let elapsed_ns = now_ns().saturating_sub(self.source.started_ns());
        self.run.duration_s = round3(elapsed_ns as f64 / 1e9);
        self.run.thresholds =
            self.thresholds.iter().map(|threshold| threshold.judge(&self.run.steps)).collect();
        if let Source::Fleet(fleet) = &self.source {
            // As their clocks stood at the end.
            self.run.generators = fleet.generators();
        }
        let written = output::write(&self.run, &self.dir);
        self.source.close().await;
        written?;
        if let Some(serving) = self.serving {
            serving.stop().await;
        }
        Ok(Finished { run: self.run, dir: self.dir })
    }
}

/// Runs every step of a scenario.
pub async fn run(
    scenario: &Scenario,
    target: Target,
    options: &Options,
    stop: CancellationToken,
) -> Result<Finished, Failure> {
    let mut campaign = Box::pin(Campaign::open(scenario, target, options, stop)).await?;
    for spec in &scenario.steps {
        if !campaign.step(spec).await {
            break;
        }
    }
    campaign.finish().await
}

/// Takes the address for metrics and tells which it is.
async fn bind(options: &Options) -> Result<Option<Endpoint>, Failure> {
    let Some(address) = options.metrics else { return Ok(None) };
    let endpoint = Endpoint::bind(address).await?;
    eprintln!("metrics at http://{}/metrics", endpoint.address());
    Ok(Some(endpoint))
}

/// Metrics of this session from now on.
fn measured(
    endpoint: Endpoint,
    source: &mut Source,
    scenario: &Scenario,
) -> Result<Serving, Failure> {
    let meter = Meter::new(format!("{:08x}", source.run()), scenario)?;
    let serving = endpoint.serve(meter.handle());
    source.live().meter = Some(meter);
    Ok(serving)
}

/// This process, or several that it leads.
async fn open(
    scenario: &Scenario,
    target: Target,
    options: &Options,
    dir: &Path,
    stop: &CancellationToken,
) -> Result<Source, Failure> {
    if options.crew.is_wanted() {
        let opening = Fleet::open(scenario, target, options, Some(dir), stop.clone());
        return Ok(Source::Fleet(Box::new(Box::pin(opening).await?)));
    }
    let session = Session::open(plan(scenario, options, Some(dir), stop), target).await?;
    Ok(Source::Own(Box::new(session)))
}

fn plan<'a>(
    scenario: &'a Scenario,
    options: &Options,
    logs: Option<&'a Path>,
    stop: &CancellationToken,
) -> SessionPlan<'a> {
    SessionPlan {
        scenario,
        driver: options.driver,
        stamping: options.stamping,
        neighbour_key: options.neighbour_key.clone(),
        logs,
        judge_timing: options.judge_timing && scenario.judge_timing,
        quiet: options.quiet,
        stop: stop.clone(),
        led: None,
    }
}

/// The same way of sending and receiving against an echo in this process.
async fn null_target(options: &Options, stop: &CancellationToken) -> Result<Latency, Failure> {
    let echo = NullTarget::start().await?;
    let spec = StepSpec {
        name: "the harness alone".to_owned(),
        kind: Kind::Open,
        size: 0,
        rate_per_s: NULL_RATE_PER_S,
        arrivals: Arrivals::Constant,
        repeat: 0,
        warm_up: NULL_WARM_UP,
        hold: NULL_HOLD,
        drain: NULL_DRAIN,
        settle: Duration::ZERO,
        fan_out: 1,
        channels: vec![Channel::InApp],
        faults: Vec::new(),
    };
    let scenario = Scenario::of_steps("null target", 1, NULL_RECIPIENTS, vec![spec]);
    let mut session =
        Session::open(plan(&scenario, options, None, stop), echo.target.clone()).await?;
    let step = session.step(&scenario.steps[0]).await;
    session.close().await;
    echo.stop().await;
    let latency = step?.and_then(|mut step| step.latency.remove(Channel::InApp.name()));
    Ok(latency.unwrap_or_default())
}

fn scenario_facts(scenario: &Scenario) -> ScenarioFacts {
    ScenarioFacts {
        name: scenario.name.clone(),
        about: scenario.about.clone(),
        sha256: scenario.sha256.clone(),
        seed: scenario.seed,
        recipients: scenario.recipients,
        payload_bytes: scenario.payload_bytes,
        slo: scenario.slo.clone(),
    }
}

fn target_facts(target: &Target) -> TargetFacts {
    TargetFacts {
        name: target.name.clone(),
        version: target.version.clone(),
        durability: target.durability.clone(),
        connections:
            "keep-alive HTTP/1.1: one for each user; for open load as many as are in flight"
                .to_owned(),
    }
}
