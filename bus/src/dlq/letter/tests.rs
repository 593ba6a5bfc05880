//! What a letter carries, and what it gives up when it would be too large.

use super::*;

fn failed(headers: &HeaderMap, payload: Bytes) -> Failed<'_> {
    Failed {
        stream: "EVENTS",
        consumer: "orders",
        sequence: 7,
        subject: "app.acme.shop.order",
        headers,
        payload,
        stored_at: Micros(1_700_000_000_000_000),
        first_failure: Some(Micros(1_700_000_001_000_000)),
        attempts: 3,
        class: "permanent",
        reason: "unknown_currency",
        error: "XYZ",
        filed_by: FiledBy::Consumer,
    }
}

const PARKER: Parker<'_> =
    Parker { service: "shop", version: "1.2.3", now: Micros(1_700_000_002_000_000) };

fn stored(letter: &Outgoing) -> StoredMessage {
    StoredMessage {
        subject: letter.subject.clone(),
        sequence: 11,
        time: Micros(0),
        headers: letter.headers.clone(),
        payload: letter.payload.clone(),
    }
}

#[test]
fn a_letter_says_where_its_message_comes_from() {
    let mut all = HeaderMap::new();
    all.append("X-Many", "1");
    all.append("X-Many", "2");
    all.insert("Nats-TTL", "5s");
    all.insert("Nats-Schedule", "@every 1s");
    all.insert("Nats-Msg-Id", "m1");
    all.insert("Campana-Dead-Class", "forged");
    all.insert("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let letter = letter(&failed(&all, Bytes::from_static(b"{}")), PARKER);
    assert_eq!(letter.headers.get_all("X-Many").count(), 2);
    assert_eq!(headers::get(&letter.headers, headers::ORIGINAL_MESSAGE_ID), Some("m1"));
    assert!(letter.headers.iter().all(|(name, _)| {
        let name: &str = name.as_ref();
        !name.to_ascii_lowercase().starts_with("nats-")
    }));
    let seen = view(&stored(&letter));
    assert_eq!((seen.class.as_str(), seen.reason.as_str()), ("permanent", "unknown_currency"));
    assert_eq!((seen.tenant.as_deref(), seen.attempts, seen.sequence), (Some("acme"), 3, 7));
    assert_eq!(seen.service, "shop 1.2.3");
    assert_eq!(seen.first_at, "2023-11-14T22:13:20Z");
    assert_eq!(seen.first_failure_at.as_deref(), Some("2023-11-14T22:13:21Z"));
    assert_eq!(seen.dead_at, "2023-11-14T22:13:22Z");
    assert_eq!(seen.trace_id.as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
    assert!(!seen.host.is_empty());
}

#[test]
fn the_first_failure_that_a_copy_carries_counts_more_than_what_this_process_saw() {
    let mut all = HeaderMap::new();
    all.insert(headers::FIRST_FAILURE, "2023-11-14T22:13:00Z");
    let seen = view(&stored(&letter(&failed(&all, Bytes::new()), PARKER)));
    assert_eq!(seen.first_failure_at.as_deref(), Some("2023-11-14T22:13:00Z"));
}

#[test]
fn a_letter_that_grew_too_large_sheds_headers_and_never_its_body() {
    let mut all = HeaderMap::new();
    for n in 0..40 {
        all.insert(format!("X-Note-{n}").as_str(), "x".repeat(100).as_str());
    }
    all.insert("ce-id", "kept");
    let body = Bytes::from(vec![b'b'; 10_000]);
    let mut one = failed(&all, body.clone());
    let error = "e".repeat(4_000);
    one.error = &error;
    let whole = letter(&one, PARKER);
    let size = wire_size(&whole);
    assert_eq!(fit(whole.clone(), size).unwrap().headers.len(), whole.headers.len());

    let without_text = fit(whole.clone(), size - 1).unwrap();
    assert_eq!(headers::get(&without_text.headers, H_ERROR).unwrap().len(), ERROR_BYTES_SHORT);
    assert!(without_text.headers.get("X-Note-39").is_some());

    let tight = fit(whole.clone(), body.len() + 1_500).unwrap();
    assert!(tight.headers.get("X-Note-39").is_none());
    assert_eq!(headers::get(&tight.headers, H_SHED), Some("40"));
    assert_eq!(headers::get(&tight.headers, "ce-id"), Some("kept"));
    assert_eq!(tight.payload, body);
    assert!(wire_size(&tight) <= body.len() + 1_500);
    let seen = view(&stored(&fit(whole.clone(), body.len() + 700).unwrap()));
    assert_eq!((seen.consumer.as_str(), seen.class.as_str()), ("orders", "permanent"));

    assert!(fit(whole, body.len()).is_none(), "what cannot fit is refused, not cut");
}

#[test]
fn error_texts_become_one_bounded_line() {
    assert_eq!(one_line("a\r\nNats-Rollup: all", 100), "a  Nats-Rollup: all");
    let long = "é".repeat(4_000);
    assert!(one_line(&long, ERROR_BYTES_MAX).len() <= ERROR_BYTES_MAX);
}
