//! Receipts over a real bus: who has seen a channel up to where.

use campana_bus::replay::From;
use campana_bus::topology::RECEIPTS;
use campana_ws_edge::presence::events::Seen;
use campana_ws_edge::{Allow, EdgeOptions, NamespaceOptions, ReceiptOptions};
use futures::StreamExt as _;
use serde_json::{Value, json};

use crate::support::{Client, World};

fn options(interval_ms: u64) -> EdgeOptions {
    let namespace = |name: &str, subscribe: &[Allow]| NamespaceOptions {
        name: name.to_owned(),
        subscribe: subscribe.to_vec(),
        presence: vec![Allow::Subscriber],
        ..NamespaceOptions::default()
    };
    EdgeOptions {
        namespaces: vec![namespace("room", &[Allow::Authenticated]), namespace("vip", &[])],
        receipts: ReceiptOptions { interval_ms, ..ReceiptOptions::default() },
        ..EdgeOptions::default()
    }
}

fn call(id: u64, method: &str, data: &Value) -> Value {
    json!({"id": id, "rpc": {"method": method, "data": data}})
}

async fn ack(client: &mut Client, id: u64, offset: u64) -> Value {
    let data = json!({"channel": "room:x", "offset": offset});
    client.ask(&call(id, "campana.ack", &data)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_furthest_offset_of_all_nodes_counts() {
    let world = World::start().await;
    let (one, two) = (world.edge(options(0)).await, world.edge(options(0)).await);
    let mut offsets = Vec::new();
    for number in 1..=4 {
        offsets.push(world.publish("room:x", number).await);
    }
    let (mut here, _) = Client::connect(&one, "alice", json!({})).await;
    let (mut there, _) = Client::connect(&two, "alice", json!({})).await;
    assert_eq!(ack(&mut here, 2, offsets[0]).await["error"]["code"], 103);
    for client in [&mut here, &mut there] {
        let reply = client.ask(&json!({"id": 3, "subscribe": {"channel": "room:x"}})).await;
        assert!(reply["subscribe"].is_object(), "{reply}");
    }
    let reached = json!({"offset": offsets[2]});
    assert_eq!(ack(&mut here, 4, offsets[1]).await["rpc"]["data"], json!({"offset": offsets[1]}));
    let (first, second) =
        tokio::join!(ack(&mut here, 5, offsets[0]), ack(&mut there, 5, offsets[2]));
    assert!(first["rpc"]["data"]["offset"].as_u64() >= Some(offsets[1]), "{first}");
    assert_eq!(second["rpc"]["data"], reached);
    assert_eq!(ack(&mut here, 6, offsets[0]).await["rpc"]["data"], reached);
    // What cannot have been seen, and what makes no sense.
    for (data, code) in [
        (json!({"channel": "room:x", "offset": offsets[3] + 1}), 107),
        (json!({"channel": "room:x", "offset": offsets[3] + 1_000}), 107),
        (json!({"channel": "room:x", "offset": 0}), 107),
        (json!({"channel": "room:x", "offset": 1, "epoch": "another"}), 112),
        (json!({"channel": "vip:x", "offset": 1}), 103),
        (json!({"channel": "none:x", "offset": 1}), 102),
        (json!("room:x"), 107),
    ] {
        let reply = here.ask(&call(7, "campana.ack", &data)).await;
        assert_eq!(reply["error"]["code"], code, "{data}: {reply}");
    }
    let reply = there.ask(&call(8, "campana.receipts", &json!({"channel": "room:x"}))).await;
    let found = &reply["rpc"]["data"];
    assert_eq!(
        (&found["more"], found["receipts"].as_array().map(Vec::len)),
        (&json!(false), Some(1))
    );
    assert_eq!(found["receipts"][0]["user"], "alice");
    assert_eq!(found["receipts"][0]["offset"], offsets[2]);
    let refused = there.ask(&call(9, "campana.receipts", &json!({"channel": "room:y"}))).await;
    assert_eq!(refused["error"]["code"], 103);
    // Services were told of each step forward, once.
    let mut events = world.bus.replay_events::<Seen>(From::Start);
    let mut told = Vec::new();
    while let Some(found) = events.next().await {
        let (event, _) = found.unwrap();
        assert_eq!((event.user.as_str(), event.channel.as_str()), ("alice", "room:x"));
        told.push((event.after, event.offset));
    }
    assert_eq!(told, [(0, offsets[1]), (offsets[1], offsets[2])]);
    one.kill().await;
    two.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_acknowledgements_are_one_write_and_the_last_one_is_never_lost() {
    let world = World::start().await;
    let edge = world.edge(options(60_000)).await;
    let mut offsets = Vec::new();
    for number in 1..=20 {
        offsets.push(world.publish("room:x", number).await);
    }
    let (mut client, _) = Client::connect(&edge, "alice", json!({})).await;
    client.ask(&json!({"id": 2, "subscribe": {"channel": "room:x"}})).await;
    // The first is written at once, those that follow wait for company.
    assert_eq!(ack(&mut client, 3, offsets[0]).await["rpc"]["data"]["offset"], offsets[0]);
    for (id, offset) in (10..).zip(&offsets[1..]) {
        let data = json!({"channel": "room:x", "offset": offset});
        client.send(&call(id, "campana.ack", &data)).await;
    }
    // All of them were read when this is answered.
    client.ask(&json!({"id": 4, "ping": {}})).await;
    drop(client);
    edge.stop().await;
    let stored = world.bus.position(RECEIPTS).await.unwrap();
    assert_eq!((stored.last, stored.messages), (2, 1));
    let edge = world.edge(options(0)).await;
    let (mut client, _) = Client::connect(&edge, "alice", json!({})).await;
    client.ask(&json!({"id": 2, "subscribe": {"channel": "room:x"}})).await;
    let furthest = offsets.last().unwrap();
    assert_eq!(ack(&mut client, 3, offsets[0]).await["rpc"]["data"]["offset"], *furthest);
    edge.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn switched_off_they_are_methods_like_any_other() {
    let world = World::start().await;
    let receipts = ReceiptOptions { enabled: false, ..ReceiptOptions::default() };
    let edge = world.edge(EdgeOptions { receipts, ..options(0) }).await;
    let (mut client, _) = Client::connect(&edge, "alice", json!({})).await;
    assert_eq!(ack(&mut client, 3, 1).await["error"]["code"], 108);
    edge.kill().await;
}
