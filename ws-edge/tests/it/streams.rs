//! Clients that listen to the body of an HTTP answer and speak by requests of their own, which may reach any node.

use prost::Message as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use campana_ws_edge::{
    EMULATION_PATH, EdgeOptions, HTTP_STREAM_PATH, HttpOptions, SSE_PATH, UNI_SSE_PATH,
};

use crate::http::{Answer, ask, encoded};
use crate::support::{Client, Edge, World, options, token};

/// A client over server-sent events.
struct Sse {
    answer: Answer,
    session: String,
    node: String,
    connected: Value,
}

impl Sse {
    async fn connect(edge: &Edge, user: &str) -> Self {
        let command = json!({"id": 1, "connect": {"token": token(user)}});
        let path = format!("{SSE_PATH}?cf_connect={}", encoded(&command.to_string()));
        let mut answer = ask(edge, "GET", &path, &["Accept: text/event-stream"], b"").await;
        assert_eq!(answer.status, 200);
        let reply = answer.data().await;
        assert_eq!(reply["id"], 1, "{reply}");
        let connected = reply["connect"].clone();
        let text = |name: &str| connected[name].as_str().unwrap().to_owned();
        Self { answer, session: text("session"), node: text("node"), connected }
    }

    fn request(&self, commands: &[Value]) -> Value {
        let lines: Vec<String> = commands.iter().map(Value::to_string).collect();
        json!({"session": self.session, "node": self.node, "data": lines.join("\n")})
    }

    /// Says something through a node, which need not be the session's.
    async fn say(&self, edge: &Edge, commands: &[Value]) -> u16 {
        let body = self.request(commands).to_string();
        emulate(edge, body.as_bytes(), "application/json").await
    }
}

async fn emulate(edge: &Edge, body: &[u8], content: &str) -> u16 {
    let content = format!("Content-Type: {content}");
    ask(edge, "POST", EMULATION_PATH, &[&content], body).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn server_sent_events_carry_everything_that_a_websocket_does() {
    let world = World::start().await;
    let edge = world.edge(options()).await;
    let mut client = Sse::connect(&edge, "alice").await;
    let headers = &client.answer.headers;
    assert_eq!(headers["content-type"], "text/event-stream");
    assert_eq!(headers["x-accel-buffering"], "no");
    assert!(headers["cache-control"].contains("no-cache"), "{headers:?}");
    assert_eq!(client.connected["ping"], 25);
    assert_eq!(client.connected["pong"], true);
    assert_eq!(client.session.len(), 32);
    let commands = [
        json!({"id": 2, "subscribe": {"channel": "room:a"}}),
        json!({"id": 3, "publish": {"channel": "room:a", "data": {"n": 1}}}),
        json!({"id": 4, "history": {"channel": "room:a", "limit": 10}}),
    ];
    assert_eq!(client.say(&edge, &commands).await, 204);
    let mut seen = Vec::new();
    while seen.len() < 4 {
        seen.push(client.answer.data().await);
    }
    assert_eq!(seen[0]["subscribe"]["recoverable"], true, "{seen:?}");
    let with = |name: &str| seen.iter().find(|one| one.get(name).is_some()).unwrap();
    assert_eq!(with("publish")["id"], 3);
    assert_eq!(with("history")["history"]["publications"][0]["data"], json!({"n": 1}));
    assert_eq!(with("push")["push"]["pub"]["info"]["user"], "alice");
    world.publish("inbox:#alice", 7).await;
    assert_eq!(client.answer.data().await["push"]["pub"]["data"], 7);
    // The first command may come in a body just as well.
    let command = json!({"id": 1, "connect": {"token": token("alice")}}).to_string();
    let mut posted = ask(&edge, "POST", SSE_PATH, &[], command.as_bytes()).await;
    assert!(posted.data().await["connect"]["session"].is_string());
    edge.stop().await;
    assert_eq!(client.answer.data().await["push"]["disconnect"]["code"], 3001);
    assert!(client.answer.is_over().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_find_their_session_from_every_node_in_order() {
    let world = World::start().await;
    let (one, two) = (world.edge(options()).await, world.edge(options()).await);
    let mut client = Sse::connect(&one, "alice").await;
    for id in 2..42 {
        let through = if id % 2 == 0 { &two } else { &one };
        let command = if id == 2 {
            json!({"id": id, "subscribe": {"channel": "room:a"}})
        } else {
            json!({"id": id, "ping": {}})
        };
        assert_eq!(client.say(through, &[command]).await, 204);
    }
    let mut ids = Vec::new();
    while ids.len() < 40 {
        ids.push(client.answer.data().await["id"].as_u64().unwrap());
    }
    // The subscription waits for the bus; everything else is answered at once.
    ids.retain(|id| *id != 2);
    assert_eq!(ids, (3..42).collect::<Vec<_>>());
    for edge in [&one, &two] {
        let request = client.request(&[json!({"id": 99, "ping": {}})]);
        for (field, value) in [("session", "0".repeat(32)), ("node", "node_1".to_owned())] {
            let mut wrong = request.clone();
            wrong[field] = value.into();
            assert_eq!(emulate(edge, wrong.to_string().as_bytes(), "application/json").await, 404);
        }
        for bad in [&b"{}"[..], b"", b"[1]", b"{\"session\":1}"] {
            assert_eq!(emulate(edge, bad, "application/json").await, 400);
        }
        let mut large = request.clone();
        large["data"] = "x".repeat(70_000).into();
        assert_eq!(emulate(edge, large.to_string().as_bytes(), "application/json").await, 413);
        large["data"] = "x".repeat(200_000).into();
        assert_eq!(emulate(edge, large.to_string().as_bytes(), "application/json").await, 413);
    }
    one.stop().await;
    // Its node is gone, and with it the session.
    assert_eq!(client.say(&two, &[json!({"id": 100, "ping": {}})]).await, 404);
    two.stop().await;
}

#[derive(Clone, PartialEq, prost::Message)]
struct Emulation {
    #[prost(string, tag = "1")]
    node: String,
    #[prost(string, tag = "2")]
    session: String,
    #[prost(bytes = "vec", tag = "3")]
    data: Vec<u8>,
}

/// What a Protobuf client reads of a connect reply and of the last push.
#[derive(Clone, PartialEq, prost::Message)]
struct Reply {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(message, optional, tag = "4")]
    push: Option<Push>,
    #[prost(message, optional, tag = "5")]
    connect: Option<Connected>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Push {
    #[prost(message, optional, tag = "11")]
    disconnect: Option<End>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct End {
    #[prost(uint32, tag = "1")]
    code: u32,
    #[prost(string, tag = "2")]
    reason: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Connected {
    #[prost(string, tag = "9")]
    session: String,
    #[prost(string, tag = "10")]
    node: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Command {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(message, optional, tag = "4")]
    connect: Option<Token>,
    #[prost(message, optional, tag = "11")]
    ping: Option<Empty>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Token {
    #[prost(string, tag = "1")]
    token: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Empty {}

async fn reply(answer: &mut Answer) -> Reply {
    let mut length = 0;
    for shift in 0.. {
        let byte = usize::from(answer.bytes(1).await.unwrap()[0]);
        length |= (byte & 0x7F) << (7 * shift);
        if byte < 0x80 {
            break;
        }
    }
    Reply::decode(answer.bytes(length).await.unwrap().as_slice()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn http_streams_speak_both_protocols() {
    let world = World::start().await;
    let (one, two) = (world.edge(options()).await, world.edge(options()).await);
    let connect = |token| Command { id: 1, connect: Some(Token { token }), ping: None };
    let binary = "Content-Type: application/octet-stream";
    let first = connect(token("alice")).encode_length_delimited_to_vec();
    let mut answer = ask(&one, "POST", HTTP_STREAM_PATH, &[binary], &first).await;
    assert_eq!(answer.headers["content-type"], "application/octet-stream");
    let connected = reply(&mut answer).await.connect.unwrap();
    let ping = Command { id: 2, connect: None, ping: Some(Empty {}) };
    let data = ping.encode_length_delimited_to_vec();
    let request = Emulation { node: connected.node, session: connected.session, data };
    let body = request.encode_to_vec();
    assert_eq!(emulate(&two, &body, "application/octet-stream").await, 204);
    assert_eq!(reply(&mut answer).await.id, 2);
    let first = connect("no token".to_owned()).encode_length_delimited_to_vec();
    let mut refused = ask(&one, "POST", HTTP_STREAM_PATH, &[binary], &first).await;
    let end = reply(&mut refused).await.push.unwrap().disconnect.unwrap();
    assert_eq!((end.code, end.reason.as_str()), (3500, "invalid token"));
    assert!(refused.is_over().await);

    let first = json!({"id": 1, "connect": {"token": token("alice")}}).to_string();
    let mut lines = ask(&one, "POST", HTTP_STREAM_PATH, &[], first.as_bytes()).await;
    assert_eq!(lines.headers["content-type"], "application/json");
    assert!(lines.line().await.unwrap()["connect"]["session"].is_string());
    let mut bad = ask(&one, "POST", HTTP_STREAM_PATH, &[], b"nonsense").await;
    assert_eq!(bad.line().await.unwrap()["push"]["disconnect"]["code"], 3501);
    assert!(bad.is_over().await);
    let large = ask(&one, "POST", HTTP_STREAM_PATH, &[], &[b' '; 70_000]).await;
    assert_eq!(large.status, 413);
    assert_eq!(ask(&one, "GET", HTTP_STREAM_PATH, &[], b"").await.status, 405);
    assert_eq!(ask(&one, "GET", SSE_PATH, &[], b"").await.status, 400);
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_are_answered_by_requests_or_the_connection_ends() {
    let world = World::start().await;
    let quick = EdgeOptions { ping_interval_ms: 60, pong_timeout_ms: 40, ..options() };
    let edge = world.edge(quick).await;
    let mut silent = Sse::connect(&edge, "alice").await;
    assert_eq!(silent.answer.data().await["push"]["disconnect"]["code"], 3012);
    assert!(silent.answer.is_over().await);
    edge.stop().await;
    let patient = EdgeOptions { ping_interval_ms: 2_000, pong_timeout_ms: 1_900, ..options() };
    let edge = world.edge(patient).await;
    let mut polite = Sse::connect(&edge, "alice").await;
    for _ in 0..2 {
        assert_eq!(polite.answer.event().await.unwrap().1, json!({}));
        assert_eq!(polite.say(&edge, &[json!({})]).await, 204);
    }
    edge.stop().await;
}

/// Waits until commands for a session find nobody.
async fn gone(client: &Sse, edge: &Edge) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    while client.say(edge, &[json!({"id": 5, "ping": {}})]).await != 404 {
        assert!(tokio::time::Instant::now() < deadline, "the session lives on");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_is_gone_or_does_not_read_loses_its_session_and_holds_up_nobody() {
    let world = World::start().await;
    let edge = world.edge(EdgeOptions { queue_bytes_max: 256 * 1024, ..options() }).await;
    let mut client = Sse::connect(&edge, "gone").await;
    client.answer = ask(&edge, "GET", "/", &[], b"").await;
    gone(&client, &edge).await;

    let slow = Sse::connect(&edge, "slow").await;
    let subscribe = json!({"id": 2, "subscribe": {"channel": "room:big"}});
    assert_eq!(slow.say(&edge, std::slice::from_ref(&subscribe)).await, 204);
    let (mut quick, _) = Client::connect(&edge, "quick", json!({})).await;
    assert!(quick.ask(&subscribe).await["subscribe"].is_object());
    let body = format!("\"{}\"", "x".repeat(60_000));
    for number in 0..300 {
        let subject = campana_bus::subjects::channel(
            "default",
            &campana_bus::subjects::ChannelName::parse("room:big").unwrap(),
        );
        let id = format!("big-{number}");
        let message = campana_bus::publish::Outgoing::new(subject, id, body.clone().into());
        world.bus.publish(message).await.unwrap();
        assert_eq!(quick.next().await.unwrap()["push"]["channel"], "room:big");
    }
    gone(&slow, &edge).await;
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_listed_origins_may_connect_with_cookies_and_others_not_at_all() {
    let world = World::start().await;
    let allowed_origins = vec!["https://app.example".to_owned()];
    let edge = world.edge(EdgeOptions { allowed_origins, ..options() }).await;
    let (good, evil) = ("Origin: https://app.example", "Origin: https://evil.example");
    let asks = ["Access-Control-Request-Method: POST", "Access-Control-Request-Headers: x-a"];
    for path in [EMULATION_PATH, HTTP_STREAM_PATH, SSE_PATH, UNI_SSE_PATH] {
        let answer = ask(&edge, "OPTIONS", path, &[good, asks[0], asks[1]], b"").await;
        let header = |name: &str| answer.headers.get(name).map_or("", String::as_str);
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(header("access-control-allow-origin"), "https://app.example");
        assert_eq!(header("access-control-allow-credentials"), "true");
        assert_eq!(header("access-control-allow-headers"), "x-a");
        let answer = ask(&edge, "OPTIONS", path, &[evil, asks[0], asks[1]], b"").await;
        assert!(!answer.headers.contains_key("access-control-allow-origin"), "{path}");
        let path = format!("{path}?cf_connect=%7B%7D");
        let method = if path.contains("stream") || path.contains("emu") { "POST" } else { "GET" };
        assert_eq!(ask(&edge, method, &path, &[evil], b"{}").await.status, 403, "{path}");
    }
    let connect = encoded(&json!({"id": 1, "connect": {"token": token("a")}}).to_string());
    let path = format!("{SSE_PATH}?cf_connect={connect}");
    let mut answer = ask(&edge, "GET", &path, &[good], b"").await;
    assert_eq!(answer.headers["access-control-allow-origin"], "https://app.example");
    assert!(answer.data().await["connect"].is_object());
    edge.stop().await;
    let open = EdgeOptions { allowed_origins: vec!["*".to_owned()], ..options() };
    let edge = world.edge(open).await;
    let answer = ask(&edge, "GET", &path, &[evil], b"").await;
    assert_eq!(
        (answer.status, answer.headers["access-control-allow-origin"].as_str()),
        (200, "https://evil.example")
    );
    assert!(!answer.headers.contains_key("access-control-allow-credentials"));
    edge.stop().await;
}

/// Reads until the server closes the connection.
async fn closed(mut stream: TcpStream) -> String {
    let mut all = Vec::new();
    let reading = stream.read_to_end(&mut all);
    let _ = tokio::time::timeout(std::time::Duration::from_secs(60), reading).await.unwrap();
    String::from_utf8_lossy(&all).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_without_a_request_end_and_take_no_place_from_others_for_long() {
    let world = World::start().await;
    let http = HttpOptions {
        requests_max: 2,
        header_timeout_ms: 1_500,
        body_timeout_ms: 300,
        ..HttpOptions::default()
    };
    let edge = world.edge(EdgeOptions { http, ..options() }).await;
    // Who has a session needs no place any more.
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(Sse::connect(&edge, "alice").await);
        Client::connect(&edge, "alice", json!({})).await;
    }
    let open = async || TcpStream::connect(("127.0.0.1", edge.port)).await.unwrap();
    let idle = open().await;
    let mut drip = open().await;
    drip.write_all(b"GET / HTTP/1.1\r\nHost: e\r\nX-Drip: ").await.unwrap();
    // Waits for one of the two to be sent away.
    assert_eq!(ask(&edge, "GET", "/", &["Connection: close"], b"").await.status, 200);
    assert_eq!(closed(idle).await, "");
    // Whoever began a request may be told that it took too long.
    let told = closed(drip).await;
    assert!(told.is_empty() || told.starts_with("HTTP/1.1 408"), "{told}");
    let mut half = open().await;
    let head = format!("POST {EMULATION_PATH} HTTP/1.1\r\nHost: e\r\nContent-Length: 9\r\n\r\n{{");
    half.write_all(head.as_bytes()).await.unwrap();
    assert!(closed(half).await.starts_with("HTTP/1.1 408"));
    for client in &mut held {
        world.publish("inbox:#alice", 1).await;
        assert_eq!(client.answer.data().await["push"]["pub"]["data"], 1);
    }
    edge.stop().await;
}
