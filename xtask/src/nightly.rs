//! `cargo xtask nightly`: what is too long for every check. All kinds of load for about five minutes, the
//! harness's trial of itself, whether memory is flat, and each fuzz target for a while.
//! Reads: the arguments. Writes: `target/nightly`, `target/fuzz`. Never: stops at the first failure; the
//! table at the end tells everything, and the exit code is that of the worst.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::load::{self, Job};
use crate::{fuzz, repo, shell, up};

/// Scenario `nightly` takes about five minutes; a busy machine more.
const LOAD_WITHIN: Duration = Duration::from_secs(45 * 60);
/// What a part needs beside its load: receivers, the floor, reconciliation, the report.
const AROUND: Duration = Duration::from_secs(5 * 60);
const SOAK_MINUTES: u32 = 15;
const FUZZ_SECONDS: u32 = 300;

/// What to run, from the command line.
#[derive(Debug, PartialEq, Eq)]
struct Choice {
    soak_minutes: u32,
    fuzz_seconds: u32,
}

impl Choice {
    fn parse(args: &[String]) -> Result<Self, String> {
        let mut choice = Self { soak_minutes: SOAK_MINUTES, fuzz_seconds: FUZZ_SECONDS };
        let mut args = args.iter().map(String::as_str).skip_while(|arg| *arg == "--");
        while let Some(arg) = args.next() {
            let place = match arg {
                "--soak-minutes" => &mut choice.soak_minutes,
                "--fuzz-seconds" => &mut choice.fuzz_seconds,
                other => return Err(format!("no such option: {other}")),
            };
            let text = args.next().ok_or_else(|| format!("{arg} needs a number"))?;
            *place = text.parse().map_err(|_| format!("{arg} needs a number, not {text}"))?;
        }
        Ok(choice)
    }
}

/// How a part went.
struct Outcome {
    name: String,
    took: Duration,
    /// Where to look.
    report: Option<PathBuf>,
    error: Option<String>,
}

/// `nightly [--soak-minutes N] [--fuzz-seconds N]`; zero leaves a part out.
pub fn command(args: &[String]) -> Result<()> {
    let choice = Choice::parse(args).map_err(anyhow::Error::msg)?;
    up::build_release()?;
    let mut outcomes = vec![
        part("load", || of_harness("nightly", &["run", "nightly"], LOAD_WITHIN)),
        part("selftest", selftest),
    ];
    if choice.soak_minutes > 0 {
        let minutes = choice.soak_minutes.to_string();
        let within = Duration::from_secs(u64::from(choice.soak_minutes) * 60) + AROUND;
        let arguments = ["soak", "--minutes", &minutes];
        outcomes.push(part("soak", || of_harness("soak", &arguments, within)));
    }
    if choice.fuzz_seconds > 0 {
        for target in fuzz::TARGETS {
            let words = [target.to_owned(), choice.fuzz_seconds.to_string()];
            outcomes.push(part(&format!("fuzz {target}"), || fuzz::command(&words).map(|()| None)));
        }
    }
    summarize(&outcomes)
}

fn part(name: &str, run: impl FnOnce() -> Result<Option<PathBuf>>) -> Outcome {
    eprintln!("\n━━ {name}");
    let started = Instant::now();
    let (report, error) = match run() {
        Ok(report) => (report, None),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    Outcome { name: name.to_owned(), took: started.elapsed(), report, error }
}

fn of_harness(name: &str, arguments: &[&str], within: Duration) -> Result<Option<PathBuf>> {
    let all = [arguments, &["--quiet"]].concat();
    let job = Job { name, arguments: &all, within };
    load::run(&repo::release_binary, &folder(), &job).map(Some)
}

fn folder() -> PathBuf {
    repo::target().join("nightly")
}

fn harness() -> Command {
    Command::new(repo::release_binary("campana-loadtest"))
}

/// It starts what it needs by itself.
fn selftest() -> Result<Option<PathBuf>> {
    let folder = folder();
    std::fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
    shell::run(harness().current_dir(&folder).arg("selftest"))?;
    Ok(None)
}

fn summarize(outcomes: &[Outcome]) -> Result<()> {
    println!("\n{:16} {:8} {:>8}  report", "part", "result", "seconds");
    for outcome in outcomes {
        let word = if outcome.error.is_none() { "ok" } else { "FAILED" };
        let report = outcome.report.as_ref().map(|path| path.display().to_string());
        println!(
            "{:16} {word:8} {:>8.0}  {}",
            outcome.name,
            outcome.took.as_secs_f64(),
            report.unwrap_or_else(|| "–".to_owned())
        );
    }
    let failed: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.error.is_some()).collect();
    for outcome in &failed {
        println!("\n{} failed: {}", outcome.name, outcome.error.as_deref().unwrap_or_default());
    }
    if failed.is_empty() {
        return Ok(());
    }
    bail!("{} of {} parts failed", failed.len(), outcomes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Choice, String> {
        Choice::parse(&words.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn parts_can_be_shortened_and_left_out() {
        assert_eq!(
            parse("").unwrap(),
            Choice { soak_minutes: SOAK_MINUTES, fuzz_seconds: FUZZ_SECONDS }
        );
        let short = parse("--soak-minutes 2 --fuzz-seconds 0").unwrap();
        assert_eq!(short, Choice { soak_minutes: 2, fuzz_seconds: 0 });
        for bad in ["--soak-minutes", "--soak-minutes x", "--fast", "x"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_failed_part_fails_the_night() {
        let good = part("a", || Ok(Some(PathBuf::from("/r"))));
        let bad = part("b", || bail!("no"));
        assert!(summarize(std::slice::from_ref(&good)).is_ok());
        assert!(summarize(&[good, bad]).unwrap_err().to_string().contains("1 of 2"));
    }
}
