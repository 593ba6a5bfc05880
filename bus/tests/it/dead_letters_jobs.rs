//! Redrive jobs: filters, dry run, rate, cancellation, failing again, claims, a keeper that is killed, edits.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use campana_bus::consume::{self, Failure, Meta};
use campana_bus::dlq::jobs::{self, Job, RedriveRequest, State, WorkerOptions};
use campana_bus::dlq::{self, DlqError, Edit, Filter};
use campana_bus::ids::RedriveId;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::Outgoing;
use campana_bus::testing::NatsServer;
use campana_bus::topology::{DLQ, EVENTS};
use campana_bus::{Bus, BusOptions, Durability, headers, subjects};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use crate::consuming::{Order, publish_orders, run_until, spec};
use crate::eventually::eventually;

const QUICK: WorkerOptions =
    WorkerOptions { lease: Duration::from_secs(2), poll: Duration::from_millis(50) };
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Parks the orders of a range: the even ones as `no_stock`, the odd ones as `expired`.
async fn park(bus: &Bus, durable: &str, range: std::ops::Range<u32>) {
    let count = range.len();
    for n in range {
        let order = Outgoing::new(
            subjects::app_event(if n % 3 == 0 { "acme" } else { "default" }, "shop", "order"),
            format!("order-{n}"),
            Bytes::from(format!("{{\"n\":{n}}}")),
        );
        bus.publish(order.header("traceparent", TRACE).header("X-Shop", "lisbon")).await.unwrap();
    }
    let (send, mut seen) = mpsc::unbounded_channel();
    let refuse = consume::from_fn(move |order: Order, meta: Meta| {
        send.send((order.n, meta.redrives)).unwrap();
        let reason = if order.n.is_multiple_of(2) { "no_stock" } else { "expired" };
        async move { Err(Failure::dead(reason, format!("order {} was refused", order.n))) }
    });
    run_until(bus, spec(durable), refuse, &mut seen, count).await;
    eventually("all are parked", async || (letters(bus).await == count).then_some(())).await;
}

async fn letters(bus: &Bus) -> usize {
    dlq::list(bus, &Filter::default(), 10_000).await.unwrap().len()
}

/// Takes what was redriven, by number of the order.
async fn take(bus: &Bus, durable: &str, enough: usize) -> BTreeMap<u32, u32> {
    let (send, mut seen) = mpsc::unbounded_channel();
    let accept = consume::from_fn(move |order: Order, meta: Meta| {
        send.send((order.n, meta.redrives)).unwrap();
        async { Ok(()) }
    });
    let mut all = run_until(bus, spec(durable), accept, &mut seen, enough).await;
    // What came during the drain counts as well.
    while let Ok(more) = seen.try_recv() {
        all.push(more);
    }
    let mut counts = BTreeMap::new();
    for (n, _) in all {
        *counts.entry(n).or_default() += 1;
    }
    counts
}

async fn ended(bus: &Bus, id: RedriveId) -> Job {
    eventually("the job ends", async || {
        jobs::get(bus, id).await.unwrap().filter(|job| job.state.is_final())
    })
    .await
}

#[tokio::test]
async fn filters_choose_and_a_dry_run_changes_nothing() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    park(&bus, "orders", 0..12).await;
    let text = |text: &str| Some(text.to_owned());
    let all = dlq::list(&bus, &Filter::default(), 100).await.unwrap();
    let middle = bus.message(DLQ, all[6].id).await.unwrap().unwrap().time;
    for (filter, count) in [
        (Filter::default(), 12),
        (Filter { stream: text(EVENTS), ..Filter::default() }, 12),
        (Filter { stream: text("OTHER"), ..Filter::default() }, 0),
        (Filter { consumer: text("orders"), ..Filter::default() }, 12),
        (Filter { consumer: text("order"), ..Filter::default() }, 0),
        (Filter { class: text("expired"), ..Filter::default() }, 6),
        (Filter { reason: text("no_stock"), ..Filter::default() }, 6),
        (Filter { error_contains: text("order 1"), ..Filter::default() }, 3),
        (Filter { error_contains: text("order *1*refused"), ..Filter::default() }, 3),
        (Filter { tenant: text("acme"), ..Filter::default() }, 4),
        (Filter { from: Some(middle), ..Filter::default() }, 6),
        (Filter { to: Some(middle), ..Filter::default() }, 6),
        (Filter { id: Some(all[3].id), ..Filter::default() }, 1),
    ] {
        let request =
            RedriveRequest { filter: filter.clone(), dry_run: true, ..Default::default() };
        let job = jobs::run_here(&bus, request).await.unwrap();
        assert_eq!((job.state, job.counts.matched), (State::Done, count), "{filter:?}");
        assert_eq!(job.groups.iter().map(|group| group.count).sum::<u64>(), count);
        assert_eq!(job.sample.len(), usize::try_from(count.min(10)).unwrap());
        assert_eq!(job.counts.redriven, 0);
    }
    assert_eq!(letters(&bus).await, 12);

    let filter = Filter { class: text("expired"), ..Filter::default() };
    let limited = RedriveRequest { filter: filter.clone(), limit: Some(2), ..Default::default() };
    assert_eq!(jobs::run_here(&bus, limited).await.unwrap().counts.redriven, 2);
    let job = jobs::run_here(&bus, RedriveRequest { filter, ..Default::default() }).await.unwrap();
    assert_eq!((job.state, job.counts.redriven), (State::Done, 4));
    let left = dlq::list(&bus, &Filter::default(), 100).await.unwrap();
    assert!(left.len() == 6 && left.iter().all(|letter| letter.reason == "no_stock"));
    let taken = take(&bus, "orders", 6).await;
    assert_eq!(taken.keys().copied().collect::<Vec<_>>(), [1, 3, 5, 7, 9, 11]);
    assert!(taken.values().all(|times| *times == 1), "{taken:?}");
    assert!(jobs::list(&bus, 3).await.unwrap().len() == 3);
}

#[tokio::test]
async fn a_redriven_message_starts_a_life_of_its_own() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    park(&bus, "orders", 0..1).await;
    let job = jobs::run_here(&bus, RedriveRequest::default()).await.unwrap();
    let (send, mut seen) = mpsc::unbounded_channel();
    let (headers_of, mut all) = mpsc::unbounded_channel();
    let accept = consume::from_fn(move |order: Order, meta: Meta| {
        send.send((order.n, meta.attempt)).unwrap();
        headers_of.send(meta.headers).unwrap();
        async { Ok(()) }
    });
    assert_eq!(run_until(&bus, spec("orders"), accept, &mut seen, 1).await, [(0, 1)]);
    let all = all.recv().await.unwrap();
    let header = |name: &str| headers::get(&all, name).map(str::to_owned);
    assert_eq!(header("X-Shop").as_deref(), Some("lisbon"));
    assert_eq!(header(headers::REDRIVE_JOB), Some(job.id.to_string()));
    assert_eq!(header(headers::REDRIVE_COUNT).as_deref(), Some("1"));
    let old = header(headers::REDRIVEN_FROM_TRACE).unwrap();
    assert_eq!(old.split('-').nth(1), TRACE.split('-').nth(1));
    let new = headers::trace(&all).unwrap().trace_id();
    assert_ne!(Some(new.as_str()), TRACE.split('-').nth(1), "a trace of its own");
    assert!(header("Nats-Msg-Id").unwrap().starts_with("redrive:"), "a fresh id");
    assert!(all.iter().all(|(name, _)| {
        let name: &str = name.as_ref();
        !name.starts_with("Campana-Dead-")
    }));
}

#[tokio::test]
async fn a_job_keeps_to_its_rate_and_can_be_canceled() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    park(&bus, "orders", 0..60).await;
    let lifecycle = Lifecycle::new();
    let worker = tokio::spawn({
        let (bus, mine) = (bus.clone(), lifecycle.clone());
        async move { jobs::run_worker_with(&bus, QUICK, mine).await }
    });
    let started = Instant::now();
    let slow = RedriveRequest { rate: 20, ..RedriveRequest::default() };
    let id = jobs::start(&bus, slow).await.unwrap();
    let running = eventually("some are redriven", async || {
        jobs::get(&bus, id).await.unwrap().filter(|job| job.counts.redriven >= 10)
    })
    .await;
    // Ten take at least nine gaps of 50 ms, however slow this machine is.
    assert!(started.elapsed() >= Duration::from_millis(450));
    assert_eq!(running.state, State::Running);
    assert!(running.progress() > 0.0 && running.remaining(campana_bus::clock::now()).is_some());
    jobs::cancel(&bus, id).await.unwrap();
    let job = ended(&bus, id).await;
    assert_eq!(job.state, State::Canceled);
    assert_eq!(letters(&bus).await as u64, 60 - job.counts.redriven, "each is in one place");
    assert!(job.counts.redriven < 60);
    assert_eq!(jobs::cancel(&bus, id).await.unwrap().state, State::Canceled, "and stays so");

    let other =
        jobs::start(&bus, RedriveRequest { rate: 5_000, ..Default::default() }).await.unwrap();
    assert_eq!(ended(&bus, other).await.counts.redriven, 60 - job.counts.redriven);
    lifecycle.soft.cancel();
    worker.await.unwrap();
    let idle = jobs::start(&bus, RedriveRequest::default()).await.unwrap();
    assert_eq!(jobs::cancel(&bus, idle).await.unwrap().state, State::Canceled, "nobody had it");
    let unknown = RedriveId::fresh();
    assert_eq!(jobs::cancel(&bus, unknown).await, Err(DlqError::NoJob(unknown)));
}

#[tokio::test]
async fn a_job_stops_when_what_it_redrives_is_parked_again() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    park(&bus, "orders", 0..200).await;
    // The cause is not repaired: the consumer refuses everything again.
    let lifecycle = Lifecycle::new();
    let consumer = tokio::spawn({
        let (bus, mine) = (bus.clone(), lifecycle.clone());
        let refuse = consume::from_fn(|_: Order, _: Meta| async {
            Err(Failure::dead("no_stock", "still none"))
        });
        async move { consume::run(&bus, spec("orders"), refuse, mine).await.unwrap() }
    });
    let request = RedriveRequest { rate: 50, ..RedriveRequest::default() };
    let job = jobs::run_here(&bus, request).await.unwrap();
    assert_eq!(job.state, State::Stopped, "{job:?}");
    assert!(job.counts.redriven >= 20 && job.counts.redriven < 200, "{job:?}");
    assert!(job.counts.refailed * 2 > job.counts.redriven);
    assert!(job.message.unwrap().contains("parked again"));
    eventually("everything is parked", async || (letters(&bus).await == 200).then_some(())).await;
    lifecycle.soft.cancel();
    consumer.await.unwrap();
}

#[tokio::test]
async fn many_operators_redrive_each_letter_once() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    park(&bus, "orders", 0..40).await;
    let ids: Vec<u64> =
        dlq::list(&bus, &Filter::default(), 100).await.unwrap().iter().map(|one| one.id).collect();
    let mut operators = tokio::task::JoinSet::new();
    for operator in 0..3 {
        let bus = server.bus(&format!("operator-{operator}")).await.unwrap();
        operators.spawn(async move {
            let request = RedriveRequest { rate: 5_000, ..RedriveRequest::default() };
            jobs::run_here(&bus, request).await.unwrap().counts.redriven
        });
    }
    let single = server.bus("by-hand").await.unwrap();
    operators.spawn(async move {
        let mut done = 0;
        for id in ids {
            match dlq::redrive_one(&single, id, None).await {
                Ok(()) => done += 1,
                Err(DlqError::Claimed { .. } | DlqError::NotFound(_)) => {}
                Err(other) => panic!("{other}"),
            }
        }
        done
    });
    operators.join_all().await;
    eventually("no letter is left", async || (letters(&bus).await == 0).then_some(())).await;
    let retried = bus.count(EVENTS, &subjects::retry_filter(EVENTS, "orders")).await.unwrap();
    assert_eq!(retried, 40, "each was published once");
    let taken = take(&bus, "orders", 40).await;
    assert!(taken.len() == 40 && taken.values().all(|times| *times == 1), "{taken:?}");
}

/// A claim outlives the duplicate window and the memory of the server: a second operator is told who is first.
#[tokio::test]
async fn a_letter_that_a_job_has_claimed_is_left_to_it() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    park(&bus, "orders", 0..1).await;
    let (letter, entry) =
        dlq::show(&bus, dlq::list(&bus, &Filter::default(), 1).await.unwrap()[0].id).await.unwrap();
    // Nobody works on this job, but it has not ended.
    let slow = Filter { id: Some(1_000_000), ..Filter::default() };
    let job =
        jobs::start(&bus, RedriveRequest { filter: slow, ..Default::default() }).await.unwrap();
    let claim = format!("dlq-{}-1-{}", letter.id, entry.time.0);
    let body = format!("{{\"owner\":\"{job}\",\"until\":null}}");
    let claimed =
        Outgoing::new(subjects::bucket_key("redrive_claims", &claim), "a-claim", Bytes::from(body));
    bus.publish(claimed).await.unwrap();
    let refused = dlq::redrive_one(&bus, letter.id, None).await.unwrap_err();
    assert_eq!(refused, DlqError::Claimed { id: letter.id, owner: job.to_string() });
    let other = jobs::run_here(&bus, RedriveRequest::default()).await.unwrap();
    assert_eq!((other.counts.redriven, other.counts.claimed_by_others), (0, 1));
    assert_eq!(letters(&bus).await, 1);
    jobs::cancel(&bus, job).await.unwrap();
    dlq::redrive_one(&bus, letter.id, None).await.unwrap();
    assert_eq!(letters(&bus).await, 0);
}

/// Not a test of its own: the keeper process of the test below, which starts this very binary.
#[tokio::test]
async fn keeper_process() {
    let Ok(url) = std::env::var("CAMPANA_TEST_KEEPER_NATS") else {
        return;
    };
    let bus = Bus::connect(BusOptions {
        url,
        name: "keeper".to_owned(),
        durability: Durability::Power,
        credentials_file: None,
    })
    .await
    .unwrap();
    jobs::run_worker_with(&bus, QUICK, Lifecycle::new()).await;
}

fn start_keeper(url: &str) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "dead_letters_jobs::keeper_process", "--nocapture"])
        .env("CAMPANA_TEST_KEEPER_NATS", url)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn a_killed_keeper_s_job_is_continued_by_another() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    park(&bus, "orders", 0..120).await;
    let id = jobs::start(&bus, RedriveRequest { rate: 60, ..Default::default() }).await.unwrap();
    let mut at_least = 15;
    for _ in 0..3 {
        let mut keeper = start_keeper(&server.url());
        eventually("the keeper is at work", async || {
            jobs::get(&bus, id).await.unwrap().filter(|job| job.counts.redriven >= at_least)
        })
        .await;
        keeper.kill().unwrap();
        keeper.wait().unwrap();
        at_least += 15;
    }
    let mut last = start_keeper(&server.url());
    let job = ended(&bus, id).await;
    last.kill().unwrap();
    last.wait().unwrap();
    assert_eq!(job.state, State::Done);
    assert_eq!(letters(&bus).await, 0);
    let retried = bus.count(EVENTS, &subjects::retry_filter(EVENTS, "orders")).await.unwrap();
    assert_eq!(retried, 120, "each was published once");
    let taken = take(&bus, "orders", 120).await;
    assert!(taken.len() == 120 && taken.values().all(|times| *times == 1), "{taken:?}");
}

#[tokio::test]
async fn an_edited_letter_carries_the_hash_of_what_it_was() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    let subject = subjects::app_event("default", "shop", "order");
    bus.publish(Outgoing::new(subject, "broken", Bytes::from_static(b"{\"n\":"))).await.unwrap();
    let (send, mut seen) = mpsc::unbounded_channel();
    let (headers_of, mut all) = mpsc::unbounded_channel();
    let lifecycle = Lifecycle::new();
    let consumer = tokio::spawn({
        let (bus, mine) = (bus.clone(), lifecycle.clone());
        let accept = consume::from_fn(move |order: Order, meta: Meta| {
            headers_of.send(meta.headers).unwrap();
            send.send(order.n).unwrap();
            async { Ok(()) }
        });
        async move { consume::run(&bus, spec("orders"), accept, mine).await.unwrap() }
    });
    let letter = eventually("it is parked", async || {
        dlq::list(&bus, &Filter::default(), 1).await.unwrap().pop()
    })
    .await;
    let huge = Bytes::from(vec![b'1'; bus.client().max_payload()]);
    let too_large = dlq::redrive_edited(&bus, letter.id, huge).await.unwrap_err();
    assert!(matches!(too_large, DlqError::TooLarge { .. }), "{too_large}");
    assert_eq!(letters(&bus).await, 1, "it stays");
    let edit = Edit {
        body: Bytes::from_static(b"{\"n\":42}"),
        note: "closed the brace\r\nX-Evil: 1".to_owned(),
    };
    dlq::redrive_one(&bus, letter.id, Some(edit)).await.unwrap();
    assert_eq!(seen.recv().await, Some(42));
    let all = all.recv().await.unwrap();
    let hash = hex::encode(Sha256::digest(b"{\"n\":"));
    assert_eq!(headers::get(&all, headers::EDITED_FROM), Some(hash.as_str()));
    assert_eq!(headers::get(&all, headers::EDIT_NOTE), Some("closed the brace  X-Evil: 1"));
    assert_eq!(headers::get(&all, "X-Evil"), None);
    assert_eq!(dlq::redrive_one(&bus, letter.id, None).await, Err(DlqError::NotFound(letter.id)));
    lifecycle.soft.cancel();
    consumer.await.unwrap();
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused_and_jobs_are_bounded() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    publish_orders(&bus, 0..1).await;
    let wrong = RedriveRequest { rate: 0, ..RedriveRequest::default() };
    assert!(matches!(jobs::start(&bus, wrong).await, Err(DlqError::Invalid { field: "rate", .. })));
    for _ in 0..jobs::OPEN_JOBS_MAX {
        jobs::start(&bus, RedriveRequest::default()).await.unwrap();
    }
    let full = jobs::start(&bus, RedriveRequest::default()).await;
    assert_eq!(full, Err(DlqError::TooManyJobs(jobs::OPEN_JOBS_MAX)));
}
