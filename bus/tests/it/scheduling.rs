//! Schedules on a real server: once, again and again, replaced, cancelled, listed, and over a `kill -9`.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream::stream;
use bytes::Bytes;
use campana_bus::clock::{self, Micros};
use campana_bus::consume::{self, ConsumerSpec, Meta};
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::{Outgoing, PublishError};
use campana_bus::schedule::{self, ScheduleError, When};
use campana_bus::testing::NatsServer;
use campana_bus::topology::{DLQ, EVENTS};
use campana_bus::{Bus, Event, headers, subjects};
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Serialize, Deserialize, PartialEq)]
struct Reminder {
    n: u32,
}

impl Event for Reminder {
    const SERVICE: &'static str = "shop";
    const NAME: &'static str = "reminder";
    fn id(&self) -> Option<String> {
        Some(format!("reminder-{}", self.n))
    }
}

fn reminder(n: u32) -> Outgoing {
    let subject = subjects::app_event("default", "shop", "reminder");
    Outgoing::new(subject, format!("reminder-{n}"), Bytes::from(format!("{{\"n\":{n}}}")))
}

/// Everything that anybody told the shop, as a consumer sees it.
fn consume_all(
    bus: &Bus,
    durable: &str,
) -> (mpsc::UnboundedReceiver<(u32, Meta)>, Lifecycle, JoinHandle<()>) {
    let (send, seen) = mpsc::unbounded_channel();
    let handler = consume::from_fn(move |reminder: Reminder, meta: Meta| {
        let _ = send.send((reminder.n, meta));
        async { Ok(()) }
    });
    let lifecycle = Lifecycle::new();
    let spec = ConsumerSpec::new(EVENTS, durable, "app.>");
    let (bus, stop) = (bus.clone(), lifecycle.clone());
    let running =
        tokio::spawn(async move { consume::run(&bus, spec, handler, stop).await.unwrap() });
    (seen, lifecycle, running)
}

async fn next<T>(seen: &mut mpsc::UnboundedReceiver<T>) -> T {
    tokio::time::timeout(PATIENCE, seen.recv()).await.expect("a message in time").unwrap()
}

#[tokio::test]
async fn a_message_is_published_when_it_is_due_and_not_before() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    let (mut seen, lifecycle, running) = consume_all(&bus, "reminders");
    let due = clock::now().0 + 700_000;
    let message = reminder(1).header("X-Shop", "lisbon").header("Nats-Rollup", "all");
    bus.schedule(EVENTS, "cart-1", &When::At(Micros(due)), message).await.unwrap();
    // In the past: at once, and therefore first.
    bus.schedule(EVENTS, "cart-2", &When::At(Micros(1)), reminder(2)).await.unwrap();
    assert_eq!(next(&mut seen).await.0, 2);
    let (n, meta) = next(&mut seen).await;
    assert_eq!((n, meta.attempt), (1, 1));
    assert_eq!(meta.subject, subjects::app_event("default", "shop", "reminder"));
    assert_eq!(
        meta.message_id.as_deref(),
        Some("reminder-1"),
        "the inbox sees the message's own id"
    );
    assert_eq!(headers::get(&meta.headers, "X-Shop"), Some("lisbon"));
    assert_eq!(schedule::key(&meta.headers).as_deref(), Some("cart-1"));
    assert_eq!(schedule::due_at(&meta.headers, meta.published_at), Some(Micros(due)));
    assert!(meta.published_at.0 >= due, "not before it is due");
    assert!(bus.schedules(EVENTS, 0, 10).await.unwrap().is_empty());
    assert!(!bus.unschedule(EVENTS, "cart-1").await.unwrap(), "too late");
    // The same event again under the same key is another schedule, whatever the duplicate window thinks.
    bus.emit_at(&Reminder { n: 1 }, &When::After(Duration::ZERO), "cart-1").await.unwrap();
    let (n, meta) = next(&mut seen).await;
    assert_eq!((n, meta.message_id.as_deref()), (1, Some("default/shop.reminder/reminder-1")));
    lifecycle.soft.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn schedules_are_listed_replaced_and_cancelled() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    let far = When::After(Duration::from_secs(365 * 86_400));
    let keys = ["a.b", "*", ">", "Zo\u{eb} \u{1F514}", "a b", "\u{2603}=2E"];
    for (n, key) in (0..).zip(keys) {
        bus.schedule(EVENTS, key, &far, reminder(n)).await.unwrap();
    }
    // Page by page, in the order in which they were stored.
    let mut listed = Vec::new();
    loop {
        let after = listed.last().map_or(0, |last: &schedule::Scheduled| last.sequence);
        let page = bus.schedules(EVENTS, after, 4).await.unwrap();
        if page.is_empty() {
            break;
        }
        listed.extend(page);
    }
    assert_eq!(listed.iter().map(|one| one.key.as_str()).collect::<Vec<_>>(), keys);
    assert_eq!(listed[0].target, subjects::app_event("default", "shop", "reminder"));
    assert_eq!((listed[0].bytes, listed[0].stream.as_str()), (7, EVENTS));
    assert_eq!(schedule::count(&bus, EVENTS).await.unwrap(), 6);

    let daily = When::Cron {
        expression: "30 9 * * mon-fri".to_owned(),
        time_zone: Some("Europe/Berlin".to_owned()),
    };
    let replaced = bus.schedule(EVENTS, "*", &daily, reminder(7)).await.unwrap();
    let listed = bus.schedules(EVENTS, 0, 10).await.unwrap();
    assert_eq!(listed.len(), 6, "a key has one schedule");
    let last = listed.last().unwrap();
    assert_eq!((last.key.as_str(), last.when.as_str()), ("*", "0 30 9 * * mon-fri Europe/Berlin"));
    assert!(last.next_at.unwrap() > clock::now());

    // Only the one that the caller has seen.
    let mut stale = reminder(8);
    stale.expect_last_subject_sequence = Some(listed[0].sequence);
    let refused = bus.schedule(EVENTS, "*", &far, stale).await.unwrap_err();
    assert_eq!(refused, ScheduleError::Publish(PublishError::WrongLastSequence));
    let mut fresh = reminder(8);
    fresh.expect_last_subject_sequence = Some(replaced.sequence);
    bus.schedule(EVENTS, "*", &far, fresh).await.unwrap();

    assert!(bus.unschedule(EVENTS, "*").await.unwrap());
    assert!(!bus.unschedule(EVENTS, "*").await.unwrap());
    assert!(!bus.unschedule(EVENTS, "never there").await.unwrap());
    // Large bodies end a page of the server's answer early, but not the list.
    for n in 0..6 {
        let mut large = reminder(n);
        large.payload = Bytes::from(vec![b'x'; 400_000]);
        bus.schedule(EVENTS, &format!("large-{n}"), &far, large).await.unwrap();
    }
    let all = bus.schedules(EVENTS, 0, 100).await.unwrap();
    assert_eq!(all.iter().filter(|one| one.bytes == 400_000).count(), 6);
    for n in 0..6 {
        assert!(bus.unschedule(EVENTS, &format!("large-{n}")).await.unwrap());
    }
    // Cancelled and set again with the same message id, within the duplicate window.
    let again = bus.schedule(EVENTS, "*", &far, reminder(1)).await.unwrap();
    assert!(!again.duplicate);
    assert_eq!(schedule::count(&bus, EVENTS).await.unwrap(), 6);
}

#[tokio::test]
async fn what_fires_in_this_moment_is_neither_cancelled_nor_takes_its_successor_along() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    let far = When::After(Duration::from_secs(3_600));
    let now = |millis: u64| When::After(Duration::from_millis(millis));
    let racing = (0..24_u32).map(|n| {
        let (bus, far, key) = (&bus, &far, format!("cart-{n}"));
        async move {
            bus.schedule(EVENTS, &key, &now(u64::from(n) * 10), reminder(n)).await.unwrap();
            if n % 2 == 0 {
                assert!(!bus.unschedule(EVENTS, &key).await.unwrap(), "cart {n}: too late");
            } else {
                bus.schedule(EVENTS, &key, far, reminder(100 + n)).await.unwrap();
            }
        }
    });
    futures::future::join_all(racing).await;
    assert_eq!(bus.count(EVENTS, "app.>").await.unwrap(), 24, "each of the first ones fired");
    assert_eq!(schedule::count(&bus, EVENTS).await.unwrap(), 12, "every successor waits");
    assert!(bus.unschedule(EVENTS, "cart-1").await.unwrap());
}

#[tokio::test]
async fn a_recurring_schedule_gives_each_firing_an_id_of_its_own() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    let (mut seen, lifecycle, running) = consume_all(&bus, "ticks");
    bus.schedule(EVENTS, "every", &When::Every(Duration::from_secs(1)), reminder(1)).await.unwrap();
    let cron = When::Cron {
        expression: "* * * * * *".to_owned(),
        time_zone: Some("Asia/Kolkata".to_owned()),
    };
    bus.emit_at(&Reminder { n: 2 }, &cron, "cron").await.unwrap();
    let mut firings: BTreeMap<u32, Vec<Meta>> = BTreeMap::new();
    while firings.len() < 2 || firings.values().any(|all| all.len() < 2) {
        let (n, meta) = next(&mut seen).await;
        firings.entry(n).or_default().push(meta);
    }
    for key in ["every", "cron"] {
        assert!(bus.unschedule(EVENTS, key).await.unwrap());
    }
    for (n, metas) in &firings {
        let mut ids: Vec<&str> =
            metas.iter().map(|meta| meta.message_id.as_deref().unwrap()).collect();
        ids.dedup();
        assert_eq!(ids.len(), metas.len(), "{ids:?}");
        // The id of a message is its author's; that of an event names where it is told.
        let scope = if *n == 2 { "default/shop.reminder/" } else { "" };
        assert!(ids.iter().all(|id| id.starts_with(&format!("{scope}reminder-{n}@"))), "{ids:?}");
        for meta in metas {
            assert_eq!(headers::get(&meta.headers, "ce-id"), None);
            let due = schedule::due_at(&meta.headers, meta.published_at).expect("a due time");
            assert!(due <= meta.published_at && due.0 % 1_000_000 == 0, "{due:?}");
            // What the server says comes next is what the list would have said.
            let following = headers::get(&meta.headers, "Nats-Schedule-Next").unwrap();
            assert_eq!(Micros::from_rfc3339(following), Some(due.plus_seconds(1)));
        }
    }
    assert_eq!(schedule::count(&bus, EVENTS).await.unwrap(), 0);
    lifecycle.soft.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_scheduled_is_refused_in_words() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    let soon = When::After(Duration::from_secs(60));
    let cron = |expression: &str, zone: &str| When::Cron {
        expression: expression.to_owned(),
        time_zone: Some(zone.to_owned()),
    };
    let long = "x".repeat(256);
    for (stream, key, when, target, code) in [
        ("NOWHERE", "k", &soon, "app.a.b.c", "unknown_stream"),
        ("bad name", "k", &soon, "app.a.b.c", "unknown_stream"),
        ("EVENTS.app", "k", &soon, "app.a.b.c", "unknown_stream"),
        (DLQ, "k", &soon, "dlq.a.b.1", "schedules_not_enabled"),
        (EVENTS, "k", &soon, "notify.request.normal", "invalid_schedule_target"),
        (EVENTS, "k", &soon, "app.*.b.c", "invalid_schedule_target"),
        (EVENTS, "", &soon, "app.a.b.c", "invalid_schedule_key"),
        (EVENTS, &long, &soon, "app.a.b.c", "invalid_schedule_key"),
        (EVENTS, "k", &cron("* *", "UTC"), "app.a.b.c", "invalid_cron"),
        (EVENTS, "k", &cron("@daily", "Berlin"), "app.a.b.c", "invalid_time_zone"),
        (EVENTS, "k", &When::Every(Duration::ZERO), "app.a.b.c", "schedule_interval_too_short"),
    ] {
        let message = Outgoing::new(target, "m", Bytes::from_static(b"{}"));
        let error = bus.schedule(stream, key, when, message).await.unwrap_err();
        assert_eq!(error.code(), code, "{stream} {target}: {error}");
        assert!(!error.is_temporary());
    }
    let error = bus.unschedule("NOWHERE", "k").await.unwrap_err();
    assert_eq!(error.code(), "unknown_stream");
    // What the client lets through, the server takes: every feature of the expression language once.
    for (n, expression) in (0..).zip([
        "*/5 * * * *",
        "0 0 0 1 jan ?",
        "0 0-30/10,45 8-18 * * MON-fri",
        "59 59 23 31 12 *",
        "5/7 * * * * *",
        "@yearly",
        "0 0 0 29 feb *",
        "00 007 1 1-7 * sun",
    ]) {
        let result = bus
            .schedule(
                EVENTS,
                &format!("cron-{n}"),
                &cron(expression, "America/Sao_Paulo"),
                reminder(n),
            )
            .await;
        assert!(result.is_ok(), "{expression}: {result:?}");
    }
}

#[tokio::test]
async fn a_schedule_outlives_the_age_of_its_stream() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus("test").await.unwrap();
    let config = stream::Config {
        name: "SHORT".to_owned(),
        subjects: vec!["short.>".to_owned(), "_schedule.SHORT.>".to_owned()],
        max_age: Duration::from_secs(1),
        duplicate_window: Duration::from_secs(1),
        allow_message_schedules: true,
        allow_message_ttl: true,
        allow_direct: true,
        ..stream::Config::default()
    };
    bus.jetstream().create_stream(config).await.unwrap();
    let message =
        |subject: &str| Outgoing::new(subject.to_owned(), subject.to_owned(), Bytes::new());
    let stored = bus.publish(message("short.aged")).await.unwrap();
    let when = When::After(Duration::from_secs(3));
    bus.schedule("SHORT", "k", &when, message("short.late")).await.unwrap();
    let fired = async {
        loop {
            // The fired copy ages as any other message of the stream.
            if let Some(message) = bus.last("SHORT", "short.late").await.unwrap() {
                break message;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let fired = tokio::time::timeout(PATIENCE, fired).await.expect("the schedule fires");
    assert!(fired.sequence > stored.sequence);
    assert_eq!(headers::get(&fired.headers, "Nats-TTL"), None);
    assert!(
        bus.message("SHORT", stored.sequence).await.unwrap().is_none(),
        "the stream did forget"
    );
}

/// Schedules this many reminders, two a millisecond from `first_due` on.
async fn store_many(bus: &Bus, count: u32, first_due: Micros) {
    futures::stream::iter(0..count)
        .map(|n| async move {
            let when = When::At(Micros(first_due.0 + i64::from(n) * 500));
            bus.schedule(EVENTS, &format!("cart-{n}"), &when, reminder(n)).await
        })
        .buffer_unordered(512)
        .try_collect::<Vec<_>>()
        .await
        .unwrap();
}

#[tokio::test]
async fn schedules_survive_a_killed_server_and_fire_once_each() {
    const COUNT: u32 = 2_000;
    // On a busy machine it may take longer to store them than the first ones wait: then once more, with more
    // time, because what fires while the server dies is another question.
    let mut lead = 4;
    let (mut server, bus) = loop {
        let mut server = NatsServer::start().unwrap();
        let bus = server.bus_with_topology("test").await.unwrap();
        let first_due = clock::now().plus_seconds(lead);
        store_many(&bus, COUNT, first_due).await;
        server.kill();
        if clock::now() < first_due {
            break (server, bus);
        }
        lead *= 3;
    };
    let server = tokio::task::spawn_blocking(move || {
        server.restart().unwrap();
        server
    })
    .await
    .unwrap();
    let (mut seen, lifecycle, running) = consume_all(&bus, "reminders");
    let mut fired: BTreeMap<u32, u32> = BTreeMap::new();
    while fired.len() < COUNT as usize {
        let (n, meta) = next(&mut seen).await;
        *fired.entry(n).or_default() += 1;
        let due = schedule::due_at(&meta.headers, meta.published_at).unwrap();
        assert!(meta.published_at >= due);
        assert_eq!(meta.message_id, Some(format!("reminder-{n}")));
    }
    // The stream tells how often each was fired, whatever the consumer made of it.
    assert_eq!(bus.count(EVENTS, "app.>").await.unwrap(), u64::from(COUNT));
    assert_eq!(schedule::count(&bus, EVENTS).await.unwrap(), 0);
    lifecycle.soft.cancel();
    running.await.unwrap();
    drop(server);
}
