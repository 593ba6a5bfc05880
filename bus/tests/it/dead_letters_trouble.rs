//! Redriving while something is wrong: the target refuses, is away, or has the message already; several lives.

use std::time::{Duration, Instant};

use async_nats::jetstream::AckKind;
use async_nats::jetstream::stream::RetentionPolicy;
use bytes::Bytes;
use campana_bus::consume::{self, Failure, Meta};
use campana_bus::dlq::jobs::{self, RedriveRequest, State};
use campana_bus::dlq::{self, DeadLetter, DlqError, Edit, Filter, backstop};
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::Outgoing;
use campana_bus::testing::NatsServer;
use campana_bus::topology::{self, DLQ, EVENTS, TopologyOptions};
use campana_bus::{Bus, headers, subjects};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use crate::backstop::{foreign_consumer, foreign_stream, next, put};
use crate::consuming::{Order, run_until, spec};
use crate::eventually::eventually;
use crate::settling::limit_size;

async fn letters(bus: &Bus) -> Vec<DeadLetter> {
    dlq::list(bus, &Filter::default(), 1_000).await.unwrap()
}

fn order(n: u32) -> Outgoing {
    let subject = subjects::app_event("default", "shop", "order");
    Outgoing::new(subject, format!("order-{n}"), Bytes::from(format!("{{\"n\":{n}}}")))
}

/// Has the consumer `orders` give up what is there; returns when so many letters are there in all.
async fn give_up(bus: &Bus, count: usize, in_all: usize) {
    let (send, mut seen) = mpsc::unbounded_channel();
    let refuse = consume::from_fn(move |order: Order, meta: Meta| {
        send.send((order.n, meta.attempt)).unwrap();
        async { Err(Failure::dead("no_stock", "none left")) }
    });
    run_until(bus, spec("orders"), refuse, &mut seen, count).await;
    eventually("all are parked", async || (letters(bus).await.len() == in_all).then_some(())).await;
}

/// What the consumer is given next.
async fn taken(bus: &Bus) -> Meta {
    let (send, mut seen) = mpsc::unbounded_channel();
    let (metas, mut meta) = mpsc::unbounded_channel();
    let accept = consume::from_fn(move |order: Order, meta: Meta| {
        metas.send(meta).unwrap();
        send.send((order.n, 0)).unwrap();
        async { Ok(()) }
    });
    run_until(bus, spec("orders"), accept, &mut seen, 1).await;
    meta.recv().await.unwrap()
}

async fn retried(bus: &Bus) -> u64 {
    bus.count(EVENTS, &subjects::retry_filter(EVENTS, "orders")).await.unwrap()
}

#[tokio::test]
async fn a_letter_that_its_stream_refuses_stays_and_is_free_for_the_next() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    bus.publish(order(1)).await.unwrap();
    give_up(&bus, 1, 1).await;
    let id = letters(&bus).await[0].id;
    limit_size(&bus, EVENTS, 1).await;
    let refused = dlq::redrive_one(&bus, id, None).await.unwrap_err();
    assert!(matches!(refused, DlqError::Refused { .. }), "{refused}");
    let job = jobs::run_here(&bus, RedriveRequest::default()).await.unwrap();
    assert_eq!((job.state, job.counts.failed, job.counts.redriven), (State::Done, 1, 0));
    assert_eq!(letters(&bus).await.len(), 1, "the only copy there is");
    limit_size(&bus, EVENTS, -1).await;
    dlq::redrive_one(&bus, id, None).await.unwrap();
    assert!(letters(&bus).await.is_empty());
    let meta = taken(&bus).await;
    assert_eq!((meta.attempt, meta.redrives), (1, 1));
}

/// Between the publish and the removal a keeper died, and the stream has forgotten the message's id since.
#[tokio::test]
async fn a_life_that_was_published_before_is_only_removed() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    bus.publish(order(1)).await.unwrap();
    give_up(&bus, 1, 1).await;
    let letter = letters(&bus).await.remove(0);
    let entry = bus.message(DLQ, letter.id).await.unwrap().unwrap();
    let life = format!("dlq-{}-1-{}", letter.id, entry.time.0);
    let before = subjects::retry(EVENTS, "orders", &life);
    bus.publish(Outgoing::new(before, "forgotten", entry.payload)).await.unwrap();
    dlq::redrive_one(&bus, letter.id, None).await.unwrap();
    assert!(letters(&bus).await.is_empty());
    assert_eq!(retried(&bus).await, 1, "not twice");
}

#[tokio::test]
async fn a_job_waits_for_a_stream_that_is_away() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    for n in 0..3 {
        bus.publish(order(n)).await.unwrap();
    }
    give_up(&bus, 3, 3).await;
    bus.jetstream().delete_stream(EVENTS).await.unwrap();
    let id = jobs::start(&bus, RedriveRequest::default()).await.unwrap();
    let worker = tokio::spawn({
        let bus = bus.clone();
        async move { jobs::work_here(&bus, id).await.unwrap() }
    });
    let job = eventually("it waits, or ends", async || {
        let job = jobs::get(&bus, id).await.unwrap().unwrap();
        (job.message.is_some() || job.state.is_final()).then_some(job)
    })
    .await;
    assert_eq!(job.state, State::Running, "{job:?}");
    assert_eq!(letters(&bus).await.len(), 3);
    topology::apply(&bus, &topology::platform(TopologyOptions::default())).await.unwrap();
    let job = worker.await.unwrap();
    assert_eq!((job.state, job.counts.redriven, job.counts.matched), (State::Done, 3, 3));
    assert_eq!((letters(&bus).await.len(), retried(&bus).await), (0, 3));
}

#[tokio::test]
async fn what_is_parked_after_the_start_of_a_job_is_not_its_business() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    for n in 0..3 {
        bus.publish(order(n)).await.unwrap();
    }
    give_up(&bus, 3, 3).await;
    let id = jobs::start(&bus, RedriveRequest::default()).await.unwrap();
    bus.publish(order(3)).await.unwrap();
    give_up(&bus, 1, 4).await;
    let job = jobs::work_here(&bus, id).await.unwrap();
    assert_eq!((job.state, job.counts.redriven), (State::Done, 3));
    let left: Vec<u64> = letters(&bus).await.iter().map(|letter| letter.sequence).collect();
    assert_eq!(left, [4]);
}

#[tokio::test]
async fn a_job_takes_the_time_that_its_rate_says() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    for n in 0..3 {
        bus.publish(order(n)).await.unwrap();
    }
    give_up(&bus, 3, 3).await;
    let slow = RedriveRequest { rate: 2, ..RedriveRequest::default() };
    let started = Instant::now();
    assert_eq!(jobs::run_here(&bus, slow).await.unwrap().counts.redriven, 3);
    // Three take two gaps of half a second, however slow or fast this machine is.
    assert!(started.elapsed() >= Duration::from_secs(1), "faster than it was asked to");
}

#[tokio::test]
async fn a_message_of_many_lives_keeps_its_origin_and_nothing_else() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    let mut first = order(1)
        .header(headers::ATTEMPT_BASE, "2")
        .header(headers::FIRST_FAILURE, "2026-01-01T00:00:00Z")
        .header("Campana-Dead-Invented", "a lie");
    for value in ["one", "two"] {
        first.headers.append("X-Many", value);
    }
    bus.publish(first).await.unwrap();
    give_up(&bus, 1, 1).await;
    let letter = letters(&bus).await.remove(0);
    assert_eq!((letter.attempts, letter.reason.as_str()), (3, "no_stock"));
    let (_, stored) = dlq::show(&bus, letter.id).await.unwrap();
    assert_eq!(
        headers::get(&stored.headers, "Campana-Dead-Invented"),
        None,
        "no provenance of ours"
    );
    assert_eq!(letter.first_failure_at.as_deref(), Some("2026-01-01T00:00:00Z"));
    for n in [2, 3] {
        let id = letters(&bus).await[0].id;
        let edit = Edit { body: Bytes::from(format!("{{\"n\":{n}}}")), note: String::new() };
        dlq::redrive_one(&bus, id, Some(edit)).await.unwrap();
        if n == 2 {
            give_up(&bus, 1, 1).await;
            let letter = letters(&bus).await.remove(0);
            assert_eq!((letter.attempts, letter.redrives), (1, 1), "its attempts are fresh");
            assert_ne!(letter.first_failure_at.as_deref(), Some("2026-01-01T00:00:00Z"));
            assert_eq!(letter.subject, subjects::app_event("default", "shop", "order"));
        }
    }
    let meta = taken(&bus).await;
    let header = |name: &str| headers::get(&meta.headers, name);
    assert_eq!((meta.attempt, meta.redrives), (1, 2));
    assert_eq!(header(headers::ORIGINAL_MESSAGE_ID), Some("order-1"));
    let hash = hex::encode(Sha256::digest(b"{\"n\":1}"));
    assert_eq!(header(headers::EDITED_FROM), Some(hash.as_str()), "of the very first body");
    assert_eq!(header(headers::FIRST_FAILURE), None);
    let many: Vec<&str> = meta.headers.get_all("X-Many").map(|value| value.as_str()).collect();
    assert_eq!(many, ["one", "two"], "a header with two values keeps both");
}

/// The server would obey what steers it, so a copy must not bring it along.
#[tokio::test]
async fn what_steers_the_server_does_not_come_back_with_a_letter() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    bus.publish(order(1).header("Nats-Expected-Stream", EVENTS)).await.unwrap();
    give_up(&bus, 1, 1).await;
    let letter = letters(&bus).await.remove(0);
    let (_, stored) = dlq::show(&bus, letter.id).await.unwrap();
    assert_eq!(headers::get(&stored.headers, "Nats-Expected-Stream"), None);
    dlq::redrive_one(&bus, letter.id, None).await.unwrap();
    assert_eq!(taken(&bus).await.redrives, 1);
}

/// A consumer that the library does not run gets its message where it was published, behind others.
#[tokio::test]
async fn a_letter_of_a_foreign_consumer_goes_back_to_a_subject_that_has_messages() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    let stream = foreign_stream(&bus, RetentionPolicy::Limits).await;
    let consumer = foreign_consumer(&stream, "mailer", "work.mail", -1).await;
    for n in 1..=3 {
        put(&bus, "work.mail", &format!("m{n}")).await;
    }
    next(&consumer).await.ack_with(AckKind::Term).await.unwrap();
    let lifecycle = Lifecycle::new();
    let running = tokio::spawn({
        let (bus, mine) = (bus.clone(), lifecycle.clone());
        async move { backstop::run(&bus, mine).await.unwrap() }
    });
    let letter = eventually("it is filed", async || letters(&bus).await.pop()).await;
    dlq::redrive_one(&bus, letter.id, None).await.unwrap();
    assert!(letters(&bus).await.is_empty());
    let stored = bus.last("WORK", "work.mail").await.unwrap().unwrap();
    assert_eq!((stored.sequence, &stored.payload[..]), (4, &b"body of m1"[..]), "it is back");
    lifecycle.soft.cancel();
    running.await.unwrap();
}
