//! The hub against a real nats-server: one subscription for many, holes, reconnections, the end.

use std::collections::VecDeque;

use bytes::Bytes;
use campana_bus::Durability;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::{GroupPublisher, Outgoing};
use campana_bus::subjects::ChannelName;
use campana_bus::testing::NatsServer;
use campana_bus::topology::{self, CHANNELS, TopologyOptions};

use futures::StreamExt as _;

use super::*;
use crate::options::{Interest, NamespaceOptions};

mod dense;
mod gone;
mod notes;
mod patterns;
mod questions;
mod storm;
mod sweeps;

use crate::proto::Since;
use crate::session::LostReason;

struct Fixture {
    nats: NatsServer,
    bus: Bus,
    lifecycle: Lifecycle,
    hub: Hub,
    /// Further nodes.
    others: std::sync::Mutex<Vec<Hub>>,
}

async fn fixture(options: EdgeOptions) -> Fixture {
    fixture_keeping(options, TopologyOptions::default().channel_history).await
}

/// The same with a stream that keeps so many messages of a channel.
async fn fixture_keeping(options: EdgeOptions, channel_history: i64) -> Fixture {
    let nats = NatsServer::start_with(Durability::Process).unwrap();
    let bus = nats.bus("edge-test").await.unwrap();
    let topology = TopologyOptions { channel_history, ..TopologyOptions::default() };
    topology::apply(&bus, &topology::platform(topology)).await.unwrap();
    let lifecycle = Lifecycle::new();
    let hub = Hub::start(bus.clone(), &lifecycle, &options);
    Fixture { nats, bus, lifecycle, hub, others: Default::default() }
}

impl Fixture {
    async fn publish(&self, key: &ChannelKey, number: u64) -> u64 {
        let body = Bytes::from(number.to_string());
        let message =
            Outgoing::new(key.subject.as_str(), format!("{}-{number}", key.subject), body);
        self.bus.publish(message).await.unwrap().sequence
    }

    async fn join(&self, key: &Arc<ChannelKey>, since: Option<u64>) -> (Arc<Mailbox>, Joined) {
        let mailbox = Arc::new(Mailbox::new(1 << 20));
        let since = since.map(|offset| Since { offset, epoch: String::new() });
        let join = Join { ticket: 1, key: Arc::clone(key), since, reach: usize::MAX, delta: false };
        let joined = self.hub.join(&join, &mailbox, || ()).await.unwrap();
        (mailbox, joined)
    }

    /// Another node, which knows nothing yet.
    fn another(&self, options: &EdgeOptions) -> Hub {
        let hub = Hub::start(self.bus.clone(), &self.lifecycle, options);
        self.others.lock().unwrap().push(hub.clone());
        hub
    }

    async fn publish_many(&self, key: &ChannelKey, numbers: std::ops::Range<u64>) -> Vec<u64> {
        let mut stored = Vec::new();
        for number in numbers {
            stored.push(self.publish(key, number).await);
        }
        stored
    }

    async fn end(self) {
        self.hub.stop();
        self.others.lock().unwrap().iter().for_each(Hub::stop);
        assert!(self.lifecycle.stop(Duration::from_secs(10)).await);
        drop(self.nats);
    }
}

fn key(tenant: &str, name: &str) -> Arc<ChannelKey> {
    Arc::new(ChannelKey::new(tenant, ChannelName::parse(name).unwrap()))
}

/// Waits until so many publications came, and gives their offsets.
async fn offsets(mailbox: &Mailbox, count: usize) -> Vec<u64> {
    let mut found = Vec::new();
    let waiting = async {
        while found.len() < count {
            mailbox.arrived().await;
            let mut taken = VecDeque::new();
            assert_eq!(mailbox.take(&mut taken), None);
            for push in taken {
                match push {
                    Push::Publication(publication) => found.push(publication.offset),
                    other => panic!("{other:?}"),
                }
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap();
    found
}

/// What a client gets that comes back to a hub; `None` if it is told that something is gone.
async fn back(hub: &Hub, key: &Arc<ChannelKey>, offset: u64, epoch: &str) -> Option<Vec<u64>> {
    let since = Some(Since { offset, epoch: epoch.to_owned() });
    let join = Join { ticket: 1, key: Arc::clone(key), since, reach: usize::MAX, delta: false };
    let mailbox = Arc::new(Mailbox::new(1 << 20));
    let joined = hub.join(&join, &mailbox, || ()).await.unwrap();
    hub.leave(key, &mailbox);
    page_of(&joined)
}

/// Waits until it is so.
async fn until<F: Future<Output = bool>>(mut so: impl FnMut() -> F) {
    let waiting = async {
        while !so().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap();
}

fn page_of(joined: &Joined) -> Option<Vec<u64>> {
    match &joined.recovery {
        Recovery::Page { page, .. } => {
            Some(page.publications.iter().map(|one| one.offset).collect())
        }
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_subscribers_of_a_channel_share_one_subscription_and_see_the_same() {
    for interest in [Interest::Channel, Interest::Namespace] {
        let fixture =
            fixture(EdgeOptions { interest, linger_ms: 0, ..EdgeOptions::default() }).await;
        let (mine, other) = (key("t", "room:a.*.>"), key("u", "room:a.*.>"));
        let first = fixture.publish(&mine, 0).await;
        let (one, joined) = fixture.join(&mine, None).await;
        let (two, _) = fixture.join(&mine, None).await;
        let (stranger, _) = fixture.join(&other, None).await;
        assert_eq!(joined.top, first);
        assert_eq!(fixture.hub.0.feeds.lock().await.len(), 2);
        fixture.publish(&other, 1).await;
        let mut expected = Vec::new();
        for number in 1..50 {
            expected.push(fixture.publish(&mine, number).await);
        }
        assert_eq!(offsets(&one, expected.len()).await, expected);
        assert_eq!(offsets(&two, expected.len()).await, expected);
        assert_eq!(offsets(&stranger, 1).await.len(), 1);
        for (mailbox, key) in [(&one, &mine), (&two, &mine), (&stranger, &other)] {
            fixture.hub.leave(key, mailbox);
        }
        // Nobody listens any more: channels and subscriptions go within a few ticks.
        let gone = async {
            while fixture.hub.channels() > 0 || !fixture.hub.0.feeds.lock().await.is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), gone).await.unwrap();
        fixture.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_is_found_or_known_to_be_gone() {
    let fixture =
        fixture(EdgeOptions { recovery_page_messages: 10, ..EdgeOptions::default() }).await;
    let room = key("t", "room:a");
    let mut stored = Vec::new();
    for number in 0..25 {
        stored.push(fixture.publish(&room, number).await);
    }
    let (_, joined) = fixture.join(&room, Some(stored[4])).await;
    assert_eq!(page_of(&joined).unwrap(), stored[5..15]);
    let more = More { ticket: 1, key: Arc::clone(&room), after: stored[14], at_least: 0 };
    let rest = fixture.hub.more(&more).await.unwrap();
    assert_eq!(rest.publications.iter().map(|one| one.offset).collect::<Vec<_>>(), stored[15..25]);
    assert!(!rest.more);
    let (_, joined) = fixture.join(&room, Some(stored[24])).await;
    assert_eq!(page_of(&joined), Some(vec![]));
    let (_, joined) = fixture.join(&room, Some(stored[24] + 1_000)).await;
    assert!(matches!(joined.recovery, Recovery::Lost(LostReason::Gap)));
    let mailbox = Arc::new(Mailbox::new(1 << 20));
    let since = Some(Since { offset: 1, epoch: "_".to_owned() });
    let join = Join { ticket: 1, key: Arc::clone(&room), since, reach: usize::MAX, delta: false };
    let joined = fixture.hub.join(&join, &mailbox, || ()).await.unwrap();
    assert!(matches!(joined.recovery, Recovery::Lost(LostReason::Epoch)));
    // Who missed more than the namespace lets clients read back has lost its position.
    for (reach, lost) in [(20, false), (19, true)] {
        let since = Some(Since { offset: stored[4], epoch: String::new() });
        let join = Join { ticket: 1, key: Arc::clone(&room), since, reach, delta: false };
        let joined = fixture.hub.join(&join, &mailbox, || ()).await.unwrap();
        assert_eq!(matches!(joined.recovery, Recovery::Lost(LostReason::Gap)), lost, "{reach}");
    }
    // The stream forgets the oldest messages of a channel beyond its limit.
    let kept = u64::try_from(TopologyOptions::default().channel_history).unwrap();
    let busy = key("t", "room:busy");
    let first = fixture.publish(&busy, 0).await;
    let publisher = GroupPublisher::start(&fixture.bus, CHANNELS, &Lifecycle::new());
    let all = (1..=kept + 5).map(|number| {
        let id = format!("busy-{number}");
        publisher.publish(Outgoing::new(busy.subject.as_str(), id, Bytes::from_static(b"1")))
    });
    futures::stream::iter(all).buffer_unordered(1_000).collect::<Vec<_>>().await;
    let (_, joined) = fixture.join(&busy, Some(first)).await;
    assert!(matches!(joined.recovery, Recovery::Lost(LostReason::Gap)));
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn history_reads_forwards_and_backwards() {
    let fixture = fixture(EdgeOptions::default()).await;
    let (room, noise) = (key("t", "room:a"), key("t", "room:b"));
    let mut stored = Vec::new();
    for number in 0..40 {
        stored.push(fixture.publish(&room, number).await);
        fixture.publish(&noise, number).await;
    }
    let ask = |limit, since: Option<u64>, reverse, reach| crate::session::History {
        command: 1,
        key: Arc::clone(&room),
        limit,
        since: since.map(|offset| Since { offset, epoch: String::new() }),
        reverse,
        reach,
        age_seconds_max: 0,
    };
    let read = async |question: crate::session::History| {
        let found = fixture.hub.history(&question).await.unwrap();
        assert!(found.top >= stored[39]);
        found.publications.iter().map(|one| one.offset).collect::<Vec<_>>()
    };
    let reversed = |range: &[u64]| range.iter().rev().copied().collect::<Vec<_>>();
    assert_eq!(read(ask(5, None, false, 1_000)).await, stored[..5]);
    assert_eq!(read(ask(5, Some(stored[9]), false, 1_000)).await, stored[10..15]);
    assert_eq!(read(ask(300, None, false, 1_000)).await, stored);
    assert_eq!(read(ask(5, None, true, 1_000)).await, reversed(&stored[35..]));
    assert_eq!(read(ask(5, Some(stored[9]), true, 1_000)).await, reversed(&stored[4..9]));
    assert_eq!(read(ask(5, Some(stored[2]), true, 1_000)).await, reversed(&stored[..2]));
    assert_eq!(read(ask(300, None, false, 7)).await, stored[33..]);
    assert_eq!(read(ask(300, None, true, 7)).await, reversed(&stored[33..]));
    assert_eq!(read(ask(0, None, true, 7)).await, Vec::<u64>::new());
    fixture.end().await;
}

/// A message that reaches the stream but not this node: the next one reveals it.
#[tokio::test(flavor = "multi_thread")]
async fn a_hole_is_repaired_before_the_next_message() {
    let fixture = fixture(EdgeOptions::default()).await;
    let room = key("t", "room:a");
    let (mailbox, _) = fixture.join(&room, None).await;
    let first = fixture.publish(&room, 1).await;
    assert_eq!(offsets(&mailbox, 1).await, [first]);
    // Pretend that two live messages got lost by hiding the channel while they are published.
    let (_, channel) = fixture.hub.0.channels.remove(&room.subject).unwrap();
    let lost = [fixture.publish(&room, 2).await, fixture.publish(&room, 3).await];
    fixture.bus.client().flush().await.unwrap();
    let probe = key("t", "room:probe");
    let (probe_mailbox, _) = fixture.join(&probe, None).await;
    fixture.publish(&probe, 1).await;
    offsets(&probe_mailbox, 1).await;
    fixture.hub.0.channels.insert(room.subject.clone(), channel);
    let next = fixture.publish(&room, 4).await;
    assert_eq!(offsets(&mailbox, 3).await, [lost[0], lost[1], next]);
    fixture.end().await;
}

/// After a reconnection the last message may be missing, and nothing comes after it that would tell.
#[tokio::test(flavor = "multi_thread")]
async fn a_missed_tail_is_found_after_nats_was_restarted() {
    let mut fixture = fixture(EdgeOptions::default()).await;
    let room = key("t", "room:a");
    let (mailbox, _) = fixture.join(&room, None).await;
    let first = fixture.publish(&room, 1).await;
    assert_eq!(offsets(&mailbox, 1).await, [first]);
    let (_, channel) = fixture.hub.0.channels.remove(&room.subject).unwrap();
    let lost = fixture.publish(&room, 2).await;
    let probe = key("t", "room:probe");
    let (probe_mailbox, _) = fixture.join(&probe, None).await;
    fixture.publish(&probe, 1).await;
    offsets(&probe_mailbox, 1).await;
    fixture.hub.0.channels.insert(room.subject.clone(), channel);
    fixture.nats.restart().unwrap();
    assert_eq!(offsets(&mailbox, 1).await, [lost]);
    let next = fixture.publish(&room, 3).await;
    assert_eq!(offsets(&mailbox, 1).await, [next]);
    fixture.end().await;
}
