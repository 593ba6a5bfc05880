//! The crash-safe dead letter: a handler that aborts its whole process is parked although no handler ever
//! returned, and every other message is handled. Redrive and discard.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use campana_bus::consume::{self, Failure, Meta};
use campana_bus::dlq::jobs::{self, RedriveRequest};
use campana_bus::dlq::{self, Filter};
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::Outgoing;
use campana_bus::testing::NatsServer;
use campana_bus::topology::EVENTS;
use campana_bus::{Bus, BusOptions, Durability, subjects};
use tokio::sync::mpsc;

use crate::consuming::{Order, publish_orders, run_until, spec};

const POISON: u32 = 37;
const ATTEMPTS: u32 = 3;

/// Not a test of its own: the worker process of the test below, which starts this very binary.
#[tokio::test]
async fn worker_process() {
    let (Ok(url), Ok(ledger)) =
        (std::env::var("CAMPANA_TEST_NATS"), std::env::var("CAMPANA_TEST_LEDGER"))
    else {
        return;
    };
    let bus = Bus::connect(BusOptions {
        url,
        name: "worker".to_owned(),
        durability: Durability::Power,
        credentials_file: None,
    })
    .await
    .unwrap();
    let handler = consume::from_fn(move |order: Order, meta: Meta| {
        let ledger = ledger.clone();
        async move {
            if order.n == POISON {
                std::process::abort();
            }
            let mut file =
                std::fs::OpenOptions::new().append(true).create(true).open(ledger).unwrap();
            writeln!(file, "{} {}", order.n, meta.sequence).unwrap();
            Ok(())
        }
    });
    // One at a time, so that the abort takes no innocent message with it half done.
    let spec = consume::ConsumerSpec {
        max_in_flight: 1,
        max_attempts: ATTEMPTS,
        ack_wait: Duration::from_secs(1),
        ..spec("poisoned")
    };
    consume::run(&bus, spec, handler, Lifecycle::new()).await.unwrap();
}

fn start_worker(url: &str, ledger: &std::path::Path) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "dead_letters::worker_process", "--nocapture"])
        .env("CAMPANA_TEST_NATS", url)
        .env("CAMPANA_TEST_LEDGER", ledger)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn a_message_that_aborts_its_process_is_parked_and_harms_no_other() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    publish_orders(&bus, 0..100).await;
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger");
    let mut crashes = 0;
    let mut worker = start_worker(&server.url(), &ledger);
    let done = |text: &str| text.lines().count() >= 99;
    loop {
        if worker.try_wait().unwrap().is_some() {
            crashes += 1;
            assert!(crashes <= ATTEMPTS, "the poison must not get more attempts than it is due");
            worker = start_worker(&server.url(), &ledger);
        }
        let parked = dlq::list(&bus, &Filter::default(), 10).await.unwrap().len();
        if parked == 1 && std::fs::read_to_string(&ledger).is_ok_and(|text| done(&text)) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let _ = worker.kill();
    let _ = worker.wait();
    assert_eq!(crashes, ATTEMPTS, "no handler of the poison ever returned");
    let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
    for line in std::fs::read_to_string(&ledger).unwrap().lines() {
        *counts.entry(line.split(' ').next().unwrap().parse().unwrap()).or_default() += 1;
    }
    assert_eq!(counts.len(), 99);
    assert!(!counts.contains_key(&POISON));
    assert!(
        counts.values().all(|count| *count == 1),
        "each other message exactly once: {counts:?}"
    );
    let letter = &dlq::list(&bus, &Filter::default(), 10).await.unwrap()[0];
    assert_eq!(
        (letter.reason.as_str(), letter.sequence, letter.stream.as_str()),
        ("crash_or_timeout", u64::from(POISON) + 1, EVENTS)
    );
}

#[tokio::test]
async fn dead_letters_keep_their_headers_and_can_be_redriven_or_discarded() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    let subject = subjects::app_event("default", "shop", "order");
    for n in 0..3 {
        let order = Outgoing::new(
            subject.clone(),
            format!("order-{n}"),
            Bytes::from(format!("{{\"n\":{n}}}")),
        );
        bus.publish(order.header("X-Shop", "lisbon")).await.unwrap();
    }
    bus.publish(Outgoing::new(subject.clone(), "broken", Bytes::from_static(b"{\"n\":")))
        .await
        .unwrap();
    let (send, mut seen) = mpsc::unbounded_channel();
    let refuse = {
        let send = send.clone();
        consume::from_fn(move |order: Order, meta: Meta| {
            send.send((order.n, meta.redrives)).unwrap();
            let first_life = meta.redrives == 0;
            async move {
                if first_life && order.n > 0 {
                    Err(Failure::dead("unknown_currency", "XYZ\r\nX-Evil: 1"))
                } else {
                    Ok(())
                }
            }
        })
    };
    run_until(&bus, spec("orders"), refuse, &mut seen, 3).await;

    let letters = loop {
        let letters = dlq::list(&bus, &Filter::default(), 10).await.unwrap();
        if letters.len() == 3 {
            break letters;
        }
        tokio::task::yield_now().await;
    };
    let broken = letters.iter().find(|letter| letter.reason == "undecodable").unwrap();
    assert_eq!(broken.class, "poison");
    let currency = Filter { reason: Some("unknown_currency".to_owned()), ..Filter::default() };
    assert_eq!(dlq::list(&bus, &currency, 10).await.unwrap().len(), 2);
    let (_, stored) = dlq::show(&bus, letters[0].id).await.unwrap();
    assert_eq!(campana_bus::headers::get(&stored.headers, "X-Shop"), Some("lisbon"));
    assert_eq!(campana_bus::headers::get(&stored.headers, "X-Evil"), None);

    assert_eq!(
        dlq::discard(&bus, &Filter { id: Some(broken.id), ..Filter::default() }, 10).await.unwrap(),
        1
    );
    let request = RedriveRequest { filter: currency, ..RedriveRequest::default() };
    assert_eq!(jobs::run_here(&bus, request).await.unwrap().counts.redriven, 2);
    assert!(dlq::list(&bus, &Filter::default(), 10).await.unwrap().is_empty());
    let accept = consume::from_fn(move |order: Order, meta: Meta| {
        send.send((order.n, meta.redrives)).unwrap();
        async { Ok(()) }
    });
    let mut again = run_until(&bus, spec("orders"), accept, &mut seen, 2).await;
    again.sort_unstable();
    assert_eq!(again, [(1, 1), (2, 1)], "fresh attempts, and the redrive is counted");
}
