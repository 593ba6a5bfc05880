//! The Protobuf protocol against a running edge, with messages of its own: field numbers are checked twice.

use std::collections::{BTreeMap, VecDeque};

use futures::{SinkExt as _, StreamExt as _};
use prost::Message as _;
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use campana_ws_edge::{Allow, EdgeOptions, NamespaceOptions, RecoveryMode};

use crate::support::{Client, Edge, World, options, token};

#[derive(Clone, PartialEq, prost::Message)]
pub struct Command {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(message, optional, tag = "4")]
    connect: Option<Connect>,
    #[prost(message, optional, tag = "5")]
    subscribe: Option<Subscribe>,
    #[prost(message, optional, tag = "7")]
    publish: Option<Publish>,
    #[prost(message, optional, tag = "10")]
    history: Option<History>,
    #[prost(message, optional, tag = "13")]
    rpc: Option<Rpc>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Connect {
    #[prost(string, tag = "1")]
    token: String,
    #[prost(btree_map = "string, message", tag = "3")]
    subs: BTreeMap<String, Subscribe>,
    #[prost(string, tag = "4")]
    name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Subscribe {
    #[prost(string, tag = "1")]
    channel: String,
    #[prost(bool, tag = "3")]
    recover: bool,
    #[prost(string, tag = "6")]
    epoch: String,
    #[prost(uint64, tag = "7")]
    offset: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Publish {
    #[prost(string, tag = "1")]
    channel: String,
    #[prost(bytes = "vec", tag = "2")]
    data: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct History {
    #[prost(string, tag = "1")]
    channel: String,
    #[prost(int32, tag = "7")]
    limit: i32,
    #[prost(message, optional, tag = "8")]
    since: Option<StreamPosition>,
    #[prost(bool, tag = "9")]
    reverse: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct StreamPosition {
    #[prost(uint64, tag = "1")]
    offset: u64,
    #[prost(string, tag = "2")]
    epoch: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Rpc {
    #[prost(bytes = "vec", tag = "1")]
    data: Vec<u8>,
    #[prost(string, tag = "2")]
    method: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Reply {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(message, optional, tag = "2")]
    error: Option<Error>,
    #[prost(message, optional, tag = "4")]
    push: Option<Push>,
    #[prost(message, optional, tag = "5")]
    connect: Option<Connected>,
    #[prost(message, optional, tag = "6")]
    subscribe: Option<Subscribed>,
    #[prost(message, optional, tag = "8")]
    publish: Option<Nothing>,
    #[prost(message, optional, tag = "11")]
    history: Option<Found>,
    #[prost(message, optional, tag = "13")]
    rpc: Option<Rpc>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Nothing {}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Error {
    #[prost(uint32, tag = "1")]
    code: u32,
    #[prost(string, tag = "2")]
    message: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Push {
    #[prost(string, tag = "2")]
    channel: String,
    #[prost(message, optional, tag = "4")]
    publication: Option<Publication>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Publication {
    #[prost(bytes = "vec", tag = "4")]
    data: Vec<u8>,
    #[prost(message, optional, tag = "5")]
    info: Option<Info>,
    #[prost(uint64, tag = "6")]
    offset: u64,
    #[prost(string, tag = "10")]
    channel: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Info {
    #[prost(string, tag = "1")]
    user: String,
    #[prost(string, tag = "2")]
    client: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Connected {
    #[prost(string, tag = "1")]
    client: String,
    #[prost(bool, tag = "3")]
    expires: bool,
    #[prost(uint32, tag = "4")]
    ttl: u32,
    #[prost(btree_map = "string, message", tag = "6")]
    subs: BTreeMap<String, Subscribed>,
    #[prost(uint32, tag = "7")]
    ping: u32,
    #[prost(bool, tag = "8")]
    pong: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Subscribed {
    #[prost(bool, tag = "3")]
    recoverable: bool,
    #[prost(string, tag = "6")]
    epoch: String,
    #[prost(message, repeated, tag = "7")]
    publications: Vec<Publication>,
    #[prost(bool, tag = "8")]
    recovered: bool,
    #[prost(uint64, tag = "9")]
    offset: u64,
    #[prost(bool, tag = "10")]
    positioned: bool,
    #[prost(bool, tag = "12")]
    was_recovering: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Found {
    #[prost(message, repeated, tag = "1")]
    publications: Vec<Publication>,
    #[prost(string, tag = "2")]
    epoch: String,
    #[prost(uint64, tag = "3")]
    offset: u64,
}

/// A client that speaks Protobuf.
struct Binary {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    replies: VecDeque<Reply>,
    /// Messages per frame, as they came.
    frames: Vec<usize>,
}

impl Binary {
    async fn open(edge: &Edge, query: &str, subprotocol: Option<&str>) -> Self {
        let mut request = format!("{}{query}", edge.url()).into_client_request().unwrap();
        if let Some(name) = subprotocol {
            request.headers_mut().insert("sec-websocket-protocol", name.parse().unwrap());
        }
        let (socket, answer) = connect_async(request).await.unwrap();
        let chosen = answer.headers().get("sec-websocket-protocol");
        assert_eq!(chosen.map(|name| name.to_str().unwrap()), subprotocol);
        Self { socket, replies: VecDeque::new(), frames: Vec::new() }
    }

    async fn connect(
        edge: &Edge,
        user: &str,
        subs: BTreeMap<String, Subscribe>,
    ) -> (Self, Connected) {
        let mut client = Self::open(edge, "", Some("centrifuge-protobuf")).await;
        let connect = Connect { token: token(user), subs, name: "test".to_owned() };
        let command = Command { id: 1, connect: Some(connect), ..Default::default() };
        let reply = client.ask(command).await;
        (client, reply.connect.unwrap())
    }

    async fn raw(&mut self, frame: Vec<u8>) {
        self.socket.send(Message::Binary(frame.into())).await.unwrap();
    }

    async fn ask(&mut self, command: Command) -> Reply {
        self.raw(command.encode_length_delimited_to_vec()).await;
        let mut kept = VecDeque::new();
        loop {
            let reply = self.next().await.unwrap();
            if reply.id == command.id {
                kept.append(&mut self.replies);
                self.replies = kept;
                return reply;
            }
            kept.push_back(reply);
        }
    }

    async fn publish(&mut self, id: u32, channel: &str, data: &[u8]) -> u32 {
        let publish = Publish { channel: channel.to_owned(), data: data.to_vec() };
        let reply = self.ask(Command { id, publish: Some(publish), ..Default::default() }).await;
        assert!(reply.publish.is_some() || reply.error.is_some());
        reply.error.map_or(0, |error| error.code)
    }

    async fn subscribe(&mut self, id: u32, subscribe: Subscribe) -> Subscribed {
        let command = Command { id, subscribe: Some(subscribe), ..Default::default() };
        self.ask(command).await.subscribe.unwrap()
    }

    /// The next message, or the close code; 0 if the connection just broke.
    async fn next(&mut self) -> Result<Reply, u16> {
        loop {
            if let Some(reply) = self.replies.pop_front() {
                return Ok(reply);
            }
            let next = self.socket.next();
            match tokio::time::timeout(std::time::Duration::from_secs(60), next).await.unwrap() {
                Some(Ok(Message::Binary(mut frame))) => {
                    let mut count = 0;
                    while !frame.is_empty() {
                        self.replies.push_back(Reply::decode_length_delimited(&mut frame).unwrap());
                        count += 1;
                    }
                    self.frames.push(count);
                }
                Some(Ok(Message::Close(frame))) => {
                    return Err(frame.map_or(0, |frame| frame.code.into()));
                }
                Some(Ok(Message::Text(text))) => panic!("{text}"),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(0),
            }
        }
    }

    async fn publication(&mut self) -> (String, Publication) {
        loop {
            if let Some(push) = self.next().await.unwrap().push {
                return (push.channel, push.publication.unwrap());
            }
        }
    }

    async fn close_code(&mut self) -> u16 {
        loop {
            if let Err(code) = self.next().await {
                return code;
            }
        }
    }
}

fn room(offset: Option<(u64, &str)>) -> Subscribe {
    let (recover, (offset, epoch)) = (offset.is_some(), offset.unwrap_or_default());
    Subscribe { channel: "room:a".to_owned(), recover, epoch: epoch.to_owned(), offset }
}

fn with_bytes() -> EdgeOptions {
    let mut options = options();
    options.namespaces.push(NamespaceOptions {
        name: "raw".to_owned(),
        subscribe: vec![Allow::Authenticated],
        publish: vec![Allow::Subscriber],
        binary: true,
        ..NamespaceOptions::default()
    });
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn patterns_and_states_are_recovered() {
    let world = World::start().await;
    let namespace = |name: &str| NamespaceOptions {
        name: name.to_owned(),
        subscribe: vec![Allow::Authenticated],
        ..NamespaceOptions::default()
    };
    let (cache, wildcard) = (RecoveryMode::Cache, true);
    let namespaces = vec![
        NamespaceOptions { wildcard, ..namespace("news") },
        NamespaceOptions { recovery_mode: cache, ..namespace("state") },
    ];
    let edge = world.edge(EdgeOptions { namespaces, ..EdgeOptions::default() }).await;
    let first = world.publish("news:a", 1).await;
    let second = world.publish("news:b", 2).await;
    for number in 1..4 {
        world.publish("state:a", number).await;
    }
    let (mut alice, _) = Binary::connect(&edge, "alice", BTreeMap::new()).await;
    let ask = |channel: &str, offset| Subscribe {
        channel: channel.to_owned(),
        recover: true,
        epoch: String::new(),
        offset,
    };
    let news = alice.subscribe(2, ask("news:*", first)).await;
    let found: Vec<_> =
        news.publications.iter().map(|one| (one.channel.as_str(), one.offset)).collect();
    assert_eq!((news.recovered, found), (true, vec![("news:b", second)]));
    let state = alice.subscribe(3, ask("state:a", 0)).await;
    assert_eq!((state.recovered, state.publications.len()), (true, 1));
    assert_eq!(
        (state.publications[0].data.as_slice(), state.publications[0].channel.as_str()),
        (&b"3"[..], "")
    );
    let third = world.publish("news:c", 3).await;
    let (pattern, publication) = alice.publication().await;
    let found = (pattern.as_str(), publication.channel.as_str(), publication.offset);
    assert_eq!(found, ("news:*", "news:c", third));
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_protocols_meet_in_one_channel() {
    let world = World::start().await;
    let edge = world.edge(options()).await;
    let (mut alice, connected) = Binary::connect(&edge, "alice", BTreeMap::new()).await;
    assert!(connected.pong && connected.expires && connected.ping == 25);
    let inbox = &connected.subs["inbox:#alice"];
    assert!(inbox.recoverable && inbox.positioned && !inbox.epoch.is_empty());
    let (mut bob, _) = Client::connect(&edge, "bob", json!({})).await;
    bob.ask(&json!({"id": 2, "subscribe": {"channel": "room:a"}})).await;
    assert!(alice.subscribe(2, room(None)).await.recoverable);
    let body = b"{\n \"n\": [1, \"\xc3\xbc\"]}";
    assert_eq!(alice.publish(3, "room:a", body).await, 0);
    assert_eq!(alice.publish(4, "room:a", &[0xff]).await, 107);
    let (channel, own) = alice.publication().await;
    assert_eq!((channel.as_str(), own.data.as_slice()), ("room:a", &body[..]));
    assert_eq!(own.info.unwrap().user, "alice");
    let heard = bob.next().await.unwrap();
    assert_eq!(heard["push"]["pub"]["data"], json!({"n": [1, "ü"]}));
    assert_eq!(heard["push"]["pub"]["info"]["client"], connected.client);
    bob.ask(&json!({"id": 3, "publish": {"channel": "room:a", "data": {"from": "bob"}}})).await;
    let (_, from_bob) = alice.publication().await;
    assert_eq!(
        (from_bob.data.as_slice(), from_bob.info.unwrap().user.as_str()),
        (&b"{\"from\":\"bob\"}"[..], "bob")
    );
    let history = History { channel: "room:a".to_owned(), limit: 1, reverse: true, since: None };
    let reply = alice.ask(Command { id: 5, history: Some(history), ..Default::default() }).await;
    let found = reply.history.unwrap();
    assert_eq!(found.publications[0].offset, from_bob.offset);
    assert_eq!(
        (found.publications.len(), found.offset, found.epoch),
        (1, from_bob.offset, inbox.epoch.clone())
    );
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_comes_once_in_order_and_in_shared_frames() {
    let world = World::start().await;
    let edge = world.edge(options()).await;
    let (mut client, _) = Binary::connect(&edge, "alice", BTreeMap::new()).await;
    let joined = client.subscribe(2, room(None)).await;
    drop(client);
    for number in 0..400 {
        world.publish("room:a", number).await;
        world.publish("inbox:#alice", number).await;
    }
    let hint = Subscribe { channel: String::new(), ..room(Some((joined.offset, &joined.epoch))) };
    let subs = BTreeMap::from([("inbox:#alice".to_owned(), hint)]);
    let (mut client, connected) = Binary::connect(&edge, "alice", subs).await;
    let inbox = &connected.subs["inbox:#alice"];
    assert!(inbox.was_recovering && inbox.recovered);
    let mut data: Vec<Publication> = inbox.publications.clone();
    while data.len() < 400 {
        data.push(client.publication().await.1);
    }
    let number = |one: &Publication| String::from_utf8(one.data.clone()).unwrap().parse().unwrap();
    assert_eq!(data.iter().map(number).collect::<Vec<u64>>(), (0..400).collect::<Vec<_>>());
    assert!(data.is_sorted_by_key(|one| one.offset));
    let back = client.subscribe(3, room(Some((joined.offset, &joined.epoch)))).await;
    assert!(back.was_recovering && back.recovered && back.offset == joined.offset);
    assert_eq!(back.publications.len(), 300);
    let mut data = back.publications;
    while data.len() < 400 {
        data.push(client.publication().await.1);
    }
    assert_eq!(data.iter().map(number).collect::<Vec<u64>>(), (0..400).collect::<Vec<_>>());
    assert!(client.frames.iter().any(|count| *count > 1), "{:?}", client.frames);
    assert!(client.frames.iter().all(|count| *count <= 16));
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_pass_through_and_end_only_who_cannot_read_them() {
    let world = World::start().await;
    let edge = world.edge(with_bytes()).await;
    let (mut sender, _) = Binary::connect(&edge, "sender", BTreeMap::new()).await;
    let (mut reader, _) = Client::connect(&edge, "reader", json!({})).await;
    let (mut witness, _) = Client::connect(&edge, "witness", json!({})).await;
    let raw = Subscribe { channel: "raw:a".to_owned(), ..Subscribe::default() };
    sender.subscribe(2, raw).await;
    reader.ask(&json!({"id": 2, "subscribe": {"channel": "raw:a"}})).await;
    assert_eq!(sender.publish(3, "raw:a", b"plain text").await, 0);
    assert_eq!(reader.next().await.unwrap()["push"]["pub"]["data"], "plain text");
    let bytes: Vec<u8> = (0..=255).collect();
    assert_eq!(sender.publish(4, "raw:a", &bytes).await, 0);
    assert_eq!(sender.publication().await.1.data, b"plain text");
    assert_eq!(sender.publication().await.1.data, bytes);
    assert_eq!(reader.close_code().await, 3506);
    world.publish("inbox:#witness", 7).await;
    assert_eq!(witness.publications("inbox:#witness", 1).await[0].0, 7);
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn protobuf_is_spoken_however_it_is_asked_for_and_bad_frames_end_it() {
    let world = World::start().await;
    let edge = world.edge(options()).await;
    for query in ["?format=protobuf", "?a=b&cf_protocol=protobuf"] {
        let mut client = Binary::open(&edge, query, None).await;
        let connect = Connect { token: token("alice"), ..Connect::default() };
        let command = Command { id: 1, connect: Some(connect), ..Default::default() };
        assert!(client.ask(command).await.connect.is_some(), "{query}");
    }
    for (name, frame, code) in [
        ("nothing", Message::Binary(Bytes::new()), 3501),
        ("a truncated length", Message::Binary(Bytes::from_static(&[0xff])), 3501),
        (
            "a huge length",
            Message::Binary(Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f])),
            3501,
        ),
        ("a pong that nobody asked for", Message::Binary(Bytes::from_static(&[0])), 3501),
        ("JSON", Message::text("{}"), 3506),
        ("too much", Message::Binary(vec![0; 70_000].into()), 1009),
    ] {
        let mut client = Binary::open(&edge, "", Some("centrifuge-protobuf")).await;
        client.socket.send(frame).await.unwrap();
        assert_eq!(client.close_code().await, code, "{name}");
    }
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_are_the_empty_message() {
    let world = World::start().await;
    let quick = EdgeOptions { ping_interval_ms: 60, pong_timeout_ms: 50, ..options() };
    let edge = world.edge(quick).await;
    let (mut silent, _) = Binary::connect(&edge, "alice", BTreeMap::new()).await;
    assert_eq!(silent.next().await, Ok(Reply::default()));
    assert_eq!(silent.close_code().await, 3012);
    edge.stop().await;
}
