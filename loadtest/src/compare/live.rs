//! A live comparison: both sides are measured once in every round, in the order A B B A, and what the
//! rounds came to is decided as for finished runs. Reads: the scenario, up.json. Writes: the run.json and
//! report of every run, and after every round comparison.json and compare.html, so that one that breaks
//! off has not been for nothing. Never: measures one side while a platform of the other is starting.

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use super::args::CompareArgs;
use super::files::{self, PAGE};
use super::platforms::{self, Source};
use super::{Comparison, RUNS_WANTED, decide, text};
use crate::agent::fleet::Crew;
use crate::engine::{Options, campaign, output};
use crate::failure::Failure;
use crate::load::goose::Driver;
use crate::model::{Run, Status};
use crate::peers::turns::turns;
use crate::scenario::Scenario;

const SCENARIO: &str = include_str!("scenario.toml");
/// With the seven figures that the built-in scenario has, Holm's correction asks for six runs a side.
const ROUNDS: u32 = RUNS_WANTED as u32 + 1;
const NAMES: [&str; 2] = ["A", "B"];

/// What the rounds share.
struct Live<'a> {
    arguments: &'a CompareArgs,
    scenario: Scenario,
    sources: [Source; 2],
    rounds: u32,
    dir: PathBuf,
    stop: CancellationToken,
    /// By round: the runs of A and of B.
    pairs: Vec<[Option<Run>; 2]>,
    /// Runs that cannot be used, and why.
    set_aside: Vec<String>,
}

/// Measures and decides; the comparison, and what to print. A failure before the first whole round is
/// the command's own.
pub(super) async fn measure(
    arguments: &CompareArgs,
    stop: CancellationToken,
) -> Result<(Comparison, String), Failure> {
    let scenario = match &arguments.live.scenario {
        Some(name) => Scenario::load(name)?,
        None => Scenario::read("compare.toml", SCENARIO)?,
    };
    check(arguments, &scenario)?;
    let sources = platforms::sources(arguments)?;
    let rounds = arguments.live.rounds.unwrap_or(ROUNDS);
    let dir = output::dir(arguments.out.as_deref(), "compare")?;
    let pairs = (0..rounds).map(|_| [None, None]).collect();
    let set_aside = Vec::new();
    let mut live = Live { arguments, scenario, sources, rounds, dir, stop, pairs, set_aside };
    let interrupted = live.run().await?;
    let mut found = live.decide()?;
    found.interrupted = interrupted;
    files::write(&found, &live.dir)?;
    let mut printed = files::print(&found, arguments.json)?;
    if !arguments.json {
        printed += &format!("  {}\n", live.dir.join(PAGE).display());
    }
    Ok((found, printed))
}

/// A slip of the pen is told before minutes pass.
fn check(arguments: &CompareArgs, scenario: &Scenario) -> Result<(), Failure> {
    let steps: Vec<&str> = scenario.steps.iter().map(|step| step.name.as_str()).collect();
    for gate in &arguments.gate {
        gate.check(&steps).map_err(Failure::Usage)?;
    }
    let named = arguments.primary.iter().filter_map(|primary| primary.step.as_deref());
    match named.chain(arguments.step.iter().map(String::as_str)).find(|name| !steps.contains(name))
    {
        None => Ok(()),
        Some(name) => Err(Failure::Usage(format!(
            "there is no step {name:?}; the steps are {}",
            steps.join(", ")
        ))),
    }
}

impl Live<'_> {
    /// All rounds; whether they were stopped before the last.
    async fn run(&mut self) -> Result<bool, Failure> {
        let seconds: f64 = self.scenario.steps.iter().map(|step| step.seconds()).sum();
        let most = seconds * 2.0 * f64::from(self.rounds) / 60.0;
        self.tell(&format!(
            "{} rounds of A ({}) and B ({}), at most {:.0} min and the starts",
            self.rounds,
            self.sources[0].words(),
            self.sources[1].words(),
            most.max(1.0)
        ));
        for (round, side) in turns(&[0, 1], self.rounds) {
            if self.stop.is_cancelled() {
                return Ok(true);
            }
            self.tell(&format!("round {} of {}: {}", round + 1, self.rounds, NAMES[side]));
            match self.one(round, side).await {
                Ok(Some(run)) => self.keep(round, side, run),
                _ if self.stop.is_cancelled() => return Ok(true),
                Ok(None) => {}
                // Nothing is known yet: most likely it cannot be done at all.
                Err(failure) if round == 0 => return Err(failure),
                Err(failure) => self.aside(round, side, &failure.to_string()),
            }
            self.so_far(round)?;
        }
        Ok(false)
    }

    /// One run of one side; nothing if it was stopped.
    async fn one(&self, round: u32, side: usize) -> Result<Option<Run>, Failure> {
        let ready = tokio::select! {
            ready = self.sources[side].ready(NAMES[side]) => ready?,
            () = self.stop.cancelled() => return Ok(None),
        };
        let mut scenario = self.scenario.clone();
        // The two sides of a round get the same arrivals, each round others.
        scenario.seed = scenario.seed.wrapping_add(u64::from(round));
        let dir = self.dir.join(format!("round-{}-{}", round + 1, NAMES[side].to_lowercase()));
        let options = self.options(dir);
        let target = ready.target.clone();
        let stop = self.stop.clone();
        let finished = Box::pin(campaign::run(&scenario, target, &options, stop)).await;
        ready.stop().await;
        finished.map(|finished| Some(finished.run).filter(|run| !run.interrupted))
    }

    fn options(&self, dir: PathBuf) -> Options {
        let live = &self.arguments.live;
        Options {
            driver: Driver::Goose,
            stamping: live.stamps,
            out: Some(dir),
            thresholds: Vec::new(),
            neighbour_key: None,
            // It is the same for both sides.
            null_target: false,
            judge_timing: !live.lenient_timing,
            crew: Crew::default(),
            metrics: None,
            quiet: live.quiet,
            command: output::command_line(std::env::args().skip(1)),
        }
    }

    /// Keeps a run whose figures may be used.
    fn keep(&mut self, round: u32, side: usize, run: Run) {
        let why = run.error.clone().or_else(|| {
            let invalid = |step: &&crate::model::Step| step.verdict.status == Status::Invalid;
            let step = run.steps.iter().find(invalid)?;
            Some(format!("{} is INVALID: {}", step.name, step.verdict.reasons.join("; ")))
        });
        match why {
            Some(why) if !self.arguments.force => self.aside(round, side, &why),
            _ => self.pairs[round as usize][side] = Some(run),
        }
    }

    fn aside(&mut self, round: u32, side: usize, why: &str) {
        let text = format!("round {} set aside, {}: {why}", round + 1, NAMES[side]);
        self.tell(&text);
        self.set_aside.push(text);
    }

    /// Writes and tells what is known after a round.
    fn so_far(&self, round: u32) -> Result<(), Failure> {
        if self.pairs[round as usize].iter().any(Option::is_none) {
            return Ok(());
        }
        let found = Comparison { interrupted: true, ..self.decide()? };
        if round + 1 < self.rounds {
            self.tell(&text::so_far(&found));
        }
        files::write(&found, &self.dir)
    }

    /// Decides over whole rounds only: half a round would be a run more on one side than on the other.
    fn decide(&self) -> Result<Comparison, Failure> {
        let mut sides: [Vec<Run>; 2] = [Vec::new(), Vec::new()];
        for pair in &self.pairs {
            if let [Some(a), Some(b)] = pair {
                sides[0].push(a.clone());
                sides[1].push(b.clone());
            }
        }
        let [a, b] = sides;
        if a.is_empty() {
            let why = match self.set_aside.as_slice() {
                [] => "it was stopped before the first round was over".to_owned(),
                all => all.join("; "),
            };
            return Err(Failure::Failed(format!("there is nothing to compare: {why}")));
        }
        let mut found = decide(&a, &b, &self.arguments.options())?;
        found.warnings.extend(self.set_aside.iter().cloned());
        found.a.source = Some(self.sources[0].words());
        found.b.source = Some(self.sources[1].words());
        Ok(found)
    }

    fn tell(&self, text: &str) {
        if !self.arguments.live.quiet {
            eprintln!("{text}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Metric;
    use crate::compare::sides::runs_needed;

    #[test]
    fn the_default_rounds_can_decide_the_default_scenario() {
        let scenario = Scenario::read("compare.toml", SCENARIO).unwrap();
        // A wave has no throughput.
        let figures = Metric::ALL.len() * scenario.steps.len() - 1;
        assert!(runs_needed(figures) <= ROUNDS as usize, "{figures} figures");
    }
}
