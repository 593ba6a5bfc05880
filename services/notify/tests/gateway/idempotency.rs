//! The same request twice is one notification and one answer.

use crate::GOOD;
use crate::start;
use crate::support::Gateway;
use crate::support::Platform;
use crate::support::problem;
use campana_bus::topology;
use campana_notify::gateway::GatewayOptions;
use futures::future::join_all;
use serde_json::Value;
use std::collections::HashSet;

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_with_the_same_key_is_the_same_notification_also_after_a_restart() {
    let (platform, gateway) = start().await;
    let keyed = |gateway: &Gateway, key: &str, body: &'static str| {
        gateway.post(body).header("idempotency-key", key)
    };
    let first = keyed(&gateway, "order 7", GOOD).send().await.unwrap();
    assert_eq!(first.status(), 202);
    assert!(!first.headers().contains_key("idempotent-replayed"));
    let first = first.text().await.unwrap();
    let other = problem(
        keyed(&gateway, "order 7", r#"{"to":"alice","content":{"title":"Other"}}"#)
            .send()
            .await
            .unwrap(),
    )
    .await;
    assert_eq!((other.0, other.1.as_str()), (422, "idempotency_key_reused"));
    for bad in ["", &"x".repeat(256)] {
        let found = problem(keyed(&gateway, bad, GOOD).send().await.unwrap()).await;
        assert_eq!((found.0, found.1.as_str()), (400, "invalid_parameter"));
    }
    gateway.stop().await;
    let restarted = platform.gateway().await;
    let repeat = keyed(&restarted, "order 7", GOOD).send().await.unwrap();
    assert_eq!(
        (repeat.status().as_u16(), repeat.headers()["idempotent-replayed"].to_str().unwrap()),
        (202, "true")
    );
    assert_eq!(repeat.text().await.unwrap(), first);
    // Another key is another notification, and a refused body does not use a key up.
    let refused = keyed(&restarted, "order 8", r#"{"to":"nobody","content":{"title":"x"}}"#)
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), 422);
    assert_eq!(keyed(&restarted, "order 8", GOOD).send().await.unwrap().status(), 202);
    assert_eq!(platform.stored().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_repeats_at_once_are_one_notification() {
    let platform = Platform::start(GatewayOptions::default()).await;
    let gateways = [platform.gateway().await, platform.gateway().await];
    let answers = join_all((0..40).map(async |number: usize| {
        let response =
            gateways[number % 2].post(GOOD).header("idempotency-key", "same").send().await.unwrap();
        (
            response.status().as_u16(),
            response.headers().contains_key("retry-after"),
            response.text().await.unwrap(),
        )
    }))
    .await;
    let accepted: HashSet<_> =
        answers.iter().filter(|(status, ..)| *status == 202).map(|(.., body)| body).collect();
    assert_eq!(accepted.len(), 1, "one answer for all");
    for (status, has_hint, body) in &answers {
        assert!(*status == 202 || (*status == 409 && *has_hint), "{status} {body}");
    }
    assert_eq!(platform.stored().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_gateway_died_is_taken_over() {
    let platform = Platform::start(GatewayOptions {
        idempotency_takeover_seconds: 0,
        ..GatewayOptions::default()
    })
    .await;
    let gateway = platform.gateway().await;
    // What a gateway leaves that died between claim and answer: a mark in flight. The record's key and
    // fingerprint are private, so a first request makes them and its answer is taken back out.
    assert_eq!(
        gateway.post(GOOD).header("idempotency-key", "k").send().await.unwrap().status(),
        202
    );
    let bucket = platform.bus.jetstream().get_key_value(topology::IDEMPOTENCY).await.unwrap();
    let record_key = {
        use futures::TryStreamExt as _;
        let keys: Vec<String> = bucket.keys().await.unwrap().try_collect().await.unwrap();
        assert_eq!(keys.len(), 1);
        keys[0].clone()
    };
    let mut record: Value =
        serde_json::from_slice(&bucket.get(&record_key).await.unwrap().unwrap()).unwrap();
    record.as_object_mut().unwrap().remove("answer");
    bucket.put(&record_key, record.to_string().into()).await.unwrap();
    let again = gateway.post(GOOD).header("idempotency-key", "k").send().await.unwrap();
    assert_eq!(again.status(), 202);
    let ids: HashSet<_> = platform.stored().await.iter().map(|request| request.id).collect();
    assert_eq!(ids.len(), 1, "the same key always gives the same id");
}
