//! Receipts of inbox channels: what a person's client acknowledged stands in the notification's timeline.

use std::time::Duration;

use campana_bus::ids::{DeliveryId, NotificationId};
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::Outgoing;
use campana_bus::subjects::{self, ChannelName};
use campana_bus::trace::TraceParent;
use campana_bus::{clock, headers};
use campana_notify::contracts::{
    Channel, Delivery, DeliveryStatus, Outcome, OutcomeEvent, PlannedDelivery, Priority,
    RequestSummary,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Platform, record};
use crate::{Gateway, start};

/// Stores a notification for alice and its plan; gives the delivery and the offset of the message.
async fn ring(platform: &Platform, id: NotificationId) -> (DeliveryId, u64) {
    let delivery = Delivery::derive_id(id, "alice", Channel::InApp);
    let planned = PlannedDelivery {
        id: delivery,
        recipient: "alice".to_owned(),
        channel: Channel::InApp,
        status: DeliveryStatus::Delivered,
        reason: None,
    };
    let summary = RequestSummary {
        accepted_at: clock::now(),
        priority: Priority::Normal,
        template: None,
        metadata: Default::default(),
    };
    let outcome = Outcome {
        id: format!("planned-{id}"),
        notification_id: id,
        tenant: "default".to_owned(),
        at: clock::now(),
        trace: TraceParent::fresh(),
        event: OutcomeEvent::Planned { summary, deliveries: vec![planned] },
    };
    let subject = subjects::outcome("default", &id.to_string());
    let body = serde_json::to_vec(&outcome).unwrap();
    platform.bus.publish(Outgoing::new(subject, outcome.id, body.into())).await.unwrap();
    let message = json!({
        "type": "notification", "id": delivery, "notification_id": id, "title": "Hello", "body": "",
        "url": null, "created_at": "2026-11-21T23:24:32Z", "trace_id": "",
    });
    let subject = subjects::channel("default", &ChannelName::inbox("alice").unwrap());
    let stored = Outgoing::new(subject, delivery.to_string(), message.to_string().into());
    (delivery, platform.bus.publish(stored).await.unwrap().sequence)
}

/// What the edge says when a client acknowledged.
async fn seen(platform: &Platform, channel: &str, after: u64, offset: u64) {
    let receipt = format!("{channel}-{offset}");
    let body = json!({
        "tenant": "default", "user": "alice", "channel": channel, "offset": offset, "after": after,
        "epoch": "e", "at": "2026-11-21T23:24:33Z", "receipt": receipt,
    });
    let subject = subjects::app_event_keyed("default", "edge", "seen", "alice");
    let message = Outgoing::new(subject, receipt, body.to_string().into())
        .event("edge.seen.v1", "edge", clock::now(), None)
        .header(headers::KEY, "alice");
    platform.bus.publish(message).await.unwrap();
}

/// Deliveries that the timeline says were seen.
async fn timeline(gateway: &Gateway, id: NotificationId) -> Vec<Value> {
    let path = format!("/v1/notifications/{id}");
    let body: Value = gateway.admin(Method::GET, &path, None).await.json().await.unwrap();
    let lines = body["timeline"].as_array().into_iter().flatten();
    lines.filter(|line| line["event"] == "seen").map(|line| line["delivery_id"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_seen_stands_in_the_timeline_once() {
    let (platform, gateway) = start().await;
    let lifecycle = Lifecycle::new();
    let ids = [NotificationId::fresh(), NotificationId::fresh(), NotificationId::fresh()];
    let mut rung = Vec::new();
    for id in ids {
        rung.push(ring(&platform, id).await);
    }
    // Somebody else's inbox, a room, then her own; the same twice, as after a crash.
    let last = rung[2].1;
    seen(&platform, "inbox:#bob", 0, last).await;
    seen(&platform, "room:x", 0, last).await;
    seen(&platform, "inbox:#alice", 0, rung[0].1).await;
    seen(&platform, "inbox:#alice", 0, rung[1].1).await;
    record(&platform, &lifecycle);
    let recorded = async {
        while timeline(&gateway, ids[1]).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), recorded).await.unwrap();
    for (at, (id, (delivery, _))) in ids.into_iter().zip(&rung).enumerate().take(2) {
        assert_eq!(timeline(&gateway, id).await, [json!(delivery)], "{at}");
    }
    assert!(timeline(&gateway, ids[2]).await.is_empty());
    assert!(lifecycle.stop(Duration::from_secs(60)).await);
    gateway.stop().await;
}
