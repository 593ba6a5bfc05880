//! The pull loop: how much it holds, how it notices lost requests, rate limits, the drain deadline.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::consumer::{Consumer, Info};
use campana_bus::Bus;
use campana_bus::consume::{self, ConsumeError, ConsumerSpec, Meta, RateLimit};
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::PublishError;
use campana_bus::testing::NatsServer;
use campana_bus::topology::EVENTS;
use campana_bus::{Durability, RequestError};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::consuming::{Order, publish_orders, spec};
use crate::proxy::Proxy;

const PATIENCE: Duration = Duration::from_secs(60);

/// A consumer whose handlers report and then wait for a permit.
struct Running {
    gate: Arc<Semaphore>,
    started: mpsc::UnboundedReceiver<(u32, u32)>,
    lifecycle: Lifecycle,
    task: JoinHandle<Result<(), ConsumeError>>,
}

impl Running {
    fn start(bus: &Bus, spec: ConsumerSpec) -> Self {
        let gate = Arc::new(Semaphore::new(0));
        let (send, started) = mpsc::unbounded_channel();
        let handler = consume::from_fn({
            let gate = Arc::clone(&gate);
            move |order: Order, meta: Meta| {
                let (send, gate) = (send.clone(), Arc::clone(&gate));
                async move {
                    let _ = send.send((order.n, meta.attempt));
                    gate.acquire().await.unwrap().forget();
                    Ok(())
                }
            }
        });
        let lifecycle = Lifecycle::new();
        let (bus, stop) = (bus.clone(), lifecycle.clone());
        let task =
            tokio::spawn(async move { Box::pin(consume::run(&bus, spec, handler, stop)).await });
        Self { gate, started, lifecycle, task }
    }

    async fn next(&mut self) -> (u32, u32) {
        tokio::time::timeout(PATIENCE, self.started.recv()).await.expect("a message").unwrap()
    }

    /// Stops, and lets every handler end: what came since it was last looked.
    async fn finish(mut self) -> Vec<(u32, u32)> {
        self.lifecycle.soft.cancel();
        self.gate.add_permits(10_000);
        tokio::time::timeout(PATIENCE, self.task).await.expect("a drain").unwrap().unwrap();
        std::iter::from_fn(|| self.started.try_recv().ok()).collect()
    }

    async fn stop(self) -> Result<(), ConsumeError> {
        self.lifecycle.soft.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.expect("a drain").unwrap()
    }
}

async fn consumer(bus: &Bus, durable: &str) -> Consumer<Config> {
    bus.jetstream().get_consumer_from_stream(durable, EVENTS).await.unwrap()
}

async fn info(bus: &Bus, durable: &str) -> Info {
    consumer(bus, durable).await.cached_info().clone()
}

async fn server() -> (NatsServer, Bus) {
    let server = NatsServer::start_with(Durability::Process).unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    (server, bus)
}

#[tokio::test]
async fn the_process_never_holds_more_messages_than_it_has_permits() {
    let (_server, bus) = server().await;
    publish_orders(&bus, 0..300).await;
    let mut running = Running::start(&bus, ConsumerSpec { max_in_flight: 8, ..spec("bounded") });
    for handled in 0..120 {
        if handled >= 8 {
            running.gate.add_permits(1);
        }
        running.next().await;
        if handled % 10 == 9 {
            // The server takes in acknowledgements beside its deliveries, so it may count more for a moment. What
            // is really held stays, because nothing more is let through the gate.
            let few = async {
                while info(&bus, "bounded").await.num_ack_pending > 8 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            let few = tokio::time::timeout(PATIENCE, few).await;
            few.expect("more messages are with a process than its 8 permits");
        }
    }
    running.gate.add_permits(1_000);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_consumer_that_was_deleted_is_created_again() {
    let (_server, bus) = server().await;
    let mut running = Running::start(&bus, spec("deleted"));
    running.gate.add_permits(1_000);
    publish_orders(&bus, 0..1).await;
    running.next().await;
    bus.jetstream().delete_consumer_from_stream("deleted", EVENTS).await.unwrap();
    publish_orders(&bus, 1..2).await;
    while running.next().await.0 != 1 {}
    running.stop().await.unwrap();
}

#[tokio::test]
async fn limits_that_an_operator_sets_on_the_consumer_are_kept() {
    let (_server, bus) = server().await;
    let mut running = Running::start(&bus, spec("limited"));
    running.gate.add_permits(1_000);
    publish_orders(&bus, 0..1).await;
    running.next().await;
    let mut config = consumer(&bus, "limited").await.cached_info().config.clone();
    config.max_batch = 3;
    config.max_expires = Duration::from_secs(2);
    bus.jetstream()
        .get_stream(EVENTS)
        .await
        .unwrap()
        .update_consumer(as_pull(config))
        .await
        .unwrap();
    publish_orders(&bus, 1..200).await;
    for _ in 1..200 {
        running.next().await;
    }
    let config = consumer(&bus, "limited").await.cached_info().config.clone();
    assert_eq!(config.max_batch, 3, "the consumer was not created anew");
    running.stop().await.unwrap();
}

fn as_pull(config: async_nats::jetstream::consumer::Config) -> Config {
    use async_nats::jetstream::consumer::FromConsumer;
    Config::try_from_consumer_config(config).unwrap()
}

#[tokio::test]
async fn a_server_that_went_silent_is_asked_again() {
    let (server, bus) = server().await;
    let proxy = Proxy::start(&server.url()).await;
    let deaf = proxy.bus("deaf").await;
    let silent = ConsumerSpec {
        max_in_flight: 1,
        ack_wait: Duration::from_secs(1),
        idle_heartbeat: Duration::from_millis(200),
        ..spec("silent")
    };
    let mut running = Running::start(&deaf, silent);
    running.gate.add_permits(1_000);
    publish_orders(&bus, 0..1).await;
    running.next().await;
    // The only request is answered, and the answer never arrives: without a new one, nothing ever would.
    while info(&bus, "silent").await.num_waiting == 0 {
        tokio::task::yield_now().await;
    }
    proxy.swallow(true);
    publish_orders(&bus, 1..2).await;
    while info(&bus, "silent").await.num_ack_pending == 0 {
        tokio::task::yield_now().await;
    }
    proxy.swallow(false);
    let (n, attempt) = running.next().await;
    assert_eq!(n, 1);
    assert!(attempt > 1, "the first delivery was swallowed");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_reconnect_voids_requests_and_they_are_sent_again() {
    let (_server, bus) = server().await;
    // What the server sent into the dead connection comes back by `ack_wait`.
    let quick =
        ConsumerSpec { max_in_flight: 1, ack_wait: Duration::from_secs(1), ..spec("reconnect") };
    let mut running = Running::start(&bus, quick);
    running.gate.add_permits(1_000);
    for n in 0..5 {
        publish_orders(&bus, n..n + 1).await;
        while running.next().await.0 != n {}
        bus.client().force_reconnect().await.unwrap();
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_rate_limit_leaves_messages_with_the_server() {
    let (_server, bus) = server().await;
    publish_orders(&bus, 0..40).await;
    let limited = ConsumerSpec {
        rate_limit: Some(RateLimit { per_second: 20.0, burst: 10 }),
        ..spec("rate")
    };
    let mut running = Running::start(&bus, limited);
    let started = Instant::now();
    for _ in 0..10 {
        running.next().await;
    }
    // The handlers are stuck, so what was sent beyond the burst would wait in this process.
    let held = info(&bus, "rate").await.num_ack_pending;
    let allowed = 10.0 + started.elapsed().as_secs_f64() * 20.0 + 1.0;
    assert!(held as f64 <= allowed, "{held} messages were sent, {allowed} are allowed");
    running.gate.add_permits(1_000);
    for _ in 10..40 {
        running.next().await;
    }
    let least = Duration::from_millis(1_450);
    assert!(started.elapsed() >= least, "30 messages beyond the burst take 1.5 s at 20 a second");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn what_outlives_the_drain_deadline_is_given_back_at_once() {
    let (_server, bus) = server().await;
    publish_orders(&bus, 0..3).await;
    let stuck = ConsumerSpec {
        drain_deadline: Duration::from_millis(100),
        ack_wait: Duration::from_secs(3_600),
        handler_timeout: Duration::from_secs(3_600),
        ..spec("drain")
    };
    let mut first = Running::start(&bus, stuck.clone());
    for _ in 0..3 {
        first.next().await;
    }
    first.gate.add_permits(1);
    first.stop().await.unwrap();
    // Long before `ack_wait`: the other two come back, and only they.
    let mut second = Running::start(&bus, stuck);
    let mut again = [second.next().await, second.next().await];
    again.sort_unstable();
    assert!(again.iter().all(|(_, attempt)| *attempt == 2), "{again:?}");
    assert_ne!(again[0].0, again[1].0);
    second.gate.add_permits(1_000);
    second.stop().await.unwrap();
    let info = info(&bus, "drain").await;
    assert_eq!((info.num_ack_pending, info.num_pending), (0, 0));
}

#[tokio::test]
async fn stops_in_the_middle_of_a_flood_cost_no_attempts() {
    let (_server, bus) = server().await;
    publish_orders(&bus, 0..1_000).await;
    let (mut seen, mut stops) = (0, 0);
    while seen < 1_000 {
        let flood = ConsumerSpec { max_in_flight: 32, ..spec("flood") };
        let mut running = Running::start(&bus, flood);
        // Some are handled, so that requests are open and messages on their way at the stop.
        running.gate.add_permits(40);
        for _ in 0..40.min(1_000 - seen) {
            let (_, attempt) = running.next().await;
            assert_eq!(attempt, 1);
            seen += 1;
        }
        let rest = running.finish().await;
        assert!(rest.iter().all(|(_, attempt)| *attempt == 1), "{rest:?}");
        seen += rest.len();
        stops += 1;
    }
    assert_eq!(seen, 1_000, "each once");
    assert!(stops > 5, "{stops} stops are no flood");
}

#[tokio::test]
async fn a_connection_that_is_closed_for_good_ends_everything_at_once() {
    let (_server, bus) = server().await;
    let mut running = Running::start(&bus, spec("closed"));
    running.gate.add_permits(1_000);
    publish_orders(&bus, 0..1).await;
    running.next().await;
    bus.client().drain().await.unwrap();
    let ended = tokio::time::timeout(PATIENCE, running.task).await.expect("an end").unwrap();
    assert_eq!(ended, Err(ConsumeError::Closed));
    assert!(bus.is_closed());
    let started = Instant::now();
    let message = campana_bus::publish::Outgoing::new("app.a.b.c", "late", "{}".into());
    assert!(matches!(bus.publish(message).await, Err(PublishError::Unavailable(_))));
    let asked = bus.request("any", async_nats::HeaderMap::new(), "".into(), PATIENCE).await;
    assert!(matches!(asked, Err(RequestError::Closed)));
    assert!(started.elapsed() < PATIENCE / 4, "nothing waits for a connection that never comes");
    assert_eq!(bus.replies_waiting(), 0);
}

/// Long runs of quick handlers, so that messages begin in the loop, and then some of every other kind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quick_handlers_that_suddenly_wait_fail_or_panic_lose_nothing() {
    let (_server, bus) = server().await;
    publish_orders(&bus, 0..600).await;
    let (send, mut handled) = mpsc::unbounded_channel();
    let handler = consume::from_fn(move |order: Order, meta: Meta| {
        let send = send.clone();
        async move {
            let odd = order.n % 100 >= 90 && meta.attempt == 1;
            match order.n % 4 {
                0 if odd => panic!("planned"),
                1 if odd => return Err(consume::Failure::retry("planned")),
                2 if odd => tokio::time::sleep(Duration::from_millis(20)).await,
                _ => {}
            }
            send.send((order.n, meta.attempt)).unwrap();
            Ok(())
        }
    });
    let lifecycle = Lifecycle::new();
    let (run_bus, stop) = (bus.clone(), lifecycle.clone());
    let task = tokio::spawn(async move {
        Box::pin(consume::run(&run_bus, spec("sudden"), handler, stop)).await
    });
    let mut attempts = std::collections::BTreeMap::new();
    while attempts.len() < 600 {
        let next = tokio::time::timeout(PATIENCE, handled.recv()).await.expect("a message");
        let (n, attempt) = next.unwrap();
        assert_eq!(attempts.insert(n, attempt), None, "{n} came twice");
    }
    for (n, attempt) in attempts {
        let failed = n % 100 >= 90 && n % 4 < 2;
        assert_eq!(attempt, 1 + u32::from(failed), "{n}");
    }
    lifecycle.soft.cancel();
    tokio::time::timeout(PATIENCE, task).await.expect("a drain").unwrap().unwrap();
    assert_eq!(info(&bus, "sudden").await.num_ack_pending, 0);
}
