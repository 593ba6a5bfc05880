//! Envelopes: shared acknowledgements, and a poison part that harms none of its neighbours.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use campana_bus::consume::{self, ConsumerSpec, EnvelopeHandler, Failure, Meta};
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::{EnvelopePublisher, Part, PublishError, decode_parts};
use campana_bus::testing::NatsServer;
use campana_bus::topology::{OUTCOMES, REQUESTS};
use campana_bus::{clock, dlq, subjects};
use futures::future::join_all;
use tokio::sync::mpsc;

struct Picky {
    ledger: Mutex<Vec<String>>,
    done: mpsc::UnboundedSender<()>,
}

impl EnvelopeHandler for Picky {
    async fn handle(&self, parts: Vec<(Part, Meta)>) -> Vec<Result<(), Failure>> {
        // A poison takes its whole call down, as an abort would.
        assert!(
            !(parts.len() > 1 && parts.iter().any(|(part, _)| part.id.starts_with("panic"))),
            "a poison part"
        );
        parts
            .into_iter()
            .map(|(part, meta)| match part.id.as_str() {
                id if id.starts_with("panic") => Err(Failure::retry("still a poison")),
                id if id.starts_with("dead") => Err(Failure::dead("no_such_template", "gone")),
                // A part that came back alone must know that it is no first attempt.
                id if id.starts_with("retry") && (meta.attempt < 3 || !meta.redelivered) => {
                    Err(Failure::retry("busy"))
                }
                _ => {
                    self.ledger.lock().unwrap().push(part.id);
                    self.done.send(()).unwrap();
                    Ok(())
                }
            })
            .collect()
    }
}

#[tokio::test]
async fn every_part_gets_what_it_deserves_and_no_other_part_s_fate() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    let lifecycle = Lifecycle::new();
    let publisher = EnvelopePublisher::start(&bus, REQUESTS, &lifecycle);
    let ids: Vec<String> = (0..100)
        .map(|index| match index {
            10 => "panic-10".to_owned(),
            20 => "dead-20".to_owned(),
            30 => "retry-30".to_owned(),
            _ => format!("good-{index}"),
        })
        .collect();
    let stored = join_all(ids.iter().map(|id| {
        publisher
            .publish(subjects::request("normal"), Part::new(id.clone(), Bytes::from_static(b"{}")))
    }))
    .await;
    assert!(stored.iter().all(Result::is_ok));
    let messages = bus.position(REQUESTS).await.unwrap().messages;
    assert!(messages < 20, "100 requests in {messages} messages");

    let (done, mut finished) = mpsc::unbounded_channel();
    let picky = Arc::new(Picky { ledger: Mutex::new(Vec::new()), done });
    let spec = ConsumerSpec {
        ack_wait: Duration::from_secs(2),
        max_attempts: 4,
        backoff: consume::Backoff {
            first: Duration::from_millis(20),
            max: Duration::from_millis(40),
        },
        ..ConsumerSpec::new(REQUESTS, "picky", subjects::request("normal"))
    };
    let running = tokio::spawn({
        let (bus, lifecycle, picky) = (bus.clone(), lifecycle.child(), Arc::clone(&picky));
        async move { consume::run_envelopes(&bus, spec, picky, lifecycle).await }
    });
    for _ in 0..98 {
        tokio::time::timeout(Duration::from_secs(30), finished.recv())
            .await
            .expect("98 parts")
            .unwrap();
    }
    // The poison is parked after its own attempts, the dead one at once; both alone.
    let dead = loop {
        let dead = dlq::list(&bus, &dlq::Filter::default(), 10).await.unwrap();
        if dead.len() == 2 {
            break dead;
        }
        tokio::task::yield_now().await;
    };
    lifecycle.soft.cancel();
    running.await.unwrap().unwrap();
    let mut reasons: Vec<&str> = dead.iter().map(|letter| letter.reason.as_str()).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["attempts_exhausted", "no_such_template"]);
    let mut ledger = picky.ledger.lock().unwrap().clone();
    ledger.sort_unstable();
    ledger.dedup();
    assert_eq!(ledger.len(), 98, "each good part was handled");
    assert!(ledger.contains(&"retry-30".to_owned()));
    // The last acknowledgements are on their way to the server: nothing may be left behind.
    let started = std::time::Instant::now();
    while bus.position(REQUESTS).await.unwrap().messages > 0 {
        assert!(started.elapsed() < Duration::from_secs(10), "messages are left behind");
    }
}

#[tokio::test]
async fn lists_of_parts_share_envelopes_and_each_part_has_its_own_result() {
    const PACE: Duration = Duration::from_millis(400);
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    let lifecycle = Lifecycle::new();
    let publisher = EnvelopePublisher::start_paced(&bus, OUTCOMES, PACE, &lifecycle);
    let (one, other) = (subjects::outcomes("one"), subjects::outcomes("other"));
    let part = |name: &str| Part::new(name, Bytes::from_static(b"{}"));
    // What comes first goes at once; what comes during the pace goes together after it.
    publisher.publish_all(&one, vec![part("first")]).await[0].as_ref().unwrap();
    let started = clock::monotonic();
    let large = Part::new("large", Bytes::from(vec![b' '; 2 * 1024 * 1024]));
    let (a, b, c) = tokio::join!(
        publisher.publish_all(&one, vec![part("a1"), large, part("a2")]),
        publisher.publish_all(&one, vec![part("b1"), part("b2")]),
        publisher.publish_all(&other, vec![part("c1")]),
    );
    assert!(started.elapsed() >= PACE / 2, "{:?}", started.elapsed());
    assert_eq!(a[1], Err(PublishError::TooLarge), "only the one that is too large");
    assert!(a[0].is_ok() && a[2].is_ok() && c[0].is_ok(), "{a:?} {c:?}");
    assert_eq!(b[0], b[1], "both in one message");
    let mut found = Vec::new();
    for sequence in 1..=bus.position(OUTCOMES).await.unwrap().last {
        let message = bus.message(OUTCOMES, sequence).await.unwrap().unwrap();
        let ids = decode_parts(&message.payload).unwrap().into_iter().map(|part| part.id);
        found.push((message.subject, ids.collect::<Vec<_>>()));
    }
    let all: Vec<&str> = found
        .iter()
        .filter(|(to, _)| *to == one)
        .flat_map(|(_, ids)| ids)
        .map(String::as_str)
        .collect();
    assert_eq!(all, ["first", "a1", "a2", "b1", "b2"], "in their order: {found:?}");
    assert!(
        found.contains(&(one, vec!["a2".to_owned(), "b1".to_owned(), "b2".to_owned()])),
        "{found:?}"
    );
    assert!(found.contains(&(other, vec!["c1".to_owned()])));
    assert!(publisher.publish_all("nobody", Vec::new()).await.is_empty());
}

#[tokio::test]
async fn a_full_envelope_does_not_wait_for_the_pace() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    let lifecycle = Lifecycle::new();
    // Longer than any acknowledgement is waited for: who waits for it four times fails.
    let pace = Duration::from_secs(5);
    let publisher = EnvelopePublisher::start_paced(&bus, OUTCOMES, pace, &lifecycle);
    let subject = subjects::outcomes("default");
    let started = clock::monotonic();
    let parts = (0..1_000).map(|n| Part::new(format!("p{n}"), Bytes::from_static(b"{}")));
    let stored = publisher.publish_all(&subject, parts.collect()).await;
    assert_eq!(stored.iter().filter(|one| one.is_ok()).count(), 1_000);
    assert!(started.elapsed() < pace, "{:?}", started.elapsed());
    assert_eq!(bus.position(OUTCOMES).await.unwrap().messages, 4, "at most 256 in each");
}
