//! What is known of channels: who is there, what was said, and how many listen on all nodes.

use serde_json::json;

use super::{Pair, done, push, refused, subscribed};

#[tokio::test(flavor = "multi_thread")]
async fn channels_of_all_nodes_are_added_up() {
    let pair = Pair::start().await;
    let mut clients = Vec::new();
    for (edge, channel) in [(&pair.one, "room:a"), (&pair.two, "room:a"), (&pair.two, "room:b")] {
        clients.push(subscribed(edge, "alice", channel).await);
    }
    let all = done(&pair.one, "channels", json!({})).await;
    assert_eq!(
        all["channels"],
        json!({"room:a": {"num_clients": 2}, "room:b": {"num_clients": 1}, "inbox:#alice": {"num_clients": 3}})
    );
    let some = done(&pair.two, "channels", json!({"pattern": "room:[b-z]*"})).await;
    assert_eq!(some["channels"], json!({"room:b": {"num_clients": 1}}));
    assert_eq!(refused(&pair.one, "channels", json!({"pattern": "{a"})).await, 107);
    let info = done(&pair.one, "info", json!({})).await;
    let sum = |member: &str| -> u64 {
        info["nodes"].as_array().unwrap().iter().map(|node| node[member].as_u64().unwrap()).sum()
    };
    assert_eq!((sum("num_clients"), sum("num_users"), sum("num_subs")), (3, 2, 6));
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_there_is_known_on_every_node() {
    let pair = Pair::start().await;
    let _here = subscribed(&pair.one, "alice", "seen:a").await;
    let _there = subscribed(&pair.two, "bob", "seen:a").await;
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    // Entries of the other node come as fast as they are written.
    let presence = loop {
        let found = done(&pair.one, "presence", json!({"channel": "seen:a"})).await;
        if found["presence"].as_object().unwrap().len() == 2 {
            break found;
        }
        assert!(tokio::time::Instant::now() < deadline, "{found}");
        tokio::task::yield_now().await;
    };
    for (client, info) in presence["presence"].as_object().unwrap() {
        assert_eq!(info["client"], json!(client));
        assert!(["alice", "bob"].contains(&info["user"].as_str().unwrap()));
    }
    let stats = done(&pair.two, "presence_stats", json!({"channel": "seen:a"})).await;
    assert_eq!(stats, json!({"num_clients": 2, "num_users": 2}));
    assert_eq!(refused(&pair.one, "presence", json!({"channel": "room:a"})).await, 108);
    assert_eq!(refused(&pair.one, "presence_stats", json!({})).await, 107);
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_paged_and_removed() {
    let pair = Pair::start().await;
    let mut client = subscribed(&pair.two, "alice", "room:a").await;
    let mut last = json!(null);
    for n in 0..5 {
        last = done(&pair.one, "publish", json!({"channel": "room:a", "data": n})).await;
    }
    let data = |result: &serde_json::Value| -> Vec<i64> {
        let list = result["publications"].as_array().unwrap();
        list.iter().map(|one| one["data"].as_i64().unwrap()).collect()
    };
    let ask = async |body| done(&pair.two, "history", body).await;
    let position = ask(json!({"channel": "room:a"})).await;
    assert_eq!((data(&position), &position["offset"]), (vec![], &last["offset"]));
    let newest = ask(json!({"channel": "room:a", "limit": 2, "reverse": true})).await;
    assert_eq!(data(&newest), [4, 3]);
    let all = ask(json!({"channel": "room:a", "limit": -1})).await;
    assert_eq!(data(&all), [0, 1, 2, 3, 4]);
    let since = json!({"offset": all["publications"][1]["offset"], "epoch": all["epoch"]});
    let rest = ask(json!({"channel": "room:a", "limit": 2, "since": since})).await;
    assert_eq!(data(&rest), [2, 3]);
    done(&pair.two, "history_remove", json!({"channel": "room:a"})).await;
    assert!(data(&ask(json!({"channel": "room:a", "limit": 10})).await).is_empty());
    // The channel lives on.
    let next = done(&pair.one, "publish", json!({"channel": "room:a", "data": 5})).await;
    for n in 0..6 {
        assert_eq!(push(&mut client, "room:a", "pub").await["data"], n);
    }
    assert!(next["offset"].as_u64() > last["offset"].as_u64());
    pair.stop().await;
}
