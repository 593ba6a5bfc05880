//! What service authors test with, tested: it tells what happened, and does not claim what did not.

use std::time::Duration;

use campana_bus::Event;
use campana_bus::consume::{Failure, Meta};
use campana_bus::testing::{Settled, TestBus, TestError};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Job {
    number: u64,
}

impl Event for Job {
    const SERVICE: &'static str = "test";
    const NAME: &'static str = "job";
}

/// Another shape under the same name.
#[derive(Debug, Serialize, Deserialize)]
struct OddJob {
    words: Vec<String>,
}

impl Event for OddJob {
    const SERVICE: &'static str = "test";
    const NAME: &'static str = "job";
}

async fn emit(test: &TestBus, numbers: std::ops::Range<u64>) {
    for number in numbers {
        test.emit(&Job { number }).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn driving_returns_when_every_retry_is_over() {
    let test = TestBus::start().await.unwrap();
    emit(&test, 0..50).await;
    let service = test.service(|bus, stop| async move {
        let handler = |job: Job, meta: Meta| async move {
            if job.number.is_multiple_of(5) && meta.attempt == 1 {
                return Err(Failure::retry_after(Duration::from_millis(40), "once"));
            }
            Ok(())
        };
        bus.consumer::<Job>("jobs").run(handler, stop).await
    });
    let answers = test.drive("jobs").await.unwrap();
    let acked = answers.iter().filter(|one| one.how == Settled::Acked).count();
    let retried = Settled::Retried(Duration::from_millis(40));
    assert_eq!((acked, answers.iter().filter(|one| one.how == retried).count()), (50, 10));
    // Driving again is no new work, and more work is driven, too.
    emit(&test, 50..60).await;
    assert_eq!(test.drive("jobs").await.unwrap().len(), 60 + 10 + 2);
    service.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_its_time_can_be_made_due() {
    let test = TestBus::start().await.unwrap();
    emit(&test, 0..3).await;
    let service = test.service(|bus, stop| async move {
        let handler = |_: Job, meta: Meta| async move {
            // Not by attempt: on a slow machine storing the copy can take a second one.
            if !meta.subject.starts_with("_retry.") {
                return Err(Failure::retry_after(Duration::from_secs(3_600), "in an hour"));
            }
            Ok(())
        };
        bus.consumer::<Job>("patient").run(handler, stop).await
    });
    let acked = async || {
        let answers = test.drive("patient").await.unwrap();
        answers.iter().filter(|one| one.how == Settled::Acked).count()
    };
    assert_eq!(acked().await, 3, "replaced by scheduled copies");
    assert_eq!(test.fire_now().await.unwrap(), 3);
    assert_eq!(acked().await, 6, "and handled when they came");
    assert_eq!(test.fire_now().await.unwrap(), 0);
    service.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_fails_is_told_as_such() {
    let test = TestBus::start().await.unwrap();
    let failing = test.service(|_, _| async { Err::<(), _>("no licence") });
    assert_eq!(failing.stop().await, Err(TestError::Service("no licence".to_owned())));
    let panicking = test.service(|_, _| async { Err::<(), String>(panic_text()) });
    assert!(matches!(panicking.stop().await, Err(TestError::Service(_))));
}

fn panic_text() -> String {
    panic!("a bug in the service")
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_another_shape_are_an_error() {
    let test = TestBus::start().await.unwrap();
    emit(&test, 0..2).await;
    assert_eq!(test.events::<Job>().await.unwrap().len(), 2);
    let error = test.events::<OddJob>().await.unwrap_err();
    assert!(
        matches!(&error, TestError::Decode { reason, .. } if reason.contains("words")),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_test_has_a_bus_of_its_own() {
    let (one, other) = tokio::join!(TestBus::start(), TestBus::start());
    let (one, other) = (one.unwrap(), other.unwrap());
    emit(&one, 0..5).await;
    assert_eq!(one.events::<Job>().await.unwrap().len(), 5);
    assert!(other.events::<Job>().await.unwrap().is_empty());
}
