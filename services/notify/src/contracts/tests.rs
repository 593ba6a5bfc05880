//! One sample of every contract version ever shipped: old messages must stay readable for ever. A sample is
//! never edited; a new version gets a new file.

use serde::de::DeserializeOwned;

use super::*;

fn read<T: DeserializeOwned>(sample: &str) -> T {
    serde_json::from_str(sample).unwrap()
}

#[test]
fn requests_of_version_1_are_read() {
    let request: NotificationRequest = read(include_str!("samples/request.v1.json"));
    assert_eq!(request.to.len(), 2);
    assert!(request.to[1].inline);
    assert_eq!(request.channels.as_deref(), Some(&[Channel::InApp, Channel::Email][..]));
    assert_eq!(request.priority, Priority::Critical);
    assert!(matches!(request.content, Content::Template { ref key, .. } if key == "welcome"));
    let smallest: NotificationRequest = read(include_str!("samples/request.v1.minimal.json"));
    assert_eq!(
        (smallest.priority, smallest.channels, smallest.send_at),
        (Priority::Normal, None, None)
    );
    assert_eq!((smallest.stamps, request.stamps), (None, None));
    let stamped: NotificationRequest = read(include_str!("samples/request.v1.stamped.json"));
    assert_eq!(stamped.stamps.as_deref(), Some("boot=0badcafe;accepted=81234567890123"));
}

#[test]
fn deliveries_of_version_1_are_read() {
    let delivery: Delivery = read(include_str!("samples/delivery.v1.json"));
    assert_eq!(delivery.channel, Channel::Email);
    assert_eq!(delivery.message.title, "Welcome, Alice");
}

#[test]
fn outcomes_of_version_1_are_read() {
    let outcomes: Vec<Outcome> = read(include_str!("samples/outcome.v1.json"));
    let kinds: Vec<&str> = outcomes
        .iter()
        .map(|outcome| match outcome.event {
            OutcomeEvent::Scheduled { .. } => "scheduled",
            OutcomeEvent::Planned { .. } => "planned",
            OutcomeEvent::Rejected { .. } => "rejected",
            OutcomeEvent::Attempted(_) => "attempted",
            OutcomeEvent::Confirmed { .. } => "confirmed",
            OutcomeEvent::Read { .. } => "read",
        })
        .collect();
    assert_eq!(kinds, ["scheduled", "planned", "rejected", "attempted", "confirmed", "read"]);
}

#[test]
fn inbox_messages_of_version_1_are_read() {
    let messages: Vec<InboxMessage> = read(include_str!("samples/inbox.v1.json"));
    assert!(matches!(&messages[0], InboxMessage::Notification { title, .. } if title == "Hello"));
    assert!(matches!(&messages[1], InboxMessage::Read { ids, .. } if ids.len() == 1));
}

#[test]
fn marks_of_version_1_are_read() {
    let marks: Vec<InboxMark> = read(include_str!("samples/mark.v1.json"));
    assert!(matches!(&marks[0], InboxMark::Seen { ids, .. } if ids.len() == 2));
    assert!(matches!(&marks[1], InboxMark::Archive { ids, .. } if ids.len() == 1));
    assert!(matches!(&marks[2], InboxMark::Unarchive { at, .. } if at.ends_with('Z')));
    let later: InboxMark = read(r#"{"type":"starred","ids":[],"at":"2030-01-01T00:00:00Z"}"#);
    assert_eq!(later, InboxMark::Unknown);
}

#[test]
fn fields_of_a_newer_writer_are_ignored() {
    let mut newer: serde_json::Value = read(include_str!("samples/request.v1.json"));
    newer["colour"] = "blue".into();
    newer["content"]["tone"] = "warm".into();
    let request: NotificationRequest = serde_json::from_value(newer).unwrap();
    assert_eq!(request, read(include_str!("samples/request.v1.json")));
}

#[test]
fn what_is_written_today_is_what_was_shipped() {
    for sample in
        [include_str!("samples/request.v1.json"), include_str!("samples/request.v1.stamped.json")]
    {
        let sample: serde_json::Value = read(sample);
        let request: NotificationRequest = serde_json::from_value(sample.clone()).unwrap();
        assert_eq!(serde_json::to_value(&request).unwrap(), sample);
    }
    let sample: serde_json::Value = read(include_str!("samples/delivery.v1.json"));
    let delivery: Delivery = serde_json::from_value(sample.clone()).unwrap();
    assert_eq!(serde_json::to_value(&delivery).unwrap(), sample);
    let sample: serde_json::Value = read(include_str!("samples/outcome.v1.json"));
    let outcomes: Vec<Outcome> = serde_json::from_value(sample.clone()).unwrap();
    assert_eq!(serde_json::to_value(&outcomes).unwrap(), sample);
    let sample: serde_json::Value = read(include_str!("samples/mark.v1.json"));
    let marks: Vec<InboxMark> = serde_json::from_value(sample.clone()).unwrap();
    assert_eq!(serde_json::to_value(&marks).unwrap(), sample);
}
