//! Programs under measurement: started, waited for, ended with this process.
//! Reads: their output. Writes: a temporary folder, removed afterwards. Never: leaves one behind: the kernel
//! ends them if this process is killed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, bail};
use campana_bus::clock;
use campana_bus::ids::NodeId;

const START_TIMEOUT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Bytes of a log that an error shows.
const LOG_SHOWN: usize = 2_000;

/// A folder that is gone with its value.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A new one under the system's temporary folder.
    pub fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("campana-bench-{}", NodeId::fresh()));
        std::fs::create_dir_all(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running program.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    output: PathBuf,
    log: PathBuf,
}

impl Process {
    /// Starts a program in a folder, where its output goes too.
    pub fn start(
        name: &str,
        folder: &Path,
        program: &Path,
        arguments: &[String],
    ) -> anyhow::Result<Self> {
        let (output, log) =
            (folder.join(format!("{name}.out")), folder.join(format!("{name}.log")));
        let mut command = crate::supervise::command(program.as_os_str())?;
        // Configuration of the caller's environment must not change what is measured.
        let foreign = std::env::vars_os().map(|(key, _)| key);
        for key in foreign.filter(|key| key.to_string_lossy().starts_with("CAMPANA_")) {
            command.env_remove(key);
        }
        let child = command
            .args(arguments)
            .current_dir(folder)
            .stdout(std::fs::File::create(&output)?)
            .stderr(std::fs::File::create(&log)?)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { child, name: name.to_owned(), output, log })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line of its output that begins so, and gives the rest of it.
    pub async fn line(&mut self, begin: &str) -> anyhow::Result<String> {
        let started = clock::monotonic();
        while started.elapsed() < START_TIMEOUT {
            let output = std::fs::read_to_string(&self.output).unwrap_or_default();
            let whole = output.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            if let Some(rest) = whole.filter_map(|line| line.strip_prefix(begin)).next() {
                return Ok(rest.trim().to_owned());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}: {}", self.name, self.last_words());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        bail!("{} is not ready: {}", self.name, self.last_words())
    }

    /// Waits until something listens at an address.
    pub async fn listening(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        let started = clock::monotonic();
        while started.elapsed() < START_TIMEOUT {
            if tokio::net::TcpStream::connect(address).await.is_ok() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}: {}", self.name, self.last_words());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        bail!("{} does not listen at {address}: {}", self.name, self.last_words())
    }

    /// `kill -9`, and reaps it.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn last_words(&self) -> String {
        let text = [&self.log, &self.output]
            .map(|file| std::fs::read_to_string(file).unwrap_or_default())
            .concat();
        let from = text.len().saturating_sub(LOG_SHOWN);
        String::from_utf8_lossy(&text.as_bytes()[from..]).trim().to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
