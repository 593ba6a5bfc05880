//! What the client library forgets or never forgets: answers that never come, reconnects without end, slow
//! subscribers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use campana_bus::consume;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::{Outgoing, PublishError};
use campana_bus::testing::NatsServer;
use campana_bus::topology::EVENTS;
use campana_bus::{Bus, Durability, RequestError};
use futures::StreamExt;
use tokio::sync::mpsc;

use crate::consuming::{Order, publish_orders, spec};
use crate::proxy::Proxy;

const PATIENCE: Duration = Duration::from_secs(60);
/// Tells the test binary that it runs as the child of a test that measures memory.
const CHILD: &str = "CAMPANA_TEST_MEMORY_CHILD";

fn server() -> NatsServer {
    NatsServer::start_with(Durability::Process).unwrap()
}

/// Publishes that somebody takes and nobody answers.
async fn publish_into_silence(bus: &Bus, count: usize) {
    let timed_out = futures::stream::iter(0..count)
        .map(|index| async move {
            let message = Outgoing::new("silent.n", format!("m{index}"), Bytes::from_static(b"{}"));
            matches!(bus.publish(message).await, Err(PublishError::Unavailable(_)))
        })
        .buffer_unordered(20_000)
        .filter(|unknown| std::future::ready(*unknown))
        .count()
        .await;
    assert_eq!(timed_out, count);
}

/// Reads and says nothing, as a server does whose disk hangs.
async fn silent_listener(server: &NatsServer) -> Bus {
    let listener = server.bus("listener").await.unwrap();
    let mut heard = listener.client().subscribe("silent.>").await.unwrap();
    listener.client().flush().await.unwrap();
    tokio::spawn(async move { while heard.next().await.is_some() {} });
    let probe = server.bus("probe").await.unwrap();
    while probe
        .request("silent.probe", HeaderMap::new(), Bytes::new(), Duration::from_millis(50))
        .await
        .is_err_and(|error| error == RequestError::NoResponders)
    {}
    listener
}

#[tokio::test]
async fn a_hundred_thousand_unanswered_publishes_leave_nothing_behind() {
    if std::env::var_os(CHILD).is_none() {
        // Memory is measured in a process that does nothing else.
        let child = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg("resilience::a_hundred_thousand_unanswered_publishes_leave_nothing_behind")
            .env(CHILD, "1")
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(3 * PATIENCE, child).await.expect("an end").unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
        return;
    }
    let server = server();
    let _listener = silent_listener(&server).await;
    let bus = server.bus("test").await.unwrap();
    let bus = bus.with_publish_times(Duration::from_millis(20), Duration::from_millis(20));
    publish_into_silence(&bus, 20_000).await;
    assert_eq!(bus.replies_waiting(), 0);
    let before = resident_bytes();
    publish_into_silence(&bus, 100_000).await;
    assert_eq!(bus.replies_waiting(), 0);
    let grown = resident_bytes().saturating_sub(before);
    // Kept entries would be 30 MB and more.
    assert!(grown < 12 * 1024 * 1024, "{grown} bytes were kept");
    // The connection still works.
    let answered = bus.request("nobody.there", HeaderMap::new(), Bytes::new(), PATIENCE).await;
    assert!(matches!(answered, Err(RequestError::NoResponders)));
}

fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}

#[tokio::test]
async fn acknowledgements_that_get_lost_are_made_good_by_repeats() {
    let server = server();
    let direct = server.bus_with_topology("direct").await.unwrap();
    let proxy = Proxy::start(&server.url()).await;
    let bus = proxy.bus("deaf").await;
    let deaf = bus.clone().with_publish_times(Duration::from_millis(50), Duration::from_millis(50));
    let message = |n: usize| {
        Outgoing::new("app.default.shop.order", format!("lost-{n}"), Bytes::from_static(b"{}"))
    };
    proxy.swallow(true);
    let unknown = futures::future::join_all((0..500).map(|n| deaf.publish(message(n)))).await;
    assert!(unknown.iter().all(|one| matches!(one, Err(PublishError::Unavailable(_)))));
    assert_eq!(bus.replies_waiting(), 0);
    while direct.position(EVENTS).await.unwrap().messages < 500 {
        tokio::task::yield_now().await;
    }
    proxy.swallow(false);
    let again = futures::future::join_all((0..500).map(|n| bus.publish(message(n)))).await;
    assert!(again.iter().all(|one| one.as_ref().is_ok_and(|stored| stored.duplicate)), "{again:?}");
    assert_eq!(direct.position(EVENTS).await.unwrap().messages, 500);
}

#[tokio::test]
async fn a_publish_without_a_connection_ends_at_its_deadline() {
    let mut server = server();
    let bus = server.bus_with_topology("test").await.unwrap();
    server.kill();
    let quick = bus.with_publish_times(Duration::from_millis(20), Duration::from_millis(20));
    // More than the client's queue of commands takes, so that sending itself waits.
    let all = (0..5_000).map(|n| {
        let subject = "app.default.shop.order";
        quick.publish(Outgoing::new(subject, format!("q{n}"), Bytes::from_static(b"{}")))
    });
    let all = tokio::time::timeout(PATIENCE, futures::future::join_all(all)).await.expect("an end");
    assert!(all.iter().all(|one| matches!(one, Err(PublishError::Unavailable(_)))));
    assert_eq!(quick.replies_waiting(), 0);
}

#[tokio::test]
async fn nothing_is_lost_and_nothing_leaks_in_a_storm_of_reconnects() {
    let mut server = server();
    let bus = server.bus_with_topology("test").await.unwrap();
    let (send, mut seen) = mpsc::unbounded_channel();
    let handler = consume::from_fn(move |order: Order, _| {
        let send = send.clone();
        async move {
            let _ = send.send(order.n);
            Ok(())
        }
    });
    let lifecycle = Lifecycle::new();
    let mut quick = spec("storm");
    // What a server takes with it when it is killed between delivery and acknowledgement comes back by this.
    quick.ack_wait = Duration::from_secs(1);
    let running = tokio::spawn({
        let (bus, lifecycle) = (bus.clone(), lifecycle.clone());
        async move { Box::pin(consume::run(&bus, quick, handler, lifecycle)).await }
    });
    let publishing = tokio::spawn({
        let bus = bus.clone();
        async move {
            futures::stream::iter(0..2_000_u32)
                .map(|n| publish_orders(&bus, n..n + 1))
                .buffer_unordered(50)
                .count()
                .await
        }
    });
    let mut all = BTreeSet::new();
    for milestone in [100, 300, 600, 900, 1_200] {
        collect(&mut seen, &mut all, milestone).await;
        server = tokio::task::spawn_blocking(move || {
            server.restart().unwrap();
            server
        })
        .await
        .unwrap();
    }
    collect(&mut seen, &mut all, 2_000).await;
    assert_eq!(publishing.await.unwrap(), 2_000);
    lifecycle.soft.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(bus.position(EVENTS).await.unwrap().messages, 2_000, "every message once");
    assert_eq!(bus.replies_waiting(), 0);
}

async fn collect(
    seen: &mut mpsc::UnboundedReceiver<u32>,
    all: &mut BTreeSet<u32>,
    milestone: usize,
) {
    while all.len() < milestone {
        let next = tokio::time::timeout(PATIENCE, seen.recv()).await;
        all.insert(next.expect("a message").unwrap());
    }
}

/// Counts counters by name and labels.
#[derive(Clone, Default)]
struct Counters(Arc<Mutex<BTreeMap<String, u64>>>);

impl metrics::Recorder for Counters {
    fn describe_counter(
        &self,
        _: metrics::KeyName,
        _: Option<metrics::Unit>,
        _: metrics::SharedString,
    ) {
    }
    fn describe_gauge(
        &self,
        _: metrics::KeyName,
        _: Option<metrics::Unit>,
        _: metrics::SharedString,
    ) {
    }
    fn describe_histogram(
        &self,
        _: metrics::KeyName,
        _: Option<metrics::Unit>,
        _: metrics::SharedString,
    ) {
    }
    fn register_counter(&self, key: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Counter {
        let labels: Vec<&str> = key.labels().map(metrics::Label::value).collect();
        let name = format!("{} {}", key.name(), labels.join(" "));
        metrics::Counter::from_arc(Arc::new(One { all: self.clone(), name }))
    }
    fn register_gauge(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Gauge {
        metrics::Gauge::noop()
    }
    fn register_histogram(
        &self,
        _: &metrics::Key,
        _: &metrics::Metadata<'_>,
    ) -> metrics::Histogram {
        metrics::Histogram::noop()
    }
}

struct One {
    all: Counters,
    name: String,
}

impl metrics::CounterFn for One {
    fn increment(&self, value: u64) {
        *self.all.0.lock().unwrap().entry(self.name.clone()).or_default() += value;
    }
    fn absolute(&self, value: u64) {
        self.all.0.lock().unwrap().insert(self.name.clone(), value);
    }
}

/// One thread, so that the client's own tasks see the recorder too.
#[tokio::test]
async fn the_client_s_events_are_counted() {
    let counters = Counters::default();
    let _recorder = metrics::set_default_local_recorder(&counters);
    let counted = |event: &str| {
        let name = format!("campana_nats_connection_events_total {event}");
        counters.0.lock().unwrap().get(&name).copied().unwrap_or(0)
    };
    let server = server();
    let bus = server.bus("test").await.unwrap();
    let mut slow = bus.client().subscribe("flood").await.unwrap();
    // One more than a subscription may hold is dropped, and must not be dropped in silence.
    while counted("slow_consumer") == 0 {
        for _ in 0..5_000 {
            bus.client().publish("flood", Bytes::new()).await.unwrap();
        }
        tokio::task::yield_now().await;
    }
    assert!(slow.next().await.is_some());
    bus.client().force_reconnect().await.unwrap();
    while counted("connected") < 2 || counted("disconnected") == 0 {
        tokio::task::yield_now().await;
    }
    bus.client().drain().await.unwrap();
    while counted("draining") == 0 || counted("closed") == 0 {
        tokio::task::yield_now().await;
    }
}
