//! A private PostgreSQL for a test: real, on a free port, gone with its value.
//! Reads: `PG_BIN_DIR`, else Debian's folder of PostgreSQL 15. Writes: a folder of its own under the system's
//! temporary folder. Never: a unix socket, a fixed port, or a process that outlives its owner.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use campana_bus::clock;
use campana_bus::ids::NodeId;
use campana_bus::testing::free_port;

const DEBIAN: &str = "/usr/lib/postgresql/15/bin";
const STARTS_WITHIN: Duration = Duration::from_secs(60);
const READY: &str = "database system is ready to accept connections";

/// A running server with one empty database.
#[derive(Debug)]
pub struct Postgres {
    child: Child,
    bin: PathBuf,
    folder: PathBuf,
    port: u16,
    lives: usize,
}

fn bin_dir() -> Result<PathBuf, String> {
    let folder =
        std::env::var_os("PG_BIN_DIR").map_or_else(|| PathBuf::from(DEBIAN), PathBuf::from);
    if folder.join("initdb").is_file() && folder.join("postgres").is_file() {
        return Ok(folder);
    }
    Err(format!(
        "PostgreSQL is missing: {} has no initdb and postgres. Install the Debian package postgresql-15, or set \
         PG_BIN_DIR to the folder of its programs",
        folder.display()
    ))
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// PostgreSQL refuses to run as root, so a root test runs it as the user that its package made. Where setpriv is,
/// the kernel ends the server together with the test.
fn command(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    command.arg("--").arg(program).current_dir("/").stdin(Stdio::null());
    command
}

fn spawn(bin: &Path, folder: &Path, port: u16) -> Result<Child, String> {
    let log = File::options().create(true).append(true).open(folder.join("log"));
    command(&bin.join("postgres"))
        .arg("-D")
        .arg(folder.join("data"))
        .args(["-p", &port.to_string(), "-h", "127.0.0.1", "-k", ""])
        .args(["-c", "fsync=off", "-c", "max_connections=100"])
        .stdout(Stdio::null())
        .stderr(log.map_err(|error| error.to_string())?)
        .spawn()
        .map_err(|error| format!("cannot run postgres: {error}"))
}

impl Postgres {
    /// Makes a database and waits until it takes connections.
    ///
    /// # Errors
    /// If PostgreSQL is missing or does not start.
    pub fn start() -> Result<Self, String> {
        let bin = bin_dir()?;
        let folder = std::env::temp_dir().join(format!("campana-pg-{}", NodeId::fresh()));
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let port = free_port()?;
        match prepare(&bin, &folder).and_then(|()| spawn(&bin, &folder, port)) {
            Ok(child) => {
                let server = Self { child, bin, folder, port, lives: 1 };
                server.wait_until_ready()?;
                Ok(server)
            }
            Err(error) => {
                let _ = std::fs::remove_dir_all(&folder);
                Err(error)
            }
        }
    }

    fn ready(&self) -> bool {
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        log.matches(READY).count() >= self.lives
    }

    fn wait_until_ready(&self) -> Result<(), String> {
        let started = clock::monotonic();
        while started.elapsed() < STARTS_WITHIN {
            if self.ready() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(format!("PostgreSQL did not start; its log is {}", self.folder.join("log").display()))
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
    pub fn restart(&mut self) -> Result<(), String> {
        self.kill();
        self.lives += 1;
        self.child = spawn(&self.bin, &self.folder, self.port)?;
        let started = clock::monotonic();
        while started.elapsed() < STARTS_WITHIN {
            if self.ready() {
                return Ok(());
            }
            // A child of the killed server may need a moment to notice and let go of the shared memory.
            if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                self.child = spawn(&self.bin, &self.folder, self.port)?;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(format!(
            "PostgreSQL did not come back; its log is {}",
            self.folder.join("log").display()
        ))
    }
}

fn prepare(bin: &Path, folder: &Path) -> Result<(), String> {
    let run = |command: &mut Command| {
        let done = command.output().map_err(|error| format!("cannot run {command:?}: {error}"))?;
        if done.status.success() {
            return Ok(());
        }
        Err(format!("{command:?} failed: {}", String::from_utf8_lossy(&done.stderr)))
    };
    if is_root() {
        run(Command::new("chown").arg("postgres").arg(folder))?;
    }
    run(command(&bin.join("initdb"))
        .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync", "--pgdata"])
        .arg(folder.join("data")))
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
