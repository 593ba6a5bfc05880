//! Status, and what happens while a part of the platform is away.

use crate::GOOD;
use crate::Gateway;
use crate::start;
use crate::support::Platform;
use crate::support::problem;
use crate::support::record;
use campana_bus::clock;
use campana_bus::ids::NotificationId;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::{Outgoing, Part, envelope};
use campana_bus::subjects;
use campana_bus::topology;
use campana_bus::trace::TraceParent;
use campana_notify::contracts::Channel;
use campana_notify::contracts::Delivery;
use campana_notify::contracts::DeliveryStatus;
use campana_notify::contracts::Outcome;
use campana_notify::contracts::OutcomeEvent;
use campana_notify::contracts::PlannedDelivery;
use campana_notify::contracts::Priority;
use campana_notify::contracts::RequestSummary;
use campana_notify::gateway::GatewayOptions;
use futures::future::join_all;
use reqwest::Method;
use serde_json::Value;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn without_an_acknowledgement_there_is_no_202() {
    let (mut platform, gateway) = start().await;
    assert_eq!(gateway.post(GOOD).send().await.unwrap().status(), 202);
    platform.nats.kill();
    let response = gateway.post(GOOD).send().await.unwrap();
    assert!(response.headers().contains_key("retry-after"));
    let found = problem(response).await;
    assert_eq!((found.0, found.1.as_str()), (503, "unavailable"));
    platform.nats.restart().unwrap();
    assert_eq!(gateway.post(GOOD).send().await.unwrap().status(), 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_database_does_not_stop_sending() {
    let (platform, gateway) = start().await;
    assert_eq!(gateway.post(GOOD).send().await.unwrap().status(), 202);
    platform.store.close().await;
    let unseen = r#"{"to":"never-seen","content":{"title":"x"}}"#;
    assert_eq!(gateway.post(GOOD).send().await.unwrap().status(), 202);
    assert_eq!(gateway.post(unseen).send().await.unwrap().status(), 202, "the dispatcher decides");
    let found = problem(gateway.admin(Method::GET, "/v1/recipients/alice", None).await).await;
    assert_eq!((found.0, found.1.as_str()), (503, "store_unavailable"));
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_requests_and_too_large_a_backlog_are_refused() {
    let platform = Platform::start(GatewayOptions {
        rate_burst: 3,
        rate_per_second: 1,
        ..GatewayOptions::default()
    })
    .await;
    let gateway = platform.gateway().await;
    let answers = join_all((0..8).map(|_| gateway.post(GOOD).send())).await;
    let statuses: Vec<_> =
        answers.into_iter().map(|answer| answer.unwrap().status().as_u16()).collect();
    assert!(statuses.iter().filter(|status| **status == 202).count() >= 3);
    assert!(statuses.contains(&429), "{statuses:?}");

    let platform = Platform::start(GatewayOptions {
        backlog_messages_max: 0,
        backlog_poll_ms: 10,
        ..GatewayOptions::default()
    })
    .await;
    let gateway = platform.gateway().await;
    assert_eq!(gateway.post(GOOD).send().await.unwrap().status(), 202);
    let started = clock::monotonic();
    loop {
        let response = gateway.post(GOOD).send().await.unwrap();
        if response.status() == 503 {
            assert!(response.headers().contains_key("retry-after"));
            assert_eq!(problem(response).await.1, "overloaded");
            break;
        }
        assert!(started.elapsed().as_secs() < 20, "the backlog was never seen");
    }
}

fn planned(id: NotificationId, recipient: &str) -> Outcome {
    let delivery = PlannedDelivery {
        id: Delivery::derive_id(id, recipient, Channel::InApp),
        recipient: recipient.to_owned(),
        channel: Channel::InApp,
        status: DeliveryStatus::Delivered,
        reason: None,
    };
    let summary = RequestSummary {
        accepted_at: clock::now(),
        priority: Priority::Normal,
        template: None,
        metadata: std::collections::BTreeMap::new(),
    };
    Outcome {
        id: format!("planned-{id}"),
        notification_id: id,
        tenant: "default".to_owned(),
        at: clock::now(),
        trace: TraceParent::fresh(),
        event: OutcomeEvent::Planned { summary, deliveries: vec![delivery] },
    }
}

async fn publish(platform: &Platform, outcome: &Outcome) {
    let subject = subjects::outcome(&outcome.tenant, &outcome.notification_id.to_string());
    let body = serde_json::to_vec(outcome).unwrap();
    platform.bus.publish(Outgoing::new(subject, outcome.id.clone(), body.into())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_waited_for_and_a_read_mark_is_recorded() {
    let (platform, gateway) = start().await;
    let lifecycle = Lifecycle::new();
    let id = NotificationId::fresh();
    let path = format!("/v1/notifications/{id}");
    let get = gateway.admin(Method::GET, &path, None);
    // The question comes before the answer is recorded.
    let later = async {
        record(&platform, &lifecycle);
        publish(&platform, &planned(id, "alice")).await;
    };
    let (response, ()) = tokio::join!(get, later);
    assert_eq!(response.status(), 200);
    let body: Value = response.json().await.unwrap();
    assert_eq!(
        (&body["status"], &body["deliveries"][0]["status"]),
        (&json!("completed"), &json!("delivered"))
    );
    assert_eq!(body["timeline"][0]["event"], "accepted");
    let delivery = body["deliveries"][0]["id"].as_str().unwrap().to_owned();

    // Somebody else's token marks nothing; the person's own does.
    for (user, expected) in [("mallory", 0), ("alice", 1)] {
        let request =
            gateway.request(Method::POST, "/v1/inbox/read").bearer_auth(platform.token(user));
        let answer: Value =
            request.json(&json!({ "ids": [delivery] })).send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["read"], expected, "{user}");
    }
    let messages = platform.channel_messages().await;
    assert_eq!((&messages[1]["type"], &messages[1]["ids"]), (&json!("read"), &json!([delivery])));
    marks_reach_the_own_channel(&platform, &gateway, &delivery).await;
    let outcomes = platform.outcomes().await;
    assert_eq!(
        outcomes
            .iter()
            .filter(|outcome| matches!(outcome.event, OutcomeEvent::Read { .. }))
            .count(),
        1
    );

    let list: Value = gateway
        .admin(Method::GET, "/v1/notifications?recipient=alice", None)
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(
        (&list["data"][0]["id"], &list["next_cursor"]),
        (&json!(id.to_string()), &Value::Null)
    );
    let counts = async |query: &str| -> Value {
        let path = format!("/v1/notifications/counts{query}");
        gateway.admin(Method::GET, &path, None).await.json().await.unwrap()
    };
    let all = counts("").await;
    assert_eq!(all["notifications"], json!({ "completed": 1 }), "{all}");
    assert_eq!(all["deliveries"], json!({ "in_app": { "delivered": 1 } }));
    assert_eq!(all["complete"], true);
    assert_eq!(counts("?recipient_prefix=ali").await["deliveries"], all["deliveries"]);
    assert_eq!(counts("?recipient_prefix=bob").await["notifications"], json!({}));
    assert_eq!(counts("?from=noon").await["code"], "invalid_parameter");
    assert!(lifecycle.stop(std::time::Duration::from_secs(10)).await);
}

/// Seen, archive and unarchive are told to the person's devices, in their order, and nobody else's business.
async fn marks_reach_the_own_channel(platform: &Platform, gateway: &Gateway, delivery: &str) {
    let before = platform.channel_messages().await.len();
    for mark in ["seen", "archive", "unarchive"] {
        let request = gateway
            .request(Method::POST, &format!("/v1/inbox/{mark}"))
            .bearer_auth(platform.token("alice"))
            .json(&json!({ "ids": [delivery, delivery] }));
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(answer, json!({ "marked": 1 }), "{mark}");
    }
    let told = platform.channel_messages().await.split_off(before);
    let types: Vec<&Value> = told.iter().map(|message| &message["type"]).collect();
    assert_eq!(types, ["seen", "archive", "unarchive"]);
    assert!(told.iter().all(|message| message["ids"] == json!([delivery])));
    let at: Vec<&str> = told.iter().map(|message| message["at"].as_str().unwrap()).collect();
    assert!(at.iter().all(|at| at.ends_with('Z')), "{at:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undecodable_outcome_is_parked_and_harms_no_other() {
    let (platform, gateway) = start().await;
    let lifecycle = Lifecycle::new();
    let ids: Vec<_> = (0..20).map(|_| NotificationId::fresh()).collect();
    for (number, id) in ids.iter().enumerate() {
        if number == 7 {
            let subject = subjects::outcome("default", "poison");
            platform
                .bus
                .publish(Outgoing::new(subject, "poison", "{not json".into()))
                .await
                .unwrap();
        }
        publish(&platform, &planned(*id, "alice")).await;
    }
    // In an envelope, too: what is good beside it is recorded, and the envelope is parked.
    let more: Vec<_> = (0..3).map(|_| NotificationId::fresh()).collect();
    let mut parts: Vec<Part> = more
        .iter()
        .map(|id| planned(*id, "alice"))
        .map(|one| Part::new(one.id.clone(), serde_json::to_vec(&one).unwrap().into()))
        .collect();
    parts.insert(1, Part::new("poison", "{not json".into()));
    platform.bus.publish(envelope(subjects::outcomes("default"), &parts)).await.unwrap();
    record(&platform, &lifecycle);
    for id in ids.iter().chain(&more) {
        let response = gateway.admin(Method::GET, &format!("/v1/notifications/{id}"), None).await;
        assert_eq!(response.status(), 200);
    }
    let started = clock::monotonic();
    loop {
        let mut dlq = platform.bus.jetstream().get_stream(topology::DLQ).await.unwrap();
        if dlq.info().await.unwrap().state.messages == 2 {
            break;
        }
        assert!(started.elapsed().as_secs() < 20, "the poison was never parked");
        tokio::task::yield_now().await;
    }
    assert!(lifecycle.stop(std::time::Duration::from_secs(10)).await);
}
