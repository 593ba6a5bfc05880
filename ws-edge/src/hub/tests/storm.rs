//! Many at once: one question to the stream for all who come back to a channel, and for each hole.

use super::*;
use crate::hub::recent;

/// Hides a channel from its feed while messages are published, as if they had been lost on the way.
async fn losing<T>(
    fixture: &Fixture,
    key: &Arc<ChannelKey>,
    publishing: impl Future<Output = T>,
) -> T {
    let (_, channel) = fixture.hub.0.channels.remove(&key.subject).unwrap();
    let published = publishing.await;
    // The probe comes behind them on the same subscription.
    let probe = self::key("t", "room:probe");
    let (mailbox, _) = fixture.join(&probe, None).await;
    fixture
        .bus
        .publish(Outgoing::new(
            probe.subject.as_str(),
            campana_bus::ids::MessageId::fresh().to_string(),
            Bytes::from_static(b"1"),
        ))
        .await
        .unwrap();
    offsets(&mailbox, 1).await;
    fixture.hub.leave(&probe, &mailbox);
    fixture.hub.0.channels.insert(key.subject.clone(), channel);
    published
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hole_costs_one_question_for_two_hundred_subscribers() {
    let fixture = fixture(EdgeOptions::default()).await;
    let room = key("t", "room:a");
    let mut subscribers = Vec::new();
    for _ in 0..200 {
        subscribers.push(fixture.join(&room, None).await.0);
    }
    let mut expected = Vec::new();
    for hole in 0..3_u64 {
        let lost =
            losing(&fixture, &room, fixture.publish_many(&room, hole * 10..hole * 10 + 4)).await;
        expected.extend(lost);
        let before = fixture.hub.0.source.asked();
        expected.push(fixture.publish(&room, hole * 10 + 4).await);
        for subscriber in &subscribers[..1] {
            offsets(subscriber, 5).await;
        }
        assert_eq!(fixture.hub.0.source.asked() - before, 1, "{hole}");
    }
    for subscriber in &subscribers[1..] {
        assert_eq!(offsets(subscriber, expected.len()).await, expected);
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_last_message_is_found_without_a_next_one() {
    let options = EdgeOptions { check_interval_ms: 100, ..EdgeOptions::default() };
    let fixture = fixture(options).await;
    let room = key("t", "room:a");
    let (mailbox, _) = fixture.join(&room, None).await;
    let lost = losing(&fixture, &room, fixture.publish(&room, 1)).await;
    assert_eq!(offsets(&mailbox, 1).await, [lost]);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_who_come_back_to_one_channel_cost_a_few_questions() {
    let fixture = fixture(EdgeOptions::default()).await;
    let room = key("t", "room:a");
    let stored = fixture.publish_many(&room, 0..60).await;
    let before = fixture.hub.0.source.asked();
    let clients = (0..5_000_usize).map(|client| {
        let (fixture, room, stored) = (&fixture, &room, &stored);
        async move {
            let at = (client * 7) % 40;
            let found = back(&fixture.hub, room, stored[at], "").await;
            assert_eq!(found.as_deref(), Some(&stored[at + 1..]), "{client}");
        }
    });
    futures::stream::iter(clients).buffer_unordered(5_000).collect::<Vec<_>>().await;
    let asked = fixture.hub.0.source.asked() - before;
    assert!(asked <= 30, "{asked} questions");
    // What is published now is kept as well: nobody asks for it.
    let (mailbox, _) = fixture.join(&room, None).await;
    let more = fixture.publish_many(&room, 60..70).await;
    offsets(&mailbox, 10).await;
    let before = fixture.hub.0.source.asked();
    assert_eq!(back(&fixture.hub, &room, more[4], "").await, Some(more[5..].to_vec()));
    assert_eq!(fixture.hub.0.source.asked(), before);
    assert!(fixture.hub.0.budget.used() > 0);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_away_too_long_is_told_so_without_a_question_each() {
    let fixture = fixture_keeping(EdgeOptions::default(), 20).await;
    let room = key("t", "room:a");
    let stored = fixture.publish_many(&room, 0..60).await;
    let before = fixture.hub.0.source.asked();
    let clients = (0..1_000_usize).map(|client| {
        let (fixture, room, stored) = (&fixture, &room, &stored);
        async move {
            let at = client % 55;
            let expected = (at >= 39).then(|| stored[at + 1..].to_vec());
            assert_eq!(back(&fixture.hub, room, stored[at], "").await, expected, "{at}");
        }
    });
    futures::stream::iter(clients).buffer_unordered(1_000).collect::<Vec<_>>().await;
    let asked = fixture.hub.0.source.asked() - before;
    assert!(asked <= 120, "{asked} questions");
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_channels_cost_two_questions_each() {
    let fixture = fixture(EdgeOptions::default()).await;
    let rooms: Vec<_> = (0..1_000).map(|number| key("t", &format!("room:{number}"))).collect();
    let publisher = GroupPublisher::start(&fixture.bus, CHANNELS, &fixture.lifecycle);
    let all = rooms.iter().flat_map(|room| (0..2).map(move |number| (room, number)));
    let all = all.map(|(room, number)| {
        let id = format!("{}-{number}", room.subject);
        publisher.publish(Outgoing::new(room.subject.as_str(), id, Bytes::from_static(b"1")))
    });
    futures::stream::iter(all).buffer_unordered(2_000).collect::<Vec<_>>().await;
    drop(publisher);
    let before = fixture.hub.0.source.asked();
    let clients = rooms.iter().map(|room| back(&fixture.hub, room, 0, ""));
    let found: Vec<_> = futures::stream::iter(clients).buffer_unordered(1_000).collect().await;
    assert!(found.iter().all(|found| found.as_ref().is_some_and(|page| page.len() == 2)));
    let asked = fixture.hub.0.source.asked() - before;
    assert!(asked <= 2_100, "{asked} questions");
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_to_be_kept_is_read_in_pages() {
    let fixture = fixture(EdgeOptions::default()).await;
    let room = key("t", "room:a");
    let publisher = GroupPublisher::start(&fixture.bus, CHANNELS, &fixture.lifecycle);
    let count = recent::MESSAGES_MAX + 500;
    let first = fixture.publish(&room, 0).await;
    let all = (0..count).map(|number| {
        publisher.publish(Outgoing::new(
            room.subject.as_str(),
            format!("m{number}"),
            Bytes::from_static(b"1"),
        ))
    });
    futures::stream::iter(all).buffer_unordered(2_000).collect::<Vec<_>>().await;
    drop(publisher);
    for _ in 0..2 {
        let (_mailbox, joined) = fixture.join(&room, Some(first)).await;
        let Recovery::Page { page, .. } = joined.recovery else { panic!() };
        let (mut after, mut seen, mut more) = (first, 0, true);
        let mut page = Some(page);
        while more {
            let part = match page.take() {
                Some(page) => page,
                None => {
                    let ask = More { ticket: 1, key: Arc::clone(&room), after, at_least: 0 };
                    fixture.hub.more(&ask).await.unwrap()
                }
            };
            for publication in &part.publications {
                assert!(publication.offset > after);
                after = publication.offset;
                seen += 1;
            }
            more = part.more;
        }
        assert_eq!(seen, count);
    }
    fixture.end().await;
}
