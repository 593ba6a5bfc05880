//! The load harness beside the test's own load: a small, even load that serves its metrics until it is stopped.
//! Reads: `campana-loadtest` beside `campana`, as `campana loadtest` finds it. Writes: a temporary folder.
//! Never: judges a figure; what is looked at is what a scraper sees.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use campana_bus::testing::free_port;
use campana_tests::Platform;
use campana_tests::command::campana;
use campana_tests::process::{Process, Signal};
use serde_json::Value;

/// Long enough for the slowest machine; it is stopped when everything was seen.
const SCENARIO: &str = r#"
name = "watched"
about = "an even load on bells, out of the way of the faults that others provoke"
recipients = 5
[[steps]]
kind = "open"
rate_per_s = 20
arrivals = "poisson"
warm_up_s = 0
hold_s = 600
drain_s = 5
settle_s = 0.1
"#;
const STOPS_WITHIN: Duration = Duration::from_secs(60);

/// A run in progress.
pub struct Harness {
    process: Process,
    /// Where its metrics are.
    pub address: String,
    run_file: std::path::PathBuf,
}

impl Harness {
    /// Starts it against a platform.
    ///
    /// # Errors
    /// If it was not built.
    pub fn start(platform: &Platform) -> Result<Self> {
        let program = campana()?.with_file_name("campana-loadtest");
        ensure!(
            program.is_file(),
            "{} does not exist: build it first (`cargo build -p campana-loadtest`)",
            program.display()
        );
        let folder = platform.home.path();
        let (file, out) = (folder.join("watched.toml"), folder.join("watched"));
        std::fs::write(&file, SCENARIO)?;
        let address = format!("127.0.0.1:{}", free_port().map_err(anyhow::Error::msg)?);
        let process = Process::start("campana-loadtest", &program, folder, |command| {
            command
                .arg("run")
                .arg(&file)
                .args(["--no-floor", "--quiet", "--metrics", &address])
                .arg("--data-dir")
                .arg(platform.home.data())
                .arg("--out")
                .arg(&out);
        })?;
        Ok(Self { process, address, run_file: out.join("run.json") })
    }

    /// An error if it has ended.
    ///
    /// # Errors
    /// If it has ended.
    pub fn must_run(&mut self) -> Result<()> {
        self.process.must_run()
    }

    /// Ends it as ctrl-C does; it must have measured something and written it.
    ///
    /// # Errors
    /// If it does not end, or wrote nothing.
    pub async fn stop(mut self) -> Result<()> {
        self.process.signal(Signal::INT)?;
        self.process.ended(STOPS_WITHIN).await?;
        let text = std::fs::read_to_string(&self.run_file).with_context(|| self.process.log())?;
        let run: Value = serde_json::from_str(&text)?;
        ensure!(run["interrupted"] == true, "{run}");
        ensure!(run["steps"][0]["classes"]["delivered"].as_u64() > Some(0), "{run}");
        Ok(())
    }
}
