//! Channels of which nothing is left: who had the last message is told so, everybody else begins anew.

use async_nats::jetstream::stream::Config;
use campana_bus::history;
use campana_bus::publish::PublishError;
use campana_bus::topology::HISTORY_NOTES;

use super::*;
use crate::hub::noter::{NoteError, Old, step};

async fn change(fixture: &Fixture, change: impl FnOnce(&mut Config)) {
    let mut stream = fixture.bus.jetstream().get_stream(CHANNELS).await.unwrap();
    let mut config = stream.info().await.unwrap().config.clone();
    change(&mut config);
    fixture.bus.jetstream().update_stream(config).await.unwrap();
}

/// Everything that is there goes by age; nothing that comes afterwards does.
async fn age(fixture: &Fixture) {
    let set = |config: &mut Config, seconds| {
        config.duplicate_window = Duration::from_secs(1);
        config.max_age = Duration::from_secs(seconds);
    };
    change(fixture, |config| set(config, 1)).await;
    until(async || fixture.bus.position(CHANNELS).await.unwrap().messages == 0).await;
    change(fixture, |config| set(config, 86_400)).await;
}

/// Notes all messages up to a sequence, as old as they may be.
async fn note(hub: &Hub, upto: u64) {
    let old = Old { before: None, upto };
    loop {
        let stream = hub.0.source.since(clock::monotonic()).await.unwrap().stream.clone();
        match step(&hub.0, &stream, &old).await {
            Ok(false) => return,
            // The hub's own task, or another node's, was faster.
            Ok(true) | Err(NoteError::Publish(PublishError::WrongLastSequence)) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_the_last_message_of_an_emptied_channel_is_told_so() {
    let options = EdgeOptions::default();
    let mut fixture = fixture(options.clone()).await;
    let (room, noise, silent) = (key("t", "room:a"), key("t", "room:b"), key("t", "room:c"));
    let stored = fixture.publish_many(&room, 0..3).await;
    let noisy = fixture.publish_many(&noise, 0..4).await;
    note(&fixture.hub, u64::MAX).await;
    age(&fixture).await;
    let later = fixture.publish_many(&noise, 10..13).await;
    let told = async |hub: &Hub, and: &[u64]| {
        assert_eq!(back(hub, &room, stored[2], "").await.as_deref(), Some(and));
        assert_eq!(back(hub, &room, stored[2] + 1, "").await.as_deref(), Some(and));
        assert_eq!(back(hub, &room, stored[1], "").await, None);
        assert_eq!(back(hub, &room, 0, "").await, None);
        assert_eq!(back(hub, &noise, noisy[3], "").await, Some(later.clone()));
        assert_eq!(back(hub, &noise, noisy[2], "").await, None);
        // Nothing was ever published in it.
        assert_eq!(back(hub, &silent, stored[0], "").await, Some(vec![]));
    };
    for hub in [fixture.hub.clone(), fixture.another(&options)] {
        told(&hub, &[]).await;
    }
    fixture.nats.restart().unwrap();
    let next = fixture.publish(&room, 9).await;
    for hub in [fixture.another(&options), fixture.hub.clone()] {
        told(&hub, &[next]).await;
    }
    let without = EdgeOptions { history_notes: false, ..options };
    assert_eq!(back(&fixture.another(&without), &room, stored[2], "").await, None);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_before_it_was_noted_is_not_known() {
    let options = EdgeOptions { history_notes: false, ..EdgeOptions::default() };
    let fixture = fixture(options.clone()).await;
    let (room, noise) = (key("t", "room:a"), key("t", "room:b"));
    let first = fixture.publish(&room, 0).await;
    note(&fixture.hub, first).await;
    // No node notes these.
    let second = fixture.publish(&room, 1).await;
    let last = fixture.publish(&noise, 2).await;
    age(&fixture).await;
    let later = fixture.publish(&noise, 3).await;
    let hub = fixture.another(&EdgeOptions::default());
    for at in 0..last {
        assert_eq!(back(&hub, &room, at, "").await, None, "{at}");
        assert_eq!(back(&hub, &noise, at, "").await, None, "{at}");
    }
    // Notes go on from what was there.
    note(&hub, u64::MAX).await;
    for at in 0..last {
        assert_eq!(back(&hub, &room, at, "").await, None, "{at}");
    }
    assert_eq!(back(&hub, &noise, last, "").await, Some(vec![later]));
    age(&fixture).await;
    fixture.publish(&room, 4).await;
    // The other one keeps what went for a moment.
    let hub = fixture.another(&EdgeOptions::default());
    assert_eq!(back(&hub, &noise, later, "").await, Some(vec![]));
    assert_eq!(back(&hub, &noise, last, "").await, None);
    assert_eq!(back(&hub, &room, second, "").await, None);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_do_not_bring_back_what_other_limits_and_hands_took() {
    let options = EdgeOptions::default();
    let fixture = fixture_keeping(options.clone(), 5).await;
    let (busy, room, noise) = (key("t", "room:busy"), key("t", "room:a"), key("t", "room:b"));
    let many = fixture.publish_many(&busy, 0..12).await;
    let stored = fixture.publish_many(&room, 0..3).await;
    let last = fixture.publish(&noise, 0).await;
    note(&fixture.hub, u64::MAX).await;
    assert_eq!(history::remove(&fixture.bus, &room.subject).await, Ok(3));
    assert_eq!(back(&fixture.another(&options), &busy, many[3], "").await, None);
    age(&fixture).await;
    let later = fixture.publish(&noise, 1).await;
    // Pushes out some that were never noted.
    let more = fixture.publish_many(&busy, 20..27).await;
    for hub in [fixture.hub.clone(), fixture.another(&options)] {
        assert_eq!(back(&hub, &busy, many[10], "").await, None);
        assert_eq!(back(&hub, &busy, many[11], "").await, None);
        assert_eq!(back(&hub, &busy, more[1], "").await, Some(more[2..].to_vec()));
        assert_eq!(back(&hub, &room, stored[1], "").await, None);
        assert_eq!(back(&hub, &room, stored[2], "").await, Some(vec![]));
        assert_eq!(back(&hub, &noise, last, "").await, Some(vec![later]));
        assert_eq!(back(&hub, &noise, many[0], "").await, None);
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn size_takes_no_message_before_it_is_noted() {
    let options = EdgeOptions::default();
    let fixture = fixture(options.clone()).await;
    change(&fixture, |config| config.max_messages = 20).await;
    let (room, noise) = (key("t", "room:a"), key("t", "room:b"));
    let stored = fixture.publish_many(&room, 0..2).await;
    fixture.publish_many(&noise, 0..10).await;
    let look = async || {
        let stream = fixture.bus.position(CHANNELS).await.unwrap();
        assert!(stream.filling);
        let old = Old::of(&stream);
        while step(&fixture.hub.0, &stream, &old).await.unwrap() {}
        fixture.hub.0.source.noted().await.unwrap().noted.unwrap().upto()
    };
    assert_eq!(look().await, 6);
    fixture.publish_many(&noise, 10..26).await;
    assert_eq!(fixture.bus.position(CHANNELS).await.unwrap().first, 9);
    // Two were not noted in time, and the room's last one could be one of them.
    assert_eq!(back(&fixture.another(&options), &room, stored[1], "").await, None);
    assert!(look().await > 9);
    assert_eq!(back(&fixture.another(&options), &room, stored[1], "").await, None);
    assert_eq!(back(&fixture.another(&options), &room, 8, "").await, Some(vec![]));
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_nodes_note_the_same_and_the_slower_one_stores_nothing() {
    let options = EdgeOptions::default();
    let fixture = fixture(options.clone()).await;
    let hubs = [fixture.hub.clone(), fixture.another(&options), fixture.another(&options)];
    let rooms: Vec<_> = (0..40).map(|one| key("t", &format!("room:{one}"))).collect();
    let mut lasts = vec![0; rooms.len()];
    for round in 0..5 {
        for (at, room) in rooms.iter().enumerate().skip(round * 3) {
            lasts[at] = fixture.publish(room, round as u64).await;
        }
        futures::future::join_all(hubs.iter().map(|hub| note(hub, u64::MAX))).await;
        let noted = fixture.hub.0.source.noted().await.unwrap().noted.unwrap();
        assert_eq!(noted.upto(), *lasts.iter().max().unwrap());
        for (room, last) in rooms.iter().zip(&lasts) {
            assert_eq!(fixture.hub.0.source.note(room).await, Ok(Some(*last)));
        }
    }
    // Whoever stands on an older word is refused as a whole.
    let word = fixture.hub.0.source.noted().await.unwrap();
    let stale = super::super::notes::Noted::begin(
        &fixture.bus.position(CHANNELS).await.unwrap(),
        clock::now(),
    );
    let lie = [(rooms[0].subject.as_str(), 1)].into();
    let refused = super::super::noter::store(&fixture.hub.0, &stale, word.revision - 1, &lie).await;
    assert_eq!(refused, Err(PublishError::WrongLastSequence));
    assert_eq!(fixture.hub.0.source.note(&rooms[0]).await, Ok(Some(lasts[0])));
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_of_another_stream_or_none_prove_nothing() {
    let options = EdgeOptions { history_notes: false, ..EdgeOptions::default() };
    let fixture = fixture(options.clone()).await;
    let (room, noise) = (key("t", "room:a"), key("t", "room:b"));
    let stored = fixture.publish_many(&room, 0..3).await;
    note(&fixture.hub, u64::MAX).await;
    let epoch = fixture.bus.position(CHANNELS).await.unwrap().epoch;
    age(&fixture).await;
    fixture.publish(&noise, 0).await;
    let noting = EdgeOptions::default();
    assert_eq!(back(&fixture.another(&noting), &room, stored[2], &epoch).await, Some(vec![]));
    fixture.bus.jetstream().delete_stream(CHANNELS).await.unwrap();
    topology::apply(&fixture.bus, &topology::platform(TopologyOptions::default())).await.unwrap();
    // As many as before, and the room's later than its note says.
    fixture.publish_many(&noise, 20..25).await;
    let last = fixture.publish(&room, 9).await;
    age(&fixture).await;
    fixture.publish(&noise, 30).await;
    let hub = fixture.another(&noting);
    for at in 0..last {
        assert_eq!(back(&hub, &room, at, &epoch).await, None, "{at}");
        assert_eq!(back(&hub, &room, at, "").await, None, "{at}");
    }
    fixture.bus.jetstream().delete_stream(HISTORY_NOTES).await.unwrap();
    let hub = fixture.another(&noting);
    assert_eq!(back(&hub, &room, stored[2], "").await, None);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_note_by_themselves_before_age_takes_anything() {
    let options = EdgeOptions::default();
    let fixture = fixture(options.clone()).await;
    change(&fixture, |config| {
        config.duplicate_window = Duration::from_secs(1);
        config.max_age = Duration::from_secs(2);
    })
    .await;
    let (room, noise) = (key("t", "room:a"), key("t", "room:b"));
    fixture.another(&options);
    // A busy machine may be late, which is safe; it is not late every time.
    for number in 0..20 {
        let stored = fixture.publish_many(&room, 2 * number..2 * number + 2).await;
        fixture.publish(&noise, 2 * number).await;
        until(async || fixture.bus.position(CHANNELS).await.unwrap().messages == 0).await;
        fixture.publish(&noise, 2 * number + 1).await;
        let hub = fixture.another(&options);
        assert_eq!(back(&hub, &room, stored[0], "").await, None);
        if back(&hub, &room, stored[1], "").await == Some(vec![]) {
            return fixture.end().await;
        }
    }
    panic!("no node notes anything");
}
