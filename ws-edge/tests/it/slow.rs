//! Clients that read nothing: they are cut, hold nobody up, and lose nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use campana_bus::publish::Outgoing;
use campana_bus::subjects::{self, ChannelName};
use campana_ws_edge::EdgeOptions;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use serde_json::{Value, json};

use crate::support::{Client, Edge, World, datum, options, recovered};

const LIMIT: Duration = Duration::from_secs(60);
const READERS: usize = 280;
const SILENT: usize = 20;
const MESSAGES: u64 = 60;
/// After so many the publisher waits for all readers, so that no reader is slow because the machine is.
const ROUND: u64 = 10;
/// More than the kernel holds for a client that reads nothing.
const FAT_MESSAGES: u64 = 220;
const FAT_BYTES: usize = 32 * 1024;

/// Queues that a reader never fills, and time enough for every write, so that only a full queue can be the end.
fn patient() -> EdgeOptions {
    EdgeOptions { queue_bytes_max: 256 * 1024, write_timeout_ms: 300_000, ..options() }
}

/// A client of `room:all`; gives the offset and epoch at which it began.
async fn follower(edge: &Edge, user: String) -> (Client, u64, String) {
    let (mut client, _) = Client::connect(edge, &user, json!({})).await;
    let reply = client.ask(&json!({"id": 2, "subscribe": {"channel": "room:all"}})).await;
    let begin = &reply["subscribe"];
    (client, begin["offset"].as_u64().unwrap_or(0), begin["epoch"].as_str().unwrap().to_owned())
}

/// Publishes a large message that only silent clients follow.
async fn publish_fat(world: &World, number: u64) {
    let subject = subjects::channel("default", &ChannelName::parse("room:fat").unwrap());
    let body = json!("x".repeat(FAT_BYTES)).to_string();
    let message = Outgoing::new(subject, format!("fat-{number}"), body.into());
    world.bus.publish(message).await.unwrap();
}

/// Reads everything of `room:all` until all of it or the end is there; counts what comes.
async fn read(client: &mut Client, from: u64, seen: &AtomicUsize) -> (Vec<u64>, u64, Option<u16>) {
    let (mut data, mut offset) = (Vec::new(), from);
    while (data.len() as u64) < MESSAGES {
        match client.next().await {
            Ok(line) if line["push"]["channel"] == "room:all" => {
                let (number, at) = datum(&line["push"]["pub"]);
                assert!(at > offset, "offset {at} after {offset}");
                offset = at;
                data.push(number);
                seen.fetch_add(1, Ordering::Relaxed);
            }
            Ok(_) => {}
            Err(code) => return (data, offset, Some(code)),
        }
    }
    (data, offset, None)
}

async fn publish_all(world: &World, seen: &AtomicUsize) {
    for round in 0..MESSAGES / ROUND {
        for number in round * ROUND..(round + 1) * ROUND {
            world.publish("room:all", number).await;
        }
        for fat in 0..FAT_MESSAGES / (MESSAGES / ROUND) {
            publish_fat(world, round * 1_000 + fat).await;
        }
        let wanted = usize::try_from((round + 1) * ROUND).unwrap() * READERS;
        let all = async {
            while seen.load(Ordering::Relaxed) < wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LIMIT, all).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_read_nothing_are_cut_and_hold_nobody_up_and_lose_nothing() {
    let world = World::start().await;
    let edge = world.edge(patient()).await;
    let followers = (0..READERS + SILENT).map(|number| follower(&edge, format!("user-{number}")));
    let mut followers: Vec<_> =
        futures::stream::iter(followers).buffer_unordered(32).collect().await;
    let mut silent = followers.split_off(READERS);
    for (client, ..) in &mut silent {
        let reply = client.ask(&json!({"id": 3, "subscribe": {"channel": "room:fat"}})).await;
        assert!(reply["error"].is_null(), "{reply}");
    }
    let everything: Vec<u64> = (0..MESSAGES).collect();
    let seen = Arc::new(AtomicUsize::new(0));
    let reading: FuturesUnordered<_> = followers
        .iter_mut()
        .map(|(client, from, _)| {
            let seen = &seen;
            async move { read(client, *from, seen).await }
        })
        .collect();
    let (read_by, ()) = tokio::join!(reading.collect::<Vec<_>>(), publish_all(&world, &seen));
    for (data, _, end) in read_by {
        assert_eq!((data, end), (everything.clone(), None));
    }
    for (number, (mut client, from, epoch)) in (READERS..).zip(silent) {
        // What the kernel holds, and then the end: the client was cut while it read nothing.
        let (mut data, offset, end) = read(&mut client, from, &AtomicUsize::new(0)).await;
        assert!(matches!(end, Some(3008 | 0)), "{end:?} after {} messages", data.len());
        assert!(data.len() < everything.len());
        let (mut back, _) = Client::connect(&edge, &format!("user-{number}"), json!({})).await;
        let standing =
            json!({"channel": "room:all", "recover": true, "offset": offset, "epoch": epoch});
        let reply: Value = back.ask(&json!({"id": 2, "subscribe": standing})).await;
        data.extend(recovered(&reply["subscribe"]).iter().map(|(number, _)| number));
        assert_eq!(data, everything);
    }
    edge.stop().await;
}
