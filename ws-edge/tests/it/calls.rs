//! Calls of services through the edge, over a real bus.

use std::sync::Arc;
use std::time::Duration;

use campana_bus::service::{CallMeta, Reply, Service, ServiceError};
use campana_bus::{HeaderMap, headers};
use campana_ws_edge::{EdgeOptions, RpcOptions};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::support::{Client, World, options};

fn method(method: &str, service: &str, timeout_ms: u64) -> RpcOptions {
    let endpoint = method.to_owned();
    RpcOptions { method: method.to_owned(), service: service.to_owned(), endpoint, timeout_ms }
}

/// What the service was told about its caller.
fn caller(meta: &CallMeta) -> Value {
    let header = |name| headers::get(&meta.headers, name).unwrap_or_default();
    let info: Value = serde_json::from_str(header(headers::CLIENT_INFO)).unwrap();
    json!({"tenant": header("Campana-Tenant"), "user": info["user"], "client": info["client"]})
}

/// Until the service answers.
async fn listens(world: &World) {
    let limit = Duration::from_secs(60);
    let asking = async {
        let ask = || world.bus.call_raw("desk", "echo", HeaderMap::new(), "1".into(), limit);
        while ask().await.is_err() {}
    };
    tokio::time::timeout(limit, asking).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_calls_a_service_and_learns_what_came_of_it() {
    let world = World::start().await;
    let rpc = vec![
        method("whoami", "desk", 20_000),
        method("echo", "desk", 20_000),
        method("refuse", "desk", 20_000),
        method("stall", "desk", 50),
        method("hold", "desk", 20_000),
        method("nobody", "absent", 20_000),
    ];
    let edge = world.edge(EdgeOptions { rpc, ..options() }).await;
    let stop = CancellationToken::new();
    let go = Arc::new(Notify::new());
    let held = Arc::clone(&go);
    let service = Service::new(&world.bus, "desk", "1.0.0")
        .endpoint_raw("whoami", |_, meta| async move { Ok(Reply::from(caller(&meta).to_string())) })
        .endpoint_raw("echo", |body, _| async move { Ok(Reply::from(body)) })
        .endpoint_raw("refuse", |_, _| async move { Err(ServiceError::new(409, "sold out")) })
        .endpoint_raw("stall", |_, _| std::future::pending())
        .endpoint_raw("hold", move |_, _| {
            let held = Arc::clone(&held);
            async move {
                held.notified().await;
                Ok(Reply::from("\"at last\""))
            }
        });
    let running = service.run(stop.clone().cancelled_owned());
    let asking = async {
        let (mut client, connect) = Client::connect(&edge, "alice", json!({})).await;
        listens(&world).await;
        let who = client.ask(&json!({"id": 2, "rpc": {"method": "whoami"}})).await;
        let expected = json!({"tenant": "default", "user": "alice", "client": connect["client"]});
        assert_eq!(who["rpc"]["data"], expected);
        let table = [
            ("echo", json!({"n": [1, 2]}), json!({"data": {"n": [1, 2]}}), 0),
            ("echo", Value::Null, json!({}), 0),
            ("refuse", json!(1), Value::Null, 409),
            ("stall", json!(1), Value::Null, 100),
            ("nobody", json!(1), Value::Null, 100),
            ("unheard_of", json!(1), Value::Null, 104),
        ];
        for (id, (method, data, result, code)) in (3..).zip(table) {
            let reply =
                client.ask(&json!({"id": id, "rpc": {"method": method, "data": data}})).await;
            let found = reply["error"]["code"].as_u64().unwrap_or(0);
            assert_eq!((&reply["rpc"], found), (&result, code), "{method}: {reply}");
        }
        // A slow answer holds up neither other calls nor subscriptions.
        client.send(&json!({"id": 50, "rpc": {"method": "hold"}})).await;
        let subscribed = client.ask(&json!({"id": 51, "subscribe": {"channel": "room:a"}})).await;
        assert!(subscribed["subscribe"].is_object());
        let echo = client.ask(&json!({"id": 52, "rpc": {"method": "echo", "data": 1}})).await;
        assert_eq!(echo["rpc"]["data"], 1);
        go.notify_one();
        assert_eq!(client.next().await, Ok(json!({"id": 50, "rpc": {"data": "at last"}})));
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(running, asking);
    ended.unwrap();
    edge.stop().await;
}
