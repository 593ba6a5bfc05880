//! Layers around handlers: their order, what they may do, and that settlement follows from the result.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use campana_bus::consume::{
    self, BatchHandler, BatchOptions, ConsumerSpec, Delivery, EnvelopeHandler, Failure, Layers,
    Meta, Middleware, Next, Observe, RequireHeader, Timeout,
};
use campana_bus::dlq;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::{Outgoing, Part, encode_parts};
use campana_bus::testing::NatsServer;
use campana_bus::topology::REQUESTS;
use campana_bus::{Bus, headers, subjects};
use tokio::sync::mpsc;

use crate::consuming::{Order, publish_orders, run_until, spec};

const PATIENCE: Duration = Duration::from_secs(60);

/// Doubles the number, answers 3 itself, parks 4, and has a bug at the first attempt of 5.
struct Everything {
    trail: Arc<Mutex<Vec<String>>>,
}

fn number(body: &[u8]) -> u32 {
    serde_json::from_slice::<serde_json::Value>(body).unwrap()["n"].as_u64().unwrap() as u32
}

impl Middleware for Everything {
    async fn handle(&self, mut delivery: Delivery, next: Next<'_>) -> Result<(), Failure> {
        let n = number(&delivery.payload);
        match (n, delivery.meta.attempt) {
            (3, _) => return Ok(()),
            (4, _) => return Err(Failure::dead("refused", "four")),
            (5, 1) => panic!("a bug in a layer"),
            _ => {}
        }
        delivery.payload = Bytes::from(format!("{{\"n\":{}}}", n * 2));
        let result = next.run(delivery).await;
        self.trail.lock().unwrap().push(format!("inner {n}"));
        result
    }
}

#[tokio::test]
async fn layers_change_answer_and_fail_as_the_handler_could() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    publish_orders(&bus, 0..8).await;
    let trail: Arc<Mutex<Vec<String>>> = Arc::default();
    let outer = {
        let trail = Arc::clone(&trail);
        Observe(move |meta: &Meta, result: &Result<(), Failure>, _took: Duration| {
            let ok = result.is_ok();
            trail.lock().unwrap().push(format!("outer {} {ok}", meta.sequence - 1));
        })
    };
    let layers = Layers::new().and(outer).and(Everything { trail: Arc::clone(&trail) });
    let spec = ConsumerSpec { middleware: layers, max_in_flight: 1, ..spec("layers") };
    let (send, mut seen) = mpsc::unbounded_channel();
    let handler = consume::from_fn(move |order: Order, meta: Meta| {
        let send = send.clone();
        async move {
            send.send((order.n, meta.attempt)).unwrap();
            Ok(())
        }
    });
    let mut all = run_until(&bus, spec, handler, &mut seen, 6).await;
    all.sort_unstable();
    assert_eq!(all, [(0, 1), (2, 1), (4, 1), (10, 2), (12, 1), (14, 1)]);
    let trail = trail.lock().unwrap().clone();
    let at = |what: &str| trail.iter().position(|step| step == what);
    assert!(at("inner 1").unwrap() < at("outer 1 true").unwrap(), "{trail:?}");
    assert_eq!((at("inner 3"), at("outer 3 true").is_some()), (None, true));
    assert_eq!((at("inner 4"), at("outer 4 false").is_some()), (None, true));
    let dead = dlq::list(&bus, &dlq::Filter::default(), 10).await.unwrap();
    assert_eq!((dead.len(), dead[0].reason.as_str()), (1, "refused"));
    let (_, stored) = dlq::show(&bus, dead[0].id).await.unwrap();
    assert_eq!(number(&stored.payload), 4, "a dead letter is the message as it was stored");
}

#[tokio::test]
async fn messages_without_the_header_are_parked_and_slow_ones_tried_again() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    for (n, signature) in [(0, "good"), (1, "bad"), (2, "good")] {
        let subject = subjects::app_event("default", "shop", "order");
        let body = Bytes::from(format!("{{\"n\":{n}}}"));
        let order = Outgoing::new(subject, format!("order-{n}"), body);
        bus.publish(order.header("Shop-Signature", signature)).await.unwrap();
    }
    publish_orders(&bus, 3..4).await;
    let layers = Layers::new()
        .and(RequireHeader::new("Shop-Signature", |value| value == "good"))
        .and(Timeout(Duration::from_millis(50)));
    let (send, mut seen) = mpsc::unbounded_channel();
    let handler = consume::from_fn(move |order: Order, meta: Meta| {
        let send = send.clone();
        async move {
            if order.n == 2 && meta.attempt == 1 {
                std::future::pending::<()>().await;
            }
            send.send((order.n, meta.attempt)).unwrap();
            Ok(())
        }
    });
    let spec = ConsumerSpec { middleware: layers, ..spec("signed") };
    let mut all = run_until(&bus, spec, handler, &mut seen, 2).await;
    all.sort_unstable();
    assert_eq!(all, [(0, 1), (2, 2)]);
    let dead = dlq::list(&bus, &dlq::Filter::default(), 10).await.unwrap();
    assert_eq!(dead.iter().filter(|letter| letter.reason == "header_refused").count(), 2);
}

/// Refuses odd numbers.
struct NoOdds;

impl Middleware for NoOdds {
    async fn handle(&self, delivery: Delivery, next: Next<'_>) -> Result<(), Failure> {
        if number(&delivery.payload) % 2 == 1 {
            return Err(Failure::dead("odd", "refused by a layer"));
        }
        next.run(delivery).await
    }
}

struct Numbers(mpsc::UnboundedSender<Vec<u32>>);

impl BatchHandler for Numbers {
    async fn handle(&self, batch: Vec<(Bytes, Meta)>) -> Result<(), Failure> {
        self.0.send(batch.iter().map(|(body, _)| number(body)).collect()).unwrap();
        Ok(())
    }
}

impl EnvelopeHandler for Numbers {
    async fn handle(&self, parts: Vec<(Part, Meta)>) -> Vec<Result<(), Failure>> {
        self.0.send(parts.iter().map(|(part, _)| number(&part.body)).collect()).unwrap();
        vec![Ok(()); parts.len()]
    }
}

async fn dead_letters(bus: &Bus, count: usize) -> Vec<dlq::DeadLetter> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let dead = dlq::list(bus, &dlq::Filter::default(), 100).await.unwrap();
        if dead.len() >= count {
            return dead;
        }
        assert!(tokio::time::Instant::now() < deadline, "{} dead letters", dead.len());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn what_a_layer_answers_leaves_its_batch() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    publish_orders(&bus, 0..20).await;
    let (send, mut seen) = mpsc::unbounded_channel();
    let lifecycle = Lifecycle::new();
    let running = tokio::spawn({
        let (bus, lifecycle) = (bus.clone(), lifecycle.clone());
        let spec = ConsumerSpec { middleware: Layers::new().and(NoOdds), ..spec("even-batches") };
        let options = BatchOptions { max: 100, wait: Duration::from_millis(100) };
        async move { consume::run_batches(&bus, spec, options, Numbers(send), lifecycle).await }
    });
    let mut all = Vec::new();
    while all.len() < 10 {
        all.extend(tokio::time::timeout(PATIENCE, seen.recv()).await.expect("a batch").unwrap());
    }
    let dead = dead_letters(&bus, 10).await;
    lifecycle.soft.cancel();
    running.await.unwrap().unwrap();
    all.sort_unstable();
    assert_eq!(all, (0..20).step_by(2).collect::<Vec<_>>());
    assert!(dead.len() == 10 && dead.iter().all(|letter| letter.reason == "odd"));
}

#[tokio::test]
async fn what_a_layer_answers_leaves_its_envelope() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    let parts: Vec<Part> = (0..6)
        .map(|n| Part::new(format!("part-{n}"), Bytes::from(format!("{{\"n\":{n}}}"))))
        .collect();
    let envelope = Outgoing::new(subjects::request("normal"), "envelope", encode_parts(&parts));
    bus.publish(envelope.header(headers::ENVELOPE_PARTS, "6")).await.unwrap();
    let (send, mut seen) = mpsc::unbounded_channel();
    let lifecycle = Lifecycle::new();
    let running = tokio::spawn({
        let (bus, lifecycle) = (bus.clone(), lifecycle.clone());
        let spec = ConsumerSpec {
            middleware: Layers::new().and(NoOdds),
            ..ConsumerSpec::new(REQUESTS, "even-parts", subjects::request("normal"))
        };
        async move { consume::run_envelopes(&bus, spec, Numbers(send), lifecycle).await }
    });
    let handled = tokio::time::timeout(PATIENCE, seen.recv()).await.expect("the envelope");
    assert_eq!(handled, Some(vec![0, 2, 4]));
    let dead = dead_letters(&bus, 3).await;
    lifecycle.soft.cancel();
    running.await.unwrap().unwrap();
    assert!(dead.len() == 3 && dead.iter().all(|letter| letter.reason == "odd"));
    assert!(seen.try_recv().is_err(), "the handler saw nothing else");
}
