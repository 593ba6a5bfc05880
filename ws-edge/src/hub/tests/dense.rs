//! Channels with streams of their own, and channels that carry a state.

use campana_bus::{history, subjects};

use super::*;
use crate::codes::error;
use crate::options::RecoveryMode;

fn dense(name: &str) -> Arc<ChannelKey> {
    let name = ChannelName::parse(name).unwrap();
    let subject = subjects::dense_channel("t", &name);
    Arc::new(ChannelKey::stored(name, subject))
}

fn options(history_size: usize, dense_idle_seconds: u64) -> EdgeOptions {
    let namespace = NamespaceOptions {
        name: "doc".to_owned(),
        dense_offsets: true,
        history_size,
        dense_idle_seconds,
        ..NamespaceOptions::default()
    };
    EdgeOptions {
        namespaces: vec![namespace],
        dense_channels_max: 3,
        linger_ms: 0,
        check_interval_ms: 100,
        ..EdgeOptions::default()
    }
}

impl Fixture {
    async fn publish_dense(&self, key: &ChannelKey, number: u64) -> u64 {
        let id = format!("{}-{number}", key.subject);
        let message = Outgoing::new(key.subject.as_str(), id, number.to_string().into());
        self.hub.publish_dense(key, message).await.unwrap().sequence
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_have_no_gaps_and_holes_are_seen_exactly() {
    let options = options(5, 0);
    let fixture = fixture(options.clone()).await;
    let (doc, other) = (dense("doc:a"), dense("doc:b"));
    // Made by the first subscriber or by the first publisher.
    let (mailbox, joined) = fixture.join(&doc, None).await;
    assert_eq!(joined.top, 0);
    for number in 1..=4 {
        assert_eq!(fixture.publish_dense(&doc, number).await, number);
        assert_eq!(fixture.publish_dense(&other, number).await, number);
    }
    assert_eq!(offsets(&mailbox, 4).await, [1, 2, 3, 4]);
    let epoch = joined.epoch.to_string();
    for hub in [fixture.hub.clone(), fixture.another(&options)] {
        assert_eq!(back(&hub, &doc, 1, &epoch).await, Some(vec![2, 3, 4]));
        assert_eq!(back(&hub, &doc, 4, &epoch).await, Some(vec![]));
        assert_eq!(back(&hub, &doc, 5, &epoch).await, None);
        assert_eq!(back(&hub, &other, 1, &epoch).await, None);
    }
    for number in 5..=9 {
        fixture.publish_dense(&doc, number).await;
    }
    offsets(&mailbox, 5).await;
    let hub = fixture.another(&options);
    assert_eq!(back(&hub, &doc, 3, "").await, None);
    assert_eq!(back(&hub, &doc, 4, "").await, Some(vec![5, 6, 7, 8, 9]));
    // A removal without a word is a hole like any other.
    let stream =
        fixture.bus.jetstream().get_stream(subjects::stored_in(&doc.subject)).await.unwrap();
    stream.delete_message(7).await.unwrap();
    let hub = fixture.another(&options);
    assert_eq!(back(&hub, &doc, 5, "").await, None);
    assert_eq!(back(&hub, &doc, 7, "").await, Some(vec![8, 9]));
    assert_eq!(history::remove(&fixture.bus, &doc.subject).await, Ok(4));
    let hub = fixture.another(&options);
    assert_eq!(back(&hub, &doc, 7, "").await, None);
    assert_eq!(back(&hub, &doc, 9, "").await, Some(vec![]));
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_their_own_are_few_and_go_when_nobody_uses_them() {
    let fixture = fixture(options(5, 2)).await;
    let docs: Vec<_> = (0..4).map(|number| dense(&format!("doc:{number}"))).collect();
    let (mailbox, joined) = fixture.join(&docs[0], None).await;
    for doc in &docs[1..3] {
        fixture.publish_dense(doc, 1).await;
    }
    let join = Join { ticket: 1, key: Arc::clone(&docs[3]), since: None, reach: 9, delta: false };
    let refused = fixture.hub.join(&join, &mailbox, || ()).await;
    assert_eq!(refused.err(), Some(error::LIMIT_EXCEEDED));
    let message = Outgoing::new(docs[3].subject.as_str(), "m", Bytes::from_static(b"1"));
    assert_eq!(fixture.hub.publish_dense(&docs[3], message).await, Err(PublishError::TooLarge));
    // Only the one with a subscriber stays.
    let names = async || fixture.bus.dense_streams(0).await.unwrap().0;
    until(async || names().await.len() == 1).await;
    assert_eq!(names().await[0].subject, docs[0].subject);
    assert_eq!(fixture.publish_dense(&docs[0], 1).await, 1);
    assert_eq!(offsets(&mailbox, 1).await, [1]);
    fixture.hub.leave(&docs[0], &mailbox);
    until(async || names().await.is_empty()).await;
    // It begins anew, and says so.
    until(async || fixture.hub.channels() == 0).await;
    assert_eq!(fixture.publish_dense(&docs[0], 2).await, 1);
    assert_eq!(back(&fixture.hub, &docs[0], 1, &joined.epoch).await, None);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_is_told_when_its_stream_was_deleted() {
    let fixture = fixture(options(5, 0)).await;
    let doc = dense("doc:a");
    let (mailbox, _) = fixture.join(&doc, None).await;
    fixture.bus.jetstream().delete_stream(subjects::stored_in(&doc.subject)).await.unwrap();
    let mut taken = VecDeque::new();
    let lost = async {
        while !taken.iter().any(|push| matches!(push, Push::Lost(_))) {
            mailbox.arrived().await;
            mailbox.take(&mut taken);
        }
    };
    tokio::time::timeout(Duration::from_secs(60), lost).await.unwrap();
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_carries_a_state_gives_its_latest() {
    let namespace = NamespaceOptions {
        name: "state".to_owned(),
        recovery_mode: RecoveryMode::Cache,
        ..NamespaceOptions::default()
    };
    let options = EdgeOptions { namespaces: vec![namespace], ..EdgeOptions::default() };
    let fixture = fixture_keeping(options.clone(), 3).await;
    let state = key("t", "state:a");
    let (_, joined) = fixture.join(&state, None).await;
    let epoch = joined.epoch.to_string();
    // Nothing there: the same state only for who knows it.
    assert_eq!(back(&fixture.hub, &state, 0, "").await, None);
    assert_eq!(back(&fixture.hub, &state, joined.top, &epoch).await, Some(vec![]));
    let stored = fixture.publish_many(&state, 0..6).await;
    for hub in [fixture.another(&options), fixture.hub.clone()] {
        let before = hub.0.source.asked();
        until(async || back(&hub, &state, 0, "").await == Some(vec![stored[5]])).await;
        assert_eq!(back(&hub, &state, stored[0], &epoch).await, Some(vec![stored[5]]));
        assert_eq!(back(&hub, &state, stored[4], "another").await, Some(vec![stored[5]]));
        assert_eq!(back(&hub, &state, stored[5], "").await, Some(vec![stored[5]]));
        assert_eq!(back(&hub, &state, stored[5], &epoch).await, Some(vec![]));
        assert!(hub.0.source.asked() - before <= 10);
    }
    // Fifty at once cost nothing more.
    let before = fixture.hub.0.source.asked();
    let all = (0..50).map(|_| back(&fixture.hub, &state, 0, ""));
    let found: Vec<_> = futures::stream::iter(all).buffer_unordered(50).collect().await;
    assert!(found.iter().all(|found| *found == Some(vec![stored[5]])));
    assert_eq!(fixture.hub.0.source.asked(), before);
    // What is gone is gone.
    history::remove(&fixture.bus, &state.subject).await.unwrap();
    let hub = fixture.another(&options);
    assert_eq!(back(&hub, &state, 0, "").await, None);
    assert_eq!(back(&hub, &state, stored[0], &epoch).await, None);
    assert_eq!(back(&hub, &state, stored[5], &epoch).await, Some(vec![]));
    fixture.end().await;
}
