//! Many channels whose messages lie mixed: one walk through the stream for all, and nobody misses anything.

use std::collections::HashMap;

use super::*;

/// So many channels, and the same number of messages in each, mixed.
async fn mixed(
    fixture: &Fixture,
    rooms: &[Arc<ChannelKey>],
    numbers: std::ops::Range<u64>,
) -> HashMap<String, Vec<u64>> {
    let publisher = GroupPublisher::start(&fixture.bus, CHANNELS, &fixture.lifecycle);
    let publisher = &publisher;
    let all = numbers.flat_map(|number| rooms.iter().map(move |room| (room, number)));
    let all = all.map(|(room, number)| async move {
        let id = format!("{}-{number}", room.subject);
        let body = Bytes::from_static(b"1");
        let stored = publisher.publish(Outgoing::new(room.subject.as_str(), id, body)).await;
        (room.subject.clone(), stored.unwrap().sequence)
    });
    let mut stored: HashMap<String, Vec<u64>> = HashMap::new();
    let all: Vec<_> = futures::stream::iter(all).buffer_unordered(2_000).collect().await;
    for (subject, sequence) in all {
        stored.entry(subject).or_default().push(sequence);
    }
    stored.values_mut().for_each(|all| all.sort_unstable());
    stored
}

fn rooms(count: usize) -> Vec<Arc<ChannelKey>> {
    (0..count).map(|number| key("t", &format!("room:{number}"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_mixed_channels_are_read_in_a_few_walks() {
    let options = EdgeOptions { recovery_page_messages: 8, ..EdgeOptions::default() };
    let fixture = fixture(options).await;
    let rooms = rooms(500);
    let stored = mixed(&fixture, &rooms, 0..20).await;
    let before = fixture.hub.0.source.asked();
    let clients = rooms.iter().enumerate().map(|(number, room)| {
        let (stored, hub) = (&stored[&room.subject], &fixture.hub);
        async move {
            let at = number % 20;
            let found = back(hub, room, stored[at], "").await.unwrap();
            let expected = &stored[at + 1..];
            assert_eq!(found, expected[..expected.len().min(8)], "{number}");
        }
    });
    futures::stream::iter(clients).buffer_unordered(500).collect::<Vec<_>>().await;
    let asked = fixture.hub.0.source.asked() - before;
    // Each channel's last message, and a few more.
    assert!(asked < 900, "{asked} questions");
    fixture.end().await;
}

/// The stream keeps the last six of a channel and loses older ones all the time, also while it is read.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_comes_back_while_messages_are_pushed_out_gets_a_hole() {
    let fixture = fixture_keeping(EdgeOptions::default(), 6).await;
    let rooms = rooms(120);
    let mut stored = mixed(&fixture, &rooms, 0..6).await;
    let before = stored.clone();
    let hubs: Vec<Hub> = (0..4).map(|_| fixture.another(&EdgeOptions::default())).collect();
    let publishing = mixed(&fixture, &rooms, 6..18);
    let coming = async {
        let mut found = Vec::new();
        for hub in &hubs {
            let all = rooms.iter().enumerate().map(|(number, room)| {
                let offset = before[&room.subject][number % 6];
                async move { (room, offset, back(hub, room, offset, "").await) }
            });
            let all = futures::stream::iter(all).buffer_unordered(rooms.len());
            found.extend(all.collect::<Vec<_>>().await);
        }
        found
    };
    let (more, found) = tokio::join!(publishing, coming);
    for (subject, later) in more {
        stored.get_mut(&subject).unwrap().extend(later);
    }
    for (room, offset, found) in found {
        let Some(found) = found else { continue };
        let after = stored[&room.subject].iter().copied().filter(|at| *at > offset);
        assert_eq!(found, after.take(found.len()).collect::<Vec<_>>(), "{offset}");
        let seen = found.last().copied().unwrap_or(offset);
        assert!(seen >= *before[&room.subject].last().unwrap(), "{offset}");
    }
    fixture.end().await;
}
