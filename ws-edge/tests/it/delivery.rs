//! Each message once and in order: live, across broken connections, a killed edge and a restarted NATS.

use futures::StreamExt as _;
use serde_json::{Value, json};

use crate::support::{Client, Edge, World, datum, options, recovered};

const INBOX: &str = "inbox:#alice";

/// What the client knows of its inbox, as an SDK keeps it.
struct Inbox {
    offset: u64,
    epoch: String,
    data: Vec<u64>,
}

impl Inbox {
    fn new(connect: &Value) -> Self {
        let sub = &connect["subs"][INBOX];
        Self {
            offset: sub["offset"].as_u64().unwrap(),
            epoch: sub["epoch"].as_str().unwrap().to_owned(),
            data: Vec::new(),
        }
    }

    fn hints(&self) -> Value {
        json!({INBOX: {"recover": true, "offset": self.offset, "epoch": self.epoch}})
    }

    fn take(&mut self, list: &[(u64, u64)]) {
        for (data, offset) in list {
            assert!(*offset > self.offset, "offset {offset} after {}", self.offset);
            self.offset = *offset;
            self.data.push(*data);
        }
    }

    /// Reads until the connection ends or everything came.
    async fn read(&mut self, client: &mut Client, until: usize) {
        while self.data.len() < until {
            match client.next().await {
                Ok(line) if line["push"]["channel"] == INBOX => {
                    self.take(&[datum(&line["push"]["pub"])])
                }
                Ok(line) => assert_eq!(line, json!({})),
                Err(_) => return,
            }
        }
    }

    async fn reconnect(&mut self, edge: &Edge) -> Client {
        let (client, connect) = Client::connect(edge, "alice", self.hints()).await;
        let sub = &connect["subs"][INBOX];
        assert_eq!(sub["offset"], self.offset);
        self.take(&recovered(sub));
        client
    }
}

async fn publish_all(world: &World, range: std::ops::Range<u64>) {
    for number in range {
        world.publish(INBOX, number).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_reaches_subscribers_with_its_trace_and_publisher() {
    let world = World::start().await;
    let edge = world.edge(options()).await;
    let (mut alice, connect) = Client::connect(&edge, "alice", json!({})).await;
    assert_eq!(
        (&connect["ping"], &connect["pong"], &connect["expires"]),
        (&json!(25), &json!(true), &json!(true))
    );
    let trace = campana_bus::trace::TraceParent::fresh();
    let subject = campana_bus::subjects::channel(
        "default",
        &campana_bus::subjects::ChannelName::inbox("alice").unwrap(),
    );
    let message = campana_bus::publish::Outgoing::new(subject, "m1", "{\"title\":\n\"x\"}".into())
        .header("traceparent", &trace.to_string());
    world.bus.publish(message).await.unwrap();
    let push = alice.next().await.unwrap();
    assert_eq!(push["push"]["pub"]["data"], json!({"title": "x"}));
    assert_eq!(push["push"]["pub"]["tags"]["traceparent"], trace.to_string());
    let (mut bob, _) = Client::connect(&edge, "bob", json!({})).await;
    for client in [&mut alice, &mut bob] {
        client.ask(&json!({"id": 2, "subscribe": {"channel": "room:a"}})).await;
    }
    let answer =
        bob.ask(&json!({"id": 3, "publish": {"channel": "room:a", "data": {"n": [1, 2]}}})).await;
    assert_eq!(answer, json!({"id": 3, "publish": {}}));
    let push = alice.next().await.unwrap();
    assert_eq!(
        (&push["push"]["pub"]["data"], &push["push"]["pub"]["info"]["user"]),
        (&json!({"n": [1, 2]}), &json!("bob"))
    );
    let history = alice
        .ask(&json!({"id": 4, "history": {"channel": INBOX, "limit": 10, "reverse": true}}))
        .await;
    assert_eq!(history["history"]["publications"][0]["data"], json!({"title": "x"}));
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bursts_arrive_in_order_and_share_frames() {
    let world = World::start().await;
    let edge = world.edge(options()).await;
    let (mut alice, connect) = Client::connect(&edge, "alice", json!({})).await;
    let mut inbox = Inbox::new(&connect);
    let publishes = (0..600).map(|number| world.publish(INBOX, number));
    let sequences: Vec<u64> = futures::stream::iter(publishes).buffered(256).collect().await;
    assert_eq!(sequences.len(), 600);
    inbox.read(&mut alice, 600).await;
    assert_eq!(inbox.offset, *sequences.iter().max().unwrap());
    assert!(alice.frames.iter().all(|lines| *lines <= 16));
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_messages_survive_broken_connections() {
    let world = World::start().await;
    let edge = world.edge(options()).await;
    let (mut client, connect) = Client::connect(&edge, "alice", json!({})).await;
    let mut inbox = Inbox::new(&connect);
    let reading = async {
        let mut breaks = 0;
        while inbox.data.len() < 1_000 {
            let until = (inbox.data.len() + 120).min(1_000);
            inbox.read(&mut client, until).await;
            // Breaks off without a word, while messages are on their way.
            client = inbox.reconnect(&edge).await;
            breaks += 1;
        }
        breaks
    };
    let (breaks, ()) = tokio::join!(reading, publish_all(&world, 0..1_000));
    assert!(breaks >= 3, "{breaks}");
    assert_eq!(inbox.data, (0..1_000).collect::<Vec<_>>());
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_gap_is_recovered_in_pages() {
    let world = World::start().await;
    let edge = world.edge(options()).await;
    publish_all(&world, 0..3).await;
    let (client, connect) = Client::connect(&edge, "alice", json!({})).await;
    let mut inbox = Inbox::new(&connect);
    drop(client);
    publish_all(&world, 3..950).await;
    let mut client = inbox.reconnect(&edge).await;
    assert_eq!(inbox.data.len(), 300);
    world.publish(INBOX, 950).await;
    inbox.read(&mut client, 948).await;
    assert_eq!(inbox.data, (3..951).collect::<Vec<_>>());
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_edge_loses_nothing() {
    let world = World::start().await;
    let mut edge = world.edge(options()).await;
    let (mut client, connect) = Client::connect(&edge, "alice", json!({})).await;
    let mut inbox = Inbox::new(&connect);
    let reading = async {
        for part in 1..=3 {
            inbox.read(&mut client, part * 200).await;
            let port = edge.port;
            edge.kill().await;
            edge = Edge::start(&world.nats, options(), port).await;
            client = inbox.reconnect(&edge).await;
        }
        inbox.read(&mut client, 1_000).await;
        edge
    };
    let (edge, ()) = tokio::join!(reading, publish_all(&world, 0..1_000));
    assert_eq!(inbox.data, (0..1_000).collect::<Vec<_>>());
    edge.stop().await;
}

/// The client's connection stays; NATS goes away below it, twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_nats_loses_nothing() {
    let mut world = World::start().await;
    let edge = world.edge(options()).await;
    let (mut client, connect) = Client::connect(&edge, "alice", json!({})).await;
    let mut inbox = Inbox::new(&connect);
    for round in 0..2 {
        publish_all(&world, round * 300..round * 300 + 150).await;
        world.nats.restart().unwrap();
        let (start, end) = (round * 300 + 150, round * 300 + 300);
        let until = usize::try_from(end).unwrap();
        tokio::join!(inbox.read(&mut client, until), publish_all(&world, start..end));
    }
    assert_eq!(inbox.data, (0..600).collect::<Vec<_>>());
    edge.stop().await;
}
