//! A private PostgreSQL 15 for a test: real, on a free port, gone with its value.
//! Reads: `PG_BIN_DIR`, else Debian's folder of PostgreSQL 15. Writes: a temporary folder. Never: a unix
//! socket, a fixed port, or a process that outlives its owner.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const DEBIAN: &str = "/usr/lib/postgresql/15/bin";

/// A running server with one empty database.
pub struct Postgres {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

fn bin_dir() -> PathBuf {
    let folder =
        std::env::var_os("PG_BIN_DIR").map_or_else(|| PathBuf::from(DEBIAN), PathBuf::from);
    assert!(
        folder.join("initdb").is_file() && folder.join("postgres").is_file(),
        "PostgreSQL 15 is missing: {} has no initdb and postgres. Install the Debian package postgresql-15, \
         or set PG_BIN_DIR to the folder of its programs",
        folder.display()
    );
    folder
}

fn is_root() -> bool {
    let id =
        Command::new("id").arg("-u").output().expect("the program id is part of every Unix system");
    String::from_utf8_lossy(&id.stdout).trim() == "0"
}

/// PostgreSQL refuses to run as root, so a root test runs it as the user that its package made.
fn command(program: &Path) -> Command {
    if is_root() {
        let mut command = Command::new("setpriv");
        command
            .args([
                "--reuid=postgres",
                "--regid=postgres",
                "--clear-groups",
                "--pdeathsig=KILL",
                "--",
            ])
            .arg(program);
        command
    } else {
        Command::new(program)
    }
}

impl Postgres {
    /// Starts a server and waits until it takes connections.
    pub fn start() -> Self {
        let bin = bin_dir();
        let folder = tempfile::Builder::new().prefix("campana-pg-").tempdir().unwrap();
        let data = folder.path().join("data");
        if is_root() {
            let owned = Command::new("chown").arg("postgres").arg(folder.path()).status().unwrap();
            assert!(
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
            .arg(&data)
            .current_dir("/")
            .output()
            .expect("cannot run initdb");
        assert!(made.status.success(), "initdb failed: {}", String::from_utf8_lossy(&made.stderr));
        let port = campana_bus::testing::free_port().unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = command(&bin.join("postgres"))
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string(), "-h", "127.0.0.1", "-k", ""])
            .args(["-c", "fsync=off", "-c", "max_connections=40"])
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("cannot run postgres");
        let server = Self { child, port, folder };
        server.wait_until_ready();
        server
    }

    fn wait_until_ready(&self) {
        let started = Instant::now();
        let log = self.folder.path().join("log");
        loop {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            if text.contains("database system is ready to accept connections") {
                return;
            }
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "PostgreSQL did not start: {text}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGKILL to the first process makes its children end: they watch it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
