//! Parking while the dead letters are in trouble: full, gone, too large; and what a letter carries.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use campana_bus::consume::{self, Failure, Meta};
use campana_bus::dlq::{self, Filter};
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::Outgoing;
use campana_bus::testing::NatsServer;
use campana_bus::topology::{self, DLQ, EVENTS, TopologyOptions};
use campana_bus::{Bus, headers, subjects};

use crate::consuming::{Order, publish_orders, spec};
use crate::eventually::eventually;

/// Runs a consumer that gives every order up, until the lifecycle stops.
fn refuse(bus: &Bus, durable: &str) -> (Lifecycle, tokio::task::JoinHandle<()>, Arc<AtomicU32>) {
    let (lifecycle, calls) = (Lifecycle::new(), Arc::new(AtomicU32::new(0)));
    let counted = Arc::clone(&calls);
    let handler = consume::from_fn(move |_: Order, _: Meta| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Err(Failure::dead("no_stock", "none left")) }
    });
    let (bus, mine, spec) = (bus.clone(), lifecycle.clone(), spec(durable));
    let running =
        tokio::spawn(async move { consume::run(&bus, spec, handler, mine).await.unwrap() });
    (lifecycle, running, calls)
}

async fn parked(bus: &Bus) -> Vec<dlq::DeadLetter> {
    dlq::list(bus, &Filter::default(), 1_000).await.unwrap_or_default()
}

#[tokio::test]
async fn full_dead_letters_hold_messages_back_until_there_is_room() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus("test").await.unwrap();
    let small = TopologyOptions { dlq_messages: 3, ..TopologyOptions::default() };
    topology::apply(&bus, &topology::platform(small)).await.unwrap();
    publish_orders(&bus, 0..8).await;
    let (lifecycle, running, calls) = refuse(&bus, "full");
    eventually("three letters fill the stream", async || {
        (parked(&bus).await.len() == 3).then_some(())
    })
    .await;
    // The others come back after pauses, and each attempt is one the handler sees, so they end by being
    // exhausted and are still not lost.
    let mut consumer = consumer(&bus, "full").await;
    eventually("the rest stays with its consumer", async || {
        (consumer.info().await.unwrap().num_ack_pending == 5).then_some(())
    })
    .await;
    assert!(calls.load(Ordering::Relaxed) >= 8);
    assert_eq!(parked(&bus).await.len(), 3, "a full stream refuses");

    let room = TopologyOptions { dlq_messages: 100, ..TopologyOptions::default() };
    topology::apply(&bus, &topology::platform(room)).await.unwrap();
    let letters = eventually("room was made", async || {
        Some(parked(&bus).await).filter(|letters| letters.len() == 8)
    })
    .await;
    let sequences: BTreeSet<u64> = letters.iter().map(|letter| letter.sequence).collect();
    assert_eq!(sequences.len(), 8, "each once");
    eventually("nothing is pending", async || {
        (consumer.info().await.unwrap().num_ack_pending == 0).then_some(())
    })
    .await;
    lifecycle.soft.cancel();
    running.await.unwrap();
}

async fn consumer(
    bus: &Bus,
    name: &str,
) -> async_nats::jetstream::consumer::Consumer<async_nats::jetstream::consumer::pull::Config> {
    bus.jetstream().get_consumer_from_stream(name, EVENTS).await.unwrap()
}

#[tokio::test]
async fn dead_letters_that_are_gone_hold_messages_back_until_they_return() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    bus.jetstream().delete_stream(DLQ).await.unwrap();
    publish_orders(&bus, 0..2).await;
    let (lifecycle, running, calls) = refuse(&bus, "gone");
    eventually("the handler has given them up", async || {
        (calls.load(Ordering::Relaxed) >= 2).then_some(())
    })
    .await;
    let wanted = topology::platform(TopologyOptions::default());
    topology::apply(&bus, &wanted).await.unwrap();
    eventually("both are parked", async || (parked(&bus).await.len() == 2).then_some(())).await;
    lifecycle.soft.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_message_that_only_just_fitted_is_parked_with_fewer_headers() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    let limit = bus.client().max_payload();
    let subject = subjects::app_event("default", "shop", "order");
    let body = format!("{{\"n\":1,\"x\":\"{}\"}}", "x".repeat(limit - 3_000));
    let large = Outgoing::new(subject, "large", Bytes::from(body.clone()))
        .header("X-Note", &"n".repeat(2_500))
        .header("ce-id", "kept");
    bus.publish(large).await.unwrap();
    let (lifecycle, running, _) = refuse(&bus, "large");
    let letter = eventually("it is parked", async || parked(&bus).await.pop()).await;
    let (_, stored) = dlq::show(&bus, letter.id).await.unwrap();
    assert_eq!(stored.payload, body);
    assert_eq!(headers::get(&stored.headers, "X-Note"), None);
    assert_eq!(headers::get(&stored.headers, "ce-id"), Some("kept"));
    assert_eq!((letter.reason.as_str(), letter.sequence), ("no_stock", 1));
    lifecycle.soft.cancel();
    running.await.unwrap();
}

/// A body as large as the server takes leaves no room for any provenance: it stays, and others are parked.
#[tokio::test]
async fn a_message_that_cannot_be_parked_stays_and_holds_nobody_up() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    let limit = bus.client().max_payload();
    let subject = subjects::app_event("default", "shop", "order");
    let frame = "{\"n\":1,\"x\":\"\"}".len();
    let body = format!("{{\"n\":1,\"x\":\"{}\"}}", "x".repeat(limit - frame));
    let ack = bus.jetstream().publish(subject, Bytes::from(body)).await.unwrap();
    ack.await.unwrap();
    publish_orders(&bus, 2..4).await;
    let (lifecycle, running, _) = refuse(&bus, "huge");
    eventually("the others are parked", async || (parked(&bus).await.len() == 2).then_some(()))
        .await;
    let mut consumer = consumer(&bus, "huge").await;
    eventually("the large one stays with its consumer", async || {
        (consumer.info().await.unwrap().num_ack_pending == 1).then_some(())
    })
    .await;
    lifecycle.soft.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_stream_that_is_created_anew_does_not_hide_its_dead_letters_behind_old_ones() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    for life in 1..=2 {
        publish_orders(&bus, 0..1).await;
        let (lifecycle, running, _) = refuse(&bus, "again");
        eventually("it is parked", async || (parked(&bus).await.len() == life).then_some(())).await;
        lifecycle.soft.cancel();
        running.await.unwrap();
        bus.jetstream().delete_stream(EVENTS).await.unwrap();
        let wanted = topology::platform(TopologyOptions::default());
        topology::apply(&bus, &wanted).await.unwrap();
    }
    let letters = parked(&bus).await;
    assert_eq!(letters.iter().map(|letter| letter.sequence).collect::<Vec<_>>(), [1, 1]);
    assert_ne!(letters[0].first_at, letters[1].first_at);
}

#[tokio::test]
async fn a_letter_carries_the_times_of_its_failures_and_who_parked_it() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("shop").await.unwrap().with_version("1.2.3");
    publish_orders(&bus, 0..1).await;
    let (lifecycle, second) = (Lifecycle::new(), Arc::new(AtomicBool::new(false)));
    let handler = {
        let second = Arc::clone(&second);
        consume::from_fn(move |_: Order, meta: Meta| {
            second.store(meta.attempt > 1, Ordering::Relaxed);
            async { Err(Failure::retry("still down")) }
        })
    };
    let running = tokio::spawn({
        let (bus, mine) = (bus.clone(), lifecycle.clone());
        let spec = consume::ConsumerSpec { max_attempts: 2, ..spec("times") };
        async move { consume::run(&bus, spec, handler, mine).await.unwrap() }
    });
    let letter = eventually("it is parked", async || parked(&bus).await.pop()).await;
    assert!(second.load(Ordering::Relaxed));
    let first_failure = letter.first_failure_at.clone().unwrap();
    let times = [&letter.first_at, &first_failure, &letter.dead_at]
        .map(|text| campana_bus::clock::Micros::from_rfc3339(text).unwrap());
    assert!(times[0] <= times[1], "stored before it failed");
    let pause = i64::try_from(Duration::from_millis(4).as_micros()).unwrap();
    assert!(times[2].since(times[1]) >= pause, "the pause lies between the failures");
    assert_eq!((letter.attempts, letter.error.as_str()), (2, "still down"));
    assert_eq!((letter.class.as_str(), letter.service.as_str()), ("max_deliver", "shop 1.2.3"));
    assert_eq!(letter.filed_by, "consumer");
    lifecycle.soft.cancel();
    running.await.unwrap();
}
