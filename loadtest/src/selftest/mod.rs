//! `selftest`: shows on this machine that the harness sees what it claims to see. Between harness
//! and target it puts a layer that injects faults of known size, one after the other, runs the very
//! same campaign as `run` does, and holds what run.json says against what the layer counted.
//! Writes run.json as every run does; never touches the target beyond its notifications.

mod conduct;
mod judge;
#[cfg(test)]
mod judge_tests;
mod lane;
mod layer;
mod log;
mod report;
mod stall;
mod trial;
mod wire;
mod words;

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

pub use report::{Report, schema};
pub use trial::Trial;

use crate::agent::fleet::Crew;
use crate::clock::now_ns;
use crate::commands::common::exit_status;
use crate::engine::null_target::NullTarget;
use crate::engine::{Campaign, Finished, Options};
use crate::failure::Failure;
use crate::limits;
use crate::load::goose::Driver;
use crate::load::post::Stamping;
use crate::model::{Kind, Step};
use crate::scenario::Scenario;
use crate::stats::round3;
use crate::target::Target;
use crate::verdict;
use conduct::{Done, conduct};
use judge::{Doctored, Facts};
use layer::Layer;
use log::Log;
use report::{Injected, Outcome, Row};

/// A request is a socket of the generator, two of the layer and, against the echo, one more.
const FILES_EACH: u64 = 4;
/// What else is open.
const FILES_KEPT: u64 = 128;
const IN_FLIGHT_MAX: u64 = 2_000;

/// What is asked for.
pub struct Plan {
    /// A running platform; the echo in this process without it.
    pub target: Option<Target>,
    pub only: Vec<Trial>,
    pub seed: u64,
    /// Where run.json goes.
    pub out: PathBuf,
    pub quiet: bool,
    pub command: String,
}

/// One trial that has run; its figures are complete when the campaign has ended.
struct Ran {
    trial: Trial,
    done: Done,
    log: Log,
    ended_ns: u64,
}

/// Runs every trial and judges them.
pub async fn run(plan: Plan, stop: CancellationToken) -> Result<Report, Failure> {
    let open_files = limits::open_files();
    let piled_up = (trial::RATE_PER_S * trial::STOP.as_secs_f64()) as u64;
    limits::require(FILES_EACH * (piled_up + u64::from(trial::RECIPIENTS)), open_files)?;
    let began_ns = now_ns();
    let echo = if plan.target.is_none() { Some(NullTarget::start().await?) } else { None };
    let target = plan.target.as_ref().or(echo.as_ref().map(|echo| &echo.target));
    let target = target.ok_or_else(|| Failure::Failed("no target".to_owned()))?;
    let layer = Layer::open(target).await?;
    let ran = Box::pin(trials(&plan, &layer, open_files, stop.clone())).await;
    let name = target.name.clone();
    layer.close().await;
    if let Some(echo) = echo {
        echo.stop().await;
    }
    let (ran, finished) = ran?;
    let rows = rows(&ran, finished)?;
    let interrupted = stop.is_cancelled();
    Ok(Report {
        schema_version: report::SCHEMA_VERSION,
        target: name,
        seed: plan.seed,
        duration_s: round3(now_ns().saturating_sub(began_ns) as f64 / 1e9),
        passed: !interrupted && rows.iter().all(|row| row.outcome == Outcome::Ok),
        interrupted,
        rows,
    })
}

/// One campaign with a step for each trial, as `run` would run it.
async fn trials(
    plan: &Plan,
    layer: &Layer,
    open_files: u64,
    stop: CancellationToken,
) -> Result<(Vec<Ran>, Finished), Failure> {
    let chosen = Trial::chosen(&plan.only);
    let numbered = chosen.iter().zip(1..);
    let specs = numbered.map(|(trial, number)| trial.spec(number, chosen.len()));
    let specs = std::iter::once(trial::warm_up()).chain(specs).collect();
    let mut scenario = Scenario::of_steps("selftest", plan.seed, trial::RECIPIENTS, specs);
    let room = open_files.saturating_sub(FILES_KEPT) / FILES_EACH;
    let most = room.saturating_sub(u64::from(trial::RECIPIENTS)).min(IN_FLIGHT_MAX);
    scenario.in_flight_max = u32::try_from(most).unwrap_or(u32::MAX);
    let options = Options {
        driver: Driver::default(),
        stamping: Stamping::Every(1),
        out: Some(plan.out.clone()),
        thresholds: Vec::new(),
        neighbour_key: None,
        null_target: false,
        judge_timing: true,
        crew: Crew::default(),
        metrics: None,
        quiet: plan.quiet,
        command: plan.command.clone(),
    };
    let opening = Campaign::open(&scenario, layer.target.clone(), &options, stop);
    let mut campaign = Box::pin(opening).await?;
    let mut going = Box::pin(campaign.step(&scenario.steps[0])).await;
    let mut ran = Vec::new();
    for (trial, spec) in chosen.into_iter().zip(&scenario.steps[1..]) {
        if !going {
            break;
        }
        let intake = campaign.intake();
        layer.shared.begin(conduct::plan(trial, plan.seed));
        let mut step = Box::pin(campaign.step(spec));
        let mut conducting = Box::pin(conduct(trial, layer, &intake));
        let mut done = None;
        going = loop {
            tokio::select! {
                going = &mut step => break going,
                it = &mut conducting, if done.is_none() => done = Some(it),
            }
        };
        // A step that ended before its fault is told as one without any.
        ran.push(Ran {
            trial,
            done: done.unwrap_or_default(),
            log: layer.shared.end(),
            ended_ns: now_ns(),
        });
    }
    let finished = campaign.finish().await?;
    match &finished.run.error {
        Some(error) => Err(Failure::Failed(error.clone())),
        None => Ok((ran, finished)),
    }
}

/// Judges; the first step was the warm-up, the second the control.
fn rows(ran: &[Ran], mut finished: Finished) -> Result<Vec<Row>, Failure> {
    let steps: Vec<Step> = finished.run.steps.drain(..).skip(1).collect();
    let (Some(control), Some(first)) = (steps.first(), ran.first()) else {
        return Err(Failure::Failed("stopped before anything was shown".to_owned()));
    };
    let control_injected = injected(first);
    let mut rows = Vec::new();
    for (ran, step) in ran.iter().zip(&steps) {
        let injected = injected(ran);
        let doctored = (ran.trial == Trial::Books).then(|| doctor(&mut finished, step));
        let checks = judge::judge(&Facts {
            trial: ran.trial,
            injected: &injected,
            step,
            control,
            control_injected: &control_injected,
            doctored: doctored.as_ref(),
        });
        let outcome = judge::outcome(&checks);
        rows.push(Row {
            trial: ran.trial,
            text: words::injected(ran.trial, &injected),
            outcome,
            injected,
            verdict: step.verdict.status,
            reasons: step.verdict.reasons.clone(),
            checks,
            advice: words::advice(ran.trial, outcome, control),
        });
    }
    Ok(rows)
}

/// The layer's own account of a trial.
fn injected(ran: &Ran) -> Injected {
    let (log, done) = (&ran.log, &ran.done);
    let (held_p50_ms, held_max_ms) = log.held_ms();
    Injected {
        requests: log.requests,
        publications: log.publications,
        dropped: log.dropped,
        doubled: log.doubled,
        corrupted: log.corrupted,
        swapped: log.swapped,
        invented: log.invented,
        planted: done.planted,
        held_p50_ms,
        held_max_ms,
        stop_ms: done.stop.map(|span| round3(span.ms())),
        stall_ms: done.stall.map(|span| round3(span.ms())),
        witness: log.witness((1e9 / ran.trial.rate_per_s()) as u64, done.stall, ran.ended_ns),
    }
}

/// The exit code of a run with this step; and the step once more with a delivery that is in no
/// class, judged and exited by the same rules as every run.
fn doctor(finished: &mut Finished, step: &Step) -> Doctored {
    let mut wrong = step.clone();
    wrong.classes.delivered = wrong.classes.delivered.saturating_sub(1);
    wrong.verdict = verdict::judge(&verdict::Facts {
        step: &wrong,
        planned: (wrong.load.kind != Kind::Closed).then_some(wrong.classes.sent),
        sound: true,
        overflow: 0,
        outside: 0,
        null_target: None,
        warm_up: None,
        complaints: &[],
        interrupted: false,
        judge_timing: false,
    });
    let reasons = wrong.verdict.reasons.clone();
    let mut exit_of = |step: Step| {
        finished.run.steps = vec![step];
        exit_status(finished)
    };
    let (exit_of_unsound, exit_of_unbalanced) = (exit_of(step.clone()), exit_of(wrong));
    Doctored { reasons, exit_of_unsound, exit_of_unbalanced }
}
