//! The orderly end of a node: what clients asked for is finished, and load balancers get time to notice.

use std::sync::Arc;
use std::time::Duration;

use campana_bus::service::{Reply, Service};
use campana_ws_edge::{EdgeOptions, RpcOptions};
use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::support::{Client, Edge, World, options};

const LIMIT: Duration = Duration::from_secs(60);

/// Until the node lets nobody in.
async fn closed(edge: &Edge) {
    let trying = async {
        while let Ok((socket, _)) = tokio_tungstenite::connect_async(edge.url()).await {
            drop(socket);
        }
    };
    tokio::time::timeout(LIMIT, trying).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_asked_for_is_finished_before_it_is_sent_away() {
    let world = World::start().await;
    let rpc = vec![RpcOptions {
        method: "hold".to_owned(),
        service: "desk".to_owned(),
        endpoint: "hold".to_owned(),
        timeout_ms: 60_000,
    }];
    let edge = world.edge(EdgeOptions { rpc, drain_finish_ms: 60_000, ..options() }).await;
    let (began, go, stop) =
        (Arc::new(Notify::new()), Arc::new(Notify::new()), CancellationToken::new());
    let (has_begun, may_go) = (Arc::clone(&began), Arc::clone(&go));
    let service = Service::new(&world.bus, "desk", "1.0.0").endpoint_raw("hold", move |_, _| {
        let (has_begun, may_go) = (Arc::clone(&has_begun), Arc::clone(&may_go));
        async move {
            has_begun.notify_one();
            may_go.notified().await;
            Ok(Reply::from("\"at last\""))
        }
    });
    let asking = async {
        let (mut idle, _) = Client::connect(&edge, "bob", json!({})).await;
        let (mut client, _) = Client::connect(&edge, "alice", json!({})).await;
        // The service may not listen yet.
        let asking = async {
            loop {
                client.send(&json!({"id": 2, "rpc": {"method": "hold", "data": 1}})).await;
                tokio::select! {
                    () = began.notified() => return,
                    answer = client.next() => assert!(answer.unwrap()["error"].is_object()),
                }
            }
        };
        tokio::time::timeout(LIMIT, asking).await.unwrap();
        edge.lifecycle.soft.cancel();
        // Who waits for nothing goes at once.
        assert_eq!(idle.close_code().await, 3001);
        closed(&edge).await;
        go.notify_one();
        assert_eq!(client.next().await.unwrap()["rpc"]["data"], "at last");
        assert_eq!(client.close_code().await, 3001);
        stop.cancel();
    };
    let running = service.run(stop.clone().cancelled_owned());
    let (ran, ()) = tokio::join!(running, asking);
    ran.unwrap();
    edge.stop().await;
}

/// A node that stops lets clients in while load balancers have not noticed yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_stays_open_for_a_while_after_it_says_that_it_stops() {
    let world = World::start().await;
    let edge = world.edge(EdgeOptions { drain_delay_ms: 600_000, ..options() }).await;
    let (mut early, _) = Client::connect(&edge, "bob", json!({})).await;
    edge.lifecycle.soft.cancel();
    let (mut late, _) = Client::connect(&edge, "alice", json!({})).await;
    for client in [&mut early, &mut late] {
        let reply = client.ask(&json!({"id": 2, "subscribe": {"channel": "room:a"}})).await;
        assert!(reply["error"].is_null(), "{reply}");
    }
    edge.kill().await;
}
