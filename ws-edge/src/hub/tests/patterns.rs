//! Patterns: many channels in the stream's order, with what was lost on the way.

use campana_bus::history;
use campana_bus::subjects;

use super::*;

fn pattern(name: &str) -> Arc<ChannelKey> {
    let name = ChannelName::parse(name).unwrap();
    let prefix = name.rest().strip_suffix('*').unwrap();
    let subject = subjects::channel_pattern("t", name.namespace(), prefix);
    Arc::new(ChannelKey::stored(name, subject))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_gets_its_channels_in_the_stream_s_order() {
    for interest in [Interest::Channel, Interest::Namespace] {
        let fixture = fixture(EdgeOptions { interest, ..EdgeOptions::default() }).await;
        let (all, europe) = (pattern("news:*"), pattern("news:eu.*"));
        let (everything, _) = fixture.join(&all, None).await;
        let (some, _) = fixture.join(&europe, None).await;
        // One of the channels is also followed by itself.
        let berlin = key("t", "news:eu.berlin");
        let (single, _) = fixture.join(&berlin, None).await;
        let names = [
            "news:eu.berlin",
            "news:us.nyc",
            "news:eu.#alice",
            "news:eu.paris",
            "room:eu.x",
            "$news:eu.x",
        ];
        let (mut expected, mut expected_some, mut expected_single) = (vec![], vec![], vec![]);
        for number in 0..60 {
            let name = names[number % names.len()];
            let offset = fixture.publish(&key("t", name), number as u64).await;
            fixture.publish(&key("u", name), number as u64).await;
            if name.starts_with("news:") && !name.contains('#') {
                expected.push(offset);
                if name.starts_with("news:eu.") {
                    expected_some.push(offset);
                }
                if name == "news:eu.berlin" {
                    expected_single.push(offset);
                }
            }
        }
        assert_eq!(offsets(&everything, expected.len()).await, expected);
        assert_eq!(offsets(&some, expected_some.len()).await, expected_some);
        assert_eq!(offsets(&single, expected_single.len()).await, expected_single);
        // Who comes back gets the rest, from here and from another node.
        for hub in [fixture.hub.clone(), fixture.another(&EdgeOptions::default())] {
            assert_eq!(back(&hub, &all, expected[3], "").await, Some(expected[4..].to_vec()));
            assert_eq!(
                back(&hub, &europe, expected[3], "").await,
                Some(expected_some.iter().copied().filter(|at| *at > expected[3]).collect())
            );
            assert_eq!(back(&hub, &all, *expected.last().unwrap(), "").await, Some(vec![]));
        }
        // A removal from one of the channels is a hole for the pattern.
        history::remove(&fixture.bus, &berlin.subject).await.unwrap();
        let hub = fixture.another(&EdgeOptions::default());
        assert_eq!(back(&hub, &all, expected[3], "").await, None);
        for (key, mailbox) in [(&all, &everything), (&europe, &some), (&berlin, &single)] {
            fixture.hub.leave(key, mailbox);
        }
        fixture.end().await;
    }
}

/// The chain of one channel says nothing about another: the news of any message brings all.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_another_channel_reveals_what_was_lost() {
    let fixture = fixture(EdgeOptions { linger_ms: 0, ..EdgeOptions::default() }).await;
    let all = pattern("news:*");
    let (mailbox, _) = fixture.join(&all, None).await;
    let before = fixture.publish(&key("t", "news:a"), 0).await;
    assert_eq!(offsets(&mailbox, 1).await, [before]);
    let (namespace, listed) = fixture.hub.0.patterns.remove("ch.t.news").unwrap();
    let lost = [
        fixture.publish(&key("t", "news:a"), 1).await,
        fixture.publish(&key("t", "news:b"), 1).await,
    ];
    let probe = key("t", "news:probe");
    let (probing, _) = fixture.join(&probe, None).await;
    let probed = fixture.publish(&probe, 1).await;
    offsets(&probing, 1).await;
    fixture.hub.0.patterns.insert(namespace, listed);
    let next = fixture.publish(&key("t", "news:c"), 1).await;
    assert_eq!(offsets(&mailbox, 4).await, [lost[0], lost[1], probed, next]);
    fixture.hub.leave(&all, &mailbox);
    fixture.hub.leave(&probe, &probing);
    until(async || fixture.hub.channels() == 0 && fixture.hub.0.patterns.is_empty()).await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rare_channel_in_a_busy_namespace_is_found() {
    let options = EdgeOptions { recovery_page_messages: 10, ..EdgeOptions::default() };
    let fixture = fixture(options).await;
    let rare = pattern("news:rare*");
    let first = fixture.publish(&key("t", "news:rare1"), 0).await;
    fixture.publish_many(&key("t", "news:common"), 0..55).await;
    let second = fixture.publish(&key("t", "news:rare2"), 0).await;
    fixture.publish_many(&key("t", "news:common"), 55..90).await;
    assert_eq!(back(&fixture.hub, &rare, first, "").await, Some(vec![second]));
    assert_eq!(back(&fixture.hub, &rare, second, "").await, Some(vec![]));
    fixture.end().await;
}
