//! What a consumer tells the server, and when: seen on the wire, while what replaces a message is refused.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::Subscriber;
use bytes::Bytes;
use campana_bus::consume::{
    self, Backoff, BatchHandler, BatchOptions, ConsumerSpec, EnvelopeHandler, Failure, Handler,
    Meta,
};
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::{Outgoing, Part, encode_parts};
use campana_bus::testing::{NatsServer, TestBus};
use campana_bus::topology::{self, DLQ, EVENTS, REQUESTS, TopologyOptions};
use campana_bus::{Bus, Event, dlq, headers, subjects};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::consuming::{Order, publish_orders, spec};
use crate::eventually::eventually;

const PATIENCE: Duration = Duration::from_secs(60);
const AN_HOUR: Duration = Duration::from_secs(3_600);
/// So few bytes that no copy of any message fits.
const NOTHING_FITS: i32 = 1;

/// The answers of one consumer.
struct Wire(Subscriber);

impl Wire {
    async fn listen(server: &NatsServer, stream: &str, consumer: &str) -> Self {
        let client = async_nats::connect(server.url()).await.unwrap();
        let answers = client.subscribe(format!("$JS.ACK.{stream}.{consumer}.>")).await.unwrap();
        client.flush().await.unwrap();
        Self(answers)
    }

    async fn next(&mut self) -> String {
        let answer = tokio::time::timeout(PATIENCE, self.0.next()).await.expect("an answer");
        String::from_utf8(answer.unwrap().payload.to_vec()).unwrap()
    }

    /// The next answer that is no heartbeat.
    async fn settlement(&mut self) -> String {
        loop {
            let answer = self.next().await;
            if answer != "+WPI" {
                return answer;
            }
        }
    }
}

/// From here on the stream takes messages of at most so many bytes; -1 for any.
pub async fn limit_size(bus: &Bus, stream: &str, bytes: i32) {
    let found = bus.jetstream().get_stream(stream).await.unwrap();
    let mut config = found.cached_info().config.clone();
    config.max_message_size = bytes;
    bus.jetstream().update_stream(&config).await.unwrap();
}

async fn letters(bus: &Bus) -> Vec<dlq::DeadLetter> {
    dlq::list(bus, &dlq::Filter::default(), 100).await.unwrap_or_default()
}

#[tokio::test]
async fn a_message_whose_copy_is_refused_stays_where_it_is() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    publish_orders(&bus, 0..1).await;
    limit_size(&bus, EVENTS, NOTHING_FITS).await;
    let mut wire = Wire::listen(&server, EVENTS, "refused").await;
    let (lifecycle, (send, mut seen)) = (Lifecycle::new(), mpsc::unbounded_channel());
    let handler = consume::from_fn(move |_: Order, meta: Meta| {
        send.send(meta.attempt).unwrap();
        async move {
            if meta.attempt == 1 { Err(Failure::retry_after(AN_HOUR, "later")) } else { Ok(()) }
        }
    });
    let running = tokio::spawn({
        let (bus, mine) = (bus.clone(), lifecycle.clone());
        async move { consume::run(&bus, spec("refused"), handler, mine).await.unwrap() }
    });
    let first = wire.settlement().await;
    assert!(first.starts_with("-NAK"), "nothing replaces it yet, and the server was told {first}");
    assert_eq!(wire.settlement().await, "+ACK", "it came again and was handled");
    assert_eq!((seen.recv().await, seen.recv().await), (Some(1), Some(2)));
    lifecycle.soft.cancel();
    running.await.unwrap();
}

/// Tells which parts came together, and which attempt it was.
struct Parts(mpsc::UnboundedSender<(String, u32)>);

impl EnvelopeHandler for Parts {
    async fn handle(&self, parts: Vec<(Part, Meta)>) -> Vec<Result<(), Failure>> {
        let ids: Vec<&str> = parts.iter().map(|(part, _)| part.id.as_str()).collect();
        let _ = self.0.send((ids.join(" "), parts[0].1.attempt));
        let result = |(part, meta): &(Part, Meta)| match part.id.as_str() {
            "bad" if meta.attempt == 1 => Err(Failure::retry("busy")),
            "later" if parts.len() > 1 => Err(Failure::defer(Duration::from_millis(1), "later")),
            _ => Ok(()),
        };
        parts.iter().map(result).collect()
    }
}

#[tokio::test]
async fn an_envelope_whose_part_cannot_leave_stays_and_its_parts_go_on_counting() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    let parts = ["good", "bad"].map(|id| Part::new(id, Bytes::from_static(b"{}")));
    let subject = subjects::request("normal");
    bus.publish(Outgoing::new(subject.clone(), "envelope", encode_parts(&parts))).await.unwrap();
    limit_size(&bus, REQUESTS, NOTHING_FITS).await;
    let mut wire = Wire::listen(&server, REQUESTS, "parts").await;
    let (lifecycle, (send, mut seen)) = (Lifecycle::new(), mpsc::unbounded_channel());
    let running = tokio::spawn({
        let (bus, mine) = (bus.clone(), lifecycle.clone());
        let spec = ConsumerSpec::new(REQUESTS, "parts", subject);
        async move { consume::run_envelopes(&bus, spec, Arc::new(Parts(send)), mine).await.unwrap() }
    });
    let first = wire.settlement().await;
    assert!(first.starts_with("-NAK"), "a part is not stored, and the server was told {first}");
    limit_size(&bus, REQUESTS, -1).await;
    assert_eq!(seen.recv().await.unwrap(), ("good bad".to_owned(), 1));
    let mut alone = vec![seen.recv().await.unwrap(), seen.recv().await.unwrap()];
    alone.sort_unstable();
    assert_eq!([alone[0].0.as_str(), alone[1].0.as_str()], ["bad", "good"], "each on its own");
    assert!(alone.iter().all(|one| one.1 > 1), "what was tried together counts: {alone:?}");
    eventually("nothing is left behind", async || {
        (bus.position(REQUESTS).await.unwrap().messages == 0).then_some(())
    })
    .await;
    lifecycle.soft.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_part_that_is_put_off_has_made_no_attempt() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    let parts = ["good", "later"].map(|id| Part::new(id, Bytes::from_static(b"{}")));
    let subject = subjects::request("normal");
    bus.publish(Outgoing::new(subject.clone(), "envelope", encode_parts(&parts))).await.unwrap();
    let (lifecycle, (send, mut seen)) = (Lifecycle::new(), mpsc::unbounded_channel());
    let running = tokio::spawn({
        let (bus, mine) = (bus.clone(), lifecycle.clone());
        let spec = ConsumerSpec::new(REQUESTS, "parts", subject);
        async move { consume::run_envelopes(&bus, spec, Arc::new(Parts(send)), mine).await.unwrap() }
    });
    for expected in ["good later", "later"] {
        let next = tokio::time::timeout(PATIENCE, seen.recv()).await.expect("a call").unwrap();
        assert_eq!(next, (expected.to_owned(), 1));
    }
    lifecycle.soft.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_handler_at_work_sends_heartbeats() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    publish_orders(&bus, 0..1).await;
    let mut wire = Wire::listen(&server, EVENTS, "slow").await;
    let (lifecycle, go_on) = (Lifecycle::new(), Lifecycle::new());
    let handler = consume::from_fn({
        let go_on = go_on.clone();
        move |_: Order, _: Meta| {
            let go_on = go_on.clone();
            async move {
                go_on.soft.cancelled().await;
                Ok(())
            }
        }
    });
    let running = tokio::spawn({
        let (bus, mine) = (bus.clone(), lifecycle.clone());
        let spec = ConsumerSpec { ack_wait: Duration::from_secs(1), ..spec("slow") };
        async move { consume::run(&bus, spec, handler, mine).await.unwrap() }
    });
    for _ in 0..3 {
        assert_eq!(wire.next().await, "+WPI");
    }
    go_on.soft.cancel();
    assert_eq!(wire.settlement().await, "+ACK");
    lifecycle.soft.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_letter_that_is_hard_to_store_keeps_its_message_by_heartbeats() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    publish_orders(&bus, 0..1).await;
    bus.jetstream().delete_stream(DLQ).await.unwrap();
    let mut wire = Wire::listen(&server, EVENTS, "parking").await;
    let lifecycle = Lifecycle::new();
    let refuse = consume::from_fn(|_: Order, _: Meta| async { Err(Failure::dead("no", "no")) });
    let running = tokio::spawn({
        let (bus, mine) = (bus.clone(), lifecycle.clone());
        // The handler answers at once, so the time passes while the letter is tried.
        let spec = ConsumerSpec { ack_wait: Duration::from_millis(900), ..spec("parking") };
        async move { consume::run(&bus, spec, refuse, mine).await.unwrap() }
    });
    assert_eq!(wire.next().await, "+WPI");
    topology::apply(&bus, &topology::platform(TopologyOptions::default())).await.unwrap();
    eventually("it is parked", async || letters(&bus).await.pop()).await;
    while !wire.settlement().await.starts_with("+TERM bus:permanent") {}
    lifecycle.soft.cancel();
    running.await.unwrap();
}

/// Notes whether the letter was there, and fails the first time.
struct Undertaker {
    bus: Bus,
    saw: mpsc::UnboundedSender<(usize, String)>,
    calls: Mutex<u32>,
}

impl Handler<Order> for Undertaker {
    async fn handle(&self, _: Order, _: Meta) -> Result<(), Failure> {
        Err(Failure::dead("no_stock", "none"))
    }

    async fn on_dead(&self, _: &Bytes, _: &Meta, reason: &str) -> Result<(), Failure> {
        let _ = self.saw.send((letters(&self.bus).await.len(), reason.to_owned()));
        let mut calls = self.calls.lock().unwrap();
        *calls += 1;
        if *calls == 1 { Err(Failure::retry("try again")) } else { Ok(()) }
    }
}

#[tokio::test]
async fn what_follows_a_dead_letter_comes_after_it_and_before_the_end_of_the_message() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    publish_orders(&bus, 0..1).await;
    // The dead letters forget ids before the message comes again.
    let found = bus.jetstream().get_stream(DLQ).await.unwrap();
    let mut config = found.cached_info().config.clone();
    config.duplicate_window = Duration::from_millis(100);
    bus.jetstream().update_stream(&config).await.unwrap();
    let mut wire = Wire::listen(&server, EVENTS, "dead").await;
    let (lifecycle, (saw, mut seen)) = (Lifecycle::new(), mpsc::unbounded_channel());
    let handler = Arc::new(Undertaker { bus: bus.clone(), saw, calls: Mutex::new(0) });
    let running = tokio::spawn({
        let (bus, mine) = (bus.clone(), lifecycle.clone());
        async move { consume::run(&bus, spec("dead"), handler, mine).await.unwrap() }
    });
    let told = [wire.settlement().await, wire.settlement().await];
    assert!(told[0].starts_with("-NAK"), "its handler failed, and the server was told {told:?}");
    assert_eq!(told[1], "+TERM bus:permanent");
    for _ in 0..2 {
        assert_eq!(seen.recv().await.unwrap(), (1, "no_stock".to_owned()), "the letter is there");
    }
    lifecycle.soft.cancel();
    running.await.unwrap();
    assert_eq!(letters(&bus).await.len(), 1);
}

#[tokio::test]
async fn the_handler_knows_which_attempt_this_is() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    let order = |id: &str| {
        let subject = subjects::app_event("default", "shop", "order");
        Outgoing::new(subject, id, Bytes::from_static(b"{\"n\":1}"))
    };
    let (lifecycle, (send, mut seen)) = (Lifecycle::new(), mpsc::unbounded_channel());
    let handler = consume::from_fn(move |_: Order, meta: Meta| {
        send.send((meta.attempt, meta.is_last, meta.redelivered)).unwrap();
        async { Err(Failure::retry("down")) }
    });
    let running = tokio::spawn({
        let (bus, mine) = (bus.clone(), lifecycle.clone());
        let spec = ConsumerSpec { max_attempts: 3, ..spec("counting") };
        async move { consume::run(&bus, spec, handler, mine).await.unwrap() }
    });
    let mut three = async || {
        let mut all = Vec::new();
        while all.len() < 3 {
            all.push(tokio::time::timeout(PATIENCE, seen.recv()).await.unwrap().unwrap());
        }
        all
    };
    bus.publish(order("first")).await.unwrap();
    assert_eq!(three().await, [(1, false, false), (2, false, true), (3, true, true)]);
    // Its publisher does not know whether it was stored before.
    bus.publish(order("second").header(headers::REPEAT, "1")).await.unwrap();
    assert_eq!(three().await, [(1, false, true), (2, false, true), (3, true, true)]);
    eventually("both are parked", async || (letters(&bus).await.len() == 2).then_some(())).await;
    lifecycle.soft.cancel();
    running.await.unwrap();
}

#[derive(Serialize, Deserialize)]
struct Parcel {
    number: u64,
}

impl Event for Parcel {
    const SERVICE: &'static str = "post";
    const NAME: &'static str = "parcel";
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_copies_keeps_what_the_first_one_was() {
    let test = TestBus::start().await.unwrap();
    let stored = test.emit(&Parcel { number: 7 }).await.unwrap();
    let first = test.bus().message(EVENTS, stored.sequence).await.unwrap().unwrap();
    let seen: Arc<Mutex<Vec<Meta>>> = Arc::default();
    let service = test.service({
        let seen = Arc::clone(&seen);
        move |bus, stop| async move {
            let handler = move |_: Parcel, meta: Meta| {
                let mut seen = seen.lock().unwrap();
                seen.push(meta);
                let result = match seen.len() {
                    1 => Err(Failure::defer(AN_HOUR, "not yet")),
                    2 | 3 => Err(Failure::retry_after(AN_HOUR, "later")),
                    _ => Err(Failure::dead("lost", "nobody has it")),
                };
                std::future::ready(result)
            };
            bus.consumer::<Parcel>("post").run(handler, stop).await
        }
    });
    for _ in 0..3 {
        test.drive("post").await.unwrap();
        assert_eq!(test.fire_now().await.unwrap(), 1);
    }
    test.drive("post").await.unwrap();
    let letter = test.dead_letters("post").await.unwrap().pop().unwrap();
    service.stop().await.unwrap();

    let seen = seen.lock().unwrap();
    let attempts: Vec<u32> = seen.iter().map(|meta| meta.attempt).collect();
    assert_eq!(attempts, [1, 1, 2, 3], "a deferral is no attempt, and copies go on counting");
    let failed =
        |meta: &Meta| headers::get(&meta.headers, headers::FIRST_FAILURE).map(str::to_owned);
    assert_eq!((failed(&seen[0]), failed(&seen[1])), (None, None), "nothing failed yet");
    assert!(failed(&seen[2]).is_some(), "then it did");
    assert_eq!(failed(&seen[2]), failed(&seen[3]), "and the first failure stays the first");
    let id = headers::get(&first.headers, "Nats-Msg-Id");
    assert!(seen.iter().all(|meta| meta.message_id.as_deref() == id), "one id for all copies");
    assert_eq!((letter.subject.as_str(), letter.attempts), (first.subject.as_str(), 3));
}

/// Fails if it is called.
struct Uncalled(mpsc::UnboundedSender<&'static str>);

impl Handler<Bytes> for Uncalled {
    async fn handle(&self, _: Bytes, _: Meta) -> Result<(), Failure> {
        let _ = self.0.send("handled");
        Ok(())
    }

    async fn on_dead(&self, _: &Bytes, _: &Meta, _: &str) -> Result<(), Failure> {
        let _ = self.0.send("given up");
        Ok(())
    }
}

impl BatchHandler for Uncalled {
    async fn handle(&self, _: Vec<(Bytes, Meta)>) -> Result<(), Failure> {
        let _ = self.0.send("handled");
        Ok(())
    }

    async fn on_dead(&self, _: &Bytes, _: &Meta, _: &str) -> Result<(), Failure> {
        let _ = self.0.send("given up");
        Ok(())
    }
}

impl EnvelopeHandler for Uncalled {
    async fn handle(&self, parts: Vec<(Part, Meta)>) -> Vec<Result<(), Failure>> {
        let _ = self.0.send("handled");
        vec![Ok(()); parts.len()]
    }

    async fn on_dead(&self, _: &Bytes, _: &Meta, _: &str) -> Result<(), Failure> {
        let _ = self.0.send("given up");
        Ok(())
    }
}

#[tokio::test]
async fn what_has_no_attempts_left_is_parked_unseen_whoever_handles() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    // As if a process had died in each of its attempts.
    let part = Part::new("one", Bytes::from_static(b"{}"));
    let used_up = |subject: String, id: &str| {
        Outgoing::new(subject, id, encode_parts(std::slice::from_ref(&part)))
            .header(headers::ATTEMPT_BASE, "5")
    };
    let event = subjects::app_event("default", "shop", "order");
    bus.publish(used_up(event, "event")).await.unwrap();
    bus.publish(used_up(subjects::request("normal"), "request")).await.unwrap();
    let (lifecycle, (send, mut seen)) = (Lifecycle::new(), mpsc::unbounded_channel());
    let requests = ConsumerSpec::new(REQUESTS, "envelopes", subjects::request("normal"));
    let options = BatchOptions { max: 10, wait: Duration::from_millis(1) };
    let handler = Arc::new(Uncalled(send));
    let running = tokio::spawn({
        let (bus, mine) = (bus.clone(), lifecycle.clone());
        async move {
            let (single, batches, envelopes) = tokio::join!(
                consume::run_raw(&bus, spec("single"), Arc::clone(&handler), mine.clone()),
                consume::run_batches(
                    &bus,
                    spec("batch"),
                    options,
                    Arc::clone(&handler),
                    mine.clone()
                ),
                consume::run_envelopes(&bus, requests, Arc::clone(&handler), mine),
            );
            single.and(batches).and(envelopes).unwrap();
        }
    });
    for _ in 0..3 {
        let next = tokio::time::timeout(PATIENCE, seen.recv()).await.expect("each hears of it");
        assert_eq!(next, Some("given up"));
    }
    lifecycle.soft.cancel();
    running.await.unwrap();
    let mut parked: Vec<(String, String)> =
        letters(&bus).await.into_iter().map(|letter| (letter.consumer, letter.reason)).collect();
    parked.sort_unstable();
    let reason = || "crash_or_timeout".to_owned();
    let names = ["batch", "envelopes", "single"];
    assert_eq!(parked, names.map(|name| (name.to_owned(), reason())));
}

#[test]
fn pauses_double_from_the_first_step_to_the_last() {
    let backoff = Backoff { first: Duration::from_millis(500), max: Duration::from_secs(300) };
    let millis = |attempt, draw| backoff.pause(attempt, draw).as_millis();
    assert_eq!([millis(1, 0.0), millis(1, 1.0)], [250, 500]);
    assert_eq!([millis(2, 1.0), millis(3, 1.0), millis(4, 0.0)], [1_000, 2_000, 2_000]);
    assert_eq!([millis(50, 1.0), millis(u32::MAX, 0.0)], [300_000, 150_000]);
}

#[tokio::test]
async fn a_drain_waits_for_handlers_and_the_server_counts_no_deliveries() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    publish_orders(&bus, 0..1).await;
    let mut wire = Wire::listen(&server, EVENTS, "drained").await;
    let lifecycle = Lifecycle::new();
    let handler = consume::from_fn({
        let (bus, stop) = (bus.clone(), lifecycle.clone());
        move |_: Order, _: Meta| {
            let (bus, stop) = (bus.clone(), stop.clone());
            async move {
                stop.soft.cancel();
                // Work that takes many turns of everybody else.
                for n in 0..50 {
                    let subject = subjects::app_event("default", "shop", "shipped");
                    let shipped = Outgoing::new(subject, format!("shipped-{n}"), Bytes::new());
                    bus.publish(shipped).await.unwrap();
                }
                Ok(())
            }
        }
    });
    consume::run(&bus, spec("drained"), handler, lifecycle).await.unwrap();
    assert_eq!(wire.settlement().await, "+ACK");
    let consumer: async_nats::jetstream::consumer::PullConsumer =
        bus.jetstream().get_consumer_from_stream("drained", EVENTS).await.unwrap();
    // A limit of the server's own would give messages up before they are parked.
    assert_eq!(consumer.cached_info().config.max_deliver, -1);
}
