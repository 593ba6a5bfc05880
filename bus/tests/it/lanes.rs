//! Order by key within a process: under failures and panics, while other keys go on, when a message is
//! parked, and over a clean stop.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering as Atomic};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use campana_bus::consume::{self, Backoff, ConsumerSpec, Failure, Meta, Ordering};
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::Outgoing;
use campana_bus::testing::NatsServer;
use campana_bus::topology::EVENTS;
use campana_bus::{Bus, dlq, headers, subjects};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{mpsc, watch};

const PATIENCE: Duration = Duration::from_secs(60);

fn spec(durable: &str, event: &str) -> ConsumerSpec {
    ConsumerSpec {
        ordering: Ordering::ByKey { lanes: 8 },
        backoff: Backoff { first: Duration::from_millis(2), max: Duration::from_millis(8) },
        filters: vec![subjects::app_event_keyed_filter("shop", event)],
        ..ConsumerSpec::new(EVENTS, durable, "")
    }
}

/// Stores `n` of `key`; the body is the number.
async fn publish(bus: &Bus, event: &str, key: &str, n: usize) {
    let message = Outgoing::new(
        subjects::app_event_keyed("default", "shop", event, key),
        format!("{event}-{key}-{n}"),
        Bytes::from(n.to_string()),
    );
    bus.publish(message.header(headers::KEY, key)).await.unwrap();
}

fn key_of(meta: &Meta) -> String {
    headers::get(&meta.headers, headers::KEY).unwrap_or_default().to_owned()
}

/// What a handler was told and what it did, in the order in which that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Begin(String, usize),
    End(String, usize, &'static str),
}

/// What the handler does with a message: the same for the same seed, key, number and attempt.
fn plan(seed: u64, key: &str, n: usize, attempt: u32) -> &'static str {
    let mut mixed = seed ^ (n as u64) << 20 ^ u64::from(attempt) << 40;
    for byte in key.bytes() {
        mixed = mixed.wrapping_mul(31).wrapping_add(u64::from(byte));
    }
    match StdRng::seed_from_u64(mixed).random_range(0..100) {
        0..12 => "retry",
        12..18 => "panic",
        18..20 => "defer",
        20..22 => "dead",
        _ => "ok",
    }
}

struct Running {
    lifecycle: Lifecycle,
    task: tokio::task::JoinHandle<Result<(), consume::ConsumeError>>,
}

impl Running {
    fn start(bus: &Bus, spec: ConsumerSpec, handler: impl consume::Handler<Bytes>) -> Self {
        let lifecycle = Lifecycle::new();
        let task = tokio::spawn({
            let (bus, lifecycle) = (bus.clone(), lifecycle.clone());
            async move { consume::run_raw(&bus, spec, handler, lifecycle).await }
        });
        Self { lifecycle, task }
    }

    async fn stop(self) {
        self.lifecycle.soft.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.expect("a drain").unwrap().unwrap();
    }
}

/// Lets others run, a number of times that differs from message to message.
async fn work(n: usize) {
    for _ in 0..(n * 7 % 23) {
        tokio::task::yield_now().await;
    }
}

async fn round(bus: &Bus, seed: u64) -> Vec<Step> {
    let event = format!("round_{seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..170 {
        // A few busy keys and many quiet ones.
        let key = random.random_range(0..12_u32).pow(2) / 4;
        let n = counts.entry(format!("key {key}")).or_default();
        publish(bus, &event, &format!("key {key}"), *n).await;
        *n += 1;
    }
    let steps = Arc::new(Mutex::new(Vec::new()));
    let (ended, mut ends) = mpsc::unbounded_channel();
    let handler = consume::from_fn({
        let steps = Arc::clone(&steps);
        move |body: Bytes, meta: Meta| {
            let (steps, ended) = (Arc::clone(&steps), ended.clone());
            async move {
                let key = key_of(&meta);
                let n: usize = std::str::from_utf8(&body).unwrap().parse().unwrap();
                let plan = plan(seed, &key, n, meta.attempt);
                // A deferral is no attempt, so it would come again for ever.
                let again = steps.lock().unwrap().contains(&Step::End(key.clone(), n, "defer"));
                let plan = if plan == "defer" && again { "ok" } else { plan };
                steps.lock().unwrap().push(Step::Begin(key.clone(), n));
                work(n).await;
                steps.lock().unwrap().push(Step::End(key, n, plan));
                if plan == "ok" || plan == "dead" || (meta.is_last && plan != "defer") {
                    ended.send(()).unwrap();
                }
                match plan {
                    "retry" => Err(Failure::retry("down")),
                    "defer" => Err(Failure::defer(Duration::from_millis(3), "not yet")),
                    "dead" => Err(Failure::dead("refused", "no")),
                    "panic" => panic!("a bug that the plan asks for"),
                    _ => Ok(()),
                }
            }
        }
    });
    let running = Running::start(bus, spec(&format!("round-{seed}"), &event), handler);
    for done in 0..170 {
        let end = tokio::time::timeout(PATIENCE, ends.recv()).await;
        assert!(end.is_ok(), "seed {seed}: {done} of 170 ended");
    }
    running.stop().await;
    for (key, count) in counts {
        check_key(seed, &steps.lock().unwrap(), &key, count);
    }
    Arc::try_unwrap(steps).unwrap().into_inner().unwrap()
}

/// One at a time, each to its end, in the order in which they were stored.
fn check_key(seed: u64, steps: &[Step], key: &str, count: usize) {
    let mut next = 0;
    let mut at_work = None;
    for step in steps {
        match step {
            Step::Begin(of, n) if of == key => {
                assert_eq!(at_work.replace(*n), None, "seed {seed}, {key}: two at work");
                assert_eq!(*n, next, "seed {seed}, {key}: out of order");
            }
            Step::End(of, n, plan) if of == key => {
                assert_eq!(at_work.take(), Some(*n), "seed {seed}, {key}");
                let attempts =
                    steps.iter().filter(|step| **step == Step::Begin(key.to_owned(), *n));
                let last = attempts.count();
                let so_far = steps
                    .iter()
                    .take_while(|other| !std::ptr::eq(*other, step))
                    .filter(|step| **step == Step::Begin(key.to_owned(), *n))
                    .count();
                if matches!(*plan, "ok" | "dead") || so_far == last {
                    next = n + 1;
                }
            }
            _ => {}
        }
    }
    assert_eq!(next, count, "seed {seed}, {key}: all of them");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_a_key_are_handled_in_order_whatever_fails() {
    let server = NatsServer::start_with(campana_bus::Durability::Process).unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    let mut dead = BTreeSet::new();
    for seed in [11, 12, 13] {
        for step in round(&bus, seed).await {
            if let Step::End(key, n, "dead") = step {
                dead.insert((seed, key, n));
            }
        }
    }
    let letters = dlq::list(&bus, &dlq::Filter::default(), 1_000).await.unwrap();
    let refused = letters.iter().filter(|letter| letter.reason == "refused").count();
    assert!(!dead.is_empty());
    assert_eq!(refused, dead.len(), "each refused message is parked once, and no other");
}

#[tokio::test]
async fn a_key_that_fails_holds_up_nobody_else() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    for n in 0..3 {
        publish(&bus, "order", "stuck", n).await;
    }
    for n in 0..30 {
        publish(&bus, "order", &format!("key {}", n % 5), n).await;
    }
    let others = Arc::new(AtomicUsize::new(0));
    let (done, mut seen) = mpsc::unbounded_channel();
    let handler = consume::from_fn({
        let others = Arc::clone(&others);
        move |body: Bytes, meta: Meta| {
            let (others, done) = (Arc::clone(&others), done.clone());
            async move {
                if key_of(&meta) != "stuck" {
                    others.fetch_add(1, Atomic::SeqCst);
                    return Ok(());
                }
                if others.load(Atomic::SeqCst) < 30 {
                    return Err(Failure::defer(Duration::from_millis(5), "the others first"));
                }
                done.send((String::from_utf8_lossy(&body).into_owned(), meta.attempt)).unwrap();
                Ok(())
            }
        }
    });
    // One lane: between its attempts the stuck key holds none.
    let one = ConsumerSpec { ordering: Ordering::ByKey { lanes: 1 }, ..spec("stuck", "order") };
    let running = Running::start(&bus, one, handler);
    for n in 0..3 {
        let next =
            tokio::time::timeout(PATIENCE, seen.recv()).await.expect("the stuck key goes on");
        assert_eq!(next, Some((n.to_string(), 1)), "a deferral is no attempt");
    }
    running.stop().await;
    assert!(dlq::list(&bus, &dlq::Filter::default(), 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn after_the_last_attempt_the_message_is_parked_and_its_key_goes_on() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    for n in 0..3 {
        publish(&bus, "order", "a", n).await;
    }
    let (done, mut seen) = mpsc::unbounded_channel();
    let handler = consume::from_fn(move |body: Bytes, meta: Meta| {
        let done = done.clone();
        async move {
            let n = String::from_utf8_lossy(&body).into_owned();
            done.send((n.clone(), meta.attempt, meta.is_last, meta.redelivered)).unwrap();
            if n == "0" { Err(Failure::retry("never works")) } else { Ok(()) }
        }
    });
    let three = ConsumerSpec { max_attempts: 3, ..spec("parks", "order") };
    let running = Running::start(&bus, three, handler);
    let mut all = Vec::new();
    while all.len() < 5 {
        all.push(tokio::time::timeout(PATIENCE, seen.recv()).await.expect("an attempt").unwrap());
    }
    running.stop().await;
    let expected =
        [("0", 1, false), ("0", 2, false), ("0", 3, true), ("1", 1, false), ("2", 1, false)]
            .map(|(n, attempt, last)| (n.to_owned(), attempt, last, attempt > 1));
    assert_eq!(all, expected);
    let dead = dlq::list(&bus, &dlq::Filter::default(), 10).await.unwrap();
    assert_eq!(
        (dead.len(), dead[0].reason.as_str(), dead[0].attempts),
        (1, "attempts_exhausted", 3)
    );
}

#[tokio::test]
async fn a_stop_gives_a_failing_key_back_in_order() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    for n in 0..5 {
        publish(&bus, "order", "a", n).await;
    }
    let (done, mut seen) = mpsc::unbounded_channel();
    let (works, _) = watch::channel(false);
    let works = Arc::new(works);
    let handler = Arc::new(consume::from_fn({
        let works = Arc::clone(&works);
        move |body: Bytes, _| {
            let (done, works) = (done.clone(), *works.borrow());
            async move {
                done.send((String::from_utf8_lossy(&body).into_owned(), works)).unwrap();
                if works {
                    Ok(())
                } else {
                    Err(Failure::retry_after(Duration::from_secs(250), "down"))
                }
            }
        }
    }));
    let running = Running::start(&bus, spec("stops", "order"), Arc::clone(&handler));
    let first = tokio::time::timeout(PATIENCE, seen.recv()).await.expect("an attempt").unwrap();
    assert_eq!(first, ("0".to_owned(), false));
    // It waits for its second attempt, and four others behind it; the stop waits for none of that.
    running.stop().await;
    works.send_replace(true);
    let running = Running::start(&bus, spec("stops", "order"), handler);
    for n in 0..5 {
        let next = tokio::time::timeout(PATIENCE, seen.recv()).await.expect("given back").unwrap();
        assert_eq!(next, (n.to_string(), true));
    }
    running.stop().await;
}

#[tokio::test]
async fn a_key_of_the_author_s_own_and_batches_that_keep_no_order() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    for n in 0..20 {
        publish(&bus, "order", &format!("unique {n}"), n).await;
    }
    let (done, mut seen) = mpsc::unbounded_channel();
    let at_work = Arc::new(AtomicUsize::new(0));
    let handler = consume::from_fn(move |body: Bytes, _| {
        let (done, at_work) = (done.clone(), Arc::clone(&at_work));
        async move {
            assert_eq!(at_work.fetch_add(1, Atomic::SeqCst), 0, "all have one key");
            work(body.len() * 3).await;
            at_work.fetch_sub(1, Atomic::SeqCst);
            done.send(String::from_utf8_lossy(&body).into_owned()).unwrap();
            Ok(())
        }
    });
    let own = ConsumerSpec {
        order_by: Some(consume::KeyOf::new(|delivery| {
            delivery.meta.subject.split('.').nth(1).map(str::to_owned)
        })),
        ..spec("own-key", "order")
    };
    let running = Running::start(&bus, own.clone(), handler);
    for n in 0..20 {
        let next = tokio::time::timeout(PATIENCE, seen.recv()).await.expect("a message");
        assert_eq!(next, Some(n.to_string()));
    }
    running.stop().await;

    struct Nothing;
    impl consume::BatchHandler for Nothing {
        async fn handle(&self, _: Vec<(Bytes, Meta)>) -> Result<(), Failure> {
            Ok(())
        }
    }
    let options = consume::BatchOptions { max: 10, wait: Duration::from_millis(1) };
    let refused = consume::run_batches(&bus, own, options, Nothing, Lifecycle::new()).await;
    assert!(refused.unwrap_err().to_string().contains("single messages"));
}
