//! Consumers that the library does not run: what they give up is filed, once, and not before it is stored.

use std::time::Duration;

use async_nats::jetstream::consumer::pull::Config as Pull;
use async_nats::jetstream::consumer::{AckPolicy, Consumer};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, Stream};
use async_nats::jetstream::{AckKind, Message};
use bytes::Bytes;
use campana_bus::Bus;
use campana_bus::dlq::{self, DeadLetter, Filter, backstop};
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::Outgoing;
use campana_bus::testing::NatsServer;
use campana_bus::topology::{self, ADVISORIES, TopologyOptions};
use futures::StreamExt;

use crate::eventually::eventually;

pub async fn foreign_stream(bus: &Bus, retention: RetentionPolicy) -> Stream {
    bus.jetstream()
        .create_stream(Config {
            name: "WORK".to_owned(),
            subjects: vec!["work.>".to_owned()],
            retention,
            allow_direct: true,
            ..Config::default()
        })
        .await
        .unwrap()
}

pub async fn foreign_consumer(
    stream: &Stream,
    name: &str,
    filter: &str,
    max_deliver: i64,
) -> Consumer<Pull> {
    let config = Pull {
        durable_name: Some(name.to_owned()),
        filter_subject: filter.to_owned(),
        ack_policy: AckPolicy::Explicit,
        ack_wait: Duration::from_secs(30),
        max_deliver,
        ..Pull::default()
    };
    stream.create_consumer(config).await.unwrap()
}

pub async fn put(bus: &Bus, subject: &str, id: &str) {
    let message = Outgoing::new(subject, id, Bytes::from(format!("body of {id}")));
    bus.publish(message.header("X-From", id)).await.unwrap();
}

/// The next message, however often it must be asked for.
pub async fn next(consumer: &Consumer<Pull>) -> Message {
    eventually("a message", async || {
        let mut batch = consumer.fetch().max_messages(1).messages().await.unwrap();
        batch.next().await.map(Result::unwrap)
    })
    .await
}

/// Gives messages back until their deliveries are used up. The server looks at the limit when somebody pulls.
pub async fn use_up(consumer: &Consumer<Pull>, deliveries: usize) {
    for _ in 0..deliveries {
        next(consumer).await.ack_with(AckKind::Nak(None)).await.unwrap();
    }
    eventually("the server has given them up", async || {
        let mut batch = consumer.fetch().max_messages(1).messages().await.unwrap();
        assert!(batch.next().await.is_none());
        (consumer.get_info().await.unwrap().num_ack_pending == 0).then_some(())
    })
    .await;
}

pub async fn letters(bus: &Bus) -> Vec<DeadLetter> {
    dlq::list(bus, &Filter::default(), 100).await.unwrap()
}

fn run(bus: &Bus, lifecycle: &Lifecycle) -> tokio::task::JoinHandle<()> {
    let (bus, mine) = (bus.clone(), lifecycle.clone());
    tokio::spawn(async move { backstop::run(&bus, mine).await.unwrap() })
}

/// Until every advisory is answered for.
async fn all_handled(bus: &Bus) {
    let consumer: Consumer<Pull> =
        bus.jetstream().get_consumer_from_stream(backstop::DURABLE, ADVISORIES).await.unwrap();
    eventually("every advisory is handled", async || {
        let info = consumer.get_info().await.unwrap();
        (info.num_pending == 0 && info.num_ack_pending == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_work_queue_message_that_used_up_its_deliveries_is_filed_and_can_be_redriven() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    let stream = foreign_stream(&bus, RetentionPolicy::WorkQueue).await;
    let consumer = foreign_consumer(&stream, "mailer", "work.mail", 2).await;
    put(&bus, "work.mail", "m1").await;
    use_up(&consumer, 2).await;
    // The advisory was stored while nobody listened.
    let lifecycle = Lifecycle::new();
    let running = run(&bus, &lifecycle);
    let letter = eventually("it is filed", async || letters(&bus).await.pop()).await;
    assert_eq!(
        (letter.stream.as_str(), letter.consumer.as_str(), letter.sequence, letter.attempts),
        ("WORK", "mailer", 1, 2)
    );
    assert_eq!((letter.class.as_str(), letter.filed_by.as_str()), ("max_deliver", "backstop"));
    let (_, stored) = dlq::show(&bus, letter.id).await.unwrap();
    assert_eq!(stored.payload, "body of m1");
    assert_eq!(campana_bus::headers::get(&stored.headers, "X-From"), Some("m1"));
    eventually("it has left the queue", async || {
        (stream.get_info().await.unwrap().state.messages == 0).then_some(())
    })
    .await;
    // This consumer has no subject of its own: the message goes back to where it came from.
    dlq::redrive_one(&bus, letter.id, None).await.unwrap();
    let again = next(&consumer).await;
    assert_eq!((again.subject.as_str(), again.payload.as_ref()), ("work.mail", &b"body of m1"[..]));
    again.ack().await.unwrap();
    assert!(letters(&bus).await.is_empty());
    lifecycle.soft.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_terminated_message_of_a_log_is_filed_and_our_own_terminations_are_not() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    let stream = foreign_stream(&bus, RetentionPolicy::Limits).await;
    let consumer = foreign_consumer(&stream, "mailer", "work.mail", 5).await;
    for id in ["m1", "m2", "m3"] {
        put(&bus, "work.mail", id).await;
    }
    for reason in ["+TERM no such user", "+TERM bus:permanent", "+TERM"] {
        let message = next(&consumer).await;
        let reply = message.reply.clone().unwrap();
        bus.client().publish(reply, Bytes::from(reason)).await.unwrap();
    }
    let lifecycle = Lifecycle::new();
    let running = run(&bus, &lifecycle);
    eventually("two are filed", async || (letters(&bus).await.len() == 2).then_some(())).await;
    all_handled(&bus).await;
    let mut filed: Vec<(u64, String)> =
        letters(&bus).await.into_iter().map(|letter| (letter.sequence, letter.error)).collect();
    filed.sort();
    assert_eq!(filed.iter().map(|one| one.0).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(filed[0].1, "no such user");
    assert_eq!(stream.get_info().await.unwrap().state.messages, 3, "a log keeps its messages");
    lifecycle.soft.cancel();
    running.await.unwrap();
}

/// What is filed was filed under the subject that the consumer itself uses, so both ways together do it once.
#[tokio::test]
async fn an_advisory_that_comes_twice_files_once_and_a_removed_message_is_only_reported() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    let stream = foreign_stream(&bus, RetentionPolicy::Limits).await;
    let consumer = foreign_consumer(&stream, "mailer", "work.mail", 1).await;
    put(&bus, "work.mail", "m1").await;
    put(&bus, "work.mail", "m2").await;
    use_up(&consumer, 2).await;
    // Removed while pending with another consumer: lost by limits, nothing to file.
    let other = foreign_consumer(&stream, "other", "work.mail", -1).await;
    next(&other).await;
    stream.delete_message(1).await.unwrap();
    let advisories = bus.fetch_after(ADVISORIES, ">", 0, 100).await.unwrap().messages;
    for advisory in &advisories {
        let twice = bus.jetstream().publish(advisory.subject.clone(), advisory.payload.clone());
        twice.await.unwrap().await.unwrap();
    }
    let lifecycle = Lifecycle::new();
    let running = run(&bus, &lifecycle);
    let filed = eventually("the one that is left is filed", async || {
        Some(letters(&bus).await).filter(|letters| !letters.is_empty())
    })
    .await;
    all_handled(&bus).await;
    assert_eq!(letters(&bus).await, filed);
    assert_eq!((filed.len(), filed[0].sequence), (1, 2));
    lifecycle.soft.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn an_advisory_waits_until_its_message_can_be_filed() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus("test").await.unwrap();
    let full = TopologyOptions { dlq_messages: 1, ..TopologyOptions::default() };
    topology::apply(&bus, &topology::platform(full)).await.unwrap();
    let stream = foreign_stream(&bus, RetentionPolicy::WorkQueue).await;
    let consumer = foreign_consumer(&stream, "mailer", "work.mail", 1).await;
    for id in ["m1", "m2"] {
        put(&bus, "work.mail", id).await;
    }
    use_up(&consumer, 2).await;
    let lifecycle = Lifecycle::new();
    let running = run(&bus, &lifecycle);
    let first = eventually("one is filed", async || letters(&bus).await.pop()).await;
    let advisories: Consumer<Pull> = eventually("the backstop listens", async || {
        bus.jetstream().get_consumer_from_stream(backstop::DURABLE, ADVISORIES).await.ok()
    })
    .await;
    eventually("the other one is tried again", async || {
        (advisories.get_info().await.unwrap().num_redelivered >= 1).then_some(())
    })
    .await;
    assert_eq!(stream.get_info().await.unwrap().state.messages, 1, "it stays where it is");
    dlq::discard(&bus, &Filter { id: Some(first.id), ..Filter::default() }, 1).await.unwrap();
    let second = eventually("the other one is filed", async || letters(&bus).await.pop()).await;
    assert_ne!(second.sequence, first.sequence);
    eventually("the queue is empty", async || {
        (stream.get_info().await.unwrap().state.messages == 0).then_some(())
    })
    .await;
    all_handled(&bus).await;
    assert!(DiscardPolicy::New == stream_config(&bus).await.discard);
    lifecycle.soft.cancel();
    running.await.unwrap();
}

async fn stream_config(bus: &Bus) -> Config {
    bus.jetstream().get_stream(topology::DLQ).await.unwrap().cached_info().config.clone()
}
