//! A private PostgreSQL for a test: real, on a free port, gone with its value.
//! Reads: `PG_BIN_DIR`, else Debian's folder of PostgreSQL 15. Writes: a temporary folder. Never: a unix
//! socket, a fixed port, or a process that outlives its owner.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use campana_bus::testing::free_port;

use crate::wait::eventually;

const DEBIAN: &str = "/usr/lib/postgresql/15/bin";
const STARTS_WITHIN: Duration = Duration::from_secs(60);
const READY: &str = "database system is ready to accept connections";

/// A running server with one empty database.
#[derive(Debug)]
pub struct Postgres {
    child: Child,
    bin: PathBuf,
    port: u16,
    folder: tempfile::TempDir,
    lives: usize,
}

fn bin_dir() -> Result<PathBuf> {
    let folder =
        std::env::var_os("PG_BIN_DIR").map_or_else(|| PathBuf::from(DEBIAN), PathBuf::from);
    ensure!(
        folder.join("initdb").is_file() && folder.join("postgres").is_file(),
        "PostgreSQL is missing: {} has no initdb and postgres. Install the Debian package postgresql-15, \
         or set PG_BIN_DIR to the folder of its programs",
        folder.display()
    );
    Ok(folder)
}

/// PostgreSQL refuses to run as root, so a root test runs it as the user that its package made.
fn command(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if rustix::process::geteuid().is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    command.arg("--").arg(program).current_dir("/");
    command
}

impl Postgres {
    /// Makes a database and waits until it takes connections.
    ///
    /// # Errors
    /// If PostgreSQL is missing or does not start.
    pub async fn start() -> Result<Self> {
        let bin = bin_dir()?;
        let folder = tempfile::Builder::new().prefix("campana-pg-").tempdir()?;
        if rustix::process::geteuid().is_root() {
            let owned = Command::new("chown").arg("postgres").arg(folder.path()).status()?;
            ensure!(
                owned.success(),
                "cannot give {} to the user postgres",
                folder.path().display()
            );
        }
        let made = command(&bin.join("initdb"))
            .args([
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--no-sync",
                "--pgdata",
            ])
            .arg(folder.path().join("data"))
            .output()
            .context("cannot run initdb")?;
        ensure!(made.status.success(), "initdb failed: {}", String::from_utf8_lossy(&made.stderr));
        let port = free_port().map_err(anyhow::Error::msg)?;
        let child = spawn(&bin, folder.path(), port)?;
        let server = Self { child, bin, port, folder, lives: 1 };
        server.wait_until_ready().await?;
        Ok(server)
    }

    async fn wait_until_ready(&self) -> Result<()> {
        let log = self.folder.path().join("log");
        eventually("PostgreSQL", STARTS_WITHIN, async || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            Ok((text.matches(READY).count() >= self.lives).then_some(()))
        })
        .await
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// `kill -9`; its children watch it and end too.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts again on the same port and data.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill();
        self.lives += 1;
        // A child of the killed server may need a moment to notice and let go of the shared memory.
        eventually("PostgreSQL again", STARTS_WITHIN, async || {
            if self.child.try_wait()?.is_some() {
                self.child = spawn(&self.bin, self.folder.path(), self.port)?;
            }
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            Ok((log.matches(READY).count() >= self.lives).then_some(()))
        })
        .await
    }
}

fn spawn(bin: &Path, folder: &Path, port: u16) -> Result<Child> {
    let log = std::fs::File::options().create(true).append(true).open(folder.join("log"))?;
    command(&bin.join("postgres"))
        .arg("-D")
        .arg(folder.join("data"))
        .args(["-p", &port.to_string(), "-h", "127.0.0.1", "-k", ""])
        .args(["-c", "fsync=off", "-c", "max_connections=100"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .context("cannot run postgres")
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}
