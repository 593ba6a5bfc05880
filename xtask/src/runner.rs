//! Runs the Rust tests with cargo-nextest where it is installed, else with cargo's own runner.
//! Reads: the runner's output as it passes by. Writes: the terminal. Never: repeats a test.

use std::ffi::OsString;

use anyhow::{Result, bail};

use crate::shell;

/// What a run of tests said at its end.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
    /// The runner's own closing lines.
    pub closing: Vec<String>,
    /// Names of failed tests.
    pub failures: Vec<String>,
}

/// Which tests to run.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    pub name: Option<&'a str>,
    /// Leaves out the package whose tests start whole platforms.
    pub quick: bool,
}

/// Whether the faster runner, which also gives each test a process of its own, is there.
pub fn has_nextest() -> bool {
    let mut version = shell::cargo();
    version.args(["nextest", "--version"]);
    shell::capture(&mut version).is_ok_and(|said| said.success)
}

/// Unit, contract, integration, end-to-end and browser tests.
pub fn tests(scope: Scope<'_>, environment: &[(&'static str, OsString)]) -> Result<Tally> {
    let nextest = has_nextest();
    let mut command = shell::cargo();
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    if nextest {
        command.args(["nextest", "run", "--workspace", "--locked"]);
    } else {
        command.args(["test", "--workspace", "--locked", "--no-fail-fast", "--all-targets"]);
    }
    if scope.quick {
        command.args(["--exclude", "campana-tests"]);
    }
    command.args(scope.name);
    run(command, nextest)
}

/// The examples in documentation; nextest cannot run them.
pub fn doc_tests(environment: &[(&'static str, OsString)]) -> Result<Tally> {
    let mut command = shell::cargo();
    // The whole workspace, because a part of it would compile its dependencies once more.
    command.args(["test", "--doc", "--workspace", "--locked", "--no-fail-fast"]);
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    run(command, false)
}

fn run(mut command: std::process::Command, nextest: bool) -> Result<Tally> {
    let (status, kept) = shell::run_keeping(&mut command, is_telling)?;
    let tally = tally(&kept, nextest);
    if !status.success() && tally.failed == 0 {
        bail!("`{}` failed before or outside a test: see above", shell::shown(&command));
    }
    Ok(tally)
}

/// How nextest begins the line of a test that did not pass.
const ENDINGS: [&str; 6] =
    ["FAIL [", "TIMEOUT [", "ABORT [", "SIGABRT [", "SIGSEGV [", "SIGKILL ["];

/// Lines of either runner that say how a test or the run ended.
fn is_telling(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("test result:")
        || line.starts_with("Summary [")
        || (line.starts_with("test ") && line.ends_with("FAILED"))
        || ENDINGS.iter().any(|mark| line.starts_with(mark))
}

fn tally(lines: &[String], nextest: bool) -> Tally {
    let mut tally = Tally::default();
    for line in lines.iter().map(|line| line.trim()) {
        let closing = if nextest { "Summary [" } else { "test result:" };
        if line.starts_with(closing) {
            tally.passed += number_before(line, " passed");
            // A run that was cut off or timed out counts as failed like any other.
            tally.failed += number_before(line, " failed")
                + number_before(line, " timed out")
                + number_before(line, " exec failed");
            tally.skipped += number_before(line, " skipped") + number_before(line, " ignored");
            if nextest {
                tally.closing.push(line.to_owned());
            }
        } else if let Some(name) = failed_test(line, nextest)
            && !tally.failures.iter().any(|known| known == name)
        {
            tally.failures.push(name.to_owned());
        }
    }
    if !nextest && !lines.is_empty() {
        // One line a binary is too many to repeat; this is their sum in the runner's own words.
        let word = if tally.failed == 0 { "ok" } else { "FAILED" };
        let Tally { passed, failed, skipped, .. } = tally;
        tally.closing.push(format!(
            "test result: {word}. {passed} passed; {failed} failed; {skipped} ignored; 0 measured"
        ));
    }
    tally
}

/// nextest: `FAIL [ 0.1s] (1/9) package::binary module::name`; cargo: `test name ... FAILED`.
/// What a test itself prints passes by as well, so each runner's lines count only for that runner.
fn failed_test(line: &str, nextest: bool) -> Option<&str> {
    let of_cargo = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"));
    let of_nextest = ENDINGS.iter().any(|mark| line.starts_with(mark));
    match nextest {
        true if of_nextest => line.split_whitespace().next_back(),
        true => None,
        false => of_cargo,
    }
}

/// The number that stands before a word in a closing line.
fn number_before(line: &str, word: &str) -> u64 {
    let Some((before, _)) = line.split_once(word) else {
        return 0;
    };
    before
        .split(|c: char| !c.is_ascii_digit())
        .next_back()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().filter(|line| is_telling(line)).map(str::to_owned).collect()
    }

    #[test]
    fn nextest_is_understood() {
        let said = "        PASS [   0.005s] (1/3) a b\n        FAIL [   0.1s] (2/3) campana-bus consume::tests::parks\n\
                    ────\n     Summary [   1.5s] 12 tests run: 10 passed (1 slow), 1 failed, 1 timed out, 3 skipped\n\
                    \x20       FAIL [   0.1s] (2/3) campana-bus consume::tests::parks\n     TIMEOUT [ 300.0s] (3/3) campana-tests::it e2e";
        let said = format!(
            "{said}\ntest consume::tests::parks ... FAILED\ntest result: FAILED. 0 passed; 1 failed"
        );
        let tally = tally(&lines(&said), true);
        assert_eq!((tally.passed, tally.failed, tally.skipped), (10, 2, 3));
        assert_eq!(tally.failures, ["consume::tests::parks", "e2e"]);
        assert!(tally.closing[0].starts_with("Summary [   1.5s] 12 tests run"));
    }

    #[test]
    fn cargo_test_is_understood_and_added_up() {
        let said = "test a::b ... ok\ntest a::c ... FAILED\ntest result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s\n\
                    test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 7 filtered out";
        let tally = tally(&lines(said), false);
        assert_eq!((tally.passed, tally.failed), (5, 1));
        assert_eq!(tally.failures, ["a::c"]);
        assert_eq!(
            tally.closing,
            ["test result: FAILED. 5 passed; 1 failed; 0 ignored; 0 measured"]
        );
    }

    #[test]
    fn silence_is_not_success() {
        assert_eq!(tally(&[], true), Tally::default());
    }
}
