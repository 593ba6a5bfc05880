//! Clients that break the rules: each gets its documented end, and nobody else notices.

use http::header::ORIGIN;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};

use crate::support::{Client, World, options};

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_frame_has_its_close_code_and_harms_nobody() {
    let world = World::start().await;
    let edge = world.edge(options()).await;
    let (mut witness, _) = Client::connect(&edge, "witness", json!({})).await;
    let text = |text: &str| Message::text(text.to_owned());
    let deep = format!("{{\"id\":1,\"connect\":{}", "{\"a\":".repeat(10_000));
    let table = [
        ("not JSON", text("hello"), 3501),
        ("cut JSON", text("{\"id\":1,\"connect\":{"), 3501),
        ("an empty frame", text(""), 3501),
        ("a list", text("[]"), 3501),
        ("a number", text("1"), 3501),
        ("deep nesting", text(&deep), 3501),
        ("a wrong type", text("{\"id\":\"one\"}"), 3501),
        ("a pong nobody asked for", text("{}"), 3501),
        (
            "a command before connect",
            text("{\"id\":1,\"subscribe\":{\"channel\":\"room:a\"}}"),
            3501,
        ),
        ("no token", text("{\"id\":1,\"connect\":{}}"), 3501),
        (
            "a forged token",
            text("{\"id\":1,\"connect\":{\"token\":\"eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.\"}}"),
            3500,
        ),
        ("a binary frame", Message::Binary(Bytes::from_static(b"{}")), 3506),
        ("a frame above the limit", text(&"x".repeat(70_000)), 1009),
        ("control characters", text("\u{0}\u{1}\u{2}"), 3501),
    ];
    for (name, message, code) in table {
        let mut client = Client::open(&edge).await;
        client.raw(message).await;
        assert_eq!(client.close_code().await, code, "{name}");
    }
    world.publish("inbox:#witness", 1).await;
    assert_eq!(witness.publications("inbox:#witness", 1).await[0].0, 1);
    edge.stop().await;
}

/// Frames that no WebSocket library would send, written by hand.
#[tokio::test(flavor = "multi_thread")]
async fn broken_websocket_frames_are_refused() {
    let world = World::start().await;
    let edge = world.edge(options()).await;
    let masked = |first: u8, body: &[u8]| {
        let length = u8::try_from(body.len()).unwrap();
        [&[first, 0x80 | length, 0, 0, 0, 0][..], body].concat()
    };
    let table: [(&str, Vec<u8>, u16); 5] = [
        ("an unmasked frame", vec![0x81, 2, b'{', b'}'], 1002),
        ("a reserved bit", masked(0xC1, b"{}"), 1002),
        ("a reserved opcode", masked(0x83, b"{}"), 1002),
        ("text that is not UTF-8", masked(0x81, &[0xFF, 0xFE]), 1007),
        ("a length of 2^63", [&[0x81, 0xFF, 0x7F][..], &[0xFF; 7], &[0; 4]].concat(), 1009),
    ];
    for (name, bytes, code) in table {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", edge.port)).await.unwrap();
        let request = "GET /connection/websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{name}");
        stream.write_all(&bytes).await.unwrap();
        let mut answer = [0_u8; 4];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!((answer[0], u16::from_be_bytes([answer[2], answer[3]])), (0x88, code), "{name}");
    }
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn upgrades_are_refused_before_they_cost_anything() {
    let world = World::start().await;
    let listed = vec!["https://app.example".to_owned()];
    let edge = world
        .edge(campana_ws_edge::EdgeOptions {
            allowed_origins: listed,
            connections_max: 1,
            ..options()
        })
        .await;
    let attempt = async |origin: Option<&str>, query: &str| {
        let mut request = format!("{}{query}", edge.url()).into_client_request().unwrap();
        if let Some(origin) = origin {
            request.headers_mut().insert(ORIGIN, origin.parse().unwrap());
        }
        match tokio_tungstenite::connect_async(request).await {
            Ok((socket, _)) => (101, Some(socket)),
            Err(Error::Http(answer)) => (answer.status().as_u16(), None),
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(attempt(Some("https://evil.example"), "").await.0, 403);
    assert_eq!(attempt(Some("https://evil.example"), "?cf_protocol=protobuf").await.0, 403);
    let (status, _held) = attempt(Some("https://app.example"), "").await;
    assert_eq!(status, 101);
    assert_eq!(attempt(None, "").await.0, 503);
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn smuggled_names_reach_nothing_of_others() {
    let world = World::start().await;
    let edge = world.edge(options()).await;
    let (mut bob, _) = Client::connect(&edge, "bob", json!({})).await;
    let (mut mallory, _) = Client::connect(&edge, "*", json!({})).await;
    let long = "x".repeat(10_000);
    let table = [
        ("inbox:#bob", 103),
        ("inbox:>", 103),
        ("inbox:*", 103),
        ("inbox.#bob", 102),
        (">", 102),
        ("*", 102),
        ("room:a\nSUB live.> 1", 107),
        ("room:\u{7f}", 107),
        (long.as_str(), 107),
        ("", 107),
        (":room", 107),
        ("room:>", 0),
        ("room:*", 0),
        ("room:a.b", 0),
        ("room:🔔", 0),
        ("room:a b\u{a0}c", 0),
    ];
    for (id, (name, code)) in (2..).zip(table) {
        let reply = mallory.ask(&json!({"id": id, "subscribe": {"channel": name}})).await;
        assert_eq!(reply["error"]["code"].as_u64().unwrap_or(0), code, "{name}: {reply}");
    }
    world.publish("inbox:#bob", 1).await;
    world.publish("room:anything", 2).await;
    world.publish("room:🔔", 3).await;
    world.publish("inbox:#*", 4).await;
    assert_eq!(bob.publications("inbox:#bob", 1).await[0].0, 1);
    let heard = two_pushes(&mut mallory).await;
    assert_eq!(heard, [("inbox:#*".to_owned(), json!(4)), ("room:🔔".to_owned(), json!(3))]);
    edge.stop().await;
}

/// Channel and data of the next two publications; between two channels there is no order.
async fn two_pushes(client: &mut Client) -> Vec<(String, Value)> {
    let mut heard = Vec::new();
    for _ in 0..2 {
        let push = &client.next().await.unwrap()["push"];
        heard.push((push["channel"].as_str().unwrap().to_owned(), push["pub"]["data"].clone()));
    }
    heard.sort_by(|a, b| a.0.cmp(&b.0));
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_do_not_see_each_other() {
    let world = World::start().await;
    let edge = world.edge(options()).await;
    let (mut here, _) = Client::connect(&edge, "alice", json!({})).await;
    let now = campana_bus::clock::now().0 / 1_000_000;
    let other = crate::support::keys()
        .mint_connection("alice", "other", 60, now, &Default::default())
        .unwrap();
    let mut there = Client::open(&edge).await;
    assert_eq!(
        there.ask(&json!({"id": 1, "connect": {"token": other}})).await["connect"]["subs"]["inbox:#alice"]
            ["recoverable"],
        true
    );
    for client in [&mut here, &mut there] {
        assert!(
            client.ask(&json!({"id": 2, "subscribe": {"channel": "room:a"}})).await["subscribe"]
                .is_object()
        );
    }
    there.ask(&json!({"id": 3, "publish": {"channel": "room:a", "data": 7}})).await;
    world.publish("inbox:#alice", 1).await;
    world.publish("room:a", 2).await;
    let heard = two_pushes(&mut here).await;
    assert_eq!(heard, [("inbox:#alice".to_owned(), json!(1)), ("room:a".to_owned(), json!(2))]);
    let own = there.next().await.unwrap();
    assert_eq!(own["push"]["pub"]["data"], 7);
    assert_eq!(own["push"]["pub"]["info"]["user"], "alice");
    assert_eq!(there.ask(&json!({"id": 4, "ping": {}})).await["ping"], json!({}));
    edge.stop().await;
}
