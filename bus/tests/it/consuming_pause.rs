//! Pausing and resuming a consumer while its process runs, and the typed builder's handlers.

use std::time::Duration;

use campana_bus::consume::{self, BatchOptions, ConsumerSpec, Failure, Meta};
use campana_bus::consumers::{self, ConsumersError};
use campana_bus::lifecycle::Lifecycle;
use campana_bus::testing::NatsServer;
use campana_bus::topology::EVENTS;
use campana_bus::{Event, clock, dlq};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::consuming::{Order, publish_orders, spec};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_paused_consumer_rests_and_goes_on_by_itself_or_at_once() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    let (send, mut seen) = mpsc::unbounded_channel();
    let handler = consume::from_fn(move |order: Order, _| {
        let send = send.clone();
        async move {
            send.send(order.n).unwrap();
            Ok(())
        }
    });
    let lifecycle = Lifecycle::new();
    let running = tokio::spawn({
        let (bus, lifecycle) = (bus.clone(), lifecycle.clone());
        // Many heartbeats go by during the pause; the loop must neither give up nor ask again and again.
        let spec = ConsumerSpec { idle_heartbeat: Duration::from_millis(100), ..spec("rests") };
        async move { consume::run(&bus, spec, handler, lifecycle).await }
    });
    let mut next = async |expected: u32| {
        let n = tokio::time::timeout(PATIENCE, seen.recv()).await.expect("a message").unwrap();
        assert_eq!(n, expected);
    };
    publish_orders(&bus, 0..1).await;
    next(0).await;

    // Until a time: the server wakes it, nobody else does anything.
    let until = clock::now().plus_seconds(2);
    let paused = consumers::pause(&bus, EVENTS, "rests", until).await.unwrap();
    assert_eq!(paused.paused_until, Some(until.to_rfc3339()));
    publish_orders(&bus, 1..2).await;
    let resting = consumers::show(&bus, EVENTS, "rests").await.unwrap();
    assert!(resting.paused_until.is_none() || resting.pending == 1, "{resting:?}");
    next(1).await;
    assert!(clock::now() >= until, "not before its time");
    assert_eq!(consumers::show(&bus, EVENTS, "rests").await.unwrap().paused_until, None);

    // At once.
    consumers::pause(&bus, EVENTS, "rests", clock::now().plus_seconds(3_600)).await.unwrap();
    publish_orders(&bus, 2..3).await;
    let resting = consumers::show(&bus, EVENTS, "rests").await.unwrap();
    assert_eq!((resting.pending, resting.ack_pending), (1, 0));
    let resumed = consumers::resume(&bus, EVENTS, "rests").await.unwrap();
    assert_eq!(resumed.paused_until, None);
    next(2).await;
    lifecycle.soft.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn consumers_are_listed_and_mistakes_are_named() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    for durable in ["beta", "alpha"] {
        let lifecycle = Lifecycle::new();
        lifecycle.soft.cancel();
        let handler = consume::from_fn(|_: Order, _| async { Ok(()) });
        consume::run(&bus, spec(durable), handler, lifecycle).await.unwrap();
    }
    let all = consumers::list(&bus, None).await.unwrap();
    let names: Vec<_> =
        all.iter().map(|one| (one.stream.as_str(), one.consumer.as_str())).collect();
    assert_eq!(names, [(EVENTS, "alpha"), (EVENTS, "beta")]);
    assert_eq!(consumers::list(&bus, Some(EVENTS)).await.unwrap(), all);
    let later = clock::now().plus_seconds(60);
    for (stream, consumer) in [("NOWHERE", "alpha"), ("no where", "alpha"), ("", "alpha")] {
        let error = consumers::pause(&bus, stream, consumer, later).await.unwrap_err();
        assert_eq!(error, ConsumersError::NoStream(stream.to_owned()));
    }
    for consumer in ["gamma", "a.b", "", "*"] {
        let error = consumers::resume(&bus, EVENTS, consumer).await.unwrap_err();
        assert!(matches!(error, ConsumersError::NoConsumer { .. }), "{consumer}: {error}");
    }
    for seconds in [-1, 0, 400 * 24 * 60 * 60] {
        let until = clock::now().plus_seconds(seconds);
        let error = consumers::pause(&bus, EVENTS, "alpha", until).await.unwrap_err();
        assert_eq!(error, ConsumersError::Pause);
    }
}

#[derive(Debug, Serialize, Deserialize, PartialEq)]
struct Sold {
    n: u32,
    article: Option<String>,
}

impl Event for Sold {
    const SERVICE: &'static str = "shop";
    const NAME: &'static str = "sold";

    fn key(&self) -> Option<String> {
        self.article.clone()
    }
}

#[tokio::test]
async fn batches_of_typed_events_keyed_or_not() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    for n in 0..20 {
        let article = (n % 2 == 0).then(|| format!("article {n} ∙ *.>"));
        bus.emit(&Sold { n, article }).await.unwrap();
    }
    let refused = bus.emit(&Sold { n: 99, article: Some(String::new()) }).await;
    assert!(refused.unwrap_err().to_string().contains("key"), "an empty key is refused");
    let undecodable = campana_bus::publish::Outgoing::new(
        campana_bus::subjects::app_event("default", "shop", "sold"),
        "odd one",
        bytes::Bytes::from_static(b"{}"),
    );
    bus.publish(undecodable).await.unwrap();
    let (send, mut seen) = mpsc::unbounded_channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn({
        let bus = bus.clone();
        async move {
            let options = BatchOptions { max: 50, wait: Duration::from_millis(100) };
            let handler = move |batch: Vec<(Sold, Meta)>| {
                let send = send.clone();
                async move {
                    for (sold, _) in batch {
                        send.send(sold.n).unwrap();
                    }
                    Ok::<(), Failure>(())
                }
            };
            let consumer = bus.consumer::<Sold>("batches").max_attempts(2).drain_deadline(PATIENCE);
            consumer.run_batch(handler, options, async { drop(stopped.await) }).await
        }
    });
    let mut all = Vec::new();
    while all.len() < 20 {
        all.push(tokio::time::timeout(PATIENCE, seen.recv()).await.expect("an event").unwrap());
    }
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while dlq::list(&bus, &dlq::Filter::default(), 10).await.unwrap().is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "the odd one is parked");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
    all.sort_unstable();
    assert_eq!(all, (0..20).collect::<Vec<_>>());
}
