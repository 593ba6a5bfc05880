//! Reading streams again: in order, from a sequence or a time, over a killed server, and following.

use std::time::Duration;

use bytes::Bytes;
use campana_bus::publish::Outgoing;
use campana_bus::replay::{From, Replay, ReplayError};
use campana_bus::schedule::When;
use campana_bus::testing::NatsServer;
use campana_bus::topology::EVENTS;
use campana_bus::{Bus, Event, subjects};
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Serialize, Deserialize, PartialEq)]
struct Sold {
    n: u32,
    key: Option<String>,
}

impl Event for Sold {
    const SERVICE: &'static str = "shop";
    const NAME: &'static str = "sold";
    fn key(&self) -> Option<String> {
        self.key.clone()
    }
}

fn message(event: &str, n: usize) -> Outgoing {
    let subject = subjects::app_event("default", "shop", event);
    Outgoing::new(subject, format!("{event}-{n}"), Bytes::from(n.to_string()))
}

/// Stores this many messages, every third one another kind.
async fn fill(bus: &Bus, count: usize) {
    futures::stream::iter(0..count)
        .map(|n| bus.publish(message(if n % 3 == 0 { "other" } else { "sold" }, n)))
        .buffered(256)
        .try_collect::<Vec<_>>()
        .await
        .unwrap();
}

async fn sequences(replay: Replay) -> Vec<u64> {
    let all = replay.map_ok(|message| message.sequence).try_collect();
    tokio::time::timeout(PATIENCE, all).await.expect("the replay ends").unwrap()
}

#[tokio::test]
async fn a_replay_reads_in_order_from_where_it_is_told() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    assert_eq!(sequences(bus.replay(EVENTS, ">", From::Start)).await, [0_u64; 0]);
    fill(&bus, 1_000).await;
    let far = When::After(Duration::from_secs(3_600));
    bus.schedule(EVENTS, "k", &far, message("sold", 1_000)).await.unwrap();

    let everything = sequences(bus.replay(EVENTS, ">", From::Start)).await;
    assert_eq!(everything, (1..=1_000).collect::<Vec<u64>>(), "without the library's own copies");
    assert_eq!(sequences(bus.replay(EVENTS, "_schedule.>", From::Start)).await, [1_001]);
    let other = subjects::app_event_filter("shop", "other");
    let others = sequences(bus.replay(EVENTS, &other, From::Start)).await;
    assert_eq!(others.len(), 334);
    assert!(others.is_sorted());
    let from = sequences(bus.replay(EVENTS, &other, From::Sequence(900))).await;
    assert_eq!(from, others.iter().copied().filter(|at| *at >= 900).collect::<Vec<_>>());
    // Filters that overlap give each message once, in the order of the stream.
    let both = vec![other.clone(), "app.>".to_owned(), other];
    assert_eq!(sequences(bus.replay_many(EVENTS, both, From::Sequence(500))).await.len(), 501);

    let middle = bus.message(EVENTS, 700).await.unwrap().unwrap().time;
    let since = sequences(bus.replay(EVENTS, "app.>", From::Time(middle))).await;
    assert!(since[0] <= 700 && since.last() == Some(&1_000), "{since:?}");
    let first = bus.message(EVENTS, since[0]).await.unwrap().unwrap();
    assert!(first.time >= middle);
    let future = middle.plus_seconds(3_600);
    assert_eq!(sequences(bus.replay(EVENTS, ">", From::Time(future))).await, [0_u64; 0]);
    assert_eq!(sequences(bus.replay(EVENTS, ">", From::Sequence(u64::MAX))).await, [0_u64; 0]);

    let missing: Result<Vec<_>, _> = bus
        .replay("NOWHERE", ">", From::Start)
        .patience(Duration::from_millis(200))
        .try_collect()
        .await;
    assert!(matches!(missing, Err(ReplayError::Fetch(_))), "{missing:?}");
}

#[tokio::test]
async fn a_replay_goes_on_where_it_was_when_the_server_comes_back() {
    const COUNT: usize = 3_000;
    let mut server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    fill(&bus, COUNT).await;
    let mut replay = bus.replay(EVENTS, "app.>", From::Start);
    let mut seen = Vec::new();
    while seen.len() < COUNT {
        if seen.len() == COUNT / 3 || seen.len() == COUNT / 2 {
            server.kill();
            // Comes back while the replay is asking.
            let restarting = tokio::task::spawn_blocking(move || {
                server.restart().unwrap();
                server
            });
            seen.push(replay.try_next().await.unwrap().unwrap().sequence);
            server = restarting.await.unwrap();
            continue;
        }
        let next = tokio::time::timeout(PATIENCE, replay.try_next()).await.expect("in time");
        seen.push(next.unwrap().expect("no message is lost").sequence);
    }
    assert_eq!(seen, (1..=COUNT as u64).collect::<Vec<_>>());
    assert!(replay.try_next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_follower_sees_what_comes_and_notices_a_new_stream() {
    let mut server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    fill(&bus, 10).await;
    let mut replay = bus.replay(EVENTS, "app.>", From::Sequence(9)).follow();
    let mut next =
        async || tokio::time::timeout(PATIENCE, replay.try_next()).await.expect("in time");
    assert_eq!(next().await.unwrap().unwrap().sequence, 9);
    assert_eq!(next().await.unwrap().unwrap().sequence, 10);
    bus.publish(message("sold", 11)).await.unwrap();
    assert_eq!(next().await.unwrap().unwrap().sequence, 11);
    let mut server = tokio::task::spawn_blocking(move || {
        server.restart().unwrap();
        server
    })
    .await
    .unwrap();
    bus.publish(message("sold", 12)).await.unwrap();
    assert_eq!(next().await.unwrap().unwrap().sequence, 12);
    let config = bus.jetstream().get_stream(EVENTS).await.unwrap().cached_info().config.clone();
    bus.jetstream().delete_stream(EVENTS).await.unwrap();
    bus.jetstream().create_stream(config).await.unwrap();
    assert_eq!(next().await.unwrap_err(), ReplayError::Recreated);
    assert!(next().await.unwrap().is_none(), "an error is the end");
    server.kill();
}

#[tokio::test]
async fn events_are_decoded_and_a_bad_one_does_not_end_the_replay() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    bus.emit(&Sold { n: 1, key: None }).await.unwrap();
    bus.emit(&Sold { n: 2, key: Some("order-7".to_owned()) }).await.unwrap();
    let subject = subjects::app_event("default", "shop", "sold");
    bus.publish(Outgoing::new(subject, "bad", Bytes::from_static(b"{"))).await.unwrap();
    bus.emit(&Sold { n: 4, key: Some("order-7".to_owned()) }).await.unwrap();
    let all: Vec<_> = bus.replay_events::<Sold>(From::Start).collect().await;
    let numbers: Vec<Option<u32>> =
        all.iter().map(|one| one.as_ref().ok().map(|(sold, _)| sold.n)).collect();
    assert_eq!(numbers, [Some(1), Some(2), None, Some(4)], "keyed and not, in the stream's order");
    assert!(matches!(all[2], Err(ReplayError::Decode { sequence: 3, .. })));
}

#[tokio::test]
async fn a_replay_ends_where_the_stream_did_when_it_began() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    fill(&bus, 300).await;
    let mut replay = bus.replay(EVENTS, "app.>", From::Start);
    let first = tokio::time::timeout(PATIENCE, replay.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(first.sequence, 1);
    // Stored before the second page is read.
    for n in 300..310 {
        bus.publish(message("sold", n)).await.unwrap();
    }
    assert_eq!(sequences(replay).await, (2..=300).collect::<Vec<u64>>());
}
