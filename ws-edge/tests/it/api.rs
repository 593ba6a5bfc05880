//! The server API over two edges: what backends ask of one happens on both.

mod batch;
mod channels;
mod keys;
mod nodes;
mod people;
mod publish;

use std::time::Duration;

use campana_ws_edge::{Allow, ApiOptions, ControlOptions, EdgeOptions, NamespaceOptions};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{self, Client, Edge, World};

pub const KEY: &str = "the-key-of-the-default-tenant";
/// A busy machine may starve a node for long; only tests of dead nodes wait for that.
const LOST_AFTER_MS: u64 = 120_000;

/// Options of an edge with the API on.
pub fn options() -> EdgeOptions {
    let namespace = |name: &str| NamespaceOptions {
        name: name.to_owned(),
        subscribe: vec![Allow::Authenticated],
        publish: vec![Allow::Subscriber],
        ..NamespaceOptions::default()
    };
    EdgeOptions {
        namespaces: vec![
            namespace("room"),
            NamespaceOptions { track_presence: true, ..namespace("seen") },
            NamespaceOptions { history_size: 0, ..namespace("flash") },
            NamespaceOptions { binary: true, ..namespace("raw") },
            NamespaceOptions { wildcard: true, ..namespace("wild") },
        ],
        api: ApiOptions { key: KEY.to_owned().into(), ..ApiOptions::default() },
        control: ControlOptions {
            heartbeat_ms: 100,
            lost_after_ms: LOST_AFTER_MS,
            timeout_ms: LOST_AFTER_MS + 1_000,
            ..ControlOptions::default()
        },
        ..support::options()
    }
}

/// Two edges on one nats-server.
pub struct Pair {
    pub world: World,
    pub one: Edge,
    pub two: Edge,
}

impl Pair {
    pub async fn start() -> Self {
        let world = World::start().await;
        let (one, two) = (world.edge(options()).await, world.edge(options()).await);
        Self { world, one, two }
    }

    /// Without goodbyes: clients of a test that is over do not answer them.
    pub async fn stop(self) {
        self.one.kill().await;
        self.two.kill().await;
    }
}

/// What an edge answered.
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

/// One request to the API of an edge, with these headers.
pub async fn post(edge: &Edge, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: edge\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    request.push_str(body);
    let mut socket = TcpStream::connect(("127.0.0.1", edge.port)).await.unwrap();
    // The answer may come, and the connection end, before all of the request is out.
    let _ = socket.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let read = socket.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(120), read).await.unwrap();
    let text = String::from_utf8(answer).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(status == 405 || head.contains("application/json"), "{head}");
    Answer { status, body: serde_json::from_str(body).unwrap_or(Value::Null) }
}

/// One command with a good key; gives the whole answer.
pub async fn ask(edge: &Edge, method: &str, body: Value) -> Value {
    let path = format!("/api/{method}");
    let answer = post(edge, &path, &[("X-API-Key", KEY)], &body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

/// One command that works; gives its result.
pub async fn done(edge: &Edge, method: &str, body: Value) -> Value {
    let answer = ask(edge, method, body.clone()).await;
    assert!(answer["error"].is_null(), "{method} {body}: {answer}");
    answer["result"].clone()
}

/// One command that does not; gives the error's code.
pub async fn refused(edge: &Edge, method: &str, body: Value) -> u64 {
    let answer = ask(edge, method, body.clone()).await;
    answer["error"]["code"].as_u64().unwrap_or_else(|| panic!("{method} {body}: {answer}"))
}

/// A client that is connected and subscribed.
pub async fn subscribed(edge: &Edge, user: &str, channel: &str) -> Client {
    let (mut client, _) = Client::connect(edge, user, json!({})).await;
    let reply = client.ask(&json!({"id": 2, "subscribe": {"channel": channel}})).await;
    assert!(reply["subscribe"].is_object(), "{reply}");
    client
}

/// The next push of a channel that has this member.
pub async fn push(client: &mut Client, channel: &str, member: &str) -> Value {
    loop {
        let line = client.next().await.unwrap();
        if line["push"]["channel"] == channel && line["push"][member].is_object() {
            return line["push"][member].clone();
        }
    }
}
