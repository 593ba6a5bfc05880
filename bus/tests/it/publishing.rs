//! Publishing: singles, atomic batches, repeats, refusals, a server that dies in between.

use std::time::Duration;

use bytes::Bytes;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::{GroupPublisher, Outgoing, PublishError};
use campana_bus::testing::NatsServer;
use campana_bus::topology::{self, CHANNELS, TopologyOptions};
use campana_bus::{HeaderMap, headers};
use futures::StreamExt;
use futures::future::join_all;

fn message(index: usize) -> Outgoing {
    Outgoing::new(
        format!("ch.default.test.n{index}"),
        format!("id-{index}"),
        Bytes::from(format!("{{\"n\":{index}}}")),
    )
}

#[tokio::test]
async fn a_group_is_stored_once_and_every_caller_gets_its_own_sequence() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    let lifecycle = Lifecycle::new();
    let publisher = GroupPublisher::start(&bus, CHANNELS, &lifecycle);
    let stored = join_all((0..500).map(|index| publisher.publish(message(index)))).await;
    for (index, stored) in stored.iter().enumerate() {
        let sequence = stored.as_ref().unwrap().sequence;
        let found = bus.message(CHANNELS, sequence).await.unwrap().unwrap();
        assert_eq!(found.subject, format!("ch.default.test.n{index}"));
    }
    // The same ids again, now as repeats: answered as duplicates, stored once.
    let again = join_all((0..500).map(|index| publisher.publish(message(index)))).await;
    assert!(again.iter().all(|stored| stored.as_ref().unwrap().duplicate));
    assert_eq!(bus.position(CHANNELS).await.unwrap().messages, 500);
}

#[tokio::test]
async fn one_repeated_id_does_not_harm_its_group() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    let lifecycle = Lifecycle::new();
    let publisher = GroupPublisher::start(&bus, CHANNELS, &lifecycle);
    publisher.publish(message(7)).await.unwrap();
    let stored = join_all((0..100).map(|index| publisher.publish(message(index % 90)))).await;
    assert_eq!(stored.iter().filter(|stored| stored.as_ref().unwrap().duplicate).count(), 11);
    assert_eq!(bus.position(CHANNELS).await.unwrap().messages, 90);
}

#[tokio::test]
async fn a_pace_keeps_groups_apart_and_loses_nothing() {
    const PACE: Duration = Duration::from_millis(300);
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    let lifecycle = Lifecycle::new();
    let publisher = GroupPublisher::start_paced(&bus, CHANNELS, PACE, &lifecycle);
    let started = campana_bus::clock::monotonic();
    for group in 0..3 {
        let group = (group * 50..(group + 1) * 50).map(|index| publisher.publish(message(index)));
        assert!(join_all(group).await.iter().all(Result::is_ok));
    }
    assert!(started.elapsed() >= 2 * PACE, "{:?}", started.elapsed());
    assert_eq!(bus.position(CHANNELS).await.unwrap().messages, 150);
}

#[tokio::test]
async fn an_expected_sequence_is_kept() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    let first = Outgoing { expect_last_subject_sequence: Some(0), ..message(1) };
    bus.publish(first).await.unwrap();
    let second = Outgoing {
        expect_last_subject_sequence: Some(0),
        message_id: "other".to_owned(),
        ..message(1)
    };
    assert_eq!(bus.publish(second).await, Err(PublishError::WrongLastSequence));
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_at_once() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    let large = Outgoing { payload: Bytes::from(vec![b'x'; 2 * 1024 * 1024]), ..message(1) };
    assert_eq!(bus.publish(large).await, Err(PublishError::TooLarge));
}

#[tokio::test]
async fn publishes_outlive_a_killed_server() {
    let mut server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    let lifecycle = Lifecycle::new();
    let publisher = GroupPublisher::start(&bus, CHANNELS, &lifecycle);
    let publishing = tokio::spawn({
        let publisher = publisher.clone();
        async move { join_all((0..2_000).map(|index| publisher.publish(message(index)))).await }
    });
    publisher.publish(message(5_000)).await.unwrap();
    let server = tokio::task::spawn_blocking(move || {
        server.restart().unwrap();
        server
    })
    .await
    .unwrap();
    let stored = publishing.await.unwrap();
    assert_eq!(stored.iter().filter(|stored| stored.is_err()).count(), 0);
    assert_eq!(bus.position(CHANNELS).await.unwrap().messages, 2_001, "every message once");
    drop(server);
}

#[tokio::test]
async fn history_is_read_in_pages_without_a_consumer() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    for index in 0..10 {
        let subject = if index % 2 == 0 { "ch.default.test.even" } else { "ch.default.test.odd" };
        bus.publish(Outgoing::new(subject, format!("m{index}"), Bytes::from(index.to_string())))
            .await
            .unwrap();
    }
    let page = bus.fetch_after(CHANNELS, "ch.default.test.even", 1, 2).await.unwrap();
    assert_eq!(page.messages.iter().map(|m| m.sequence).collect::<Vec<_>>(), [3, 5]);
    assert_eq!(page.pending, 2);
    assert_eq!(bus.count(CHANNELS, "ch.default.test.even").await.unwrap(), 5);
    assert_eq!(bus.count(CHANNELS, "ch.default.*.*").await.unwrap(), 10);
    assert_eq!(bus.count(CHANNELS, "ch.default.test.none").await.unwrap(), 0);
    let rest = bus.fetch_after(CHANNELS, "ch.default.test.even", 5, 100).await.unwrap();
    assert_eq!(rest.messages.iter().map(|m| m.sequence).collect::<Vec<_>>(), [7, 9]);
    assert!(
        bus.fetch_after(CHANNELS, "ch.default.test.even", 9, 100)
            .await
            .unwrap()
            .messages
            .is_empty()
    );
    assert_eq!(
        bus.last(CHANNELS, "ch.default.test.odd").await.unwrap().map(|m| m.sequence),
        Some(10)
    );
    assert!(bus.last(CHANNELS, "ch.default.test.none").await.unwrap().is_none());
}

/// The first tries reach nobody, for all the publisher knows: the consumer should look whether it has it.
#[tokio::test]
async fn what_is_stored_by_a_repeat_says_that_it_is_one() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus("test").await.unwrap();
    let patient =
        bus.clone().with_publish_times(Duration::from_millis(200), Duration::from_secs(60));
    // Somebody who listens and does not answer.
    let mut heard = bus.client().subscribe("ch.default.test.>").await.unwrap();
    bus.client().flush().await.unwrap();
    let publishing = tokio::spawn(async move { patient.publish(message(1)).await });
    let first = heard.next().await.unwrap();
    assert_eq!(repeat_of(first.headers.as_ref().unwrap()), None, "the first try");
    let second = heard.next().await.unwrap();
    assert_eq!(repeat_of(second.headers.as_ref().unwrap()), Some("1"));
    let platform = topology::platform(TopologyOptions::default());
    topology::apply(&bus, &platform).await.unwrap();
    let stored = publishing.await.unwrap().unwrap();
    let found = bus.message(CHANNELS, stored.sequence).await.unwrap().unwrap();
    assert_eq!(repeat_of(&found.headers), Some("1"));
    assert_eq!(headers::get(&found.headers, "Nats-Msg-Id"), Some("id-1"), "under the same id");
}

fn repeat_of(all: &HeaderMap) -> Option<&str> {
    headers::get(all, headers::REPEAT)
}
