//! History and recovery as clients see them: patterns, channels that carry a state, offsets without gaps, paging.

use campana_bus::channels::DenseOptions;
use campana_bus::publish::Outgoing;
use campana_bus::subjects::{self, ChannelName};
use campana_ws_edge::{Allow, EdgeOptions, NamespaceOptions, RecoveryMode};
use serde_json::{Value, json};

use crate::support::{Client, World, datum, recovered};

fn namespaces() -> EdgeOptions {
    let namespace = |name: &str| NamespaceOptions {
        name: name.to_owned(),
        subscribe: vec![Allow::Token, Allow::Authenticated],
        publish: vec![Allow::Subscriber],
        ..NamespaceOptions::default()
    };
    EdgeOptions {
        namespaces: vec![
            namespace("room"),
            NamespaceOptions { wildcard: true, ..namespace("news") },
            NamespaceOptions { recovery_mode: RecoveryMode::Cache, ..namespace("state") },
            NamespaceOptions { dense_offsets: true, history_size: 20, ..namespace("doc") },
        ],
        wildcards_per_client_max: 2,
        dense_channels_max: 2,
        ..EdgeOptions::default()
    }
}

async fn subscribe(
    client: &mut Client,
    id: u32,
    channel: &str,
    since: Option<(u64, &str)>,
) -> Value {
    let mut request = json!({"channel": channel});
    if let Some((offset, epoch)) = since {
        request["recover"] = json!(true);
        request["offset"] = json!(offset);
        request["epoch"] = json!(epoch);
    }
    client.ask(&json!({"id": id, "subscribe": request})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_is_a_subscription_to_many_channels() {
    let world = World::start().await;
    let edge = world.edge(namespaces()).await;
    let (mut alice, _) = Client::connect(&edge, "alice", json!({})).await;
    for (name, code) in [("news:a*b", 107), ("news:**", 107), ("news:a#b*", 107), ("$news:*", 107)]
    {
        let refused = subscribe(&mut alice, 2, name, None).await;
        assert_eq!(refused["error"]["code"], code, "{name}");
    }
    let reply = subscribe(&mut alice, 3, "news:eu.*", None).await;
    assert_eq!(reply["subscribe"]["recoverable"], true, "{reply}");
    let (top, epoch) =
        (reply["subscribe"]["offset"].as_u64().unwrap(), reply["subscribe"]["epoch"].clone());
    let (mut bob, _) = Client::connect(&edge, "bob", json!({})).await;
    for (id, name) in [(2, "news:eu.a"), (3, "news:eu.b"), (4, "news:us.c")] {
        assert!(subscribe(&mut bob, id, name, None).await["error"].is_null());
    }
    let mut expected = Vec::new();
    for (number, name) in
        ["news:eu.a", "news:us.c", "news:eu.b", "news:eu.a"].into_iter().enumerate()
    {
        let command = json!({"id": 10 + number, "publish": {"channel": name, "data": number}});
        assert_eq!(bob.ask(&command).await["publish"], json!({}));
        if name != "news:us.c" {
            expected.push((name, number as u64));
        }
    }
    for (name, number) in &expected {
        let line = alice.next().await.unwrap();
        assert_eq!(
            (&line["push"]["channel"], &line["push"]["pub"]["channel"]),
            (&json!("news:eu.*"), &json!(name))
        );
        assert_eq!(datum(&line["push"]["pub"]).0, *number);
    }
    // A pattern is there to be subscribed to.
    for command in [
        json!({"id": 20, "publish": {"channel": "news:eu.*", "data": 1}}),
        json!({"id": 20, "history": {"channel": "news:eu.*", "limit": 1}}),
    ] {
        assert_eq!(alice.ask(&command).await["error"]["code"], 108, "{command}");
    }
    assert!(subscribe(&mut alice, 21, "news:*", None).await["error"].is_null());
    assert_eq!(subscribe(&mut alice, 22, "news:x*", None).await["error"]["code"], 106);
    // Who was away gets what it missed, with the channels' names.
    let (mut carol, _) = Client::connect(&edge, "carol", json!({})).await;
    let reply = subscribe(&mut carol, 2, "news:eu.*", Some((top, epoch.as_str().unwrap()))).await;
    let reply = &reply["subscribe"];
    let numbers: Vec<u64> = recovered(reply).iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, expected.iter().map(|(_, number)| *number).collect::<Vec<_>>());
    assert_eq!(reply["publications"][1]["channel"], "news:eu.b");
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_is_the_latest_publication_and_nothing_else() {
    let world = World::start().await;
    let edge = world.edge(namespaces()).await;
    let (mut alice, _) = Client::connect(&edge, "alice", json!({})).await;
    let reply = subscribe(&mut alice, 2, "state:a", Some((0, ""))).await;
    assert_eq!(reply["subscribe"]["recovered"], false, "{reply}");
    let epoch = reply["subscribe"]["epoch"].as_str().unwrap().to_owned();
    let mut last = 0;
    for number in 1..=5 {
        last = world.publish("state:a", number).await;
    }
    alice.publications("state:a", 5).await;
    for (user, since, expected) in [
        ("bob", (0, ""), vec![(5, last)]),
        ("carol", (last - 2, epoch.as_str()), vec![(5, last)]),
        ("dave", (9, "gone"), vec![(5, last)]),
        ("erin", (last, epoch.as_str()), vec![]),
    ] {
        let (mut client, _) = Client::connect(&edge, user, json!({})).await;
        let reply = subscribe(&mut client, 2, "state:a", Some(since)).await;
        assert_eq!(recovered(&reply["subscribe"]), expected, "{user}");
        assert_eq!(reply["subscribe"]["offset"], last, "{user}");
        // What comes next follows.
        drop(client);
    }
    let next = world.publish("state:a", 6).await;
    assert_eq!(alice.publications("state:a", 1).await, [(6, next)]);
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_of_a_stream_of_its_own_begin_at_one() {
    let world = World::start().await;
    let edge = world.edge(namespaces()).await;
    world.publish("room:noise", 1).await;
    let (mut alice, _) = Client::connect(&edge, "alice", json!({})).await;
    let reply = subscribe(&mut alice, 2, "doc:a", None).await;
    let epoch = reply["subscribe"]["epoch"].as_str().unwrap().to_owned();
    assert_eq!(reply["subscribe"]["offset"].as_u64().unwrap_or(0), 0, "{reply}");
    for number in 1..=10 {
        let command = json!({"id": 10 + number, "publish": {"channel": "doc:a", "data": number}});
        assert_eq!(alice.ask(&command).await["publish"], json!({}));
        world.publish("room:noise", 1 + number).await;
    }
    let expected: Vec<(u64, u64)> = (1..=10).map(|number| (number, number)).collect();
    assert_eq!(alice.publications("doc:a", 10).await, expected);
    let history = alice
        .ask(&json!({"id": 30, "history": {"channel": "doc:a", "limit": 3, "reverse": true}}))
        .await;
    let found: Vec<_> =
        history["history"]["publications"].as_array().unwrap().iter().map(datum).collect();
    assert_eq!(found, [(10, 10), (9, 9), (8, 8)]);
    assert_eq!(
        (&history["history"]["offset"], &history["history"]["epoch"]),
        (&json!(10), &json!(epoch))
    );
    // A service's message goes where the edge's do.
    let name = ChannelName::parse("doc:a").unwrap();
    let options = DenseOptions::default();
    let message = Outgoing::new("", "m1", "11".into());
    let stored = world.bus.publish_to_channel("default", &name, Some(&options), message).await;
    assert_eq!(stored.unwrap().sequence, 11);
    assert_eq!(alice.publications("doc:a", 1).await, [(11, 11)]);
    let (mut bob, _) = Client::connect(&edge, "bob", json!({})).await;
    let reply = subscribe(&mut bob, 2, "doc:a", Some((6, &epoch))).await;
    assert_eq!(recovered(&reply["subscribe"]), [(7, 7), (8, 8), (9, 9), (10, 10), (11, 11)]);
    assert!(subscribe(&mut bob, 3, "doc:b", None).await["error"].is_null());
    assert_eq!(subscribe(&mut bob, 4, "doc:c", None).await["error"]["code"], 106);
    assert!(subjects::is_dense(&subjects::dense_channel("default", &name)));
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_history_is_read_page_by_page() {
    let world = World::start().await;
    let edge = world.edge(namespaces()).await;
    let mut stored = Vec::new();
    for number in 0..700 {
        stored.push((number, world.publish("room:a", number).await));
    }
    let (mut alice, _) = Client::connect(&edge, "alice", json!({})).await;
    subscribe(&mut alice, 2, "room:a", None).await;
    let (mut found, mut id, mut since) = (Vec::new(), 10, json!(null));
    loop {
        id += 1;
        let question = json!({"channel": "room:a", "limit": -1, "since": since});
        let answer = alice.ask(&json!({"id": id, "history": question})).await["history"].clone();
        let page: Vec<_> = answer["publications"].as_array().unwrap().iter().map(datum).collect();
        assert!(page.len() <= 300);
        let Some((_, offset)) = page.last() else { break };
        since = json!({"offset": offset, "epoch": answer["epoch"]});
        found.extend(page);
    }
    assert_eq!(found, stored);
    // Backwards, strictly before.
    let question = json!({"channel": "room:a", "limit": 2, "reverse": true, "since": {"offset": stored[400].1}});
    let answer = alice.ask(&json!({"id": 1_000, "history": question})).await;
    let page: Vec<_> =
        answer["history"]["publications"].as_array().unwrap().iter().map(datum).collect();
    assert_eq!(page, [stored[399], stored[398]]);
    let position = alice.ask(&json!({"id": 1_001, "history": {"channel": "room:a"}})).await;
    assert_eq!(position["history"]["publications"], json!([]));
    assert!(position["history"]["offset"].as_u64().unwrap() >= stored[699].1);
    let question = json!({"channel": "room:a", "limit": 2, "since": {"offset": 1, "epoch": "x"}});
    let answer = alice.ask(&json!({"id": 1_002, "history": question})).await;
    assert_eq!(answer["error"]["code"], 112);
    edge.stop().await;
}
