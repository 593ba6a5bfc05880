//! Every way in which messages can go from the stream: nobody is told to have everything who has not.

use async_nats::jetstream::stream::Config;
use campana_bus::history;
use campana_bus::publish::Outgoing;

use super::*;

async fn change(fixture: &Fixture, change: impl FnOnce(&mut Config)) {
    let mut stream = fixture.bus.jetstream().get_stream(CHANNELS).await.unwrap();
    let mut config = stream.info().await.unwrap().config.clone();
    change(&mut config);
    fixture.bus.jetstream().update_stream(config).await.unwrap();
}

async fn position(fixture: &Fixture) -> campana_bus::fetch::StreamPosition {
    fixture.bus.position(CHANNELS).await.unwrap()
}

/// The hub sees the stream as it is now.
async fn look(hub: &Hub) {
    hub.0.source.since(clock::monotonic()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_pushes_out_its_own_oldest_and_nobody_else_s() {
    let options = EdgeOptions::default();
    let fixture = fixture_keeping(options.clone(), 5).await;
    let (busy, quiet) = (key("t", "room:busy"), key("t", "room:quiet"));
    let first = fixture.publish(&quiet, 0).await;
    let stored = fixture.publish_many(&busy, 0..12).await;
    let last = fixture.publish(&quiet, 1).await;
    for hub in [fixture.hub.clone(), fixture.another(&options)] {
        for (at, offset) in stored.iter().enumerate() {
            // 7 to 11 are kept.
            let expected = (at >= 6).then(|| stored[at + 1..].to_vec());
            assert_eq!(back(&hub, &busy, *offset, "").await, expected, "{at}");
        }
        assert_eq!(back(&hub, &busy, 0, "").await, None);
        assert_eq!(back(&hub, &quiet, first, "").await, Some(vec![last]));
        // Seven sequences after this position are gone; none of them can have been this channel's.
        assert_eq!(back(&hub, &quiet, stored[0], "").await, Some(vec![last]));
        assert_eq!(back(&hub, &quiet, 0, "").await, Some(vec![first, last]));
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_or_too_much_for_the_stream_is_missed() {
    let options = EdgeOptions::default();
    let fixture = fixture(options.clone()).await;
    let (room, noise) = (key("t", "room:a"), key("t", "room:b"));
    let stored = fixture.publish_many(&room, 0..6).await;
    let noisy = fixture.publish_many(&noise, 0..6).await;
    // Size: the stream keeps the last eight, two of them the room's.
    change(&fixture, |config| config.max_messages = 8).await;
    let hub = fixture.another(&options);
    assert_eq!(back(&hub, &room, stored[2], "").await, None);
    assert_eq!(back(&hub, &room, stored[3], "").await, Some(stored[4..].to_vec()));
    assert_eq!(back(&hub, &room, stored[4], "").await, Some(stored[5..].to_vec()));
    assert_eq!(back(&hub, &noise, stored[0], "").await, None);
    assert_eq!(back(&hub, &noise, noisy[0], "").await, Some(noisy[1..].to_vec()));
    // Age: nothing is left.
    change(&fixture, |config| {
        config.duplicate_window = Duration::from_secs(1);
        config.max_age = Duration::from_secs(1);
    })
    .await;
    until(async || position(&fixture).await.messages == 0).await;
    for hub in [fixture.another(&options), fixture.hub.clone()] {
        assert_eq!(back(&hub, &room, stored[4], "").await, None);
        assert_eq!(back(&hub, &noise, noisy[4], "").await, None);
        // Who has the stream's last message cannot have missed one.
        assert_eq!(back(&hub, &noise, noisy[5], "").await, Some(vec![]));
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_removed_with_notice_is_missed_by_exactly_those_who_had_not_seen_it() {
    let options = EdgeOptions::default();
    let fixture = fixture(options.clone()).await;
    let (room, other) = (key("t", "room:a"), key("t", "room:b"));
    // Stays, so that the removal does not look like age.
    fixture.publish(&key("t", "room:first"), 0).await;
    let stored = fixture.publish_many(&room, 0..5).await;
    let others = fixture.publish_many(&other, 0..2).await;
    look(&fixture.hub).await;
    assert_eq!(back(&fixture.hub, &room, stored[1], "").await, Some(stored[2..].to_vec()));
    assert_eq!(history::remove(&fixture.bus, &room.subject).await, Ok(5));
    assert_eq!(history::remove(&fixture.bus, &room.subject).await, Ok(0));
    let next = fixture.publish(&room, 9).await;
    // The first node hears of it; the second one finds the mark.
    until(async || back(&fixture.hub, &room, stored[1], "").await.is_none()).await;
    for hub in [fixture.hub.clone(), fixture.another(&options)] {
        assert_eq!(back(&hub, &room, stored[1], "").await, None);
        assert_eq!(back(&hub, &room, stored[4], "").await, Some(vec![next]));
        assert_eq!(back(&hub, &other, stored[4], "").await, Some(others.clone()));
    }
    // Nobody else's position is doubted because of it, on a node that saw the messages go.
    look(&fixture.hub).await;
    assert_eq!(back(&fixture.hub, &other, stored[1], "").await, Some(others.clone()));
    // Single messages: whoever removes them says so first.
    history::mark(&fixture.bus, &other.subject, others[1], 1).await.unwrap();
    let stream = fixture.bus.jetstream().get_stream(CHANNELS).await.unwrap();
    stream.delete_message(others[1]).await.unwrap();
    let hub = fixture.another(&options);
    assert_eq!(back(&hub, &other, others[0], "").await, None);
    assert_eq!(back(&hub, &other, others[1], "").await, Some(vec![]));
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_removed_without_a_word_is_noticed_too() {
    let options = EdgeOptions::default();
    let fixture = fixture(options.clone()).await;
    let rooms: Vec<_> = ["a", "b", "c"].map(|name| key("t", &format!("room:{name}"))).into();
    let mut stored = Vec::new();
    for room in &rooms {
        stored.push(fixture.publish_many(room, 0..4).await);
    }
    look(&fixture.hub).await;
    fixture.hub.0.source.save().await;
    let stream = fixture.bus.jetstream().get_stream(CHANNELS).await.unwrap();
    // One message out of the middle, one channel, and a channel of which the newest message is kept.
    stream.delete_message(stored[0][2]).await.unwrap();
    stream.purge().filter(rooms[1].subject.as_str()).await.unwrap();
    stream.purge().filter(rooms[2].subject.as_str()).keep(1).await.unwrap();
    // A node that saw the stream before, and one that was started afterwards and read what the first one saw.
    for hub in [fixture.hub.clone(), fixture.another(&options)] {
        assert_eq!(back(&hub, &rooms[0], stored[0][1], "").await, None);
        assert_eq!(back(&hub, &rooms[0], stored[0][0], "").await, None);
        assert_eq!(back(&hub, &rooms[1], stored[1][0], "").await, None);
        assert_eq!(back(&hub, &rooms[2], stored[2][0], "").await, None);
        assert_eq!(back(&hub, &rooms[2], stored[2][2], "").await, Some(vec![stored[2][3]]));
    }
    stream.purge().await.unwrap();
    let after = fixture.publish(&rooms[0], 9).await;
    // What the first node has kept it may still hand out; the other one has nothing.
    assert_eq!(back(&fixture.another(&options), &rooms[2], stored[2][2], "").await, None);
    for hub in [fixture.hub.clone(), fixture.another(&options)] {
        assert_eq!(back(&hub, &rooms[1], stored[1][0], "").await, None);
        until(async || back(&hub, &rooms[0], stored[2][3], "").await == Some(vec![after])).await;
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_was_raised_does_not_bring_anything_back() {
    let options = EdgeOptions::default();
    let fixture = fixture_keeping(options.clone(), 5).await;
    let room = key("t", "room:a");
    look(&fixture.hub).await;
    fixture.hub.0.source.save().await;
    let stored = fixture.publish_many(&room, 0..12).await;
    change(&fixture, |config| config.max_messages_per_subject = 100).await;
    for hub in [fixture.hub.clone(), fixture.another(&options)] {
        assert_eq!(back(&hub, &room, stored[3], "").await, None);
        assert_eq!(back(&hub, &room, stored[7], "").await, Some(stored[8..].to_vec()));
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_with_a_time_to_live_leaves_a_hole() {
    let options = EdgeOptions::default();
    let fixture = fixture(options.clone()).await;
    change(&fixture, |config| config.allow_message_ttl = true).await;
    let room = key("t", "room:a");
    let first = fixture.publish(&room, 0).await;
    let short = Outgoing::new(room.subject.as_str(), "short", Bytes::from_static(b"1"));
    let short = fixture.bus.publish(short.header("Nats-TTL", "1s")).await.unwrap().sequence;
    let last = fixture.publish(&room, 2).await;
    assert_eq!(back(&fixture.hub, &room, first, "").await, Some(vec![short, last]));
    until(async || position(&fixture).await.messages == 2).await;
    let hub = fixture.another(&options);
    assert_eq!(back(&hub, &room, first, "").await, None);
    assert_eq!(back(&hub, &room, short, "").await, Some(vec![last]));
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_of_a_stream_that_was_made_anew_are_void() {
    let options = EdgeOptions::default();
    let fixture = fixture(options.clone()).await;
    let room = key("t", "room:a");
    let stored = fixture.publish_many(&room, 0..3).await;
    let (mailbox, joined) = fixture.join(&room, None).await;
    let epoch = joined.epoch.to_string();
    assert_eq!(back(&fixture.hub, &room, stored[0], &epoch).await, Some(stored[1..].to_vec()));
    fixture.bus.jetstream().delete_stream(CHANNELS).await.unwrap();
    topology::apply(&fixture.bus, &topology::platform(TopologyOptions::default())).await.unwrap();
    let again = fixture.publish_many(&room, 10..15).await;
    assert_eq!(again[0], 1);
    let hub = fixture.another(&options);
    assert_eq!(back(&hub, &room, stored[0], &epoch).await, None);
    // This node is told by the stream, and tells its subscribers.
    until(async || back(&fixture.hub, &room, stored[0], &epoch).await.is_none()).await;
    let lost = async {
        let mut taken = VecDeque::new();
        while !taken.iter().any(|push| matches!(push, Push::Lost(_))) {
            mailbox.arrived().await;
            mailbox.take(&mut taken);
        }
    };
    tokio::time::timeout(Duration::from_secs(60), lost).await.unwrap();
    fixture.end().await;
}
