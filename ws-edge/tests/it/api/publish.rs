//! Publications of backends: the same as those of services.

use serde_json::json;

use super::{Pair, done, push, refused, subscribed};

#[tokio::test(flavor = "multi_thread")]
async fn publications_reach_clients_of_every_node_and_the_history() {
    let pair = Pair::start().await;
    let mut here = subscribed(&pair.one, "alice", "room:a").await;
    let mut there = subscribed(&pair.two, "bob", "room:a").await;
    let body =
        json!({"channel": "room:a", "data": {"n": 1}, "tags": {"kind": "greeting"}, "delta": true});
    let result = done(&pair.one, "publish", body).await;
    assert!(!result["epoch"].as_str().unwrap().is_empty());
    for client in [&mut here, &mut there] {
        let publication = push(client, "room:a", "pub").await;
        assert_eq!(publication["data"], json!({"n": 1}));
        assert_eq!(publication["offset"], result["offset"]);
        assert_eq!(publication["tags"]["kind"], "greeting");
    }
    let bytes = json!({"channel": "room:a", "b64data": "eyJuIjoyfQ=="});
    done(&pair.two, "publish", bytes).await;
    assert_eq!(push(&mut here, "room:a", "pub").await["data"], json!({"n": 2}));
    let history = done(&pair.two, "history", json!({"channel": "room:a", "limit": 10})).await;
    let found: Vec<_> = history["publications"].as_array().unwrap().iter().collect();
    assert_eq!(
        (found.len(), &found[0]["data"], &found[1]["data"]),
        (2, &json!({"n": 1}), &json!({"n": 2}))
    );
    assert_eq!(
        (&found[0]["tags"]["kind"], &history["epoch"]),
        (&json!("greeting"), &result["epoch"])
    );
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_publication_is_stored_once_per_channel() {
    let pair = Pair::start().await;
    let body = |channel: &str| json!({"channel": channel, "data": 1, "idempotency_key": "order-7"});
    let first = done(&pair.one, "publish", body("room:a")).await;
    let again = done(&pair.two, "publish", body("room:a")).await;
    let other = done(&pair.two, "publish", body("room:b")).await;
    assert_eq!(first, again);
    assert_ne!(first["offset"], other["offset"]);
    let history = done(&pair.one, "history", json!({"channel": "room:a", "limit": 10})).await;
    assert_eq!(history["publications"].as_array().unwrap().len(), 1);
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broadcast_answers_for_each_channel() {
    let pair = Pair::start().await;
    let mut client = subscribed(&pair.two, "alice", "room:b").await;
    let channels = ["room:a", "nowhere:x", "room:b", ""];
    let result =
        done(&pair.one, "broadcast", json!({"channels": channels, "data": {"x": 1}})).await;
    let responses = result["responses"].as_array().unwrap();
    let codes: Vec<_> = responses.iter().map(|one| one["error"]["code"].as_u64()).collect();
    assert_eq!(codes, [None, Some(102), None, Some(107)]);
    let publication = push(&mut client, "room:b", "pub").await;
    assert_eq!(publication["offset"], responses[2]["result"]["offset"]);
    assert_eq!(refused(&pair.one, "broadcast", json!({"data": 1})).await, 107);
    let many: Vec<String> = (0..10_001).map(|n| format!("room:{n}")).collect();
    assert_eq!(refused(&pair.one, "broadcast", json!({"channels": many, "data": 1})).await, 106);
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_honoured_is_refused() {
    let pair = Pair::start().await;
    for (body, code) in [
        (json!({"channel": "room:a", "data": 1, "version": 3}), 108),
        (json!({"channel": "room:a", "data": 1, "version_epoch": "x"}), 108),
        (json!({"channel": "room:a", "data": 1, "skip_history": true}), 108),
        (json!({"channel": "room:a", "b64data": "/w=="}), 107),
        (json!({"channel": "room:a", "b64data": "?"}), 107),
        (json!({"channel": "room:a"}), 107),
        (json!({"channel": "wild:*", "data": 1}), 108),
        (json!({"channel": "nowhere:a", "data": 1}), 102),
        (json!({"data": 1}), 107),
    ] {
        assert_eq!(refused(&pair.one, "publish", body.clone()).await, code, "{body}");
    }
    done(&pair.one, "publish", json!({"channel": "flash:a", "data": 1, "skip_history": true}))
        .await;
    done(&pair.one, "publish", json!({"channel": "raw:a", "b64data": "/w=="})).await;
    let history = done(&pair.one, "history", json!({"channel": "raw:a", "limit": 1})).await;
    assert_eq!(history["publications"][0]["b64data"], "/w==");
    assert_eq!(refused(&pair.one, "history", json!({"channel": "flash:a"})).await, 108);
    pair.stop().await;
}
