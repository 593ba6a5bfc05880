//! Presence over a real bus: lists, numbers, who comes and goes, events for services; nodes that stop and nodes
//! that are killed.

use std::collections::BTreeMap;
use std::time::Duration;

use campana_bus::Bus;
use campana_bus::replay::From;
use campana_bus::topology::PRESENCE;
use campana_ws_edge::presence::events::{PresenceOffline, PresenceOnline};
use campana_ws_edge::{Allow, EdgeOptions, NamespaceOptions, PresenceOptions};
use futures::StreamExt as _;
use serde_json::{Value, json};

use crate::support::{Client, Edge, World};

const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

fn room() -> NamespaceOptions {
    NamespaceOptions {
        name: "room".to_owned(),
        subscribe: vec![Allow::Authenticated],
        presence: vec![Allow::Subscriber],
        track_presence: true,
        join_leave: true,
        force_push_join_leave: true,
        ..NamespaceOptions::default()
    }
}

fn options(room: NamespaceOptions) -> EdgeOptions {
    let quiet = NamespaceOptions {
        name: "quiet".to_owned(),
        subscribe: vec![Allow::Authenticated],
        presence: vec![Allow::Subscriber],
        ..NamespaceOptions::default()
    };
    EdgeOptions {
        namespaces: vec![room, quiet],
        presence: PresenceOptions { lease_ms: 1_000, offline_after_ms: 200, user_events: false },
        ..EdgeOptions::default()
    }
}

/// Connected and subscribed, with the client's id.
async fn present(edge: &Edge, user: &str, channel: &str) -> (Client, String) {
    let (mut client, connect) = Client::connect(edge, user, json!({})).await;
    let reply = client.ask(&json!({"id": 2, "subscribe": {"channel": channel}})).await;
    assert!(reply["subscribe"].is_object(), "{reply}");
    (client, connect["client"].as_str().unwrap().to_owned())
}

/// The next push about somebody: whether he came, and the client.
async fn moved(client: &mut Client) -> (bool, String) {
    loop {
        let push = client.next().await.unwrap()["push"].take();
        for (kind, came) in [("join", true), ("leave", false)] {
            if let Some(id) = push[kind]["info"]["client"].as_str() {
                return (came, id.to_owned());
            }
        }
    }
}

async fn list(client: &mut Client, channel: &str) -> Value {
    client.ask(&json!({"id": 70, "presence": {"channel": channel}})).await
}

/// Clients and users.
async fn numbers(client: &mut Client, channel: &str) -> (u64, u64) {
    let reply = client.ask(&json!({"id": 71, "presence_stats": {"channel": channel}})).await;
    let found = &reply["presence_stats"];
    let one = |name: &str| found[name].as_u64().unwrap_or_else(|| panic!("{reply}"));
    (one("num_clients"), one("num_users"))
}

async fn until_numbers(client: &mut Client, channel: &str, wanted: (u64, u64)) {
    let reached = async {
        while numbers(client, channel).await != wanted {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.unwrap();
}

/// What was told of each user and place, in order: `+` for online, `-` for offline.
async fn told(bus: &Bus) -> BTreeMap<(String, Option<String>), String> {
    let mut all: Vec<(u64, String, Option<String>, char)> = Vec::new();
    let mut online = bus.replay_events::<PresenceOnline>(From::Start);
    while let Some(found) = online.next().await {
        let (event, message) = found.unwrap();
        all.push((message.sequence, event.user, event.channel, '+'));
    }
    let mut offline = bus.replay_events::<PresenceOffline>(From::Start);
    while let Some(found) = offline.next().await {
        let (event, message) = found.unwrap();
        all.push((message.sequence, event.user, event.channel, '-'));
    }
    all.sort();
    let mut found: BTreeMap<_, String> = BTreeMap::new();
    for (_, user, channel, sign) in all {
        found.entry((user, channel)).or_default().push(sign);
    }
    found
}

async fn until_told(bus: &Bus, user: &str, channel: Option<&str>, wanted: &str) {
    let key = (user.to_owned(), channel.map(ToOwned::to_owned));
    let reached = async {
        loop {
            let found = told(bus).await.remove(&key).unwrap_or_default();
            assert!(wanted.starts_with(&found), "{key:?}: {found}, not {wanted}");
            if found == wanted {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_in_a_channel_is_known_on_all_nodes() {
    let world = World::start().await;
    let (one, two) = (world.edge(options(room())).await, world.edge(options(room())).await);
    let (mut alice, a) = present(&one, "alice", "room:x").await;
    // Its own coming, after the answer.
    assert_eq!(moved(&mut alice).await, (true, a.clone()));
    assert_eq!(numbers(&mut alice, "room:x").await, (1, 1));
    let (mut bob, b) = present(&two, "bob", "room:x").await;
    assert_eq!(moved(&mut alice).await, (true, b.clone()));
    for client in [&mut alice, &mut bob] {
        let reply = list(client, "room:x").await;
        let found = reply["presence"]["presence"].as_object().unwrap();
        assert_eq!(found.len(), 2, "{reply}");
        assert_eq!(found[&a], json!({"user": "alice", "client": a}));
        assert_eq!(found[&b]["user"], "bob");
    }
    let (mut tab, t) = present(&two, "alice", "room:x").await;
    assert_eq!(moved(&mut alice).await, (true, t.clone()));
    assert_eq!(numbers(&mut alice, "room:x").await, (3, 2));
    // Who is not in it may not look, and where there is none there is none.
    assert_eq!(list(&mut alice, "room:y").await["error"]["code"], 103);
    let quiet = alice.ask(&json!({"id": 9, "subscribe": {"channel": "quiet:x"}})).await;
    assert!(quiet["subscribe"].is_object());
    assert_eq!(list(&mut alice, "quiet:x").await["error"]["code"], 108);
    // Leaving by command, by closing, and with the node.
    tab.ask(&json!({"id": 3, "unsubscribe": {"channel": "room:x"}})).await;
    assert_eq!(moved(&mut alice).await, (false, t));
    drop(bob);
    assert_eq!(moved(&mut alice).await, (false, b));
    assert_eq!(numbers(&mut alice, "room:x").await, (1, 1));
    let (mut carol, c) = present(&two, "carol", "room:x").await;
    assert_eq!(moved(&mut alice).await, (true, c.clone()));
    tokio::join!(two.stop(), carol.close_code());
    assert_eq!(moved(&mut alice).await, (false, c));
    assert_eq!(numbers(&mut alice, "room:x").await, (1, 1));
    tokio::join!(one.stop(), alice.close_code());
    // Nothing is left behind.
    let left = world.bus.fetch_after(PRESENCE, "$KV.presence.c.>", 0, 10).await.unwrap();
    let kept = |header| campana_bus::headers::get(header, "KV-Operation").is_none();
    assert!(!left.messages.iter().any(|message| kept(&message.headers)));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_a_killed_node_are_gone_and_each_user_goes_offline_once() {
    let world = World::start().await;
    let mut options = options(NamespaceOptions { presence_events: true, ..room() });
    options.presence.user_events = true;
    let mut edges = Vec::new();
    for _ in 0..3 {
        edges.push(world.edge(options.clone()).await);
    }
    let (mut watcher, _) = present(&edges[1], "watcher", "room:x").await;
    let (mut far, _) = present(&edges[2], "far", "room:x").await;
    let (_alice_here, here) = present(&edges[0], "alice", "room:x").await;
    let (alice_there, _) = present(&edges[1], "alice", "room:x").await;
    let mut gone = Vec::new();
    for number in 0..20 {
        gone.push(present(&edges[0], &format!("user-{number}"), "room:x").await);
    }
    until_numbers(&mut watcher, "room:x", (24, 23)).await;
    for number in 0..20 {
        let user = format!("user-{number}");
        until_told(&world.bus, &user, None, "+").await;
        until_told(&world.bus, &user, Some("room:x"), "+").await;
    }
    edges.remove(0).kill().await;
    let mut left: Vec<String> = Vec::new();
    while left.len() < 21 {
        if let (false, client) = moved(&mut watcher).await {
            left.push(client);
        }
    }
    left.sort();
    let mut expected: Vec<String> = gone.iter().map(|(_, id)| id.clone()).collect();
    expected.push(here);
    expected.sort();
    assert_eq!(left, expected);
    until_numbers(&mut watcher, "room:x", (3, 3)).await;
    for number in 0..20 {
        let user = format!("user-{number}");
        until_told(&world.bus, &user, None, "+-").await;
        until_told(&world.bus, &user, Some("room:x"), "+-").await;
    }
    // She is still on another node, until she leaves that one as well.
    let now = told(&world.bus).await;
    for place in [None, Some("room:x".to_owned())] {
        assert_eq!(now[&("alice".to_owned(), place)], "+");
    }
    drop(alice_there);
    until_told(&world.bus, "alice", None, "+-").await;
    until_told(&world.bus, "alice", Some("room:x"), "+-").await;
    // With the last node in order: the next one that starts says that its users did not come back.
    for (edge, client) in edges.into_iter().zip([&mut watcher, &mut far]) {
        tokio::join!(edge.stop(), client.close_code());
    }
    let next = world.edge(options).await;
    for user in ["watcher", "far"] {
        until_told(&world.bus, user, None, "+-").await;
        until_told(&world.bus, user, Some("room:x"), "+-").await;
    }
    next.kill().await;
    assert!(told(&world.bus).await.values().all(|signs| signs == "+-"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_loaded_again_is_no_event() {
    let world = World::start().await;
    let mut options = options(NamespaceOptions { leave_debounce_ms: 60_000, ..room() });
    options.presence.user_events = true;
    options.presence.offline_after_ms = 60_000;
    let (one, two) = (world.edge(options.clone()).await, world.edge(options).await);
    let (mut watcher, w) = present(&one, "watcher", "room:x").await;
    assert_eq!(moved(&mut watcher).await, (true, w));
    let (alice, a) = present(&two, "alice", "room:x").await;
    assert_eq!(moved(&mut watcher).await, (true, a));
    until_told(&world.bus, "alice", None, "+").await;
    drop(alice);
    until_numbers(&mut watcher, "room:x", (1, 1)).await;
    // Once on the same node, once on the other one.
    let (alice, _) = present(&two, "alice", "room:x").await;
    drop(alice);
    let (_alice, _) = present(&one, "alice", "room:x").await;
    until_numbers(&mut watcher, "room:x", (2, 2)).await;
    // Whatever was told of her would have come before this.
    let (_bob, b) = present(&two, "bob", "room:x").await;
    assert_eq!(moved(&mut watcher).await, (true, b));
    until_told(&world.bus, "bob", None, "+").await;
    assert_eq!(told(&world.bus).await[&("alice".to_owned(), None)], "+");
    one.kill().await;
    two.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_limit_clients_are_counted() {
    let world = World::start().await;
    let room = NamespaceOptions { presence_clients_max: 2, ..room() };
    let (one, two) = (world.edge(options(room.clone())).await, world.edge(options(room)).await);
    let mut clients = Vec::new();
    for user in ["a", "b", "c", "c", "d"] {
        clients.push(present(&one, user, "room:x").await.0);
    }
    let (mut far, _) = present(&two, "e", "room:x").await;
    until_numbers(&mut far, "room:x", (6, 5)).await;
    until_numbers(&mut clients[0], "room:x", (6, 5)).await;
    for client in [&mut far, &mut clients[0]] {
        assert_eq!(list(client, "room:x").await["error"]["code"], 106);
    }
    clients.truncate(1);
    until_numbers(&mut far, "room:x", (2, 2)).await;
    let reply = list(&mut far, "room:x").await;
    assert_eq!(reply["presence"]["presence"].as_object().map(|all| all.len()), Some(2), "{reply}");
    one.kill().await;
    two.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lost_its_lease_writes_everything_again() {
    let world = World::start().await;
    let (one, two) = (world.edge(options(room())).await, world.edge(options(room())).await);
    let (mut alice, _) = present(&one, "alice", "room:x").await;
    let (mut bob, _) = present(&two, "bob", "room:x").await;
    until_numbers(&mut bob, "room:x", (2, 2)).await;
    let stream = world.bus.jetstream().get_stream(PRESENCE).await.unwrap();
    stream.purge().await.unwrap();
    assert_eq!(numbers(&mut bob, "room:x").await, (1, 1));
    for client in [&mut alice, &mut bob] {
        until_numbers(client, "room:x", (2, 2)).await;
    }
    one.kill().await;
    two.kill().await;
}
