//! A role as a process of its own, against a NATS that is there.
//! Reads: what it prints when it is ready. Writes: a folder for each. Never: outlives its owner.

use std::time::Duration;

use anyhow::{Context, Result};
use campana_tests::command::campana;
use campana_tests::{Home, Process, eventually};

const READY_WITHIN: Duration = Duration::from_secs(60);

/// A running process with one role.
pub struct Keeper {
    /// The process.
    pub process: Process,
    /// Where its metrics are, as a URL.
    pub metrics: String,
}

/// Starts a role and waits until it is ready; `set` are options, `key=value`.
pub async fn start(
    home: &Home,
    name: &str,
    role: &str,
    nats: &str,
    set: &[String],
) -> Result<Keeper> {
    let folder = home.path().join(name);
    std::fs::create_dir_all(&folder)?;
    let data = folder.join("data").display().to_string();
    let mut process = Process::start(name, &campana()?, &folder, |command| {
        command
            .args([
                "run",
                "--role",
                role,
                "--data-dir",
                &data,
                "--set",
                "nats.metrics.interval_ms=500",
            ])
            .args(set.iter().flat_map(|option| ["--set", option.as_str()]))
            .env("CAMPANA__NATS__URL", nats)
            .env("CAMPANA__AUTH__TOKEN_SECRET", "a secret of some length for this test only")
            .current_dir(&folder);
        if !set.iter().any(|option| option.starts_with("listen.ops=")) {
            command.args(["--set", "listen.ops=0"]);
        }
    })?;
    let ready = eventually(name, READY_WITHIN, async || {
        if let Err(ended) = process.must_run() {
            return Ok(Some(Err(ended)));
        }
        let output = process.output();
        Ok(output
            .lines()
            .find_map(|line| line.strip_prefix("ready: ").map(|rest| Ok(rest.to_owned()))))
    })
    .await??;
    let ops = ready.split(", ").find_map(|pair| pair.strip_prefix("ops "));
    let metrics = format!("http://{}", ops.context("a metrics listener")?.trim());
    Ok(Keeper { process, metrics })
}
