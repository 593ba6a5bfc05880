//! Order by key over processes: a partitioned stream, two processes, failures, and one of them killed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use campana_bus::consume::{Backoff, Failure, Meta};
use campana_bus::partitions::PartitionError;
use campana_bus::testing::NatsServer;
use campana_bus::{Bus, Event, consumers, dlq, headers};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Serialize, Deserialize)]
struct OrderChanged {
    order: String,
    n: usize,
}

impl Event for OrderChanged {
    const SERVICE: &'static str = "shop";
    const NAME: &'static str = "order_changed";

    fn id(&self) -> Option<String> {
        Some(format!("{}-{}", self.order, self.n))
    }

    fn key(&self) -> Option<String> {
        Some(self.order.clone())
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct OrderPaid {
    order: String,
}

impl Event for OrderPaid {
    const SERVICE: &'static str = "shop";
    const NAME: &'static str = "order_paid";

    fn key(&self) -> Option<String> {
        Some(self.order.clone())
    }
}

/// One completion: which process, which key, which number.
type Done = (&'static str, String, usize);

/// Everything that was completed, and a signal for each.
#[derive(Clone)]
struct Ledger {
    done: Arc<Mutex<Vec<Done>>>,
    signal: mpsc::UnboundedSender<()>,
}

impl Ledger {
    /// Until so many different messages were completed.
    async fn until(&self, signals: &mut mpsc::UnboundedReceiver<()>, count: usize) {
        let distinct = || {
            let done = self.done.lock().unwrap();
            done.iter().map(|(_, key, n)| (key.clone(), *n)).collect::<BTreeSet<_>>().len()
        };
        while distinct() < count {
            let next = tokio::time::timeout(PATIENCE, signals.recv()).await;
            assert!(next.is_ok(), "{} of {count} done", distinct());
        }
    }
}

/// Fails now and then, in a way that is the same for the same message and attempt.
async fn handle(
    ledger: Ledger,
    process: &'static str,
    event: OrderChanged,
    meta: Meta,
) -> Result<(), Failure> {
    let mixed = event.order.bytes().fold(event.n as u64, |all, byte| all * 31 + u64::from(byte));
    let mut random = StdRng::seed_from_u64(mixed << 8 | u64::from(meta.attempt));
    for _ in 0..random.random_range(0..20) {
        tokio::task::yield_now().await;
    }
    match random.random_range(0..100) {
        0..10 => return Err(Failure::retry("down")),
        10..14 => panic!("a bug that the plan asks for"),
        // Not an attempt, so it would come again for ever if it were not drawn each time.
        _ if rand::random_ratio(1, 30) => {
            return Err(Failure::defer(Duration::from_millis(2), "not yet"));
        }
        _ => {}
    }
    ledger.done.lock().unwrap().push((process, event.order, event.n));
    let _ = ledger.signal.send(());
    Ok(())
}

async fn consume(bus: Bus, ledger: Ledger, process: &'static str, stop: oneshot::Receiver<()>) {
    let orders = bus.partitioned("ORDERS", 4).of::<OrderChanged>().open().await.unwrap();
    let consumer = orders
        .consumer::<OrderChanged>("billing")
        .ack_wait(Duration::from_secs(3))
        .max_attempts(1_000)
        .backoff(Backoff { first: Duration::from_millis(1), max: Duration::from_millis(5) });
    let handler = move |event, meta| handle(ledger.clone(), process, event, meta);
    consumer.run(handler, async { drop(stop.await) }).await.unwrap();
}

/// A process of its own as far as the server can tell: a runtime and a connection that end at one blow.
struct Process {
    runtime: Option<tokio::runtime::Runtime>,
    stop: Option<oneshot::Sender<()>>,
    task: Option<tokio::task::JoinHandle<()>>,
}

impl Process {
    fn start(url: &str, name: &'static str, ledger: &Ledger) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (stop, stopped) = oneshot::channel();
        let (url, ledger) = (url.to_owned(), ledger.clone());
        let task = runtime.spawn(async move {
            let options = campana_bus::BusOptions {
                url,
                name: name.to_owned(),
                durability: campana_bus::Durability::Process,
                credentials_file: None,
            };
            let bus = Bus::connect(options).await.unwrap();
            consume(bus, ledger, name, stopped).await;
        });
        Self { runtime: Some(runtime), stop: Some(stop), task: Some(task) }
    }

    /// Its tasks and its connection are gone in the middle of what they do.
    fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    async fn stop(mut self) {
        let _ = self.stop.take().unwrap().send(());
        let task = self.task.take().unwrap();
        tokio::time::timeout(PATIENCE, task).await.expect("a drain").unwrap();
        self.kill();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The n-th event of each of some keys, the keys at the same time.
async fn emit(bus: &Bus, keys: usize, numbers: std::ops::Range<usize>) {
    let of_key = |key: usize| {
        let numbers = numbers.clone();
        async move {
            for n in numbers {
                bus.emit(&OrderChanged { order: format!("order {key}"), n }).await.unwrap();
            }
        }
    };
    futures::future::join_all((0..keys).map(of_key)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_of_keys_survives_the_death_of_a_process() {
    const KEYS: usize = 12;
    const EACH: usize = 40;
    let server = NatsServer::start_with(campana_bus::Durability::Process).unwrap();
    let bus = server.bus_with_topology("publisher").await.unwrap();
    let (signal, mut signals) = mpsc::unbounded_channel();
    let ledger = Ledger { done: Arc::default(), signal };
    let mut first = Process::start(&server.url(), "first", &ledger);
    let (second, ()) = tokio::join!(
        async {
            // Enough is done that the first one is in the middle of its work; then it dies.
            ledger.until(&mut signals, KEYS * 4).await;
            let second = Process::start(&server.url(), "second", &ledger);
            ledger.until(&mut signals, KEYS * 8).await;
            first.kill();
            second
        },
        emit(&bus, KEYS, 0..EACH / 2),
    );
    emit(&bus, KEYS, EACH / 2..EACH).await;
    ledger.until(&mut signals, KEYS * EACH).await;
    second.stop().await;
    let done = ledger.done.lock().unwrap().clone();
    check_order(&done, KEYS, EACH);
    assert!(done.iter().any(|(process, ..)| *process == "first"));
    assert!(done.iter().any(|(process, ..)| *process == "second"));
    assert!(dlq::list(&bus, &dlq::Filter::default(), 10).await.unwrap().is_empty());
    for state in consumers::list(&bus, Some("ORDERS")).await.unwrap() {
        assert_eq!((state.pending, state.ack_pending), (0, 0), "{state:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_joins_gets_its_share() {
    const KEYS: usize = 12;
    let server = NatsServer::start_with(campana_bus::Durability::Process).unwrap();
    let bus = server.bus_with_topology("publisher").await.unwrap();
    let (signal, mut signals) = mpsc::unbounded_channel();
    let ledger = Ledger { done: Arc::default(), signal };
    let first = Process::start(&server.url(), "first", &ledger);
    emit(&bus, KEYS, 0..1).await;
    ledger.until(&mut signals, KEYS).await;
    // It has all partitions, and nothing is wrong with it.
    let second = Process::start(&server.url(), "second", &ledger);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut each = 1;
    let has_some = || ledger.done.lock().unwrap().iter().any(|(process, ..)| *process == "second");
    while !has_some() {
        assert!(tokio::time::Instant::now() < deadline, "the second process got nothing");
        emit(&bus, KEYS, each..each + 1).await;
        each += 1;
        ledger.until(&mut signals, KEYS * each).await;
    }
    first.stop().await;
    emit(&bus, KEYS, each..each + 1).await;
    ledger.until(&mut signals, KEYS * (each + 1)).await;
    second.stop().await;
    check_order(&ledger.done.lock().unwrap(), KEYS, each + 1);
}

/// The first completions of each key are in order, and none is missing.
fn check_order(done: &[Done], keys: usize, each: usize) {
    let mut next: BTreeMap<&str, usize> = BTreeMap::new();
    for (process, key, n) in done {
        let next = next.entry(key).or_default();
        assert!(*n <= *next, "{process}: {key} {n} before {next}");
        // A message that was in hand when its process died may come twice, but only before the next one.
        assert!(*n + 1 >= *next, "{process}: {key} {n} again after {next}");
        *next = (*next).max(n + 1);
    }
    assert_eq!(next.len(), keys);
    assert!(next.values().all(|count| *count == each), "{next:?}");
}

#[tokio::test]
async fn kinds_of_events_of_a_stream_keep_their_order_among_each_other() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    for order in ["a", "b"] {
        bus.emit(&OrderChanged { order: order.to_owned(), n: 0 }).await.unwrap();
        bus.emit(&OrderPaid { order: order.to_owned() }).await.unwrap();
        bus.emit(&OrderChanged { order: order.to_owned(), n: 1 }).await.unwrap();
    }
    let definition = bus.partitioned("ORDERS", 2).of::<OrderChanged>().of::<OrderPaid>();
    let orders = definition.open().await.unwrap();
    let (send, mut seen) = mpsc::unbounded_channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let handler = move |_, meta: Meta| {
        let send = send.clone();
        async move {
            let kind = headers::get(&meta.headers, headers::CE_TYPE).unwrap().to_owned();
            send.send((headers::get(&meta.headers, headers::KEY).unwrap().to_owned(), kind))
                .unwrap();
            Ok(())
        }
    };
    let running = orders.consumer_of_all("audit").run_raw(handler, async { drop(stopped.await) });
    let check = async {
        let mut kinds: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for _ in 0..6 {
            let next =
                tokio::time::timeout(PATIENCE, seen.recv()).await.expect("an event").unwrap();
            kinds.entry(next.0).or_default().push(next.1);
        }
        let changed = "shop.order_changed.v1".to_owned();
        let expected = vec![changed.clone(), "shop.order_paid.v1".to_owned(), changed];
        assert_eq!(
            kinds,
            BTreeMap::from(
                [("a", &expected), ("b", &expected)]
                    .map(|(key, kinds)| (key.to_owned(), kinds.clone()))
            )
        );
        stop.send(()).unwrap();
    };
    let (ended, ()) = tokio::join!(running, check);
    ended.unwrap();
}

#[tokio::test]
async fn a_definition_that_makes_no_sense_or_another_one_is_refused() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    for (name, partitions) in [("", 4), ("OR.DERS", 4), ("ORD>", 4), ("ORDERS", 0), ("ORDERS", 257)]
    {
        let refused = bus.partitioned(name, partitions).of::<OrderChanged>().open().await;
        assert!(matches!(refused, Err(PartitionError::Definition { .. })), "{name} {partitions}");
    }
    let nothing = bus.partitioned("ORDERS", 4).open().await;
    assert!(matches!(nothing, Err(PartitionError::Definition { .. })));
    bus.partitioned("ORDERS", 4).of::<OrderChanged>().open().await.unwrap();
    bus.partitioned("ORDERS", 4).of::<OrderChanged>().open().await.unwrap();
    for other in [
        bus.partitioned("ORDERS", 5).of::<OrderChanged>().open().await,
        bus.partitioned("ORDERS", 4).of::<OrderPaid>().open().await,
        bus.partitioned("EVENTS", 4).of::<OrderChanged>().open().await,
    ] {
        assert!(matches!(other, Err(PartitionError::Different { .. })), "{other:?}");
    }
}
