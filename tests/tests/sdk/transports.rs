//! Every transport with the client that is meant for it, through a proxy that hands connections to two edges in
//! turn: the published JavaScript client, `EventSource`, a bare WebSocket, and the lines of the guide in `curl`.
//! Reads: `docs/guide-transports.md`. Writes: temporary folders.
//! Never: leaves an edge or a client running.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use campana_bus::publish::Outgoing;
use campana_bus::service::{CallMeta, Reply, Service};
use campana_bus::subjects::{self, ChannelName};
use campana_bus::testing::{NatsServer, free_port};
use campana_bus::{Bus, clock};
use campana_identity::{ConnectionSpec, TokenKeys};
use campana_tests::{Home, Process, command, eventually};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{READY_WITHIN, SECRET, sdk};

const API_KEY: &str = "a-key-that-the-test-and-the-edges-share";
const ENDS_WITHIN: Duration = Duration::from_secs(180);
const NAMESPACES: &str = r#"[{ name = "room", subscribe = ["token", "authenticated"], publish = ["subscriber"], history = ["subscriber"], presence = ["subscriber"], track_presence = true }]"#;
const DIFFERENCES: &str =
    r#"[{ name = "ticker", subscribe = ["authenticated"], delta = true, compaction = true }]"#;
const RPC: &str =
    r#"[{ method = "echo", service = "echo", endpoint = "echo", timeout_ms = 30000 }]"#;

/// Two edges on one bus, and a service that answers their clients.
struct World {
    home: Home,
    bus: Bus,
    ports: [u16; 2],
    _edges: [Process; 2],
    stop: CancellationToken,
    service: JoinHandle<()>,
    _nats: NatsServer,
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "the service is awaited when the world ends")]
    async fn start(more: &[(&'static str, &str)]) -> Self {
        let home = Home::new().unwrap();
        let nats = NatsServer::start().unwrap();
        let bus = nats.bus_with_topology("sdk-test").await.unwrap();
        let ports = [free_port().unwrap(), free_port().unwrap()];
        let edges = [
            edge(&home, &nats, ports[0], "edge-1", more).await,
            edge(&home, &nats, ports[1], "edge-2", more).await,
        ];
        let stop = CancellationToken::new();
        let (ended, echo) = (stop.clone(), bus.clone());
        let service = tokio::spawn(async move {
            let answer = |body: Bytes, _: CallMeta| async move { Ok(Reply::from(body)) };
            let echo = Service::new(&echo, "echo", "1.0.0").endpoint_raw("echo", answer);
            echo.run(ended.cancelled_owned()).await.unwrap();
        });
        Self { home, bus, ports, _edges: edges, stop, service, _nats: nats }
    }

    /// Runs a script to its end; it says what failed.
    async fn run(&self, script: &str, more: &[&str]) {
        let edges = self.ports.map(|port| port.to_string()).join(",");
        let mut node = Process::start("client", Path::new("node"), self.home.path(), |command| {
            command.arg(sdk().join(script)).args(["--edges", &edges, "--secret", SECRET]);
            command.args(["--api-key", API_KEY]).args(more);
        })
        .unwrap();
        let status = node.ended(ENDS_WITHIN).await;
        let said = || format!("{}\n{}", node.output(), node.log());
        assert!(status.as_ref().is_ok_and(|status| status.success()), "{status:?}: {}", said());
    }

    async fn end(self) {
        self.stop.cancel();
        self.service.await.unwrap();
    }
}

async fn edge(
    home: &Home,
    nats: &NatsServer,
    port: u16,
    name: &'static str,
    more: &[(&'static str, &str)],
) -> Process {
    let environment = [
        ("CAMPANA__NATS__URL", nats.url()),
        ("CAMPANA__AUTH__TOKEN_SECRET", SECRET.to_owned()),
        ("CAMPANA__LISTEN__EDGE", port.to_string()),
        ("CAMPANA__LISTEN__OPS", "0".to_owned()),
        ("CAMPANA__EDGE__NAMESPACES", NAMESPACES.to_owned()),
        ("CAMPANA__EDGE__RPC", RPC.to_owned()),
        ("CAMPANA__EDGE__API__KEY", API_KEY.to_owned()),
    ];
    let mut edge = Process::start(name, &command::campana().unwrap(), home.path(), |command| {
        command.args(["run", "--role", "edge"]).envs(environment).current_dir(home.path());
        command.envs(more.iter().copied());
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

async fn javascript_over(transport: &str, protocol: &[&str]) {
    let world = World::start(&[]).await;
    world.run("transports.mjs", &[&["--transport", transport], protocol].concat()).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_does_everything_over_websocket() {
    javascript_over("websocket", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_does_everything_over_websocket_in_protobuf() {
    javascript_over("websocket", &["--protobuf"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_does_everything_over_server_sent_events() {
    javascript_over("sse", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_does_everything_over_http_streams() {
    javascript_over("http_stream", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_does_everything_over_http_streams_in_protobuf() {
    javascript_over("http_stream", &["--protobuf"]).await;
}

/// Bodies that change a little, to a client that takes differences and whose connection breaks.
async fn javascript_gets_differences(protocol: &[&str]) {
    let namespaces = ("CAMPANA__EDGE__NAMESPACES", DIFFERENCES);
    let world = World::start(&[namespaces]).await;
    world.run("delta.mjs", protocol).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_gets_everything_once_as_differences() {
    javascript_gets_differences(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_over_protobuf_gets_everything_once_as_differences() {
    javascript_gets_differences(&["--protobuf"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_without_a_library_listen() {
    let pings =
        [("CAMPANA__EDGE__PING_INTERVAL_MS", "2000"), ("CAMPANA__EDGE__PONG_TIMEOUT_MS", "1900")];
    let world = World::start(&pings).await;
    world.run("listeners.mjs", &[]).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guide_s_lines_work_in_curl() {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guide-transports.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let lines: Vec<&str> = guide.lines().filter(|line| line.starts_with("curl ")).collect();
    assert!(lines.len() >= 3, "{lines:?}");
    let world = World::start(&[]).await;
    let keys = TokenKeys::new(SECRET.as_bytes(), None).unwrap();
    let (now, spec) = (clock::now().0 / 1_000_000, ConnectionSpec::default());
    let token = keys.mint_connection("alice", "default", 3_600, now, &spec).unwrap();
    for (number, line) in lines.iter().enumerate() {
        let port = world.ports[number % 2];
        let line = line.replace("127.0.0.1:8000", &format!("127.0.0.1:{port}"));
        let mut curl = Process::start("curl", Path::new("sh"), world.home.path(), |command| {
            command.args(["-c", &format!("exec {line}")]).env("TOKEN", &token);
        })
        .unwrap();
        let says = async |curl: &mut Process, text: &str| {
            eventually(text, READY_WITHIN, async || {
                curl.must_run()?;
                Ok(curl.output().contains(text).then_some(()))
            })
            .await
            .unwrap();
        };
        says(&mut curl, "{\"connect\":{").await;
        let subject = subjects::channel("default", &ChannelName::inbox("alice").unwrap());
        let body = format!("\"number {number}\"");
        let message = Outgoing::new(subject, format!("curl-{number}"), body.clone().into());
        world.bus.publish(message).await.unwrap();
        says(&mut curl, &format!("\"pub\":{{\"data\":{body}")).await;
        curl.kill();
    }
    world.end().await;
}
