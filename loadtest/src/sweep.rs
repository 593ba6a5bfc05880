//! The sweep: opens the receivers, runs one step after the other, and writes run.json and
//! report.html, also when it was stopped or failed half-way.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use tokio_util::sync::CancellationToken;

use crate::args::{Senders, SweepArgs};
use crate::clock::{self, Origin};
use crate::conductor::{Conductor, WARM_UP_WAVES};
use crate::environment;
use crate::failure::Failure;
use crate::gate::Gate;
use crate::goose_run;
use crate::ledger::Ledger;
use crate::limits;
use crate::procs::{Process, Usage};
use crate::progress;
use crate::receivers::Receivers;
use crate::report;
use crate::run::{self, Run, Settings, Status, Step, StepInput};
use crate::senders::{self, Crew};
use crate::target::{self, Target};
use crate::tokens;

/// A finished sweep and where it lies.
pub struct Outcome {
    pub run: Run,
    pub dir: PathBuf,
}

impl Outcome {
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

/// Runs the whole sweep.
pub async fn sweep(arguments: SweepArgs, stop: CancellationToken) -> Result<Outcome, Failure> {
    check_thresholds(&arguments)?;
    let target = target::find(&arguments.target)?;
    let largest = arguments.waves.iter().copied().max().unwrap_or(1);
    let open_files = limits::open_files();
    limits::require(2 * u64::from(largest), open_files)?;
    let dir = output_dir(&arguments)?;
    let processes = target.processes();
    let origin = Origin::start();
    let started_at = clock::utc_now().format(&Rfc3339).unwrap_or_default();

    let recipients = recipients(largest);
    let receivers = open_receivers(origin, &target, &recipients, &stop).await?;
    let environment = environment::capture(&target, &processes, open_files).await;
    let crew = Arc::new(Crew::new(
        origin,
        &target.authority,
        &target.api_key,
        arguments.channel.name(),
        Duration::from_millis(arguments.timeout_ms),
        &recipients,
    ));
    let stage = Stage { origin, target, processes, crew, receivers, stop };
    let mut run = Run {
        schema_version: run::SCHEMA_VERSION,
        started_at,
        duration_s: 0.0,
        durability: stage.target.durability.clone(),
        environment,
        command: command_line(),
        settings: settings(&arguments),
        steps: Vec::new(),
        thresholds: Vec::new(),
        interrupted: false,
        late: 0,
        error: None,
    };
    let mut ledger = Ledger::default();
    for n in arguments.waves.iter().copied() {
        match stage.run_step(&arguments, &mut ledger, n).await {
            Ok(step) => run.steps.extend(step),
            Err(failure) => run.error = Some(failure.to_string()),
        }
        run.interrupted = stage.stop.is_cancelled();
        if run.interrupted || run.error.is_some() {
            break;
        }
    }
    stage.receivers.close().await;
    run.late = ledger.late();
    run.duration_s = crate::stats::round3(origin.ns() as f64 / 1e9);
    run.thresholds = arguments.threshold.iter().map(|one| one.judge(&run.steps)).collect();
    write(&run, &dir)?;
    Ok(Outcome { run, dir })
}

/// A threshold on a step that will not run is a slip of the pen, told before minutes pass.
fn check_thresholds(arguments: &SweepArgs) -> Result<(), Failure> {
    for threshold in &arguments.threshold {
        if let Some(n) = threshold.step.filter(|n| !arguments.waves.contains(n)) {
            return Err(Failure::Usage(format!(
                "threshold {threshold}: the sweep has no wave of {n} (see --waves)"
            )));
        }
    }
    Ok(())
}

/// What the steps share.
struct Stage {
    origin: Origin,
    target: Target,
    processes: Vec<Process>,
    crew: Arc<Crew>,
    receivers: Receivers,
    stop: CancellationToken,
}

impl Stage {
    /// Runs one step; nothing if it was stopped before its first measured wave.
    async fn run_step(
        &self,
        arguments: &SweepArgs,
        ledger: &mut Ledger,
        n: u32,
    ) -> Result<Option<Step>, Failure> {
        let gate = Arc::new(Gate::new());
        let late_before = ledger.late();
        let bar =
            progress::bar(&format!("{n} at once"), u64::from(arguments.repeat + WARM_UP_WAVES));
        let conductor = Conductor {
            origin: self.origin,
            crew: &self.crew,
            inbox: &self.receivers.inbox,
            gate: &gate,
            processes: &self.processes,
            settle: Duration::from_millis(arguments.settle_ms),
            drain: Duration::from_millis(arguments.drain_ms),
            stop: &self.stop,
        };
        let conduct = conductor.run(ledger, n, arguments.repeat, |_| bar.inc(1));
        let crew = Arc::clone(&self.crew);
        let (measured, usage) = match arguments.senders {
            Senders::Goose => {
                let host = self.target.gateway.as_str();
                goose_run::attack(crew, Arc::clone(&gate), n, host, conduct).await?
            }
            Senders::Tasks => with_tasks(crew, Arc::clone(&gate), n, conduct).await,
        };
        bar.finish_and_clear();
        let book = ledger.close_step();
        let input = StepInput {
            n,
            repeat: measured,
            book: &book,
            usage: &usage,
            dropped_receivers: &self.receivers.inbox.take_dropped(),
            overflow: self.receivers.inbox.overflow(),
            late: ledger.late() - late_before,
        };
        Ok((measured > 0).then(|| run::step(&input)))
    }
}

/// The control: the same users as bare tasks.
async fn with_tasks(
    crew: Arc<Crew>,
    gate: Arc<Gate>,
    n: u32,
    conduct: impl Future<Output = (u32, Usage)>,
) -> (u32, Usage) {
    let mut users = tokio::task::JoinSet::new();
    for index in 0..n as usize {
        users.spawn(senders::run_user(Arc::clone(&crew), Arc::clone(&gate), index));
    }
    let result = conduct.await;
    gate.over();
    while users.join_next().await.is_some() {}
    result
}

async fn open_receivers(
    origin: Origin,
    target: &Target,
    recipients: &[String],
    stop: &CancellationToken,
) -> Result<Receivers, Failure> {
    let count = recipients.len() as u64;
    let bar = progress::bar("tokens", count);
    let opening = async {
        let minted = tokens::mint(target, recipients, || bar.inc(1)).await?;
        bar.finish_and_clear();
        let bar = progress::bar("receivers", count);
        let opened = Receivers::open(origin, minted, target.ws_url.as_ref(), || bar.inc(1)).await;
        bar.finish_and_clear();
        opened
    };
    tokio::select! {
        opened = opening => opened,
        () = stop.cancelled() => Err(Failure::Failed("stopped before the first wave".to_owned())),
    }
}

/// Names that no earlier run used, so that no old notification can be taken for a new one.
fn recipients(count: u32) -> Vec<String> {
    let run: u32 = rand::random();
    (0..count).map(|index| format!("lt-{run:08x}-{index}")).collect()
}

fn output_dir(arguments: &SweepArgs) -> Result<PathBuf, Failure> {
    let dir = match &arguments.out {
        Some(dir) => dir.clone(),
        None => {
            let shape = format_description!("[year]-[month]-[day]T[hour]-[minute]-[second]Z");
            let name = clock::utc_now()
                .format(shape)
                .map_err(|error| Failure::failed("the time of day", error))?;
            Path::new("loadtest-results").join(name)
        }
    };
    // Made before the run: a folder that cannot be written must not cost the figures.
    fs::create_dir_all(&dir).map_err(|error| Failure::failed(dir.display(), error))?;
    Ok(dir)
}

fn settings(arguments: &SweepArgs) -> Settings {
    Settings {
        waves: arguments.waves.clone(),
        repeat: arguments.repeat,
        warm_up_waves: WARM_UP_WAVES,
        settle_ms: arguments.settle_ms,
        drain_ms: arguments.drain_ms,
        timeout_ms: arguments.timeout_ms,
        channel: arguments.channel.name().to_owned(),
        senders: match arguments.senders {
            Senders::Goose => goose_run::NAME.to_owned(),
            Senders::Tasks => "bare tasks (control)".to_owned(),
        },
        connections: "one warm keep-alive HTTP/1.1 connection per user".to_owned(),
    }
}

/// The command as typed, without the path of the program and without a key.
fn command_line() -> String {
    let mut words = vec!["campana loadtest".to_owned()];
    let mut hide_next = false;
    for word in std::env::args().skip(1) {
        let hidden = std::mem::replace(&mut hide_next, word == "--api-key");
        words.push(match word.split_once('=') {
            _ if hidden => "…".to_owned(),
            Some(("--api-key", _)) => "--api-key=…".to_owned(),
            _ if word.chars().any(|c| " <>&|;*?'\"".contains(c)) => format!("'{word}'"),
            _ => word,
        });
    }
    words.join(" ")
}

fn write(run: &Run, dir: &Path) -> Result<(), Failure> {
    let text =
        serde_json::to_string_pretty(run).map_err(|error| Failure::failed("run.json", error))?;
    let path = dir.join("run.json");
    fs::write(&path, text + "\n").map_err(|error| Failure::failed(path.display(), error))?;
    report::write(run, dir)
}
