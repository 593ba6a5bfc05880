//! Order by key while parking is in trouble, while others wait, and how many keys are at work.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering as Atomic};
use std::time::Duration;

use bytes::Bytes;
use campana_bus::consume::{self, ConsumerSpec, Failure, Meta, Ordering};
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::Outgoing;
use campana_bus::testing::NatsServer;
use campana_bus::topology::{self, DLQ, EVENTS, TopologyOptions};
use campana_bus::{Bus, dlq, headers, subjects};
use futures::StreamExt;
use tokio::sync::mpsc;

const PATIENCE: Duration = Duration::from_secs(60);

fn spec(durable: &str, lanes: usize) -> ConsumerSpec {
    ConsumerSpec {
        ordering: Ordering::ByKey { lanes },
        ack_wait: Duration::from_secs(1),
        filters: vec![subjects::app_event_keyed_filter("shop", "order")],
        ..ConsumerSpec::new(EVENTS, durable, "")
    }
}

async fn publish(bus: &Bus, key: &str, n: usize) {
    let subject = subjects::app_event_keyed("default", "shop", "order", key);
    let message = Outgoing::new(subject, format!("{key}-{n}"), Bytes::from(n.to_string()));
    bus.publish(message.header(headers::KEY, key)).await.unwrap();
}

async fn answers(server: &NatsServer, consumer: &str) -> async_nats::Subscriber {
    let client = async_nats::connect(server.url()).await.unwrap();
    let answers = client.subscribe(format!("$JS.ACK.{EVENTS}.{consumer}.>")).await.unwrap();
    client.flush().await.unwrap();
    answers
}

#[tokio::test]
async fn a_key_waits_until_its_dead_letter_is_stored() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    for n in 0..2 {
        publish(&bus, "a", n).await;
    }
    bus.jetstream().delete_stream(DLQ).await.unwrap();
    let mut wire = answers(&server, "strict").await;
    let (send, mut seen) = mpsc::unbounded_channel();
    let handler = consume::from_fn({
        let bus = bus.clone();
        move |body: Bytes, _: Meta| {
            let (bus, send) = (bus.clone(), send.clone());
            async move {
                if &body[..] == b"0" {
                    return Err(Failure::dead("no", "no"));
                }
                let letters = dlq::list(&bus, &dlq::Filter::default(), 10).await;
                send.send(letters.map_or(0, |letters| letters.len())).unwrap();
                Ok(())
            }
        }
    });
    let lifecycle = Lifecycle::new();
    let running = tokio::spawn({
        let (bus, mine) = (bus.clone(), lifecycle.clone());
        async move { consume::run_raw(&bus, spec("strict", 8), handler, mine).await.unwrap() }
    });
    // The first try to park it has failed.
    let given_back = async { while !wire.next().await.unwrap().payload.starts_with(b"-NAK") {} };
    tokio::time::timeout(PATIENCE, given_back).await.expect("a try");
    topology::apply(&bus, &topology::platform(TopologyOptions::default())).await.unwrap();
    let letters = tokio::time::timeout(PATIENCE, seen.recv()).await.expect("the key goes on");
    assert_eq!(letters, Some(1), "the next one began before the letter was stored");
    lifecycle.soft.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn what_waits_for_its_turn_sends_heartbeats() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    for n in 0..2 {
        publish(&bus, "a", n).await;
    }
    let mut wire = answers(&server, "waiting").await;
    let (lifecycle, go_on) = (Lifecycle::new(), Lifecycle::new());
    let handler = consume::from_fn({
        let go_on = go_on.clone();
        move |_: Bytes, _: Meta| {
            let go_on = go_on.clone();
            async move {
                go_on.soft.cancelled().await;
                Ok(())
            }
        }
    });
    let running = tokio::spawn({
        let (bus, mine) = (bus.clone(), lifecycle.clone());
        async move { consume::run_raw(&bus, spec("waiting", 8), handler, mine).await.unwrap() }
    });
    for sequence in ["1", "2"] {
        let beat = async {
            loop {
                let answer = wire.next().await.unwrap();
                let of = answer.subject.split('.').nth(5).map(str::to_owned);
                if of.as_deref() == Some(sequence) && &answer.payload[..] == b"+WPI" {
                    break;
                }
            }
        };
        let beaten = tokio::time::timeout(PATIENCE, beat).await;
        assert!(beaten.is_ok(), "message {sequence} shows no sign of life");
    }
    go_on.soft.cancel();
    lifecycle.soft.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn no_more_keys_are_at_work_than_there_are_lanes() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    for n in 0..12 {
        publish(&bus, &format!("key {n}"), n).await;
    }
    let (at_work, (send, mut seen)) = (Arc::new(AtomicUsize::new(0)), mpsc::unbounded_channel());
    let handler = consume::from_fn({
        let bus = bus.clone();
        move |_: Bytes, _: Meta| {
            let (bus, at_work, send) = (bus.clone(), Arc::clone(&at_work), send.clone());
            async move {
                let together = at_work.fetch_add(1, Atomic::SeqCst) + 1;
                // Long enough for everybody who may begin to do so.
                for _ in 0..5 {
                    bus.position(EVENTS).await.unwrap();
                }
                at_work.fetch_sub(1, Atomic::SeqCst);
                send.send(together).unwrap();
                Ok(())
            }
        }
    });
    let lifecycle = Lifecycle::new();
    let running = tokio::spawn({
        let (bus, mine) = (bus.clone(), lifecycle.clone());
        async move { consume::run_raw(&bus, spec("lanes", 2), handler, mine).await.unwrap() }
    });
    for _ in 0..12 {
        let together = tokio::time::timeout(PATIENCE, seen.recv()).await.expect("all").unwrap();
        assert!(together <= 2, "{together} keys at work in two lanes");
    }
    lifecycle.soft.cancel();
    running.await.unwrap();
}
