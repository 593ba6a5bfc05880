//! The published client libraries against the real edge: connections that break while 1,000 messages are
//! published, and an edge that is killed and started again meanwhile. Each message once, in order.
//! Reads: `CAMPANA_BIN`, `CAMPANA_VENV` (a virtual environment with `tests/sdk/requirements.txt`, default
//! `.tools/venv`), `tests/sdk/node_modules` (`npm ci` there),
//! `CHROMIUM_BIN` (default `/usr/bin/chromium`). Writes: temporary folders.
//! Never: uses anything of the platform but its edge process and the bus that services use.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "sdk/official.rs"]
mod official;
#[path = "sdk/server_api.rs"]
mod server_api;
#[path = "sdk/stamps.rs"]
mod stamps;
#[path = "sdk/transports.rs"]
mod transports;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use campana_bus::publish::Outgoing;
use campana_bus::subjects::{self, ChannelName};
use campana_bus::testing::{NatsServer, free_port};
use campana_bus::{Bus, clock};
use campana_identity::{ConnectionSpec, TokenKeys};
use campana_tests::{Home, Process, command, eventually};
use serde_json::Value;

const SECRET: &str = "a secret that the test and the edge share";
const MESSAGES: u64 = 1_000;
const READY_WITHIN: Duration = Duration::from_secs(60);
const ENDS_WITHIN: Duration = Duration::from_secs(150);

/// A client script and how it is started.
#[derive(Clone, Copy)]
struct Script {
    file: &'static str,
    /// Switches beside those that every script knows.
    switches: &'static [&'static str],
}

const NODE: Script = Script { file: "node_recovery.mjs", switches: &[] };
const NODE_PROTOBUF: Script = Script { file: "node_recovery.mjs", switches: &["--protobuf"] };
const CHROMIUM: Script = Script { file: "browser_recovery.mjs", switches: &[] };
const PYTHON: Script = Script { file: "python_recovery.py", switches: &[] };
const PYTHON_PROTOBUF: Script = Script { file: "python_recovery.py", switches: &["--protobuf"] };

/// One edge process, its bus, and room for its logs.
struct World {
    home: Home,
    nats: NatsServer,
    bus: Bus,
    port: u16,
    edge: Process,
}

impl World {
    async fn start() -> Self {
        let home = Home::new().unwrap();
        let nats = NatsServer::start().unwrap();
        let bus = nats.bus_with_topology("sdk-test").await.unwrap();
        let port = free_port().unwrap();
        let edge = start_edge(&home, &nats, port).await;
        Self { home, nats, bus, port, edge }
    }

    /// `kill -9`, and a new one in its place.
    async fn replace_edge(&mut self) {
        self.edge.kill();
        self.edge = start_edge(&self.home, &self.nats, self.port).await;
    }

    /// Publishes all numbers to the inbox of alice, and replaces the edge before these. Never runs further
    /// ahead of a client that breaks its connection than half of the way to its next break: it misses
    /// messages at every break, and recovering them never skips one.
    async fn publish(&mut self, client: &mut Process, drop_every: u64, replace_before: &[u64]) {
        let subject = subjects::channel("default", &ChannelName::inbox("alice").unwrap());
        for number in 0..MESSAGES {
            if drop_every > 0 && number >= drop_every && number % drop_every == drop_every / 2 {
                let broken = usize::try_from(number / drop_every).unwrap();
                eventually("the client to break its connection", READY_WITHIN, async || {
                    client.must_run()?;
                    Ok((client.log().matches("dropped").count() >= broken).then_some(()))
                })
                .await
                .unwrap();
            }
            if replace_before.contains(&number) {
                self.replace_edge().await;
            }
            let message =
                Outgoing::new(subject.as_str(), format!("sdk-{number}"), number.to_string().into());
            self.bus.publish(message).await.unwrap();
        }
    }

    /// Starts a client script and waits until it is connected.
    async fn client(&self, program: &Path, script: Script, drop_every: u64) -> Process {
        let keys = TokenKeys::new(SECRET.as_bytes(), None).unwrap();
        let now = clock::now().0 / 1_000_000;
        let token = keys
            .mint_connection("alice", "default", 3_600, now, &ConnectionSpec::default())
            .unwrap();
        let url = format!("ws://127.0.0.1:{}/connection/websocket", self.port);
        let mut client = Process::start("client", program, self.home.path(), |command| {
            command.arg(sdk().join(script.file)).args(["--url", &url, "--token", &token]);
            command.args(script.switches);
            command.args([
                "--count",
                &MESSAGES.to_string(),
                "--drop-every",
                &drop_every.to_string(),
            ]);
        })
        .unwrap();
        eventually("the client's first connection", READY_WITHIN, async || {
            client.must_run()?;
            Ok(client.log().contains("ready").then_some(()))
        })
        .await
        .unwrap();
        client
    }
}

async fn start_edge(home: &Home, nats: &NatsServer, port: u16) -> Process {
    let environment = [
        ("CAMPANA__NATS__URL", nats.url()),
        ("CAMPANA__AUTH__TOKEN_SECRET", SECRET.to_owned()),
        ("CAMPANA__LISTEN__EDGE", port.to_string()),
        ("CAMPANA__LISTEN__OPS", "0".to_owned()),
        // The page that the browser's client lives in has a port of its own.
        ("CAMPANA__EDGE__ALLOWED_ORIGINS", "[\"*\"]".to_owned()),
    ];
    let mut edge = Process::start("edge", &command::campana().unwrap(), home.path(), |command| {
        command.args(["run", "--role", "edge"]).envs(environment).current_dir(home.path());
    })
    .unwrap();
    eventually("the edge", READY_WITHIN, async || {
        edge.must_run()?;
        Ok(edge.output().contains("ready: ").then_some(()))
    })
    .await
    .unwrap();
    edge
}

fn sdk() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk")
}

/// The virtual environment that `cargo xtask tools` makes.
fn python() -> PathBuf {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let venv = std::env::var_os("CAMPANA_VENV")
        .map_or_else(|| repository.join(".tools/venv"), PathBuf::from);
    venv.join("bin/python3")
}

/// A missing package is told as such, not as a client that never connects.
fn must_be_installed() {
    for package in ["centrifuge", "eventsource", "playwright-core", "ws"] {
        let folder = sdk().join("node_modules").join(package);
        assert!(folder.is_dir(), "{} is missing: run `npm ci` in tests/sdk", folder.display());
    }
    let import = Command::new(python()).args(["-c", "import cent, centrifuge"]).output();
    assert!(
        import.is_ok_and(|output| output.status.success()),
        "{} lacks tests/sdk/requirements.txt: run `cargo xtask tools`",
        python().display()
    );
}

/// One client through it all; gives its report.
async fn receive(program: &Path, script: Script, drop_every: u64, replace_before: &[u64]) -> Value {
    must_be_installed();
    let mut world = World::start().await;
    let mut client = world.client(program, script, drop_every).await;
    world.publish(&mut client, drop_every, replace_before).await;
    let status = client.ended(ENDS_WITHIN).await.unwrap();
    let report: Value = serde_json::from_str(client.output().trim()).unwrap();
    assert!(
        status.success(),
        "{status}: {} of {MESSAGES}, {}",
        report["data"].as_array().map_or(0, Vec::len),
        report["errors"]
    );
    let data: Vec<u64> = serde_json::from_value(report["data"].clone()).unwrap();
    assert_eq!(data, (0..MESSAGES).collect::<Vec<_>>(), "each message once, in order");
    let offsets: Vec<u64> = serde_json::from_value(report["offsets"].clone()).unwrap();
    assert!(offsets.is_sorted_by(|one, next| one < next), "offsets grow");
    let recovered = report["recovered"].as_array().unwrap();
    assert!(recovered.iter().all(|one| one == true), "{recovered:?}");
    report
}

async fn through_broken_connections(program: &Path, script: Script) {
    let report = receive(program, script, 150, &[]).await;
    assert!(report["connects"].as_u64().unwrap() > MESSAGES / 150, "{}", report["connects"]);
}

async fn through_killed_edges(program: &Path, script: Script) {
    let report = receive(program, script, 0, &[250, 700]).await;
    assert_eq!(report["connects"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_gets_everything_once_through_broken_connections() {
    through_broken_connections(Path::new("node"), NODE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_gets_everything_once_through_killed_edges() {
    through_killed_edges(Path::new("node"), NODE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chromium_gets_everything_once_through_broken_connections() {
    through_broken_connections(Path::new("node"), CHROMIUM).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chromium_gets_everything_once_through_killed_edges() {
    through_killed_edges(Path::new("node"), CHROMIUM).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_gets_everything_once_through_broken_connections() {
    through_broken_connections(&python(), PYTHON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_gets_everything_once_through_killed_edges() {
    through_killed_edges(&python(), PYTHON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_over_protobuf_gets_everything_once_through_broken_connections() {
    through_broken_connections(Path::new("node"), NODE_PROTOBUF).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_over_protobuf_gets_everything_once_through_killed_edges() {
    through_killed_edges(Path::new("node"), NODE_PROTOBUF).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_over_protobuf_gets_everything_once_through_broken_connections() {
    through_broken_connections(&python(), PYTHON_PROTOBUF).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_over_protobuf_gets_everything_once_through_killed_edges() {
    through_killed_edges(&python(), PYTHON_PROTOBUF).await;
}
