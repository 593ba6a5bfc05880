//! Who may use the API, and what is turned away before anything happens.

use campana_ws_edge::{ApiKeyOptions, ApiOptions, EdgeOptions};
use serde_json::json;

use super::{KEY, ask, options, post};
use crate::support::{Client, World};

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_nothing_is_served() {
    let world = World::start().await;
    let closed = world.edge(EdgeOptions { api: ApiOptions::default(), ..options() }).await;
    let answer = post(&closed, "/api/info", &[("X-API-Key", KEY)], "{}").await;
    assert_eq!((answer.status, &answer.body["error"]["code"]), (404, &json!(108)));
    closed.stop().await;

    let edge = world.edge(options()).await;
    for headers in [
        &[][..],
        &[("X-API-Key", "wrong")],
        &[("Authorization", "Bearer x")],
        &[("Authorization", KEY)],
    ] {
        let answer = post(&edge, "/api/info", headers, "{}").await;
        assert_eq!(
            (answer.status, &answer.body["error"]["code"]),
            (401, &json!(101)),
            "{headers:?}"
        );
    }
    let by_query = format!("/api/info?api_key={KEY}");
    assert_eq!(post(&edge, &by_query, &[], "{}").await.status, 401);
    let scheme = format!("apikey {KEY}");
    assert_eq!(post(&edge, "/api/info", &[("Authorization", &scheme)], "{}").await.status, 200);
    edge.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_reaches_its_own_tenant_and_methods_only() {
    let world = World::start().await;
    let shop = ApiKeyOptions {
        name: "shop".to_owned(),
        secret: "the-key-of-another-tenant".to_owned().into(),
        tenant: "shop".to_owned(),
        methods: ["publish", "disconnect", "history"].map(str::to_owned).to_vec(),
        ..ApiKeyOptions::default()
    };
    let api = ApiOptions { keys: vec![shop], key_in_query: true, ..options().api };
    let edge = world.edge(EdgeOptions { api, ..options() }).await;
    let (mut alice, _) = Client::connect(&edge, "alice", json!({})).await;
    let as_shop = async |method: &str, body: serde_json::Value| {
        let path = format!("/api/{method}?api_key=the-key-of-another-tenant");
        let answer = post(&edge, &path, &[], &body.to_string()).await;
        assert_eq!(answer.status, 200);
        answer.body
    };
    // Another tenant's alice: nobody.
    assert_eq!(as_shop("disconnect", json!({"user": "alice"})).await, json!({"result": {}}));
    as_shop("publish", json!({"channel": "room:a", "data": 1})).await;
    let mine = as_shop("history", json!({"channel": "room:a", "limit": 10})).await;
    assert_eq!(mine["result"]["publications"].as_array().unwrap().len(), 1);
    let other = ask(&edge, "history", json!({"channel": "room:a", "limit": 10})).await;
    assert_eq!(other["result"]["publications"], json!([]));
    assert_eq!(as_shop("channels", json!({})).await["error"]["code"], 103);
    let alive = alice.ask(&json!({"id": 2, "ping": {}})).await;
    assert_eq!(alive["id"], 2);
    edge.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_refused_with_a_status() {
    let world = World::start().await;
    let api = ApiOptions { body_bytes_max: 10_000, batch_commands_max: 3, ..options().api };
    let edge = world.edge(EdgeOptions { api, ..options() }).await;
    let key = [("X-API-Key", KEY)];
    let long = format!("{{\"channel\":\"{}\"}}", "x".repeat(20_000));
    let many = format!("{{\"commands\":[{}]}}", ["{\"info\":{}}"; 4].join(","));
    for (method, body, status) in [
        ("publish", "{", 400),
        ("publish", "[]", 400),
        ("publish", "{\"channel\":{}}", 400),
        ("publish", "\u{0}", 400),
        ("publish", long.as_str(), 413),
        ("batch", many.as_str(), 413),
        ("batch", "{\"commands\":[1]}", 400),
        ("nothing", "{}", 404),
    ] {
        let answer = post(&edge, &format!("/api/{method}"), &key, body).await;
        assert_eq!(answer.status, status, "{method} {body:.40}");
        assert!(status == 404 || answer.body["error"]["message"].is_string(), "{method}");
    }
    let transport = [("X-API-Key", KEY), ("X-Centrifugo-Error-Mode", "transport")];
    for (method, body, status, code) in [
        ("publish", r#"{"channel":"nowhere:a","data":1}"#, 404, 102),
        ("publish", "{}", 400, 107),
        ("presence", r#"{"channel":"room:a"}"#, 400, 108),
        ("history", r#"{"channel":"room:a","since":{"offset":1,"epoch":"old"}}"#, 416, 112),
    ] {
        let answer = post(&edge, &format!("/api/{method}"), &transport, body).await;
        assert_eq!((answer.status, &answer.body["code"]), (status, &json!(code)), "{method}");
        let answer = post(&edge, &format!("/api/{method}"), &key, body).await;
        assert_eq!((answer.status, &answer.body["error"]["code"]), (200, &json!(code)));
    }
    edge.kill().await;
}
