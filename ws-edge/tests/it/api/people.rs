//! What is done to users' connections, on the node that is asked and on the other one.

use serde_json::{Value, json};

use super::{Pair, done, push, refused, subscribed};
use crate::support::Client;

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_disconnected_on_every_node() {
    let pair = Pair::start().await;
    let (mut here, _) = Client::connect(&pair.one, "alice", json!({})).await;
    let (mut there, _) = Client::connect(&pair.two, "alice", json!({})).await;
    let (mut bob, _) = Client::connect(&pair.two, "bob", json!({})).await;
    let (mut kept, reply) = Client::connect(&pair.two, "alice", json!({})).await;
    let client = reply["client"].as_str().unwrap().to_owned();
    let body = json!({"user": "alice", "whitelist": [client]});
    assert_eq!(done(&pair.one, "disconnect", body).await, json!({}));
    assert_eq!((here.close_code().await, there.close_code().await), (3503, 3503));
    for client in [&mut bob, &mut kept] {
        assert_eq!(client.ask(&json!({"id": 9, "ping": {}})).await["id"], 9);
    }
    let custom = json!({"code": 4501, "reason": "you are banned"});
    let not_his = json!({"user": "bob", "client": client, "disconnect": custom});
    done(&pair.one, "disconnect", not_his).await;
    assert_eq!(kept.ask(&json!({"id": 10, "ping": {}})).await["id"], 10);
    let his = json!({"user": "alice", "client": client, "disconnect": custom});
    done(&pair.one, "disconnect", his).await;
    assert_eq!(kept.close_code().await, 4501);
    for bad in [
        json!({"user": "bob", "disconnect": {"code": 1000, "reason": "x"}}),
        json!({"user": "bob", "disconnect": {"code": 4000, "reason": "{}"}}),
        json!({"user": ""}),
        json!({}),
    ] {
        assert_eq!(refused(&pair.one, "disconnect", bad.clone()).await, 107, "{bad}");
    }
    assert_eq!(bob.ask(&json!({"id": 11, "ping": {}})).await["id"], 11);
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_subscribed_and_unsubscribed_on_every_node() {
    let pair = Pair::start().await;
    let (mut here, _) = Client::connect(&pair.one, "alice", json!({})).await;
    let (mut there, _) = Client::connect(&pair.two, "alice", json!({})).await;
    let before = done(&pair.one, "publish", json!({"channel": "room:a", "data": 1})).await;
    let body = json!({"user": "alice", "channel": "room:a", "data": {"why": "invited"}});
    done(&pair.one, "subscribe", body.clone()).await;
    // The answer says that both are in: what is published from here on reaches them.
    let after = done(&pair.two, "publish", json!({"channel": "room:a", "data": 2})).await;
    for client in [&mut here, &mut there] {
        let told = push(client, "room:a", "subscribe").await;
        assert_eq!(told["data"], json!({"why": "invited"}));
        assert_eq!((&told["recoverable"], &told["epoch"]), (&json!(true), &before["epoch"]));
        assert!(told["offset"].as_u64() >= before["offset"].as_u64());
        let publication = push(client, "room:a", "pub").await;
        assert_eq!((&publication["data"], &publication["offset"]), (&json!(2), &after["offset"]));
    }
    // Once more changes nothing.
    done(&pair.two, "subscribe", body).await;
    done(&pair.two, "unsubscribe", json!({"user": "alice", "channel": "room:a"})).await;
    for client in [&mut here, &mut there] {
        let ended = push(client, "room:a", "unsubscribe").await;
        assert_eq!(ended, json!({"code": 2000, "reason": "server unsubscribe"}));
    }
    done(&pair.one, "publish", json!({"channel": "room:a", "data": 3})).await;
    let message = json!({"user": "alice", "data": {"last": true}});
    done(&pair.one, "send", message).await;
    for client in [&mut here, &mut there] {
        // Nothing of the channel comes before it.
        let line = client.next().await.unwrap();
        assert_eq!(line, json!({"push": {"message": {"data": {"last": true}}}}));
    }
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_of_the_server_begins_where_it_is_told() {
    let pair = Pair::start().await;
    let mut offsets = Vec::new();
    let mut epoch = Value::Null;
    for n in 0..3 {
        let result = done(&pair.one, "publish", json!({"channel": "room:a", "data": n})).await;
        offsets.push(result["offset"].clone());
        epoch = result["epoch"].clone();
    }
    let (mut alice, _) = Client::connect(&pair.two, "alice", json!({})).await;
    let since = json!({"offset": offsets[0], "epoch": epoch});
    let body = json!({"user": "alice", "channel": "room:a", "recover_since": since});
    done(&pair.one, "subscribe", body).await;
    assert_eq!(push(&mut alice, "room:a", "subscribe").await["offset"], offsets[0]);
    for (n, offset) in offsets.iter().enumerate().skip(1) {
        let publication = push(&mut alice, "room:a", "pub").await;
        assert_eq!((&publication["data"], &publication["offset"]), (&json!(n), offset));
    }
    assert_eq!(
        refused(&pair.one, "subscribe", json!({"user": "alice", "channel": "nowhere:a"})).await,
        102
    );
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_s_own_subscriptions_end_by_order_too() {
    let pair = Pair::start().await;
    let mut alice = subscribed(&pair.two, "alice", "room:a").await;
    alice.ask(&json!({"id": 3, "subscribe": {"channel": "room:b"}})).await;
    let why = json!({"code": 2500, "reason": "come again"});
    let body = json!({"user": "alice", "channel": "room:b", "unsubscribe": why});
    done(&pair.one, "unsubscribe", body).await;
    assert_eq!(push(&mut alice, "room:b", "unsubscribe").await, why);
    // All of them, the inbox too.
    done(&pair.one, "unsubscribe", json!({"user": "alice"})).await;
    let mut ended = Vec::new();
    while ended.len() < 2 {
        let line = alice.next().await.unwrap();
        assert_eq!(line["push"]["unsubscribe"]["code"], 2000, "{line}");
        ended.push(line["push"]["channel"].as_str().unwrap().to_owned());
    }
    ended.sort();
    assert_eq!(ended, ["inbox:#alice", "room:a"]);
    let bad =
        json!({"user": "alice", "channel": "room:a", "unsubscribe": {"code": 1, "reason": ""}});
    assert_eq!(refused(&pair.one, "unsubscribe", bad).await, 107);
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_connection_is_moved() {
    let pair = Pair::start().await;
    let (mut alice, _) = Client::connect(&pair.two, "alice", json!({})).await;
    let later = campana_bus::clock::now().0 / 1_000_000 + 7_200;
    done(&pair.one, "refresh", json!({"user": "alice", "expire_at": later})).await;
    let pushed = alice.next().await.unwrap();
    assert_eq!(pushed["push"]["refresh"]["expires"], true, "{pushed}");
    let ttl = pushed["push"]["refresh"]["ttl"].as_i64().unwrap();
    assert!((7_000..=7_200).contains(&ttl), "{ttl}");
    assert_eq!(refused(&pair.one, "refresh", json!({"user": "alice", "info": {}})).await, 108);
    done(&pair.one, "refresh", json!({"user": "alice", "expired": true})).await;
    assert_eq!(alice.close_code().await, 3005);
    let (mut alice, _) = Client::connect(&pair.one, "alice", json!({})).await;
    done(&pair.two, "refresh", json!({"user": "alice", "expire_at": 1_000})).await;
    assert_eq!(alice.close_code().await, 3005);
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_revoked() {
    let pair = Pair::start().await;
    let (mut alice, _) = Client::connect(&pair.two, "alice", json!({})).await;
    let from_now = campana_bus::clock::now().0 / 1_000_000 + 10;
    let body = json!({"user": "alice", "issued_before": from_now});
    done(&pair.one, "invalidate_user_tokens", body).await;
    assert_eq!(alice.close_code().await, 3500);
    done(&pair.one, "revoke_token", json!({"uid": "some-token"})).await;
    assert_eq!(refused(&pair.one, "revoke_token", json!({})).await, 107);
    let channel = json!({"user": "alice", "channel": "room:a"});
    assert_eq!(refused(&pair.one, "invalidate_user_tokens", channel).await, 108);
    pair.stop().await;
}
