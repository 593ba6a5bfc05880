//! A private nats-server for a test: real, on a free port, gone with its value.
//! Reads: `NATS_SERVER_BIN`, `.tools/nats-server/nats-server` above the working directory, `PATH`.
//! Writes: a folder of its own under the system's temporary folder. Never: outlives its owner.
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::clock;
use crate::connect::{Bus, BusOptions, Durability};
use crate::ids::NodeId;
use crate::topology::{self, TopologyOptions};

/// A running server.
#[derive(Debug)]
pub struct NatsServer {
    child: Child,
    folder: PathBuf,
    port: u16,
    durability: Durability,
}

/// The server's program, or what to do.
///
/// # Errors
/// If there is none; the text says how to get one.
pub fn find_nats_server() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("NATS_SERVER_BIN") {
        return Ok(PathBuf::from(path));
    }
    let here = std::env::current_dir().unwrap_or_default();
    let local = here.ancestors().map(|folder| folder.join(".tools/nats-server/nats-server"));
    let on_path = std::env::var_os("PATH")
        .map(|path| {
            std::env::split_paths(&path)
                .map(|folder| folder.join("nats-server"))
                .collect::<Vec<_>>()
        })
        .unwrap_or_default();
    local.chain(on_path).find(|candidate| candidate.is_file()).ok_or_else(|| {
        "no nats-server found: run `cargo xtask tools`, or set NATS_SERVER_BIN".to_owned()
    })
}

/// A port that was free a moment ago.
///
/// # Errors
/// If the loopback interface has none.
pub fn free_port() -> Result<u16, String> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| error.to_string())
}

impl NatsServer {
    /// Starts a server that syncs every write, and waits until it listens.
    ///
    /// # Errors
    /// If there is no program, or it does not start.
    pub fn start() -> Result<Self, String> {
        Self::start_with(Durability::Power)
    }

    /// Starts a server with the given durability, and waits until it listens.
    ///
    /// # Errors
    /// If there is no program, or it does not start.
    pub fn start_with(durability: Durability) -> Result<Self, String> {
        let folder = std::env::temp_dir().join(format!("campana-test-{}", NodeId::fresh()));
        let store = folder.join("js");
        std::fs::create_dir_all(&store).map_err(|error| error.to_string())?;
        let sync = if durability == Durability::Power { "sync_interval: always" } else { "" };
        let config = format!(
            "jetstream {{ store_dir: {:?}, max_mem: 64MB, max_file: 4GB\n {sync} }}\n",
            store.display().to_string()
        );
        std::fs::write(folder.join("nats.conf"), config).map_err(|error| error.to_string())?;
        let port = free_port()?;
        let child = spawn(&folder, port)?;
        let server = Self { child, folder, port, durability };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The `store_dir` of its configuration.
    #[must_use]
    pub fn store_dir(&self) -> PathBuf {
        self.folder.join("js")
    }

    /// The process id, for tests that stop it in other ways.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A connection to it.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn bus(&self, name: &str) -> Result<Bus, String> {
        Bus::connect(BusOptions {
            url: self.url(),
            name: name.to_owned(),
            durability: self.durability,
            credentials_file: None,
        })
        .await
        .map_err(|error| error.to_string())
    }

    /// A connection to it, with the platform's streams in place.
    ///
    /// # Errors
    /// If it does not answer or refuses a stream.
    pub async fn bus_with_topology(&self, name: &str) -> Result<Bus, String> {
        let bus = self.bus(name).await?;
        topology::apply(&bus, &topology::platform(TopologyOptions::default()))
            .await
            .map_err(|error| error.to_string())?;
        Ok(bus)
    }

    /// `kill -9`: what is not on disk is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts the server again on the same port and data after [`NatsServer::kill`].
    ///
    /// # Errors
    /// If it does not start.
    pub fn restart(&mut self) -> Result<(), String> {
        self.kill();
        self.child = spawn(&self.folder, self.port)?;
        self.wait_until_ready()
    }

    fn wait_until_ready(&self) -> Result<(), String> {
        let started = clock::monotonic();
        while started.elapsed() < Duration::from_secs(20) {
            if self.healthy() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(format!(
            "nats-server did not start; its log is {}",
            self.folder.join("nats.log").display()
        ))
    }

    /// The server prints this line when its streams are recovered and clients are let in.
    fn healthy(&self) -> bool {
        let ready = std::fs::read_to_string(self.folder.join("nats.log")).is_ok_and(|log| {
            log.contains(&format!("[{}]", self.child.id()))
                && log.lines().any(|line| {
                    line.starts_with(&format!("[{}]", self.child.id()))
                        && line.contains("Server is ready")
                })
        });
        ready && std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok()
    }
}

fn spawn(folder: &Path, port: u16) -> Result<Child, String> {
    Command::new(find_nats_server()?)
        .arg("--config")
        .arg(folder.join("nats.conf"))
        .args(["--addr", "127.0.0.1", "--port", &port.to_string()])
        .arg("--log")
        .arg(folder.join("nats.log"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("cannot start nats-server: {error}"))
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
