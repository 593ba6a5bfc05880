//! The worker on a real nats-server, with a webhook receiver as the provider.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::any;
use bytes::Bytes;
use campana_bus::clock::{self, Micros};
use campana_bus::ids::NotificationId;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::{GroupPublisher, Outgoing};
use campana_bus::testing::NatsServer;
use campana_bus::trace::TraceParent;
use campana_bus::{Bus, consumers, headers, subjects, topology};
use secrecy::SecretString;
use tokio::net::TcpListener;

use super::{Server, serve};
use crate::channels::{
    ChannelDeps, ChannelOptions, EmailOptions, SmtpTls, WebhookOptions, run_channel,
};
use crate::contracts::{
    AttemptReport, Channel, Delivery, DeliveryStatus, Outcome, OutcomeEvent, Rendered,
};

struct Bench {
    _nats: NatsServer,
    bus: Bus,
    lifecycle: Lifecycle,
    server: Server,
    hits: Arc<AtomicUsize>,
}

/// Starts a channel's worker, without a store.
fn start(bus: &Bus, channel: Channel, options: ChannelOptions, lifecycle: &Lifecycle) {
    let outcomes = GroupPublisher::start(bus, "OUTCOMES", lifecycle);
    let deps = ChannelDeps { bus: bus.clone(), outcomes, store: None };
    let role = lifecycle.clone();
    lifecycle.spawn_essential("channel", async move {
        run_channel(channel, options, deps, role).await.map_err(|error| error.to_string())
    });
}

/// A worker whose receiver gives these statuses one after the other; 0 never answers. The last one stays.
async fn bench(statuses: Vec<u16>) -> Bench {
    let nats = NatsServer::start().unwrap();
    let bus = nats.bus_with_topology("test").await.unwrap();
    let hits = Arc::new(AtomicUsize::new(0));
    let (counter, statuses) = (Arc::clone(&hits), Arc::new(Mutex::new(statuses)));
    let server = serve(Router::new().fallback(any(move || {
        counter.fetch_add(1, Ordering::SeqCst);
        let status = {
            let mut statuses = statuses.lock().unwrap();
            if statuses.len() > 1 { statuses.remove(0) } else { statuses[0] }
        };
        async move {
            if status == 0 {
                std::future::pending::<()>().await;
            }
            StatusCode::from_u16(status.max(200)).unwrap()
        }
    })))
    .await;
    let lifecycle = Lifecycle::new();
    let options = ChannelOptions {
        webhook: WebhookOptions {
            default_secret: SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()),
            allow_networks: vec!["127.0.0.1/32".to_owned()],
            timeout_seconds: 1,
            retry_seconds: vec![0, 0],
            ..WebhookOptions::default()
        },
        ..ChannelOptions::default()
    };
    start(&bus, Channel::Webhook, options, &lifecycle);
    Bench { _nats: nats, bus, lifecycle, server, hits }
}

fn delivery(recipient: &str, address: String) -> Delivery {
    let notification_id = NotificationId::derived(&["n", recipient]);
    Delivery {
        id: Delivery::derive_id(notification_id, recipient, Channel::Webhook),
        notification_id,
        tenant: "default".to_owned(),
        recipient: recipient.to_owned(),
        channel: Channel::Webhook,
        address,
        message: Rendered {
            title: "Hi".to_owned(),
            text: "there".to_owned(),
            html: None,
            url: None,
        },
        accepted_at: clock::now(),
        expires_at: None,
        metadata: BTreeMap::new(),
        trace: TraceParent::fresh(),
    }
}

impl Bench {
    fn delivery(&self, recipient: &str) -> Delivery {
        delivery(recipient, format!("http://{}/", self.server.address))
    }

    async fn publish(&self, delivery: &Delivery, message_id: &str, repeat: bool) {
        let subject = subjects::deliver("webhook", "default");
        let body = Bytes::from(serde_json::to_vec(delivery).unwrap());
        let message = Outgoing::new(subject, message_id, body);
        let message = if repeat { message.header(headers::REPEAT, "1") } else { message };
        self.bus.publish(message).await.unwrap();
    }

    /// The attempts of a delivery, as soon as the last one has this status.
    async fn until(&self, delivery: &Delivery, status: DeliveryStatus) -> Vec<AttemptReport> {
        let subject = subjects::outcome("default", &delivery.notification_id.to_string());
        let look = async {
            loop {
                let page =
                    self.bus.fetch_after(topology::OUTCOMES, &subject, 0, 200).await.unwrap();
                let reports: Vec<AttemptReport> = page
                    .messages
                    .iter()
                    .filter_map(|message| {
                        match serde_json::from_slice::<Outcome>(&message.payload).unwrap().event {
                            OutcomeEvent::Attempted(report) => Some(report),
                            _ => None,
                        }
                    })
                    .collect();
                if reports.last().is_some_and(|report| report.status == status) {
                    return reports;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), look).await.expect("the outcome comes")
    }

    async fn stop(self) {
        assert_eq!(self.lifecycle.failure(), None);
        assert!(self.lifecycle.stop(Duration::from_secs(5)).await, "a clean drain");
    }
}

#[tokio::test]
async fn a_failure_is_retried_and_reported_and_then_delivered() {
    let bench = bench(vec![500, 204]).await;
    let delivery = bench.delivery("alice");
    bench.publish(&delivery, "a", false).await;
    let reports = bench.until(&delivery, DeliveryStatus::Delivered).await;
    let lines: Vec<_> = reports
        .iter()
        .map(|report| (report.attempt, report.status, report.reason.as_deref()))
        .collect();
    assert_eq!(
        lines,
        [(1, DeliveryStatus::Retrying, Some("http_500")), (2, DeliveryStatus::Delivered, None)]
    );
    assert!(reports[0].retry_at.is_some() && !reports[1].possible_duplicate);

    // A second copy of the same command, from a dispatcher that was not sure: nothing is sent.
    let hits = bench.hits.load(Ordering::SeqCst);
    bench.publish(&delivery, "a-again", true).await;
    let other = bench.delivery("bob");
    bench.publish(&other, "b", false).await;
    bench.until(&other, DeliveryStatus::Delivered).await;
    assert_eq!(bench.hits.load(Ordering::SeqCst), hits + 1);
    assert_eq!(bench.until(&delivery, DeliveryStatus::Delivered).await.len(), 2);
    bench.stop().await;
}

#[tokio::test]
async fn what_cannot_succeed_is_parked_and_reported_once() {
    let bench = bench(vec![400, 500]).await;
    let (refused, busy) = (bench.delivery("alice"), bench.delivery("bob"));
    bench.publish(&refused, "a", false).await;
    let reports = bench.until(&refused, DeliveryStatus::Failed).await;
    assert_eq!(reports[0].reason.as_deref(), Some("http_400"));
    bench.publish(&busy, "b", false).await;
    let reports = bench.until(&busy, DeliveryStatus::Failed).await;
    let statuses: Vec<_> = reports.iter().map(|report| report.status).collect();
    assert_eq!(
        statuses,
        [DeliveryStatus::Retrying, DeliveryStatus::Retrying, DeliveryStatus::Failed]
    );
    let parked = subjects::dead_letter_filter(Some(topology::DELIVERIES), None);
    let dead = async {
        while bench.bus.fetch_after(topology::DLQ, &parked, 0, 10).await.unwrap().messages.len() < 2
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), dead).await.unwrap();
    assert_eq!(bench.until(&refused, DeliveryStatus::Failed).await.len(), 1);
    bench.stop().await;
}

#[tokio::test]
async fn an_attempt_after_silence_is_marked() {
    let bench = bench(vec![0, 200]).await;
    let delivery = bench.delivery("alice");
    // The table asks for a pause of 30 s after silence; the first attempt is told, the next one is not awaited.
    bench.publish(&delivery, "a", false).await;
    let reports = bench.until(&delivery, DeliveryStatus::Retrying).await;
    assert_eq!(reports[0].reason.as_deref(), Some("webhook_unconfirmed"));
    bench.publish(&delivery, "a-again", true).await;
    let reports = bench.until(&delivery, DeliveryStatus::Delivered).await;
    assert!(reports.last().unwrap().possible_duplicate);
    bench.stop().await;
}

#[tokio::test]
async fn too_late_is_reported_and_not_sent() {
    let bench = bench(vec![200]).await;
    let late = Delivery { expires_at: Some(Micros(1)), ..bench.delivery("alice") };
    bench.publish(&late, "a", false).await;
    let reports = bench.until(&late, DeliveryStatus::Expired).await;
    assert_eq!(reports[0].reason.as_deref(), Some("expired"));
    let blocked =
        Delivery { address: "http://169.254.169.254/".to_owned(), ..bench.delivery("bob") };
    bench.publish(&blocked, "b", false).await;
    let reports = bench.until(&blocked, DeliveryStatus::Failed).await;
    assert_eq!(reports[0].reason.as_deref(), Some("webhook_blocked"));
    assert_eq!(bench.hits.load(Ordering::SeqCst), 0);
    bench.stop().await;
}

#[tokio::test]
async fn what_waits_for_a_place_at_a_stop_goes_back_unsent() {
    // A relay that takes connections and never greets; there is a place for one.
    let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nats = NatsServer::start().unwrap();
    let bus = nats.bus_with_topology("test").await.unwrap();
    let lifecycle = Lifecycle::new();
    let options = ChannelOptions {
        email: EmailOptions {
            port: relay.local_addr().unwrap().port(),
            tls: SmtpTls::None,
            max_connections: 1,
            connect_timeout_seconds: 2,
            ..EmailOptions::default()
        },
        ..ChannelOptions::default()
    };
    start(&bus, Channel::Email, options, &lifecycle);
    for number in 0..5 {
        let notification_id = NotificationId::derived(&["n", &number.to_string()]);
        let delivery = Delivery {
            id: Delivery::derive_id(notification_id, "alice", Channel::Email),
            notification_id,
            channel: Channel::Email,
            address: "alice@example.test".to_owned(),
            ..delivery("alice", String::new())
        };
        let body = Bytes::from(serde_json::to_vec(&delivery).unwrap());
        let subject = subjects::deliver("email", "default");
        bus.publish(Outgoing::new(subject, number.to_string(), body)).await.unwrap();
    }
    let all_in_hand = async {
        loop {
            let all = consumers::list(&bus, Some(topology::DELIVERIES)).await.unwrap_or_default();
            if all.iter().any(|one| one.consumer == "channel-email" && one.ack_pending == 5) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let (greeted, _) = tokio::time::timeout(Duration::from_secs(60), async {
        let connection = relay.accept().await.unwrap();
        all_in_hand.await;
        connection
    })
    .await
    .unwrap();
    assert!(lifecycle.stop(Duration::from_secs(60)).await, "a clean drain");
    drop(greeted);
    let another = tokio::time::timeout(Duration::from_millis(100), relay.accept()).await;
    assert!(another.is_err(), "nothing else was sent");
}
