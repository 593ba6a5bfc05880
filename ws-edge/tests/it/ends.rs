//! How connections end: too slow, without an answer, with the node.

use std::time::Duration;

use campana_ws_edge::EdgeOptions;
use futures::StreamExt as _;
use serde_json::json;

use crate::support::{Client, Edge, World, options};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_cut_and_others_are_not_held_up() {
    let world = World::start().await;
    let edge = world.edge(EdgeOptions { queue_bytes_max: 256 * 1024, ..options() }).await;
    let (mut slow, _) = Client::connect(&edge, "slow", json!({})).await;
    let (mut quick, _) = Client::connect(&edge, "quick", json!({})).await;
    for client in [&mut slow, &mut quick] {
        assert!(
            client.ask(&json!({"id": 2, "subscribe": {"channel": "room:big"}})).await["subscribe"]
                .is_object()
        );
    }
    let body = format!("\"{}\"", "x".repeat(60_000));
    let subject = campana_bus::subjects::channel(
        "default",
        &campana_bus::subjects::ChannelName::parse("room:big").unwrap(),
    );
    // Socket buffers hold some megabytes before the edge's own queue fills.
    for number in 0..300 {
        let message = campana_bus::publish::Outgoing::new(
            subject.as_str(),
            format!("big-{number}"),
            body.clone().into(),
        );
        world.bus.publish(message).await.unwrap();
        assert_eq!(quick.next().await.unwrap()["push"]["channel"], "room:big");
    }
    assert_eq!(slow.close_code().await, 3008);
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_ends_a_connection() {
    let world = World::start().await;
    let hasty = world.edge(EdgeOptions { connect_timeout_ms: 50, ..options() }).await;
    assert_eq!(Client::open(&hasty).await.close_code().await, 3502);
    hasty.stop().await;
    let quick = EdgeOptions { ping_interval_ms: 60, pong_timeout_ms: 40, ..options() };
    let edge = world.edge(quick).await;
    let (mut silent, _) = Client::connect(&edge, "alice", json!({})).await;
    assert_eq!(silent.next().await, Ok(json!({})));
    assert_eq!(silent.close_code().await, 3012);
    edge.stop().await;
    // Whoever answers stays, also on a machine that lets nobody answer in 40 ms.
    let patient = EdgeOptions { ping_interval_ms: 2_000, pong_timeout_ms: 1_900, ..options() };
    let edge = world.edge(patient).await;
    let (mut polite, _) = Client::connect(&edge, "alice", json!({})).await;
    for _ in 0..2 {
        assert_eq!(polite.next().await, Ok(json!({})));
        polite.send(&json!({})).await;
    }
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_node_sends_everybody_away_and_takes_nobody() {
    let world = World::start().await;
    let edge = world.edge(EdgeOptions { drain_window_ms: 1_000, ..options() }).await;
    let clients = (0..200).map(|number| {
        let edge = &edge;
        async move { Client::connect(edge, &format!("user-{number}"), json!({})).await.0 }
    });
    let clients: Vec<Client> = futures::stream::iter(clients).buffer_unordered(20).collect().await;
    let url = edge.url();
    let ends = clients.into_iter().map(|mut client| async move { client.close_code().await });
    let ends = futures::future::join_all(ends);
    let ((), ends) =
        tokio::time::timeout(Duration::from_secs(30), futures::future::join(edge.stop(), ends))
            .await
            .unwrap();
    assert!(ends.iter().all(|code| *code == 3001), "{ends:?}");
    assert!(tokio_tungstenite::connect_async(url).await.is_err());
}

/// A hard stop does not wait for anybody.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_is_gone_at_once() {
    let world = World::start().await;
    let edge = world.edge(options()).await;
    let port = edge.port;
    let (mut client, _) = Client::connect(&edge, "alice", json!({})).await;
    edge.kill().await;
    assert_eq!(client.close_code().await, 0);
    let edge = Edge::start(&world.nats, options(), port).await;
    Client::connect(&edge, "alice", json!({})).await;
    edge.stop().await;
}
