//! What tokens allow beyond the namespace's rules, and what they bring to a connection.

use campana_ws_edge::{Allow, EdgeOptions, NamespaceOptions, PersonalChannelOptions};
use serde_json::json;

use super::*;
use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn capabilities_and_claims_reach_the_wire() {
    let world = World::start().await;
    let namespace = |name: &str| NamespaceOptions {
        name: name.to_owned(),
        subscribe: vec![Allow::Token],
        publish: vec![Allow::Token],
        history: vec![Allow::Token],
        ..NamespaceOptions::default()
    };
    let edge = world
        .edge(EdgeOptions {
            namespaces: vec![namespace("doc"), namespace("me")],
            personal_channel: PersonalChannelOptions { enabled: true, namespace: "me".to_owned() },
            inbox_channel: false,
            ..EdgeOptions::default()
        })
        .await;
    let more = json!({
        "info": {"name": "Alice"}, "meta": {"plan": "pro"}, "channels": ["doc:news"],
        "subs": {"doc:host": {"info": {"role": "host"}, "data": {"hello": 1}}},
        "caps": [
            {"channels": ["doc:read-*"], "match": "wildcard", "allow": ["sub", "hst"]},
            {"channels": ["doc:*"], "match": "wildcard", "allow": ["sub", "pub"]},
        ],
    });
    let (mut client, answer) = connect(&edge, &token("alice", &more)).await;
    let answer = answer.unwrap();
    let subs = answer["connect"]["subs"].as_object().unwrap();
    assert_eq!(subs.keys().collect::<Vec<_>>(), ["doc:host", "doc:news", "me:#alice"]);
    assert_eq!(subs["doc:host"]["data"]["hello"], 1);
    assert!(!answer.to_string().contains("pro"), "{answer}");
    let mut id = 1;
    for (command, channel, code) in [
        ("subscribe", "doc:read-1", 0),
        ("publish", "doc:read-1", 103),
        ("history", "doc:read-1", 0),
        ("subscribe", "doc:1", 0),
        ("publish", "doc:1", 0),
        ("history", "doc:1", 103),
        ("subscribe", "$doc:1", 103),
        ("subscribe", "doc:#bob", 103),
        ("subscribe", "me:#bob", 103),
    ] {
        id += 1;
        let reply = client.ask(&json!({"id": id, command: {"channel": channel, "data": 1}})).await;
        assert_eq!(
            reply["error"]["code"].as_u64().unwrap_or(0),
            code,
            "{command} {channel}: {reply}"
        );
    }
    // What the client publishes carries both infos and never the meta.
    client.send(&json!({"id": 20, "publish": {"channel": "doc:host", "data": 1}})).await;
    let info = loop {
        let line = client.next().await.unwrap();
        if line["push"]["channel"] == "doc:host" {
            break line["push"]["pub"]["info"].clone();
        }
    };
    assert_eq!(
        (&info["conn_info"]["name"], &info["chan_info"]["role"]),
        (&"Alice".into(), &"host".into())
    );
    assert!(!info.to_string().contains("pro"));
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_secret_works_only_where_it_is_asked_for() {
    use campana_ws_edge::TokenOptions;
    let mut tokens = TokenOptions::default();
    assert!(tokens.key_set(&[b"secret"]).is_err());
    tokens.allow_short_secret = true;
    let keys = tokens.token_keys(&[b"secret"]).unwrap();
    let spec = campana_identity::ConnectionSpec::default();
    let minted = keys.mint_connection("42", "default", 60, now(), &spec).unwrap();
    let world = World::start().await;
    let options = EdgeOptions { tokens, ..options() };
    let edge = Edge::with_keys(&world.nats, options, keys.key_set().clone()).await;
    let_in(&edge, &minted).await;
    assert_eq!(connect(&edge, &token("42", &json!({}))).await.1, Err(3500), "another secret");
    edge.stop().await;
}
