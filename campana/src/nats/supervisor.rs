//! Watches the nats-server child: starts it, starts it again with backoff if it dies, stops it.
//! Reads: nothing. Writes: the child's configuration, store, log and staging folder. Never: lets the child outlive us
//! (see `supervise`).

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::Context;
use campana_bus::Durability;
use campana_bus::staging::Staging;
use campana_bus::topology::{CHANNELS, DELIVERIES, OUTCOMES};
use metrics::{counter, gauge};

use super::config_text;
use crate::config::EmbeddedNatsOptions;
use crate::supervise::{self, Pauses, Program, Supervised};

/// Starts of the child after the first.
pub const RESTARTS: &str = "campana_nats_restarts_total";
/// 1 while the child runs.
pub const UP: &str = "campana_nats_child_up";
/// Streams whose atomic batches the child stages in memory.
pub const STAGED: &str = "campana_nats_streams_staged_in_memory";

const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// A child that ran this long was healthy: the next failure starts with a short pause again.
const HEALTHY_AFTER: Duration = Duration::from_secs(30);
const STOP_GRACE: Duration = Duration::from_secs(10);
/// The streams that groups of messages are published to.
const BATCHED: [&str; 3] = [CHANNELS, DELIVERIES, OUTCOMES];

/// A supervised nats-server.
pub struct Supervisor {
    child: Supervised,
    /// Where it stages atomic batches, if not on the disk.
    staging: Option<Staging>,
    /// Where it listens.
    pub url: String,
    /// Where its monitoring listens.
    pub monitor: String,
}

impl Supervisor {
    /// Starts the child and the thread that watches it.
    pub fn start(
        binary: PathBuf,
        options: &EmbeddedNatsOptions,
        durability: Durability,
        data_dir: &Path,
    ) -> anyhow::Result<Self> {
        let launch = Launch::prepare(binary, options, durability, data_dir)?;
        let (url, monitor) = (launch.url(), format!("http://{}", launch.monitor));
        let staging = options.stage_batches_in_memory.then(|| Staging::of(&launch.store)).flatten();
        counter!(RESTARTS).absolute(0);
        gauge!(STAGED).set(0.0);
        let pauses = Pauses::new(BACKOFF_FIRST, BACKOFF_MAX, HEALTHY_AFTER);
        let child = Supervised::start(launch, pauses, "nats-supervisor", true)?;
        Ok(Self { child, staging, url, monitor })
    }

    /// The child's process id now; 0 between a death and the next start.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Sees to it that atomic batches are staged in memory: a server that has just started stages on the disk.
    pub fn tend_staging(&self) {
        if let Some(staging) = &self.staging {
            let count = staging.tend(&BATCHED);
            gauge!(STAGED).set(u32::try_from(count).map_or(f64::MAX, f64::from));
        }
    }

    /// Asks the child to end, waits, and kills it after a grace period. Blocking.
    pub fn stop(&self) {
        self.child.stop(STOP_GRACE);
        if let Some(staging) = &self.staging {
            staging.remove(&BATCHED);
        }
    }
}

/// Everything that a start of the child needs.
struct Launch {
    binary: PathBuf,
    config: PathBuf,
    log: PathBuf,
    store: PathBuf,
    host: String,
    port: u16,
    monitor: String,
    max_memory: String,
    max_file: String,
}

impl Launch {
    fn prepare(
        binary: PathBuf,
        options: &EmbeddedNatsOptions,
        durability: Durability,
        data_dir: &Path,
    ) -> anyhow::Result<Self> {
        let folder = data_dir.join("nats");
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let config = folder.join("nats-server.conf");
        std::fs::write(&config, config_text(durability))
            .with_context(|| format!("cannot write {}", config.display()))?;
        let store = folder.join("jetstream");
        std::fs::create_dir_all(&store)
            .with_context(|| format!("cannot make {}", store.display()))?;
        let port = free_or(&options.host, options.port, "nats.embedded.port")?;
        let monitor_port =
            free_or(&options.host, options.monitor_port, "nats.embedded.monitor_port")?;
        Ok(Self {
            binary,
            config,
            log: folder.join("nats-server.log"),
            store,
            host: options.host.clone(),
            port,
            monitor: format!("{}:{monitor_port}", options.host),
            max_memory: options.max_memory.clone(),
            max_file: options.max_file.clone(),
        })
    }

    fn url(&self) -> String {
        format!("nats://{}:{}", self.host, self.port)
    }
}

impl Program for Launch {
    fn start(&mut self) -> anyhow::Result<Child> {
        let quoted = |text: &str| format!("\"{text}\"");
        supervise::command(self.binary.as_os_str())?
            .arg("--config")
            .arg(&self.config)
            .arg("--log")
            .arg(&self.log)
            .env("CAMPANA_NATS_HOST", quoted(&self.host))
            .env("CAMPANA_NATS_PORT", self.port.to_string())
            .env("CAMPANA_NATS_MONITOR", quoted(&self.monitor))
            .env("CAMPANA_NATS_STORE", quoted(&self.store.display().to_string()))
            .env("CAMPANA_NATS_MEMORY", &self.max_memory)
            .env("CAMPANA_NATS_FILE", &self.max_file)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .with_context(|| format!("cannot start {}", self.binary.display()))
    }

    fn runs(&mut self) {
        gauge!(UP).set(1.0);
    }

    fn ended(&mut self, why: &str, pause: Option<Duration>) {
        gauge!(UP).set(0.0);
        if pause.is_some() {
            tracing::error!(nats.log = %self.log.display(), "nats-server ended ({why}), starting it again");
        }
    }

    fn again(&mut self) {
        counter!(RESTARTS).increment(1);
    }
}

/// The configured port if it is free, any free one for 0. Clients reconnect to one address, so the port is
/// chosen here once and kept over restarts.
fn free_or(host: &str, port: u16, key: &str) -> anyhow::Result<u16> {
    let listener = crate::compose::bind_std(host, port, key)?;
    Ok(listener.local_addr()?.port())
}
