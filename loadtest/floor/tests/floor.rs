//! The floor as a program with a real nats-server: one notification, and a wave of 50, each received exactly once
//! and stored in JetStream.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

const PATIENCE: Duration = Duration::from_secs(60);
const KEY: &str = "test-key";

struct Floor {
    child: Child,
    ready: Value,
}

impl Floor {
    fn start(durability: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_campana-floor"))
            .args(["--api-key", KEY, "--durability", durability])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, ready: serde_json::from_str(&line).unwrap() }
    }

    fn at(&self, name: &str) -> &str {
        self.ready[name].as_str().unwrap()
    }

    async fn post(&self, path: &str, key: &str, body: Value) -> (u16, Value) {
        let client = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
        let request = client.post(format!("{}{path}", self.at("gateway"))).bearer_auth(key);
        let answer = request.json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    async fn send(&self, user: &str, title: &str) -> String {
        let body = json!({"to": {"id": user}, "content": {"title": title, "body": "b"},
                          "channels": ["in_app"]});
        let (status, answer) = self.post("/v1/notifications", KEY, body).await;
        assert_eq!(status, 202, "{answer}");
        answer["id"].as_str().unwrap().to_owned()
    }

    async fn client(&self, user: &str) -> Client {
        let (status, token) = self.post("/v1/tokens", KEY, json!({"user": user})).await;
        assert_eq!(status, 200);
        let url = token["ws_url"].as_str().unwrap();
        let authority = url.strip_prefix("ws://").unwrap().split('/').next().unwrap();
        let stream = TcpStream::connect(authority).await.unwrap();
        let (mut socket, _) = client_async(url, stream).await.unwrap();
        let connect = json!({"id": 1, "connect": {"token": token["token"]}});
        socket.send(Message::text(connect.to_string())).await.unwrap();
        let mut client = Client { socket, frames: Vec::new() };
        let reply = client.frame().await;
        let channel = token["channel"].as_str().unwrap();
        assert!(reply["connect"]["subs"][channel].is_object(), "{reply}");
        client
    }
}

impl Drop for Floor {
    /// In an orderly way, so that its nats-server goes with it.
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

struct Client {
    socket: WebSocketStream<TcpStream>,
    frames: Vec<Value>,
}

impl Client {
    /// The next frame; several may come in one message.
    async fn frame(&mut self) -> Value {
        while self.frames.is_empty() {
            let message = tokio::time::timeout(PATIENCE, self.socket.next()).await.unwrap();
            if let Message::Text(text) = message.unwrap().unwrap() {
                self.frames =
                    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            }
        }
        self.frames.remove(0)
    }

    async fn notification(&mut self) -> (String, String, u64) {
        let frame = self.frame().await;
        let publication = &frame["push"]["pub"];
        let data = &publication["data"];
        assert_eq!(data["type"], "notification", "{frame}");
        let word = |name: &str| data[name].as_str().unwrap().to_owned();
        (word("notification_id"), word("title"), publication["offset"].as_u64().unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_notification_and_then_a_wave_arrive_exactly_once() {
    let floor = Floor::start("power");
    let mut clients = Vec::new();
    for index in 0..50 {
        clients.push(floor.client(&format!("user.{index} *")).await);
    }
    let id = floor.send("user.7 *", "alone \"quoted\"").await;
    let (received, title, first) = clients[7].notification().await;
    assert_eq!((received, title.as_str()), (id, "alone \"quoted\""));

    let wave = (0..50).map(|index| {
        let floor = &floor;
        async move { floor.send(&format!("user.{index} *"), "wave").await }
    });
    let ids = futures::future::join_all(wave).await;
    // A second message to each shows that nothing came twice: it is the very next frame.
    for (index, client) in clients.iter_mut().enumerate() {
        let (received, title, offset) = client.notification().await;
        assert_eq!((received.as_str(), title.as_str()), (ids[index].as_str(), "wave"));
        assert!(offset > first);
        let last = floor.send(&format!("user.{index} *"), "last").await;
        assert_eq!(client.notification().await.0, last);
    }
    let nats = async_nats::connect(floor.at("nats_url")).await.unwrap();
    let jetstream = async_nats::jetstream::new(nats);
    let mut stored = jetstream.get_stream("CHANNELS").await.unwrap();
    assert_eq!(stored.info().await.unwrap().state.messages, 101);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_compared_and_nonsense_is_refused() {
    let floor = Floor::start("process");
    assert_eq!(floor.at("durability"), "process");
    let body = json!({"to": {"id": "a"}, "content": {"title": "t", "body": "b"}});
    for path in ["/v1/notifications", "/v1/tokens"] {
        assert_eq!(floor.post(path, "wrong", body.clone()).await.0, 401, "{path}");
    }
    let template = json!({"to": "a", "template": "welcome"});
    assert_eq!(floor.post("/v1/notifications", KEY, template).await.0, 400);
    let many = json!({"to": ["a", {"id": "b"}], "content": {"title": "t", "body": "b"}});
    let (mut a, mut b) = (floor.client("a").await, floor.client("b").await);
    let (status, answer) = floor.post("/v1/notifications", KEY, many).await;
    assert_eq!(status, 202);
    assert_eq!(a.notification().await.0, answer["id"].as_str().unwrap());
    assert_eq!(b.notification().await.0, answer["id"].as_str().unwrap());
}
