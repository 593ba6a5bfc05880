//! Consumers: retries, time-outs, panics, scheduled copies, batches, drain, a restarted server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use campana_bus::consume::{
    self, BatchHandler, BatchOptions, ConsumerSpec, Failure, Handler, Meta,
};
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::Outgoing;
use campana_bus::testing::NatsServer;
use campana_bus::topology::EVENTS;
use campana_bus::{Bus, Durability};
use campana_bus::{dlq, subjects};
use serde::Deserialize;
use tokio::sync::mpsc;

#[derive(Debug, Deserialize, PartialEq)]
pub struct Order {
    pub n: u32,
}

pub async fn publish_orders(bus: &Bus, range: std::ops::Range<u32>) {
    for n in range {
        let subject = subjects::app_event("default", "shop", "order");
        bus.publish(Outgoing::new(
            subject,
            format!("order-{n}"),
            Bytes::from(format!("{{\"n\":{n}}}")),
        ))
        .await
        .unwrap();
    }
}

pub fn spec(durable: &str) -> ConsumerSpec {
    ConsumerSpec {
        backoff: consume::Backoff {
            first: Duration::from_millis(10),
            max: Duration::from_millis(50),
        },
        ..ConsumerSpec::new(EVENTS, durable, subjects::app_event_filter("shop", "order"))
    }
}

/// Runs `handler` until `enough` messages came out of the channel, then drains.
pub async fn run_until<H: Handler<Order>>(
    bus: &Bus,
    spec: ConsumerSpec,
    handler: H,
    seen: &mut mpsc::UnboundedReceiver<(u32, u32)>,
    enough: usize,
) -> Vec<(u32, u32)> {
    let lifecycle = Lifecycle::new();
    let running = tokio::spawn({
        let (bus, lifecycle) = (bus.clone(), lifecycle.clone());
        async move { consume::run(&bus, spec, handler, lifecycle).await }
    });
    let mut all = Vec::new();
    while all.len() < enough {
        let next = tokio::time::timeout(Duration::from_secs(30), seen.recv())
            .await
            .expect("a message within 30 s");
        all.push(next.unwrap());
    }
    lifecycle.soft.cancel();
    running.await.unwrap().unwrap();
    all
}

#[tokio::test]
async fn a_message_is_tried_again_until_it_works() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    publish_orders(&bus, 0..20).await;
    let (send, mut seen) = mpsc::unbounded_channel();
    let handler = consume::from_fn(move |order: Order, meta: Meta| {
        let send = send.clone();
        async move {
            send.send((order.n, meta.attempt)).unwrap();
            match (order.n, meta.attempt) {
                (3, 1) => Err(Failure::retry("down")),
                (4, 1..=2) => panic!("a bug"),
                (5, 1) => Err(Failure::defer(Duration::from_millis(300), "not yet")),
                _ => Ok(()),
            }
        }
    });
    let all = run_until(&bus, spec("retry"), handler, &mut seen, 24).await;
    let mut by_order: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (n, attempt) in all {
        by_order.entry(n).or_default().push(attempt);
    }
    assert_eq!(by_order[&3], [1, 2]);
    assert_eq!(by_order[&4], [1, 2, 3]);
    assert_eq!(by_order[&5], [1, 1], "a deferral is no attempt");
    assert_eq!(by_order[&0], [1]);
    assert!(dlq::list(&bus, &dlq::Filter::default(), 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_slow_handler_keeps_its_message_by_heartbeats_and_loses_it_by_its_time_out() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    publish_orders(&bus, 0..2).await;
    let (send, mut seen) = mpsc::unbounded_channel();
    let handler = consume::from_fn(move |order: Order, meta: Meta| {
        let send = send.clone();
        async move {
            // Longer than ack_wait: without heartbeats the server would deliver it again meanwhile.
            let work =
                if order.n == 0 { Duration::from_millis(1_500) } else { Duration::from_secs(60) };
            if order.n == 0 || meta.attempt == 1 {
                tokio::time::sleep(work).await;
            }
            send.send((order.n, meta.attempt)).unwrap();
            Ok(())
        }
    });
    let slow = ConsumerSpec {
        ack_wait: Duration::from_millis(600),
        handler_timeout: Duration::from_secs(2),
        ..spec("slow")
    };
    let mut all = run_until(&bus, slow, handler, &mut seen, 2).await;
    all.sort_unstable();
    assert_eq!(all, [(0, 1), (1, 2)]);
}

#[tokio::test]
async fn consuming_goes_on_after_the_server_was_killed() {
    let mut server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    publish_orders(&bus, 0..5).await;
    let (send, mut seen) = mpsc::unbounded_channel();
    let handler = consume::from_fn(move |order: Order, _| {
        let send = send.clone();
        async move {
            send.send((order.n, 0)).unwrap();
            Ok(())
        }
    });
    let lifecycle = Lifecycle::new();
    let running = tokio::spawn({
        let (bus, lifecycle) = (bus.clone(), lifecycle.clone());
        async move { consume::run(&bus, spec("restart"), handler, lifecycle).await }
    });
    for _ in 0..5 {
        seen.recv().await.unwrap();
    }
    let server = tokio::task::spawn_blocking(move || {
        server.restart().unwrap();
        server
    })
    .await
    .unwrap();
    publish_orders(&bus, 5..10).await;
    let mut after = std::collections::BTreeSet::new();
    while after.iter().filter(|n| **n >= 5).count() < 5 {
        let (n, _) = tokio::time::timeout(Duration::from_secs(20), seen.recv())
            .await
            .expect("messages after the restart")
            .unwrap();
        after.insert(n);
    }
    lifecycle.soft.cancel();
    running.await.unwrap().unwrap();
    drop(server);
}

struct Recorder {
    batches: Mutex<Vec<Vec<String>>>,
    done: mpsc::UnboundedSender<usize>,
}

impl BatchHandler for Recorder {
    async fn handle(&self, batch: Vec<(Bytes, Meta)>) -> Result<(), Failure> {
        let texts: Vec<String> =
            batch.iter().map(|(body, _)| String::from_utf8_lossy(body).into_owned()).collect();
        let bad = texts.iter().any(|text| text.contains("\"n\":13"));
        self.batches.lock().unwrap().push(texts.clone());
        if bad {
            return Err(Failure::dead("undecodable", "thirteen"));
        }
        self.done.send(texts.len()).unwrap();
        Ok(())
    }
}

#[tokio::test]
async fn one_bad_message_does_not_hold_up_its_batch() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    publish_orders(&bus, 0..40).await;
    let (done, mut finished) = mpsc::unbounded_channel();
    let recorder = Arc::new(Recorder { batches: Mutex::new(Vec::new()), done });
    let lifecycle = Lifecycle::new();
    let running = tokio::spawn({
        let (bus, lifecycle, recorder) = (bus.clone(), lifecycle.clone(), Arc::clone(&recorder));
        let options = BatchOptions { max: 100, wait: Duration::from_millis(100) };
        async move { consume::run_batches(&bus, spec("batches"), options, recorder, lifecycle).await }
    });
    let mut stored = 0;
    while stored < 39 {
        stored +=
            tokio::time::timeout(Duration::from_secs(20), finished.recv()).await.unwrap().unwrap();
    }
    lifecycle.soft.cancel();
    running.await.unwrap().unwrap();
    let dead = dlq::list(&bus, &dlq::Filter::default(), 10).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(
        (dead[0].consumer.as_str(), dead[0].reason.as_str(), dead[0].sequence),
        ("batches", "undecodable", 14)
    );
}

struct Count(mpsc::UnboundedSender<usize>);

impl BatchHandler for Count {
    async fn handle(&self, batch: Vec<(Bytes, Meta)>) -> Result<(), Failure> {
        self.0.send(batch.len()).unwrap();
        Ok(())
    }
}

#[tokio::test]
async fn a_batch_that_is_done_makes_room_at_once() {
    let server = NatsServer::start_with(Durability::Process).unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    publish_orders(&bus, 0..3_000).await;
    let (done, mut finished) = mpsc::unbounded_channel();
    let lifecycle = Lifecycle::new();
    let running = tokio::spawn({
        let (bus, lifecycle) = (bus.clone(), lifecycle.clone());
        let options = BatchOptions { max: 10, wait: Duration::from_millis(1) };
        let small = ConsumerSpec { max_in_flight: 20, ..spec("room") };
        async move { consume::run_batches(&bus, small, options, Count(done), lifecycle).await }
    });
    // Twenty at a time: 150 rounds. A loop that only its clock wakes, once a second, would not get there.
    let all = async {
        let mut handled = 0;
        while handled < 3_000 {
            handled += finished.recv().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all).await.expect("no round waits for a clock");
    lifecycle.soft.cancel();
    running.await.unwrap().unwrap();
}
