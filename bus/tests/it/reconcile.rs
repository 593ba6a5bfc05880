//! Work-queue messages that nobody will take are found and filed; everything else is left alone.

use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::stream::RetentionPolicy;
use bytes::Bytes;
use campana_bus::dlq;
use campana_bus::dlq::reconcile::{NOBODY, ReconcileOptions, Reconciler, Why};
use campana_bus::publish::Outgoing;
use campana_bus::subjects;
use campana_bus::testing::NatsServer;
use campana_bus::topology::DELIVERIES;

use crate::backstop::{foreign_consumer, foreign_stream, letters, next, put, use_up};

const AT_ONCE: ReconcileOptions = ReconcileOptions {
    every: Duration::from_secs(1),
    settle: Duration::ZERO,
    unwanted_after: Duration::ZERO,
    look_max: 1_000,
    file_max: 100,
};

#[tokio::test]
async fn messages_without_deliveries_left_are_filed_and_no_others() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    let stream = foreign_stream(&bus, RetentionPolicy::WorkQueue).await;
    let consumer = foreign_consumer(&stream, "mailer", "work.mail", 2).await;
    put(&bus, "work.mail", "dead").await;
    use_up(&consumer, 2).await;
    // Nothing is pending, so what was delivered and is still there is dead, wherever the floor stands.
    let idle = Reconciler::new(&bus, AT_ONCE).round().await.unwrap();
    assert_eq!(idle.stranded.iter().map(|one| one.sequence).collect::<Vec<_>>(), [1]);
    put(&bus, "work.mail", "done").await;
    next(&consumer).await.double_ack().await.unwrap();
    put(&bus, "work.mail", "in-flight").await;
    put(&bus, "work.mail", "delayed").await;
    put(&bus, "work.mail", "new").await;
    let in_flight = next(&consumer).await;
    let delayed = next(&consumer).await;
    delayed.ack_with(AckKind::Nak(Some(Duration::from_secs(600)))).await.unwrap();

    let mut reconciler = Reconciler::new(&bus, AT_ONCE);
    let first = reconciler.round().await.unwrap();
    assert_eq!(first.filed, 0, "found once is not enough");
    let found: Vec<_> = first.stranded.iter().map(|one| (one.sequence, one.why)).collect();
    assert_eq!(found, [(1, Why::BelowFloor)]);
    assert!(letters(&bus).await.is_empty());

    let second = reconciler.round().await.unwrap();
    assert_eq!(second.filed, 1);
    let filed = letters(&bus).await;
    assert_eq!(
        (filed.len(), filed[0].consumer.as_str(), filed[0].sequence, filed[0].class.as_str()),
        (1, "mailer", 1, "stranded")
    );
    assert_eq!(
        (filed[0].filed_by.as_str(), filed[0].reason.as_str()),
        ("reconciler", "below_floor")
    );
    assert_eq!(stream.get_info().await.unwrap().state.messages, 3, "the others are left alone");
    assert_eq!(reconciler.round().await.unwrap(), Default::default());
    in_flight.ack().await.unwrap();
    next(&consumer).await.ack().await.unwrap();
}

#[tokio::test]
async fn a_message_that_nobody_wants_is_reported_at_once_and_filed_when_it_is_old() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    let stream = foreign_stream(&bus, RetentionPolicy::WorkQueue).await;
    foreign_consumer(&stream, "mailer", "work.mail", -1).await;
    put(&bus, "work.mail", "wanted").await;
    put(&bus, "work.fax", "unwanted").await;

    let mut patient = Reconciler::new(
        &bus,
        ReconcileOptions { unwanted_after: Duration::from_secs(3_600), ..AT_ONCE },
    );
    for _ in 0..3 {
        let round = patient.round().await.unwrap();
        assert_eq!((round.stranded.len(), round.filed), (1, 0));
        assert_eq!((round.stranded[0].sequence, round.stranded[0].why), (2, Why::Unwanted));
    }
    let mut reconciler = Reconciler::new(&bus, AT_ONCE);
    reconciler.round().await.unwrap();
    assert_eq!(reconciler.round().await.unwrap().filed, 1);
    let filed = letters(&bus).await;
    assert_eq!((filed[0].consumer.as_str(), filed[0].sequence), (NOBODY, 2));
    assert_eq!(stream.get_info().await.unwrap().state.messages, 1);

    // A consumer for it has come: the message goes back to its subject.
    let fax = foreign_consumer(&stream, "fax", "work.fax", -1).await;
    dlq::redrive_one(&bus, filed[0].id, None).await.unwrap();
    assert_eq!(next(&fax).await.payload.as_ref(), b"body of unwanted");
}

#[tokio::test]
async fn messages_that_wait_for_their_time_are_left_alone() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    let later = Outgoing::new(
        subjects::delay(DELIVERIES, "channel-email", "7"),
        "later",
        Bytes::from_static(b"{}"),
    )
    .header("Nats-Schedule", "@at 2099-01-01T00:00:00Z")
    .header("Nats-Schedule-Target", &subjects::retry(DELIVERIES, "channel-email", "7"));
    bus.publish(later).await.unwrap();
    let mut reconciler = Reconciler::new(&bus, AT_ONCE);
    for _ in 0..3 {
        assert_eq!(reconciler.round().await.unwrap(), Default::default());
    }
    assert!(letters(&bus).await.is_empty());
}

#[tokio::test]
async fn a_round_looks_at_and_files_only_so_much() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    let stream = foreign_stream(&bus, RetentionPolicy::WorkQueue).await;
    foreign_consumer(&stream, "mailer", "work.mail", -1).await;
    for n in 0..10 {
        put(&bus, "work.fax", &format!("m{n}")).await;
    }
    let mut reconciler =
        Reconciler::new(&bus, ReconcileOptions { look_max: 6, file_max: 4, ..AT_ONCE });
    let mut filed = Vec::new();
    for _ in 0..8 {
        let round = reconciler.round().await.unwrap();
        assert!(round.stranded.len() <= 6 && round.filed <= 4, "{round:?}");
        filed.push(round.filed);
    }
    assert_eq!(filed.iter().sum::<usize>(), 10, "{filed:?}");
    assert_eq!(letters(&bus).await.len(), 10);
}
