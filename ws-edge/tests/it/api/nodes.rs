//! Nodes that come, go and die while they are asked.

use campana_bus::ids::NodeId;
use campana_ws_edge::{ControlOptions, EdgeOptions};
use serde_json::json;

use super::{Pair, ask, done, options};
use crate::support::{Client, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_ended_is_not_waited_for() {
    let pair = Pair::start().await;
    let nodes = done(&pair.one, "info", json!({})).await;
    assert_eq!(nodes["nodes"].as_array().unwrap().len(), 2);
    let Pair { world, one, two } = pair;
    two.stop().await;
    // In these tests a silent node would be waited for for minutes.
    let nodes = done(&one, "info", json!({})).await;
    let left = nodes["nodes"].as_array().unwrap();
    assert_eq!(left.len(), 1);
    assert!(left[0]["name"].as_str().unwrap().ends_with(&one.port.to_string()));
    assert_eq!(left[0]["version"], env!("CARGO_PKG_VERSION"));
    assert!(left[0]["process"]["rss"].as_u64() > Some(1_000_000));
    let three = world.edge(options()).await;
    let (mut alice, _) = Client::connect(&three, "alice", json!({})).await;
    let nodes = done(&three, "info", json!({})).await;
    assert_eq!(nodes["nodes"].as_array().unwrap().len(), 2);
    done(&one, "disconnect", json!({"user": "alice"})).await;
    assert_eq!(alice.close_code().await, 3503);
    one.kill().await;
    three.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_killed_delays_a_command_and_does_not_spoil_it() {
    let world = World::start().await;
    let quick = |timeout_ms| EdgeOptions {
        control: ControlOptions {
            heartbeat_ms: 100,
            lost_after_ms: 3_000,
            timeout_ms,
            ..ControlOptions::default()
        },
        ..options()
    };
    let one = world.edge(quick(60_000)).await;
    done(&one, "info", json!({})).await;
    let (mut alice, _) = Client::connect(&one, "alice", json!({})).await;
    killed_node(&world).await;
    done(&one, "disconnect", json!({"user": "alice"})).await;
    assert_eq!(alice.close_code().await, 3503);
    one.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_says_how_many_nodes_did_not_answer() {
    let world = World::start().await;
    let control = ControlOptions {
        heartbeat_ms: 100,
        lost_after_ms: 2_000,
        timeout_ms: 2_500,
        ..options().control
    };
    let one = world.edge(EdgeOptions { control, ..options() }).await;
    done(&one, "info", json!({})).await;
    let (mut alice, _) = Client::connect(&one, "alice", json!({})).await;
    let silent = NodeId::fresh();
    let beating = async {
        let mut beat = tokio::time::interval(std::time::Duration::from_millis(100));
        loop {
            beat.tick().await;
            say_alive(&world, silent).await;
        }
    };
    let asking = async {
        // Until the silent node was heard.
        while ask(&one, "info", json!({})).await["error"].is_null() {}
        ask(&one, "disconnect", json!({"user": "alice"})).await
    };
    tokio::select! {
        () = beating => {}
        answer = asking => {
            assert_eq!(answer["error"]["code"], 100, "{answer}");
            let message = answer["error"]["message"].as_str().unwrap();
            assert!(message.starts_with("1 of 2 nodes did not answer"), "{message}");
        }
    }
    // The node that lives did it.
    assert_eq!(alice.close_code().await, 3503);
    one.kill().await;
}

/// A node that was heard once and never again.
async fn killed_node(world: &World) {
    say_alive(world, NodeId::fresh()).await;
}

async fn say_alive(world: &World, node: NodeId) {
    let body = json!({"say": "alive", "node": node}).to_string();
    let client = world.bus.client();
    client.publish(campana_bus::subjects::EDGE_CONTROL, body.into()).await.unwrap();
    client.flush().await.unwrap();
}
