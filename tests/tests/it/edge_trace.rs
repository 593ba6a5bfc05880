//! Watching one user or one connection of running edges, without a restart.

use std::time::Duration;

use campana_tests::centrifuge::{Event, Socket};
use campana_tests::edges::Edges;
use campana_tests::eventually;
use futures::StreamExt as _;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(60);

const CONFIGURATION: &str = r#"
[[edge.namespaces]]
name = "room"
subscribe = ["authenticated"]
publish = ["subscriber"]
"#;

/// The answer to a command.
async fn ask(socket: &mut Socket, command: Value) -> Value {
    socket.send(&command).await.unwrap();
    match socket.reply(command["id"].as_u64().unwrap()).await.unwrap() {
        Event::Line(line) => line,
        Event::Closed(code, _) => panic!("closed with {code}"),
    }
}

/// A connected user and the client id.
async fn connect(edges: &Edges, number: usize, user: &str) -> (Socket, String, String) {
    let mut socket = Socket::open(&Edges::url(edges.nodes[number].address)).await.unwrap();
    let token = Edges::token(user).unwrap();
    let reply = ask(&mut socket, json!({"id": 1, "connect": {"token": token}})).await;
    (socket, reply["connect"]["client"].as_str().unwrap().to_owned(), token)
}

/// Lines of `GET /debug/trace`, until the trace ends.
struct Lines {
    bytes: Vec<u8>,
    stream: std::pin::Pin<Box<dyn futures::Stream<Item = Vec<u8>> + Send>>,
}

impl Lines {
    async fn open(edges: &Edges, query: &str) -> Self {
        let url = format!("{}/debug/trace?{query}", edges.nodes[0].ops);
        let answer = reqwest::Client::builder().no_proxy().build().unwrap().get(url);
        let answer = answer.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        let stream = answer.bytes_stream().map(|part| part.unwrap().to_vec());
        Self { bytes: Vec::new(), stream: Box::pin(stream) }
    }

    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.bytes.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let part = tokio::time::timeout(SOON, self.stream.next()).await.unwrap();
            self.bytes.extend(part?);
        }
    }

    /// Until every node said that it watches.
    async fn started(&mut self, nodes: usize) {
        for _ in 0..nodes {
            assert_eq!(self.next().await.unwrap()["kind"], "started");
        }
    }

    async fn rest(mut self) -> Vec<Value> {
        let mut all = Vec::new();
        while let Some(line) = self.next().await {
            all.push(line);
        }
        all
    }
}

fn kinds(lines: &[Value]) -> Vec<String> {
    let text = |line: &Value, member: &str| line[member].as_str().unwrap_or_default().to_owned();
    lines.iter().map(|line| format!("{} {}", text(line, "kind"), text(line, "method"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_watches_a_user_on_all_nodes_and_sees_no_secret() {
    let edges = Edges::start(2, CONFIGURATION).await.unwrap();
    let (mut alice, client, token) = connect(&edges, 1, "alice").await;
    let (mut bob, ..) = connect(&edges, 0, "bob").await;
    for (query, status) in
        [("", 400), ("user=a&client=b", 400), ("user=a&seconds=601", 400), ("user=a&x=1", 400)]
    {
        let answer = edges.ops(0, &format!("/debug/trace?{query}")).await.unwrap();
        assert_eq!(answer.0, status, "{query}: {}", answer.1);
    }
    // Asked on the first node, seen on the second.
    let mut plain = Lines::open(&edges, "user=alice&frames=6").await;
    let mut said = Lines::open(&edges, &format!("client={client}&payloads=true&frames=6")).await;
    plain.started(2).await;
    said.started(2).await;
    for socket in [&mut bob, &mut alice] {
        ask(socket, json!({"id": 2, "subscribe": {"channel": "room:secret-plans"}})).await;
    }
    ask(&mut alice, json!({"id": 3, "refresh": {"token": token}})).await;
    let body = json!({"token": "s3cret", "n": 7});
    let publish = json!({"id": 4, "publish": {"channel": "room:secret-plans", "data": body}});
    ask(&mut alice, publish).await;
    // After six frames both end by themselves, also on the node that saw nothing.
    let (plain, said) = tokio::join!(plain.rest(), said.rest());
    let wanted = [
        "command subscribe",
        "reply subscribe",
        "command refresh",
        "reply refresh",
        "command publish",
    ];
    for lines in [&plain, &said] {
        assert!(kinds(lines).iter().map(String::as_str).take(5).eq(wanted), "{:?}", kinds(lines));
        let first = &lines[0];
        assert_eq!((&first["client"], &first["direction"]), (&json!(client), &json!("in")));
        assert_eq!(
            (&first["transport"], &first["protocol"]),
            (&json!("websocket"), &json!("json"))
        );
        assert!(
            first["bytes"].as_u64().is_some_and(|bytes| bytes > 10) && first["time"].is_string()
        );
        assert_eq!(kinds(lines).iter().filter(|kind| *kind == "ended ").count(), 2);
        let text = Value::from(lines.clone()).to_string();
        assert!(!text.contains("eyJ") && !text.contains("s3cret"), "{text}");
    }
    let text = Value::from(plain).to_string();
    assert!(!text.contains("secret-plans") && !text.contains("payload"), "{text}");
    assert_eq!(said[4]["payload"]["data"], json!({"token": "[redacted]", "n": 7}));
    // Who traced is in the nodes' logs, and whom is not.
    let log = edges.nodes[1].process.log();
    assert!(log.contains("tracing starts") && log.contains("a caller of /debug/trace"), "{log}");
    assert!(!log.contains("alice"));
    edges.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_watches_until_its_frames_or_its_time_are_over() {
    let edges = Edges::start(1, CONFIGURATION).await.unwrap();
    let (mut alice, ..) = connect(&edges, 0, "alice").await;
    let tracing =
        edges.command(&["edge", "trace", "--user", "alice", "--frames", "2", "--seconds", "600"]);
    let talking = async {
        // The command says nothing before it ends: what it saw shows that it was there.
        eventually("somebody who traces", SOON, async || {
            let log = edges.nodes[0].process.log();
            Ok(log.contains("tracing starts").then_some(()))
        })
        .await
        .unwrap();
        ask(&mut alice, json!({"id": 2, "subscribe": {"channel": "room:a"}})).await;
    };
    let (ended, ()) = tokio::join!(tracing, talking);
    let ended = ended.unwrap();
    let lines: Vec<Value> =
        ended.text().unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected = ["started ", "command subscribe", "reply subscribe", "ended "];
    assert_eq!(kinds(&lines), expected);
    assert_eq!((&lines[3]["reason"], &lines[3]["frames"]), (&json!("frames"), &json!(2)));
    // Time ends it too.
    let short = ["edge", "trace", "--user", "nobody", "--seconds", "1"];
    let ended = edges.command(&short).await.unwrap();
    assert!(ended.text().unwrap().contains("\"reason\":\"time\""), "{}", ended.stdout);
    let wrong = edges.command(&["edge", "trace", "--user", "a", "--client", "b"]).await.unwrap();
    assert_eq!(wrong.code, 2);
    edges.stop().await.unwrap();
}
