//! Watches the nats-server child: starts it, starts it again with backoff if it dies, stops it.
//! Reads: nothing. Writes: the child's configuration, store and log. Never: lets the child outlive us: it
//! is started by one thread that lives as long as the process, and the kernel ends it with that thread.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context;
use campana_bus::{Durability, clock};
use metrics::{counter, gauge};
use rustix::process::{Pid, Signal, kill_process};

use super::config_text;
use crate::config::EmbeddedNatsOptions;

/// Starts of the child after the first.
pub const RESTARTS: &str = "campana_nats_restarts_total";
/// 1 while the child runs.
pub const UP: &str = "campana_nats_child_up";

const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// A child that ran this long was healthy: the next failure starts with a short pause again.
const HEALTHY_AFTER: Duration = Duration::from_secs(30);
const STOP_GRACE: Duration = Duration::from_secs(10);

/// A supervised nats-server.
pub struct Supervisor {
    shared: Arc<Shared>,
    ended: mpsc::Receiver<()>,
    /// Where it listens.
    pub url: String,
    /// Where its monitoring listens.
    pub monitor: String,
}

struct Shared {
    pid: AtomicU32,
    stopping: AtomicBool,
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
        let shared = Arc::new(Shared { pid: AtomicU32::new(0), stopping: AtomicBool::new(false) });
        let (ended_send, ended) = mpsc::channel();
        let (started_send, started) = mpsc::channel();
        let (url, monitor) = (launch.url(), format!("http://{}", launch.monitor));
        let watched = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("nats-supervisor".to_owned())
            .spawn(move || {
                watch(&launch, &watched, &started_send);
                let _ = ended_send.send(());
            })
            .context("cannot start the thread that watches nats-server")?;
        started.recv().context("the thread that watches nats-server ended")??;
        Ok(Self { shared, ended, url, monitor })
    }

    /// The child's process id now; 0 between a death and the next start.
    pub fn pid(&self) -> u32 {
        self.shared.pid.load(Ordering::Relaxed)
    }

    /// Asks the child to end, waits, and kills it after a grace period. Blocking.
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        signal(self.pid(), Signal::TERM);
        if self.ended.recv_timeout(STOP_GRACE).is_err() {
            signal(self.pid(), Signal::KILL);
            let _ = self.ended.recv_timeout(STOP_GRACE);
        }
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
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
        let port = free_or(&options.host, options.port, "nats.embedded.port")?;
        let monitor_port =
            free_or(&options.host, options.monitor_port, "nats.embedded.monitor_port")?;
        Ok(Self {
            binary,
            config,
            log: folder.join("nats-server.log"),
            store: folder.join("jetstream"),
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

    fn start(&self) -> anyhow::Result<Child> {
        let quoted = |text: &str| format!("\"{text}\"");
        let this = std::env::current_exe().context("cannot find this program's own file")?;
        Command::new(this)
            .args(["nats-guard", "--parent", &std::process::id().to_string(), "--"])
            .arg(&self.binary)
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
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .with_context(|| format!("cannot start {}", self.binary.display()))
    }
}

/// The configured port if it is free, any free one for 0. Clients reconnect to one address, so the port is
/// chosen here once and kept over restarts.
fn free_or(host: &str, port: u16, key: &str) -> anyhow::Result<u16> {
    let listener = crate::compose::bind_std(host, port, key)?;
    Ok(listener.local_addr()?.port())
}

/// Runs on its own thread until told to stop.
fn watch(launch: &Launch, shared: &Shared, started: &mpsc::Sender<anyhow::Result<()>>) {
    let mut backoff = BACKOFF_FIRST;
    let mut first = true;
    counter!(RESTARTS).absolute(0);
    loop {
        let at = clock::monotonic();
        match launch.start() {
            Ok(mut child) => {
                shared.pid.store(child.id(), Ordering::Relaxed);
                gauge!(UP).set(1.0);
                if first {
                    let _ = started.send(Ok(()));
                    first = false;
                }
                let status = child.wait();
                gauge!(UP).set(0.0);
                shared.pid.store(0, Ordering::Relaxed);
                if shared.stopping.load(Ordering::SeqCst) {
                    return;
                }
                let status =
                    status.map_or_else(|error| error.to_string(), |status| status.to_string());
                tracing::error!(nats.log = %launch.log.display(), "nats-server ended ({status}), starting it again");
            }
            Err(error) if first => {
                let _ = started.send(Err(error));
                return;
            }
            Err(error) => tracing::error!("nats-server cannot be started: {error:#}"),
        }
        if at.elapsed() > HEALTHY_AFTER {
            backoff = BACKOFF_FIRST;
        }
        std::thread::sleep(backoff);
        backoff = (backoff * 2).min(BACKOFF_MAX);
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        counter!(RESTARTS).increment(1);
    }
}
