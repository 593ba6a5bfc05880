//! Services on the bus that decide instead of the edge.

use campana_bus::service::{Reply, Service};
use campana_bus::{HeaderMap, headers};
use campana_ws_edge::{NamespaceOptions, ProxyOptions, ProxyTarget};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::support::World;

fn target(endpoint: &str, timeout_ms: u64) -> ProxyTarget {
    ProxyTarget { service: "gate".to_owned(), endpoint: endpoint.to_owned(), timeout_ms }
}

fn proxied() -> EdgeOptions {
    EdgeOptions {
        proxy: ProxyOptions {
            connect: target("connect", 20_000),
            refresh: target("refresh", 20_000),
            headers: vec!["user-agent".to_owned()],
        },
        namespaces: vec![
            NamespaceOptions {
                name: "desk".to_owned(),
                subscribe: Vec::new(),
                subscribe_proxy: target("subscribe", 20_000),
                publish_proxy: target("publish", 20_000),
                sub_refresh_proxy: target("sub_refresh", 20_000),
                ..NamespaceOptions::default()
            },
            NamespaceOptions {
                name: "lost".to_owned(),
                subscribe_proxy: target("nobody", 20_000),
                publish_proxy: target("stall", 50),
                ..NamespaceOptions::default()
            },
        ],
        expiry_grace_ms: 60_000,
        ..EdgeOptions::default()
    }
}

/// What the service says to each question; a channel's name says what is wanted.
fn decide(endpoint: &str, question: &Value) -> Value {
    let wanted = question["channel"].as_str().unwrap_or_default();
    match (endpoint, wanted) {
        (_, "desk:full") => json!({"error": {"code": 1_000, "message": "full"}}),
        (_, "desk:banned") => json!({"disconnect": {"code": 4_500, "reason": "banned"}}),
        (_, "desk:forged") => json!({"error": {"code": 109, "message": "token expired"}}),
        ("connect", _) if question["data"]["ticket"] == "good" => json!({"result": {
            "user": "alice", "info": {"n": 1}, "data": {"welcome": question["headers"]["user-agent"]},
            "channels": ["desk:lobby"], "meta": {"plan": "pro"}, "expire_at": now() + 1}}),
        ("connect", _) => json!({"error": {"code": 403, "message": "no ticket"}}),
        ("refresh", _) if question["meta"]["plan"] == "pro" => {
            json!({"result": {"expire_at": now() + 3_600}})
        }
        ("subscribe", _) => json!({"result": {"data": {"for": question["user"]}}}),
        ("publish", _) => json!({"result": {"data": {"said": question["data"]}}}),
        _ => json!({}),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn services_decide_about_connections_subscriptions_and_messages() {
    let world = World::start().await;
    let edge = world.edge(proxied()).await;
    let (asked, mut questions) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let mut service = Service::new(&world.bus, "gate", "1.0.0");
    for name in ["connect", "refresh", "subscribe", "publish", "sub_refresh"] {
        let asked = asked.clone();
        service = service.endpoint_raw(name, move |body, meta| {
            let question: Value = serde_json::from_slice(&body).unwrap();
            let tenant =
                headers::get(&meta.headers, "Campana-Tenant").unwrap_or_default().to_owned();
            asked.send((name, tenant)).unwrap();
            async move { Ok(Reply::from(decide(name, &question).to_string())) }
        });
    }
    service = service.endpoint_raw("stall", |_, _| std::future::pending());
    let running = service.run(stop.clone().cancelled_owned());
    let asking = async {
        let until_there = async {
            let (limit, ask) = (std::time::Duration::from_secs(60), json!({}).to_string());
            while world
                .bus
                .call_raw("gate", "sub_refresh", HeaderMap::new(), ask.clone().into(), limit)
                .await
                .is_err()
            {}
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), until_there).await.unwrap();
        let _waiting = visit(&edge).await;
        let until_asked =
            async { while questions.recv().await.unwrap() != ("refresh", "default".to_owned()) {} };
        tokio::time::timeout(std::time::Duration::from_secs(60), until_asked).await.unwrap();
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(running, asking);
    ended.unwrap();
    edge.stop().await;
}

/// Everything at once; gives a client that is still connected.
async fn visit(edge: &Edge) -> Client {
    let mut stranger = Client::open(edge).await;
    stranger.send(&json!({"id": 1, "connect": {}})).await;
    assert_eq!(stranger.next().await.unwrap()["error"]["code"], 403);
    let mut client = Client::open(edge).await;
    client.send(&json!({"id": 1, "connect": {"data": {"ticket": "good"}, "headers": {"User-Agent": "js"}}})).await;
    let connect = client.next().await.unwrap()["connect"].clone();
    assert_eq!(connect["data"]["welcome"], "js");
    assert!(
        connect["subs"]["desk:lobby"].is_object() && connect["subs"]["inbox:#alice"].is_object()
    );
    assert!(connect["expires"].is_null(), "the service is asked, not the client");
    let mut id = 1;
    for (command, channel, code) in [
        ("subscribe", "desk:a", 0),
        ("subscribe", "desk:full", 1_000),
        ("publish", "desk:full", 1_000),
        ("subscribe", "desk:forged", 100),
        ("subscribe", "$desk:a", 103),
        ("subscribe", "lost:a", 100),
        ("publish", "lost:a", 100),
    ] {
        id += 1;
        let reply = client.ask(&json!({"id": id, command: {"channel": channel, "data": 1}})).await;
        assert_eq!(
            reply["error"]["code"].as_u64().unwrap_or(0),
            code,
            "{command} {channel}: {reply}"
        );
    }
    client.send(&json!({"id": 20, "publish": {"channel": "desk:a", "data": "hello"}})).await;
    let publication = loop {
        let line = client.next().await.unwrap();
        if line["push"]["channel"] == "desk:a" {
            break line["push"]["pub"].clone();
        }
    };
    assert_eq!(publication["data"], json!({"said": "hello"}));
    assert_eq!(publication["info"]["conn_info"]["n"], 1);
    client.send(&json!({"id": 21, "publish": {"channel": "desk:banned", "data": 1}})).await;
    assert_eq!(client.close_code().await, 4_500);
    // One that stays until the service was asked whether it may.
    let mut waiting = Client::open(edge).await;
    waiting.send(&json!({"id": 1, "connect": {"data": {"ticket": "good"}}})).await;
    waiting.next().await.unwrap();
    waiting
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_service_nobody_comes_in_and_everybody_may_come_again() {
    let world = World::start().await;
    let edge = world.edge(proxied()).await;
    let mut client = Client::open(&edge).await;
    client.send(&json!({"id": 1, "connect": {}})).await;
    assert_eq!(client.next().await, Err(3004));
    let mut client = let_in(&edge, &token("alice", &json!({}))).await;
    let reply = client.ask(&json!({"id": 2, "subscribe": {"channel": "desk:a"}})).await;
    assert_eq!(
        (&reply["error"]["code"], &reply["error"]["temporary"]),
        (&100.into(), &true.into())
    );
    edge.stop().await;
}
