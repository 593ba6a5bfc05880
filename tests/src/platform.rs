//! `campana up` as a process.
//! Reads: `up.json`. Writes: a temporary folder with the data and the log. Never: outlives its owner, and
//! its nats-server never outlives it: that is checked at every end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use campana_bus::testing::{find_nats_server, free_port};
use campana_bus::{Bus, BusOptions, Durability, clock};
use serde_json::Value;

use crate::api::{Api, http};
use crate::centrifuge::Client;
use crate::command::{self, Ended, campana};
use crate::process::{self, Process, Signal};
use crate::sandbox::Sandbox;
use crate::wait::eventually;

const STARTS_WITHIN: Duration = Duration::from_secs(60);
const STOPS_WITHIN: Duration = Duration::from_secs(20);
const CHILD_ENDS_WITHIN: Duration = Duration::from_secs(5);

/// A folder for one platform and all its lives.
#[derive(Clone, Debug)]
pub struct Home {
    folder: Arc<tempfile::TempDir>,
}

impl Home {
    /// A new, empty one.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn new() -> Result<Self> {
        Ok(Self { folder: Arc::new(tempfile::Builder::new().prefix("campana-e2e-").tempdir()?) })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// The text that every process of this home has in its command line.
    #[must_use]
    pub fn mark(&self) -> String {
        self.path().display().to_string()
    }

    /// Arguments of `up` with free ports, and others.
    ///
    /// # Errors
    /// If there is no nats-server.
    pub fn up_arguments(&self, more: &[&str]) -> Result<Vec<String>> {
        let nats = find_nats_server().map_err(anyhow::Error::msg)?.display().to_string();
        let mut all: Vec<String> = vec!["up".into(), "--nats-server".into(), nats];
        all.extend(self.data_arguments());
        if !more.iter().any(|argument| argument.contains("listen.")) {
            all.push("--free-ports".into());
        }
        all.extend(more.iter().map(|&argument| argument.to_owned()));
        Ok(all)
    }

    fn data_arguments(&self) -> [String; 2] {
        ["--data-dir".into(), self.data().display().to_string()]
    }

    /// Runs another command on this data directory to its end.
    ///
    /// # Errors
    /// If it cannot be started.
    pub async fn command(&self, arguments: &[&str]) -> Result<Ended> {
        let mut all: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        all.extend(self.data_arguments());
        command::run(self.path(), &[], &all).await
    }
}

/// Ports that were free a moment ago, as arguments of `up`: a platform that comes back on them is found by
/// the clients of its former life.
///
/// # Errors
/// If the loopback interface has none.
pub fn fixed_ports() -> Result<Vec<String>> {
    let keys = [
        "listen.gateway",
        "listen.edge",
        "listen.ops",
        "listen.sandbox_smtp",
        "listen.sandbox_web",
        "nats.embedded.port",
        "nats.embedded.monitor_port",
    ];
    let mut arguments = Vec::new();
    for key in keys {
        let port = free_port().map_err(anyhow::Error::msg)?;
        arguments.extend(["--set".to_owned(), format!("{key}={port}")]);
    }
    Ok(arguments)
}

/// A running platform.
#[derive(Debug)]
pub struct Platform {
    /// Where it lives.
    pub home: Home,
    /// Its process.
    pub process: Process,
    /// What `up.json` says.
    pub found: Value,
    /// From the start of the process to readiness.
    pub ready_after: Duration,
}

impl Platform {
    /// Starts one in a folder of its own, with more arguments.
    ///
    /// # Errors
    /// If it does not become ready.
    pub async fn up(more: &[&str]) -> Result<Self> {
        Self::up_in(&Home::new()?, more).await
    }

    /// Starts one in a folder that another one may have used.
    ///
    /// # Errors
    /// If it does not become ready.
    pub async fn up_in(home: &Home, more: &[&str]) -> Result<Self> {
        let arguments = home.up_arguments(more)?;
        let started = clock::monotonic();
        let mut process = Process::start("campana", &campana()?, home.path(), |command| {
            command.args(arguments).current_dir(home.path());
        })?;
        let pid = process.pid();
        let (file, http) = (home.data().join("up.json"), http()?);
        let found = eventually("campana up", STARTS_WITHIN, async || {
            if let Err(ended) = process.must_run() {
                return Ok(Some(Err(ended)));
            }
            let found: Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
            // The file of a life that was killed is still there.
            if found["pid"] != pid {
                return Ok(None);
            }
            let metrics = found["metrics"].as_str().context("up.json names the metrics")?;
            let ready = http.get(format!("{metrics}/readyz")).send().await?.status().is_success();
            Ok(ready.then_some(Ok(found)))
        })
        .await??;
        Ok(Self { home: home.clone(), process, found, ready_after: started.elapsed() })
    }

    /// An address of `up.json`.
    #[must_use]
    pub fn url(&self, name: &str) -> String {
        self.found[name].as_str().unwrap_or_default().to_owned()
    }

    /// A caller with the admin key.
    ///
    /// # Errors
    /// If there is no TLS backend.
    pub fn api(&self) -> Result<Api> {
        Api::new(&self.url("gateway"), &self.url("api_key"))
    }

    /// The sandbox.
    ///
    /// # Errors
    /// If there is no TLS backend.
    pub fn sandbox(&self) -> Result<Sandbox> {
        Sandbox::new(&self.url("sandbox"))
    }

    /// A WebSocket client of a user.
    ///
    /// # Errors
    /// If it cannot connect.
    pub async fn client(&self, user: &str) -> Result<Client> {
        let token = self.api()?.token(user).await?;
        Client::connect(&self.url("edge_ws"), user, &token).await
    }

    /// A connection to its bus, to look at what is stored.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn bus(&self) -> Result<Bus> {
        let options = BusOptions {
            url: self.url("nats"),
            name: "end-to-end test".to_owned(),
            durability: Durability::Power,
            credentials_file: None,
        };
        Bus::connect(options).await.map_err(|error| anyhow::anyhow!("{error}"))
    }

    /// The process of its nats-server now, if it runs.
    #[must_use]
    pub fn nats_pid(&self) -> Option<u32> {
        process::children(self.process.pid()).into_iter().next()
    }

    /// `kill -9` of its nats-server.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill_nats(&self) -> Result<u32> {
        let pid = self.nats_pid().context("nats-server does not run")?;
        process::signal(pid, Signal::KILL)?;
        Ok(pid)
    }

    /// `kill -9` of the platform; its nats-server must go with it.
    ///
    /// # Errors
    /// If its nats-server lives on.
    pub async fn kill(&mut self) -> Result<()> {
        let nats = self.nats_pid();
        self.process.kill();
        let Some(nats) = nats else { return Ok(()) };
        eventually("the end of nats-server", CHILD_ENDS_WITHIN, async || {
            Ok((!process::is_alive(nats)).then_some(()))
        })
        .await
    }

    /// Asks it to stop and checks that it did so cleanly and left no process.
    ///
    /// # Errors
    /// If it does not end in time, with another code than 0, or leaves a process behind.
    pub async fn stop(mut self, how: Signal) -> Result<Home> {
        let home = self.home.clone();
        self.process.signal(how)?;
        let status = self.process.ended(STOPS_WITHIN).await?;
        ensure!(status.success(), "the end was {status}: {}", self.process.log());
        let left = process::mentioning(&home.mark());
        ensure!(left.is_empty(), "processes live on: {left:?}");
        ensure!(!home.data().join("up.json").exists(), "up.json still says that it runs");
        Ok(home)
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        let Some(nats) = self.nats_pid() else { return };
        self.process.kill();
        let started = clock::monotonic();
        while process::is_alive(nats) {
            if started.elapsed() > CHILD_ENDS_WITHIN {
                assert!(std::thread::panicking(), "nats-server outlived campana");
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
