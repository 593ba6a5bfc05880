//! Keys that an identity provider publishes and changes.

use std::time::Duration;

use serde_json::json;

use super::issuer::{Issuer, Page, signed};
use super::*;
use crate::support::World;

const PATIENCE: Duration = Duration::from_secs(60);

/// Tries to connect until it works: a key that was asked for a moment ago is not asked for again at once.
async fn in_the_end(edge: &Edge, token: &str) -> Client {
    let trying = async {
        loop {
            let (client, answer) = connect(edge, token).await;
            if answer.is_ok_and(|reply| reply["connect"].is_object()) {
                return client;
            }
        }
    };
    tokio::time::timeout(PATIENCE, trying).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_changes_its_keys_cuts_nobody_off() {
    let world = World::start().await;
    let issuer = Issuer::start(Page::Keys(vec![(0, "k1")])).await;
    let edge = world.edge(EdgeOptions { tokens: issuer.trusted(), ..options() }).await;
    let by = |pair, id| signed(pair, id, &claims("alice", &json!({})));
    // The first client may come before the first document is there; it waits and does not notice.
    let mut old = let_in(&edge, &by(0, "k1")).await;
    assert_eq!(connect(&edge, &by(1, "k1")).await.1, Err(3500), "another key of this name");
    issuer.publish(Page::Keys(vec![(0, "k1"), (1, "k2")]));
    let mut new = in_the_end(&edge, &by(1, "k2")).await;
    let_in(&edge, &by(0, "k1")).await;
    // Tokens of the platform's own secret stay good beside them.
    let_in(&edge, &token("bob", &json!({}))).await;
    // The old key is withdrawn; who is connected stays, who comes with it does not come in.
    issuer.publish(Page::Keys(vec![(1, "k2"), (0, "k3")]));
    in_the_end(&edge, &by(0, "k3")).await;
    assert_eq!(connect(&edge, &by(0, "k1")).await.1, Err(3500));
    for client in [&mut old, &mut new] {
        assert!(
            client.ask(&json!({"id": 2, "subscribe": {"channel": "room:a"}})).await["subscribe"]
                .is_object()
        );
    }
    // A subscription token of a new key is waited for, and so is a refresh.
    issuer.publish(Page::Keys(vec![(1, "k2"), (0, "k4")]));
    let subscription = signed(0, "k4", &claims("alice", &json!({"channel": "room:b"})));
    let trying = async {
        for id in 3.. {
            let command =
                json!({"id": id, "subscribe": {"channel": "room:b", "token": subscription}});
            if new.ask(&command).await["subscribe"].is_object() {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, trying).await.unwrap();
    let refreshed = old.ask(&json!({"id": 9, "refresh": {"token": by(0, "k4")}})).await;
    assert!(refreshed["refresh"].is_object(), "{refreshed}");
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_decide_neither_how_often_nor_how_much_is_fetched() {
    let world = World::start().await;
    let issuer = Issuer::start(Page::Keys(vec![(0, "k1")])).await;
    let mut tokens = issuer.trusted();
    tokens.jwks[0].refresh.unknown_key_interval_seconds = 3_600;
    let edge = world.edge(EdgeOptions { tokens, ..options() }).await;
    let_in(&edge, &signed(0, "k1", &claims("alice", &json!({})))).await;
    let before = issuer.fetches();
    let invented = (0..50).map(|n| signed(1, &format!("x{n}"), &claims("eve", &json!({}))));
    let tries = invented.map(|token| {
        let edge = &edge;
        async move { connect(edge, &token).await.1 }
    });
    for answer in futures::future::join_all(tries).await {
        assert_eq!(answer, Err(3500));
    }
    assert!(issuer.fetches() <= before + 1, "{} fetches", issuer.fetches());
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_away_sends_nobody_away_for_good() {
    let world = World::start().await;
    let elsewhere = json!({"keys": []}).to_string();
    for page in [
        Page::Other(500, String::new()),
        Page::Other(302, elsewhere),
        Page::Other(200, "no keys".to_owned()),
        Page::Other(200, format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(100_000))),
    ] {
        let issuer = Issuer::start(page).await;
        let mut tokens = issuer.trusted();
        tokens.jwks[0].refresh.retry_seconds = 1;
        tokens.jwks[0].refresh.retry_seconds_max = 1;
        let edge = world.edge(EdgeOptions { tokens, ..options() }).await;
        let token = signed(0, "k1", &claims("alice", &json!({})));
        assert_eq!(connect(&edge, &token).await.1, Err(3004), "come again");
        let_in(&edge, &super::token("bob", &json!({}))).await;
        issuer.publish(Page::Keys(vec![(0, "k1")]));
        in_the_end(&edge, &token).await;
        edge.stop().await;
    }
}
