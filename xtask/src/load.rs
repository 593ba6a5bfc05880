//! The load harness against a platform of its own: the gate of every check, and the runs of a night.
//! Reads: programs that cargo built. Writes: `target/loadtest-ci`, `target/nightly`. Never: leaves a
//! platform behind, or waits for one without an end.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::{repo, shell, tools};

/// A cold disk and a debug build.
const STARTS_WITHIN: Duration = Duration::from_secs(60);
const STOPS_WITHIN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Scenario `ci` takes at most a minute by its own numbers; the rest is opening, reconciling and writing on a
/// machine that does other things as well.
const CI_WITHIN: Duration = Duration::from_secs(240);
/// Lines of the platform's log that a failure shows.
const LOG_LINES: usize = 30;

/// One way of the harness's program, and where it leaves its results.
pub struct Job<'a> {
    pub name: &'a str,
    pub arguments: &'a [&'a str],
    pub within: Duration,
}

/// The gate of every check: scenario `ci` on a fresh platform, both in the debug profile, because the tests
/// built them already. Judged are losses, duplicates and whether ledger and platform agree; never times.
pub fn check() -> Result<()> {
    let folder = repo::target().join("loadtest-ci");
    let job =
        Job { name: "ci", arguments: &["run", "ci", "--no-floor", "--quiet"], within: CI_WITHIN };
    let report = run(&repo::debug_binary, &folder, &job)?;
    eprintln!("report: {}", report.display());
    Ok(())
}

/// Runs a job on a platform of its own; the report's path. A job that misses its time is ended.
pub fn run(binary: &dyn Fn(&str) -> PathBuf, folder: &Path, job: &Job<'_>) -> Result<PathBuf> {
    let folder = folder.join(job.name);
    if folder.exists() {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut platform = Platform::start(&binary("campana"), &folder)?;
    let out = folder.join("report");
    let mut command = Command::new(binary("campana-loadtest"));
    command.current_dir(&folder).args(job.arguments);
    command.arg("--data-dir").arg(&platform.data).arg("--out").arg(&out).stdin(Stdio::null());
    let outcome = finish(&mut command, job.within);
    let stopped = platform.stop();
    if outcome.is_err() {
        eprintln!("{}", platform.last_words());
    }
    outcome.with_context(|| format!("{}: see {}", job.name, out.join("report.md").display()))?;
    stopped?;
    // The figures stay; what they were measured on is large and of no more use.
    fs::remove_dir_all(&platform.data)
        .with_context(|| format!("cannot remove {}", platform.data.display()))?;
    Ok(out.join("report.html"))
}

/// Runs to the end, or for so long.
fn finish(command: &mut Command, within: Duration) -> Result<()> {
    let mut child =
        command.spawn().with_context(|| format!("cannot start {}", shell::shown(command)))?;
    let ended = wait(&mut child, within)?;
    match ended {
        Some(status) => shell::require(status, command),
        None => {
            // It may have ended in this moment.
            let _ = child.kill();
            let _ = child.wait();
            bail!("`{}` took more than {} s", shell::shown(command), within.as_secs())
        }
    }
}

/// How it ended; nothing if it still runs after that time.
fn wait(child: &mut Child, within: Duration) -> Result<Option<ExitStatus>> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for a child process")? {
            return Ok(Some(status));
        }
        if started.elapsed() > within {
            return Ok(None);
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// A platform of its own, on free ports, with an empty data directory.
struct Platform {
    child: Child,
    data: PathBuf,
    log: PathBuf,
}

impl Platform {
    fn start(program: &Path, folder: &Path) -> Result<Self> {
        let (data, log) = (folder.join("data"), folder.join("platform.log"));
        let file = File::create(&log).with_context(|| format!("{}", log.display()))?;
        let errors = file.try_clone().context("a file can be written from two places")?;
        let child = Command::new(program)
            .current_dir(folder)
            .args(["up", "--free-ports", "--nats-server"])
            .arg(tools::nats::ensure()?)
            .arg("--data-dir")
            .arg(&data)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut platform = Self { child, data, log };
        let (up, started) = (platform.data.join("up.json"), Instant::now());
        while !up.exists() {
            if let Some(status) = wait(&mut platform.child, Duration::ZERO)? {
                bail!("the platform ended ({status}): {}", platform.last_words());
            }
            if started.elapsed() > STARTS_WITHIN {
                bail!("the platform is not ready: {}", platform.last_words());
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(platform)
    }

    /// Asks it to end, as its supervisor would; that it does not is a failure like any other.
    fn stop(&mut self) -> Result<()> {
        let pid = self.child.id().to_string();
        shell::run(Command::new("kill").args(["-TERM", &pid]))?;
        match wait(&mut self.child, STOPS_WITHIN)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("the platform ended with {status}: {}", self.last_words()),
            None => bail!("the platform does not stop: {}", self.last_words()),
        }
    }

    fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(LOG_LINES);
        format!("{}:\n{}", self.log.display(), lines[from..].join("\n"))
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        // Its nats-server dies with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_too_long_is_ended_and_named() {
        let mut command = Command::new("tail");
        command.args(["-f", "/dev/null"]);
        let error = finish(&mut command, Duration::from_millis(200)).unwrap_err().to_string();
        assert!(error.contains("tail -f /dev/null") && error.contains("took more"), "{error}");
        let mut command = Command::new("sh");
        command.args(["-c", "exit 10"]);
        let error = finish(&mut command, CI_WITHIN).unwrap_err().to_string();
        assert!(error.ends_with("exit code 10"), "{error}");
    }

    #[test]
    fn a_platform_that_does_not_start_says_why() {
        let folder = std::env::temp_dir().join(format!("campana-xtask-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let job = Job { name: "x", arguments: &[], within: CI_WITHIN };
        let error = run(&|_| PathBuf::from("/nonexistent/campana"), &folder, &job).unwrap_err();
        let text = format!("{error:#}");
        fs::remove_dir_all(&folder).unwrap();
        assert!(text.contains("cannot start /nonexistent/campana"), "{text}");
    }
}
