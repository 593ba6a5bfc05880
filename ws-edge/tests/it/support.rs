//! A running edge, and a client that speaks the protocol frame by frame.
//! Reads and writes: sockets on the loopback interface. Never: hides what was sent.

use std::collections::VecDeque;
use std::time::Duration;

use campana_bus::Bus;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::Outgoing;
use campana_bus::subjects::{self, ChannelName};
use campana_bus::testing::NatsServer;
use campana_identity::{ConnectionSpec, KeySet, TokenKeys};
use campana_ws_edge::{Allow, EdgeOptions, NamespaceOptions, WEBSOCKET_PATH};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

const TIMEOUT: Duration = Duration::from_secs(60);

pub fn keys() -> TokenKeys {
    TokenKeys::new(&[7; 32], None).unwrap()
}

pub fn token(user: &str) -> String {
    let now = campana_bus::clock::now().0 / 1_000_000;
    keys().mint_connection(user, "default", 3_600, now, &ConnectionSpec::default()).unwrap()
}

pub fn options() -> EdgeOptions {
    EdgeOptions {
        namespaces: vec![NamespaceOptions {
            name: "room".to_owned(),
            subscribe: vec![Allow::Authenticated],
            publish: vec![Allow::Subscriber],
            ..NamespaceOptions::default()
        }],
        ..EdgeOptions::default()
    }
}

/// A nats-server with the platform's streams, and a connection of a service to it.
pub struct World {
    pub nats: NatsServer,
    pub bus: Bus,
}

impl World {
    pub async fn start() -> Self {
        let nats = NatsServer::start().unwrap();
        let bus = nats.bus_with_topology("service").await.unwrap();
        Self { nats, bus }
    }

    pub async fn edge(&self, options: EdgeOptions) -> Edge {
        Edge::start(&self.nats, options, 0).await
    }

    /// Publishes as a service does: `data` is the number.
    pub async fn publish(&self, channel: &str, number: u64) -> u64 {
        let subject = subjects::channel("default", &ChannelName::parse(channel).unwrap());
        let message =
            Outgoing::new(subject, format!("{channel}-{number}"), number.to_string().into());
        self.bus.publish(message).await.unwrap().sequence
    }
}

pub struct Edge {
    pub port: u16,
    pub lifecycle: Lifecycle,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Edge {
    pub async fn start(nats: &NatsServer, options: EdgeOptions, port: u16) -> Self {
        Self::launch(nats, options, port, keys().key_set().clone()).await
    }

    /// One that checks tokens with other keys than [`keys`].
    pub async fn with_keys(nats: &NatsServer, options: EdgeOptions, keys: KeySet) -> Self {
        Self::launch(nats, options, 0, keys).await
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the task is the edge itself and is awaited when it is stopped"
    )]
    async fn launch(nats: &NatsServer, options: EdgeOptions, port: u16, keys: KeySet) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let bus = nats.bus("edge").await.unwrap();
        let lifecycle = Lifecycle::new();
        let task =
            tokio::spawn(campana_ws_edge::run(listener, options, bus, keys, lifecycle.clone()));
        Self { port, lifecycle, task }
    }

    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}{WEBSOCKET_PATH}", self.port)
    }

    /// As `kill -9` does: connections break, nothing is said.
    pub async fn kill(self) {
        self.lifecycle.hard.cancel();
        self.lifecycle.soft.cancel();
        self.task.await.unwrap().unwrap();
    }

    /// The orderly end.
    pub async fn stop(self) {
        self.lifecycle.soft.cancel();
        tokio::time::timeout(TIMEOUT, self.task).await.unwrap().unwrap().unwrap();
        assert!(self.lifecycle.stop(TIMEOUT).await);
    }
}

/// A client of its own: what it sends and gets is not interpreted.
pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    lines: VecDeque<Value>,
    /// Lines per frame, as they came.
    pub frames: Vec<usize>,
}

impl Client {
    pub async fn open(edge: &Edge) -> Self {
        Self::over(edge.url()).await
    }

    /// Over a request with headers of its own.
    pub async fn over(request: impl IntoClientRequest + Unpin) -> Self {
        let (socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
        Self { socket, lines: VecDeque::new(), frames: Vec::new() }
    }

    /// Connects as a user; gives the client and the connect reply.
    pub async fn connect(edge: &Edge, user: &str, subs: Value) -> (Self, Value) {
        let mut client = Self::open(edge).await;
        client.send(&json!({"id": 1, "connect": {"token": token(user), "subs": subs}})).await;
        let reply = client.next().await.unwrap();
        assert_eq!(reply["id"], 1, "{reply}");
        (client, reply["connect"].clone())
    }

    pub async fn send(&mut self, command: &Value) {
        self.raw(Message::text(command.to_string())).await;
    }

    pub async fn raw(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    /// Sends a command and waits for its answer; publications that come meanwhile are kept.
    pub async fn ask(&mut self, command: &Value) -> Value {
        self.send(command).await;
        let mut kept = VecDeque::new();
        loop {
            let line = self.next().await.unwrap();
            if line["id"] == command["id"] {
                kept.append(&mut self.lines);
                self.lines = kept;
                return line;
            }
            kept.push_back(line);
        }
    }

    /// The next line, or the close code; 0 if the connection just broke.
    pub async fn next(&mut self) -> Result<Value, u16> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Ok(line);
            }
            match tokio::time::timeout(TIMEOUT, self.socket.next()).await.unwrap() {
                Some(Ok(Message::Text(text))) => {
                    let lines: Vec<Value> =
                        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
                    self.frames.push(lines.len());
                    self.lines.extend(lines);
                }
                Some(Ok(Message::Close(frame))) => {
                    return Err(frame.map_or(0, |frame| frame.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(Error::ConnectionClosed | Error::AlreadyClosed)) | None => return Err(0),
                Some(Err(_)) => return Err(0),
            }
        }
    }

    /// How the connection ends, whatever comes before.
    pub async fn close_code(&mut self) -> u16 {
        loop {
            if let Err(code) = self.next().await {
                return code;
            }
        }
    }

    /// Data and offsets of the next publications of a channel.
    pub async fn publications(&mut self, channel: &str, count: usize) -> Vec<(u64, u64)> {
        let mut found = Vec::new();
        while found.len() < count {
            let line = self.next().await.unwrap();
            if line["push"]["channel"] == channel {
                found.push(datum(&line["push"]["pub"]));
            }
        }
        found
    }
}

/// Data and offset of a publication.
pub fn datum(publication: &Value) -> (u64, u64) {
    (publication["data"].as_u64().unwrap(), publication["offset"].as_u64().unwrap())
}

/// The publications inside a subscribe result.
pub fn recovered(result: &Value) -> Vec<(u64, u64)> {
    assert_eq!(result["recovered"], true, "{result}");
    result["publications"].as_array().into_iter().flatten().map(datum).collect()
}
