//! The dispatcher on a real nats-server with a SQLite store.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use campana_bus::clock::{self, Micros};
use campana_bus::headers;
use campana_bus::ids::NotificationId;
use campana_bus::publish::{Outgoing, Part, decode_parts, encode_parts};
use campana_bus::stamps::{Stage, Stamps};
use campana_bus::subjects::ChannelName;
use campana_bus::testing::NatsServer;
use campana_bus::trace::TraceParent;

use super::directory::{Found, Wanted};
use super::*;
use crate::contracts::{
    Channel, Content, Delivery, DeliveryStatus, InboxMessage, NotificationRequest, Outcome,
    OutcomeEvent, Target,
};
use crate::store::changed::Changed;
use crate::store::{Recipient, Template, TemplateChannels, TextTemplate};

struct Bench {
    _nats: NatsServer,
    folder: tempfile::TempDir,
    bus: Bus,
    store: Store,
    lifecycle: Lifecycle,
}

async fn store(folder: &tempfile::TempDir) -> Store {
    let store = Store::connect(&format!("sqlite:{}", folder.path().join("notify.db").display()))
        .await
        .unwrap();
    store.migrate().await.unwrap();
    store
}

async fn bench() -> Bench {
    let nats = NatsServer::start().unwrap();
    let bus = nats.bus_with_topology("test").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    let lifecycle = Lifecycle::new();
    let deps = DispatcherDeps {
        bus: bus.clone(),
        store: store.clone(),
        channels: GroupPublisher::start(&bus, "CHANNELS", &lifecycle),
        deliveries: GroupPublisher::start(&bus, "DELIVERIES", &lifecycle),
        outcomes: EnvelopePublisher::start(&bus, "OUTCOMES", &lifecycle),
    };
    let role = lifecycle.clone();
    lifecycle.spawn_essential("dispatcher", async move {
        run(DispatcherOptions::default(), deps, role).await.map_err(|error| error.to_string())
    });
    Bench { _nats: nats, folder, bus, store, lifecycle }
}

fn request(name: &str, recipients: &[&str], channels: &[Channel]) -> NotificationRequest {
    let to = recipients
        .iter()
        .map(|id| Target {
            id: (*id).to_owned(),
            inline: false,
            email: None,
            phone: None,
            webhook_url: None,
        })
        .collect();
    NotificationRequest {
        id: NotificationId::derived(&[name]),
        tenant: "default".to_owned(),
        accepted_at: clock::now(),
        to,
        content: Content::Inline { title: "Hi".to_owned(), body: "there".to_owned(), url: None },
        channels: Some(channels.to_vec()),
        priority: Priority::Normal,
        send_at: None,
        expires_at: None,
        metadata: BTreeMap::new(),
        stamps: None,
        trace: TraceParent::fresh(),
    }
}

fn person(id: &str, preferences: &[(&str, bool)]) -> Recipient {
    Recipient {
        tenant: "default".to_owned(),
        id: id.to_owned(),
        email: Some(format!("{id}@example.test")),
        preferences: preferences
            .iter()
            .map(|(channel, wanted)| ((*channel).to_owned(), *wanted))
            .collect(),
        created_at: Micros(1),
        updated_at: Micros(1),
        ..Recipient::default()
    }
}

impl Bench {
    /// One envelope with these parts.
    async fn publish(&self, message_id: &str, priority: Priority, parts: Vec<(String, Bytes)>) {
        let parts: Vec<Part> = parts.into_iter().map(|(id, body)| Part::new(id, body)).collect();
        let message =
            Outgoing::new(subjects::request(priority.as_str()), message_id, encode_parts(&parts))
                .header(headers::ENVELOPE_PARTS, &parts.len().to_string());
        self.bus.publish(message).await.unwrap();
    }

    async fn outcomes(&self, request: &NotificationRequest, count: usize) -> Vec<OutcomeEvent> {
        let look = async {
            loop {
                let subject = subjects::outcomes("default");
                let page =
                    self.bus.fetch_after(topology::OUTCOMES, &subject, 0, 500).await.unwrap();
                let parts =
                    page.messages.iter().flat_map(|one| decode_parts(&one.payload).unwrap());
                let events: Vec<OutcomeEvent> = parts
                    .map(|part| serde_json::from_slice::<Outcome>(&part.body).unwrap())
                    .filter(|outcome| outcome.notification_id == request.id)
                    .map(|outcome| outcome.event)
                    .collect();
                if events.len() >= count {
                    return events;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), look).await.expect("the outcomes come")
    }

    async fn inbox(&self, user: &str, count: usize) -> Vec<InboxMessage> {
        self.stored(
            topology::CHANNELS,
            &subjects::channel("default", &ChannelName::inbox(user).unwrap()),
            count,
        )
        .await
    }

    async fn stored<T: serde::de::DeserializeOwned>(
        &self,
        stream: &str,
        subject: &str,
        count: usize,
    ) -> Vec<T> {
        let look = async {
            loop {
                let page = self.bus.fetch_after(stream, subject, 0, 500).await.unwrap();
                if page.messages.len() >= count {
                    return page
                        .messages
                        .iter()
                        .map(|message| serde_json::from_slice(&message.payload).unwrap())
                        .collect();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), look).await.expect("the messages come")
    }

    async fn stop(self) {
        assert_eq!(self.lifecycle.failure(), None);
        assert!(self.lifecycle.stop(Duration::from_secs(5)).await, "a clean drain");
        drop(self.folder);
    }
}

fn part(request: &NotificationRequest) -> (String, Bytes) {
    (request.id.to_string(), Bytes::from(serde_json::to_vec(request).unwrap()))
}

fn statuses(event: &OutcomeEvent) -> Vec<(String, Channel, DeliveryStatus, Option<String>)> {
    match event {
        OutcomeEvent::Planned { deliveries, .. } => deliveries
            .iter()
            .map(|line| (line.recipient.clone(), line.channel, line.status, line.reason.clone()))
            .collect(),
        other => unreachable!("not a plan: {other:?}"),
    }
}

#[tokio::test]
async fn a_request_becomes_messages_once_however_often_it_comes() {
    let bench = bench().await;
    bench.store.put_recipient(&person("alice", &[])).await.unwrap();
    bench.store.put_recipient(&person("bob", &[("email", false)])).await.unwrap();
    let wanted =
        request("a", &["alice", "bob", "carol", "alice"], &[Channel::InApp, Channel::Email]);
    bench.publish("one", Priority::Normal, vec![part(&wanted)]).await;
    let events = bench.outcomes(&wanted, 1).await;
    let off = Some("preference_off".to_owned());
    let unknown = Some("unknown_recipient".to_owned());
    assert_eq!(
        statuses(&events[0]),
        [
            ("alice".to_owned(), Channel::InApp, DeliveryStatus::Delivered, None),
            ("alice".to_owned(), Channel::Email, DeliveryStatus::Queued, None),
            ("bob".to_owned(), Channel::InApp, DeliveryStatus::Delivered, None),
            ("bob".to_owned(), Channel::Email, DeliveryStatus::Suppressed, off),
            ("carol".to_owned(), Channel::InApp, DeliveryStatus::Delivered, None),
            ("carol".to_owned(), Channel::Email, DeliveryStatus::Suppressed, unknown),
        ]
    );
    let deliveries: Vec<Delivery> =
        bench.stored(topology::DELIVERIES, &subjects::deliver("email", "default"), 1).await;
    assert_eq!(deliveries[0].address, "alice@example.test");
    let subject = subjects::channel("default", &ChannelName::inbox("alice").unwrap());
    let stored = bench.bus.last(topology::CHANNELS, &subject).await.unwrap().unwrap();
    let trace = headers::trace(&stored.headers).unwrap();
    assert_eq!(trace.trace_id(), wanted.trace.trace_id());

    bench
        .publish(
            "two",
            Priority::Critical,
            vec![part(&wanted), part(&request("b", &["alice"], &[Channel::InApp]))],
        )
        .await;
    assert_eq!(bench.inbox("alice", 2).await.len(), 2, "the repeat adds nothing, the new one does");
    assert_eq!(bench.inbox("bob", 1).await.len(), 1);
    bench.stop().await;
}

#[tokio::test]
async fn bad_parts_harm_no_neighbour() {
    let bench = bench().await;
    let good: Vec<NotificationRequest> = (0..20)
        .map(|n| request(&format!("g{n}"), &[&format!("user{n}")], &[Channel::InApp]))
        .collect();
    let mut lost = request("lost", &["alice"], &[Channel::InApp]);
    lost.content = Content::Template { key: "missing".to_owned(), data: serde_json::Map::new() };
    let mut parts: Vec<_> = good.iter().map(part).collect();
    parts.insert(3, ("bad".to_owned(), Bytes::from_static(b"{\"id\":7}")));
    parts.insert(9, part(&lost));
    bench.publish("one", Priority::Bulk, parts).await;
    for request in &good {
        assert_eq!(bench.inbox(&request.to[0].id, 1).await.len(), 1);
        assert_eq!(statuses(&bench.outcomes(request, 1).await[0]).len(), 1);
    }
    let events = bench.outcomes(&lost, 1).await;
    assert!(
        matches!(&events[0], OutcomeEvent::Rejected { reason, .. } if reason == "unknown_template"),
        "{events:?}"
    );
    let parked: Vec<serde_json::Value> = {
        let filter = subjects::dead_letter_filter(Some(topology::REQUESTS), None);
        let look = async {
            loop {
                let page = bench.bus.fetch_after(topology::DLQ, &filter, 0, 10).await.unwrap();
                if page.messages.len() >= 2 {
                    return page.messages.iter().map(|message| message.sequence.into()).collect();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), look).await.unwrap()
    };
    assert_eq!(parked.len(), 2);
    bench.stop().await;
}

#[tokio::test]
async fn a_request_for_later_waits_in_the_stream() {
    let bench = bench().await;
    let mut later = request("later", &["alice"], &[Channel::InApp]);
    later.send_at = Some(clock::now().plus_seconds(2));
    bench.publish("one", Priority::Normal, vec![part(&later)]).await;
    let events = bench.outcomes(&later, 2).await;
    assert!(
        matches!(events[0], OutcomeEvent::Scheduled { until, .. } if Some(until) == later.send_at)
    );
    assert_eq!(statuses(&events[1])[0].2, DeliveryStatus::Delivered);
    assert!(clock::now() >= later.send_at.unwrap());
    bench.stop().await;
}

#[tokio::test]
async fn templates_are_filled_and_changes_are_heard() {
    let bench = bench().await;
    let template = |text: &str| Template {
        tenant: "default".to_owned(),
        key: "welcome".to_owned(),
        channels: TemplateChannels {
            in_app: Some(crate::store::InAppTemplate {
                title: "Hello {{ name }}".to_owned(),
                body: text.to_owned(),
                url: None,
            }),
            sms: Some(TextTemplate { text: text.to_owned() }),
            ..TemplateChannels::default()
        },
        created_at: Micros(1),
        updated_at: Micros(1),
    };
    bench.store.put_template(&template("one")).await.unwrap();
    let filled = |name: &str| {
        let mut wanted = request(name, &["alice"], &[Channel::InApp]);
        let data = serde_json::json!({"name": "{{ evil }}"}).as_object().unwrap().clone();
        wanted.content = Content::Template { key: "welcome".to_owned(), data };
        wanted
    };
    bench.publish("one", Priority::Normal, vec![part(&filled("a"))]).await;
    assert_eq!(
        bodies(&bench.inbox("alice", 1).await),
        [("Hello {{ evil }}".to_owned(), "one".to_owned())]
    );
    bench.store.put_template(&template("two")).await.unwrap();
    let directory = Directory::new(bench.store.clone(), DirectoryOptions::default());
    let name = ("default".to_owned(), "welcome".to_owned());
    let look =
        || directory.look_up(Wanted { templates: [name.clone()].into(), ..Wanted::default() });
    assert!(look().await.templates[&name].get().is_some());
    directory.forget(Changed::Template { tenant: name.0.clone(), key: name.1.clone() });
    let snapshot = look().await;
    let parsed = snapshot.templates[&name].get().unwrap().as_ref().unwrap();
    let text = parsed.render(Channel::Sms, &serde_json::Map::new(), "alice").unwrap().unwrap().text;
    assert_eq!(text, "two");
    bench.stop().await;
}

fn bodies(messages: &[InboxMessage]) -> Vec<(String, String)> {
    messages
        .iter()
        .filter_map(|message| match message {
            InboxMessage::Notification { title, body, .. } => Some((title.clone(), body.clone())),
            InboxMessage::Read { .. } => None,
        })
        .collect()
}

#[tokio::test]
async fn an_outage_of_the_store_does_not_stop_messages_to_known_people() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    store.put_recipient(&person("alice", &[("email", false)])).await.unwrap();
    let options = DirectoryOptions {
        ttl: Duration::ZERO,
        negative_ttl: Duration::ZERO,
        pause: Duration::ZERO,
        ..DirectoryOptions::default()
    };
    let directory = Directory::new(store.clone(), options);
    let name = |id: &str| ("default".to_owned(), id.to_owned());
    let look = || {
        directory.look_up(Wanted {
            recipients: [name("alice"), name("bob")].into(),
            ..Wanted::default()
        })
    };
    let snapshot = look().await;
    assert!(matches!(snapshot.recipients[&name("bob")], Found::No));
    store.close().await;
    let snapshot = look().await;
    let alice = snapshot.recipients[&name("alice")].get().unwrap();
    assert_eq!(alice.preferences.get(&Channel::Email), Some(&false));
    assert!(matches!(snapshot.recipients[&name("bob")], Found::Unavailable));
}

#[tokio::test]
async fn bells_ring_while_the_store_is_away() {
    let bench = bench().await;
    bench.store.close().await;
    let bell = request("bell", &["alice"], &[Channel::InApp]);
    bench.publish("one", Priority::Normal, vec![part(&bell)]).await;
    assert_eq!(bench.inbox("alice", 1).await.len(), 1);
    assert_eq!(bench.outcomes(&bell, 1).await.len(), 1);
    bench.stop().await;
}

#[tokio::test]
async fn stamps_go_on_with_every_message_of_their_request_and_no_other() {
    let bench = bench().await;
    let before = clock::tick();
    let accepted = Stamps::begin(Stage::Accepted, before);
    let texts = [
        ("alice", Some(accepted.to_string())),
        ("bob", None),
        ("carol", Some("boot=;accepted=1\r\nNats-Rollup: all".to_owned())),
        ("dave", Some("boot=ffffffff;".repeat(100))),
    ];
    let mut requests = Vec::new();
    for (name, stamps) in texts {
        bench.store.put_recipient(&person(name, &[])).await.unwrap();
        let wanted = request(name, &[name], &[Channel::InApp, Channel::Email]);
        requests.push(NotificationRequest { stamps, ..wanted });
    }
    bench.publish("one", Priority::Normal, requests.iter().map(part).collect()).await;
    for request in &requests {
        bench.outcomes(request, 1).await;
    }
    let mut stamped = Vec::new();
    let inboxes = subjects::channel("default", &ChannelName::inbox("alice").unwrap());
    let (inboxes, _) = inboxes.rsplit_once('.').unwrap();
    for (stream, subject) in [
        (topology::CHANNELS, format!("{inboxes}.*")),
        (topology::DELIVERIES, subjects::deliver("email", "default")),
    ] {
        let page = bench.bus.fetch_after(stream, &subject, 0, 500).await.unwrap();
        assert_eq!(page.messages.len(), requests.len(), "{subject}");
        stamped.extend(page.messages.iter().filter_map(|message| {
            let stamps = Stamps::of(&message.headers);
            assert_eq!(stamps.is_some(), message.headers.get(headers::STAMPS).is_some());
            stamps
        }));
    }
    assert_eq!(stamped.len(), 2, "alice's two messages: {stamped:?}");
    for stamps in stamped {
        assert_eq!(stamps.get(Stage::Accepted), Some(before.ns));
        assert!(stamps.get(Stage::Dispatched).unwrap() >= before.ns, "{stamps}");
        assert_eq!(Stage::ALL.iter().filter(|stage| stamps.get(**stage).is_some()).count(), 2);
    }
    bench.stop().await;
}
