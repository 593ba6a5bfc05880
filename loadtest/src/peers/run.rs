//! `campana loadtest peers`: who takes part, the rounds one after the other, the report.
//! Reads: the scenario. Writes: the results' folder, after every round, so that a run that breaks off has not been
//! for nothing. Never: leaves a peer out silently.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::args::PeersArgs;
use super::figures::{Figures, summarise};
use super::round::run_round;
use super::turns::turns;
use super::{Kind, Peer, servers, table};
use crate::engine::output;
use crate::failure::Failure;
use crate::model::Step;
use crate::scenario::Scenario;

const SCENARIO: &str = include_str!("scenario.toml");
/// What is written beside the rounds.
const FILE: &str = "peers.json";

/// A comparison.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Asked for; each figure says how many it has.
    pub rounds: u32,
    pub peers: Vec<Known>,
    pub figures: Vec<Figures>,
    /// Who was asked for and is not there.
    pub missing: Vec<Missing>,
    /// Rounds that gave no figures.
    pub failed: Vec<Missing>,
    pub interrupted: bool,
}

/// Who was measured.
#[derive(Debug, Serialize)]
pub struct Known {
    pub name: &'static str,
    pub version: Option<String>,
    pub durability: String,
    /// What an accepted notification survives, in words.
    pub survives: &'static str,
}

/// Who was not, or not in some round.
#[derive(Debug, Serialize)]
pub struct Missing {
    pub peer: &'static str,
    pub why: String,
}

/// A finished comparison and where it lies.
pub struct Outcome {
    pub report: Report,
    pub dir: PathBuf,
}

impl Outcome {
    /// As text.
    pub fn render(&self) -> String {
        table::render(&self.report)
    }

    /// Whether every peer that was asked for, and is there, was measured in every round.
    pub fn complete(&self) -> bool {
        !self.report.interrupted
            && self
                .report
                .peers
                .iter()
                .all(|known| self.report.missing.iter().all(|missing| missing.peer != known.name))
            && !self.report.peers.is_empty()
    }
}

/// What the rounds share.
struct Comparison<'a> {
    arguments: &'a PeersArgs,
    scenario: Scenario,
    dir: PathBuf,
    rounds: Vec<(Kind, Vec<Step>)>,
    report: Report,
}

/// Runs all rounds.
pub async fn run(arguments: PeersArgs, stop: CancellationToken) -> Result<Outcome, Failure> {
    let scenario = match &arguments.scenario {
        Some(name) => Scenario::load(name)?,
        None => Scenario::read("peers.toml", SCENARIO)?,
    };
    let (present, missing) = present(&arguments)?;
    let dir = output::dir(arguments.out.as_deref(), "peers")?;
    let report = Report {
        rounds: arguments.rounds,
        peers: Vec::new(),
        figures: Vec::new(),
        missing,
        failed: Vec::new(),
        interrupted: false,
    };
    let mut comparison =
        Comparison { arguments: &arguments, scenario, dir, rounds: Vec::new(), report };
    for (round, kind) in turns(&present, arguments.rounds) {
        if stop.is_cancelled() {
            comparison.report.interrupted = true;
            break;
        }
        comparison.round(round, kind, &stop).await?;
    }
    Ok(Outcome { report: comparison.report, dir: comparison.dir })
}

/// Those that can be started, each once, and why others cannot.
fn present(arguments: &PeersArgs) -> Result<(Vec<Kind>, Vec<Missing>), Failure> {
    let (mut present, mut missing) = (Vec::new(), Vec::new());
    for kind in &arguments.only {
        match servers::available(*kind) {
            Ok(()) if present.contains(kind) => {}
            Ok(()) => present.push(*kind),
            Err(failure) if arguments.strict => return Err(failure),
            Err(failure) => missing.push(Missing { peer: kind.name(), why: failure.to_string() }),
        }
    }
    if present.is_empty() {
        let why: Vec<String> = missing.into_iter().map(|one| one.why).collect();
        return Err(Failure::Usage(format!("no peer can be measured: {}", why.join("; "))));
    }
    Ok((present, missing))
}

impl Comparison<'_> {
    /// Starts a peer, measures it, stops it, and writes down what is known by now. A peer that fails costs its own
    /// round and nobody else's.
    async fn round(
        &mut self,
        round: u32,
        kind: Kind,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        eprintln!("round {} of {}: {}", round + 1, self.report.rounds, kind.name());
        match self.measure(kind, stop).await {
            Ok(steps) => {
                self.report.interrupted |= steps.len() < self.scenario.steps.len();
                let name = format!("round-{}-{}.json", round + 1, kind.name());
                write(&self.dir.join(name), &steps)?;
                self.rounds.push((kind, steps));
            }
            Err(_) if stop.is_cancelled() => self.report.interrupted = true,
            Err(failure) => self.report.failed.push(Missing {
                peer: kind.name(),
                why: format!("round {}: {failure}", round + 1),
            }),
        }
        self.report.figures = summarise(&self.rounds);
        write(&self.dir.join(FILE), &self.report)
    }

    async fn measure(
        &mut self,
        kind: Kind,
        stop: &CancellationToken,
    ) -> Result<Vec<Step>, Failure> {
        let arguments = self.arguments;
        let peer = servers::start(kind, &arguments.peers_dir, arguments.durability).await?;
        self.enter(&peer);
        let steps = run_round(&peer, &self.scenario, stop.clone()).await;
        peer.stop().await;
        steps
    }

    fn enter(&mut self, peer: &Peer) {
        let name = peer.kind.name();
        if self.report.peers.iter().any(|known| known.name == name) {
            return;
        }
        self.report.peers.push(Known {
            name,
            version: peer.target.version.clone(),
            durability: peer.target.durability.clone(),
            survives: peer.kind.survives(self.arguments.durability),
        });
    }
}

fn write(path: &Path, value: &impl Serialize) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::failed(path.display(), error);
    let text = serde_json::to_string_pretty(value).map_err(|error| failed(&error))?;
    fs::write(path, text + "\n").map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scenario_is_checked() {
        let scenario = Scenario::read("peers.toml", SCENARIO).unwrap();
        assert_eq!(scenario.steps.len(), 6);
    }

    #[test]
    fn nobody_is_an_error_and_a_missing_peer_a_line() {
        use clap::Parser;
        #[derive(Parser)]
        struct Cli {
            #[command(flatten)]
            peers: PeersArgs,
        }
        let parse = |words: &[&str]| Cli::parse_from([&["x"], words].concat()).peers;
        if servers::available(Kind::Centrifugo).is_ok() {
            return;
        }
        let failure = present(&parse(&["--only", "centrifugo"])).unwrap_err().to_string();
        assert!(failure.contains("not on PATH"), "{failure}");
        assert!(present(&parse(&["--only", "centrifugo", "--strict"])).is_err());
        assert_eq!(parse(&[]).only.len(), 7);
    }
}
