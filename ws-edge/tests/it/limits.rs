//! Who is let in, how often somebody may ask, and what a storm is told.

use std::time::Duration;

use campana_identity::ConnectionSpec;
use campana_ws_edge::{EdgeOptions, LimitOptions};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::support::{Client, Edge, World, keys, options};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

const LIMIT: Duration = Duration::from_secs(60);

/// Opens a WebSocket as a proxy does for its client; or the status and when to come again.
async fn open(edge: &Edge, forwarded: &str) -> Result<Socket, (u16, u64)> {
    let mut request = edge.url().into_client_request().unwrap();
    request.headers_mut().insert("x-forwarded-for", forwarded.parse().unwrap());
    match tokio_tungstenite::connect_async(request).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(answer)) => {
            let after = answer.headers().get("retry-after").unwrap().to_str().unwrap();
            Err((answer.status().as_u16(), after.parse().unwrap()))
        }
        Err(error) => panic!("{error}"),
    }
}

/// Until somebody from this address is let in.
async fn let_in(edge: &Edge, forwarded: &str) -> Socket {
    let trying = async {
        loop {
            if let Ok(socket) = open(edge, forwarded).await {
                return socket;
            }
        }
    };
    tokio::time::timeout(LIMIT, trying).await.unwrap()
}

fn limited(limits: LimitOptions) -> EdgeOptions {
    EdgeOptions { limits, ..options() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_so_many_connections_and_no_more() {
    let world = World::start().await;
    let limits = LimitOptions {
        connections_per_address_max: 2,
        trusted_proxies: vec!["127.0.0.1".to_owned()],
        ..LimitOptions::default()
    };
    let edge = world.edge(limited(limits.clone())).await;
    let first = open(&edge, "198.51.100.7, 203.0.113.9").await.unwrap();
    let _second = open(&edge, "203.0.113.9").await.unwrap();
    let (status, after) = open(&edge, "203.0.113.9").await.unwrap_err();
    assert!(status == 429 && after > 0);
    // Neighbours in one IPv6 network are one address; others have their own.
    let _v6 =
        (open(&edge, "2001:db8::1").await.unwrap(), open(&edge, "2001:db8::2").await.unwrap());
    assert_eq!(open(&edge, "2001:db8::3").await.unwrap_err().0, 429);
    assert!(open(&edge, "198.51.100.7").await.is_ok());
    drop(first);
    let_in(&edge, "203.0.113.9").await;
    edge.stop().await;
    // Without a trusted proxy all of this is one address, whatever it says.
    let edge = world.edge(limited(LimitOptions { trusted_proxies: Vec::new(), ..limits })).await;
    let _two =
        (open(&edge, "203.0.113.1").await.unwrap(), open(&edge, "203.0.113.2").await.unwrap());
    assert_eq!(open(&edge, "203.0.113.3").await.unwrap_err().0, 429);
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_connections_is_told_when_to_come_again() {
    let world = World::start().await;
    let limits =
        LimitOptions { accepts_per_second: 1, accepts_burst: 20, ..LimitOptions::default() };
    let edge = world.edge(limited(limits)).await;
    let storm = (0..60).map(|_| open(&edge, "203.0.113.9"));
    let storm = futures::future::join_all(storm).await;
    let (good, bad): (Vec<_>, Vec<_>) = storm.into_iter().partition(Result::is_ok);
    assert!(good.len() >= 20 && !bad.is_empty(), "{} were let in", good.len());
    for refused in bad {
        let (status, after) = refused.unwrap_err();
        assert!(status == 503 && (1..=2).contains(&after), "{status} {after}");
    }
    // Who comes again is let in: a token comes back every second.
    let_in(&edge, "203.0.113.9").await;
    drop(good);
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_node_refuses_with_503_and_has_room_again() {
    let world = World::start().await;
    let edge = world.edge(EdgeOptions { connections_max: 1, ..options() }).await;
    let only = open(&edge, "203.0.113.9").await.unwrap();
    assert_eq!(open(&edge, "203.0.113.9").await.unwrap_err().0, 503);
    drop(only);
    let_in(&edge, "203.0.113.9").await;
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_so_many_connections_and_no_more() {
    let world = World::start().await;
    let limits = LimitOptions { connections_per_user_max: 2, ..LimitOptions::default() };
    let edge = world.edge(limited(limits)).await;
    let (first, _) = Client::connect(&edge, "alice", json!({})).await;
    let _second = Client::connect(&edge, "alice", json!({})).await;
    let connect = json!({"id": 1, "connect": {"token": crate::support::token("alice")}});
    let mut third = Client::open(&edge).await;
    third.send(&connect).await;
    assert_eq!(third.close_code().await, 3504);
    Client::connect(&edge, "bob", json!({})).await;
    drop(first);
    let again = async {
        loop {
            let mut client = Client::open(&edge).await;
            client.send(&connect).await;
            if client.next().await.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(LIMIT, again).await.unwrap();
    edge.stop().await;
}

/// The codes of the answers to one frame of commands; 0 for success.
async fn codes(client: &mut Client, commands: &[Value]) -> Vec<u64> {
    let frame: Vec<String> = commands.iter().map(Value::to_string).collect();
    client.raw(tokio_tungstenite::tungstenite::Message::text(frame.join("\n"))).await;
    let mut found = Vec::new();
    while found.len() < commands.len() {
        let line = client.next().await.unwrap();
        if line["id"].is_number() {
            let code = line["error"]["code"].as_u64().unwrap_or(0);
            assert_eq!(line["error"]["temporary"] == true, code == 111, "{line}");
            found.push(code);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_s_connections_share_one_budget_of_commands() {
    let world = World::start().await;
    let limits = LimitOptions {
        user_commands_per_second: 1,
        user_commands_burst: 70,
        ..LimitOptions::default()
    };
    let edge = world.edge(limited(limits)).await;
    let pings: Vec<Value> = (10..70).map(|id| json!({"id": id, "ping": {}})).collect();
    let (mut one, _) = Client::connect(&edge, "alice", json!({})).await;
    let (mut other, _) = Client::connect(&edge, "alice", json!({})).await;
    let (mut bob, _) = Client::connect(&edge, "bob", json!({})).await;
    assert_eq!(codes(&mut one, &pings).await, vec![0; 60]);
    let of_other = codes(&mut other, &pings).await;
    assert!(of_other.starts_with(&[0; 10]) && of_other.ends_with(&[111]), "{of_other:?}");
    assert_eq!(codes(&mut bob, &pings).await, vec![0; 60]);
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_of_a_connection_come_at_a_rate() {
    let world = World::start().await;
    let limits =
        LimitOptions { subscribes_per_second: 1, subscribes_burst: 10, ..LimitOptions::default() };
    let edge = world.edge(limited(limits)).await;
    let (mut client, _) = Client::connect(&edge, "alice", json!({})).await;
    let subscribes: Vec<Value> = (10..90)
        .map(|id| json!({"id": id, "subscribe": {"channel": format!("room:{id}")}}))
        .collect();
    let found = codes(&mut client, &subscribes).await;
    let (good, refused) = (
        found.iter().filter(|code| **code == 0).count(),
        found.iter().filter(|code| **code == 111).count(),
    );
    assert!(good >= 10 && refused > 0 && good + refused == 80, "{found:?}");
    // Other commands are not concerned.
    assert_eq!(codes(&mut client, &[json!({"id": 100, "ping": {}})]).await, [0]);
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_row_of_joins_is_a_passing_error() {
    let world = World::start().await;
    let limits =
        LimitOptions { joins_in_flight_max: 1, joins_waiting_max: 0, ..LimitOptions::default() };
    let edge = world.edge(limited(limits)).await;
    // One channel at a time is fine.
    let (mut client, _) = Client::connect(&edge, "alice", json!({})).await;
    assert_eq!(
        codes(&mut client, &[json!({"id": 2, "subscribe": {"channel": "room:a"}})]).await,
        [0]
    );
    // A token with several asks for all at once.
    let spec = ConnectionSpec {
        channels: vec!["room:b".to_owned(), "room:c".to_owned()],
        ..ConnectionSpec::default()
    };
    let now = campana_bus::clock::now().0 / 1_000_000;
    let token = keys().mint_connection("bob", "default", 3_600, now, &spec).unwrap();
    let mut crowd = Client::open(&edge).await;
    let connect = json!({"id": 1, "connect": {"token": token}});
    assert_eq!(codes(&mut crowd, &[connect]).await, [111]);
    edge.stop().await;
}
