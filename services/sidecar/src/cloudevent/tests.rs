//! CloudEvents in and out: the three forms, hostile values, and round trips.

use std::sync::Arc;

use campana_bus::consume::Meta;
use campana_bus::headers;
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::declare::Mode;

fn request(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| {
            (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap())
        })
        .collect()
}

const BINARY: [(&str, &str); 5] = [
    ("ce-specversion", "1.0"),
    ("ce-id", "o%201"),
    ("ce-source", "/shop"),
    ("ce-type", "shop.order"),
    ("content-type", "application/json"),
];

#[test]
fn plain_json_is_taken_as_it_is() {
    let body = Bytes::from_static(br#"{"n":1.10}"#);
    let event =
        read(&request(&[("content-type", "application/json; charset=utf-8")]), body.clone());
    assert_eq!(event.unwrap().data, body);
    for (kind, body, code) in [
        ("application/json", "{", Code::InvalidJson),
        ("application/json", "", Code::InvalidJson),
        ("application/json", "1 2", Code::InvalidJson),
        ("text/plain", "x", Code::UnsupportedMediaType),
        ("application/cloudevents-batch+json", "[]", Code::UnsupportedMediaType),
    ] {
        let problem = read(&request(&[("content-type", kind)]), Bytes::from(body)).unwrap_err();
        assert_eq!(problem.code, code, "{kind} {body}");
    }
    assert_eq!(
        read(&HeaderMap::new(), Bytes::from("{}")).unwrap_err().code,
        Code::UnsupportedMediaType
    );
}

#[test]
fn binary_mode_is_read() {
    let mut pairs = BINARY.to_vec();
    pairs.push(("ce-partitionkey", "k%22"));
    let event = read(&request(&pairs), Bytes::from("[]")).unwrap();
    assert_eq!(event.id.as_deref(), Some("o 1"));
    assert_eq!(event.partition_key(), Some("k\""));
    // Any media type may travel in a CloudEvent.
    pairs[4] = ("content-type", "image/png");
    assert_eq!(
        read(&request(&pairs), Bytes::from("\u{1}")).unwrap().content_type.unwrap(),
        "image/png"
    );
}

#[test]
fn broken_events_are_refused() {
    for (at, pair) in [
        (0, ("ce-specversion", "0.3")),
        (1, ("ce-id", "")),
        (1, ("x-id", "1")),
        (1, ("ce-id", "a%0D%0Ab")),
        (2, ("ce-time", "yesterday")),
        (3, ("ce-bad_name", "1")),
    ] {
        let mut pairs = BINARY.to_vec();
        pairs[at] = pair;
        let problem = read(&request(&pairs), Bytes::from("{}")).unwrap_err();
        assert_eq!(problem.code, Code::InvalidEvent, "{pair:?}");
    }
    for body in [
        r#"{"specversion":"1.0","id":"1","source":"s"}"#,
        r#"{"specversion":"1.0","id":1.5,"source":"s","type":"t"}"#,
        r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data":1,"data_base64":"AA=="}"#,
        r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"!"}"#,
        r#"{"specversion":"1.0","id":"1","source":"s","type":"t","Upper":"x"}"#,
        r#"{"specversion":"1.0","id":"1","source":"s","type":"t","ext":{}}"#,
    ] {
        assert_eq!(structured(body.as_bytes()).unwrap_err().code, Code::InvalidEvent, "{body}");
    }
    assert_eq!(structured(b"[]").unwrap_err().code, Code::InvalidJson);
}

#[test]
fn structured_data_keeps_its_bytes() {
    let event = |data: &str| {
        let text = format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t",{data}}}"#);
        structured(text.as_bytes()).unwrap().data
    };
    assert_eq!(
        event(r#""data":{"n": 1.10, "m":12345678901234567890123}"#),
        r#"{"n": 1.10, "m":12345678901234567890123}"#
    );
    assert_eq!(event(r#""data_base64":"AQI=""#), &[1, 2][..]);
    assert_eq!(event(r#""datacontenttype":"text/plain","data":"a\nb""#), "a\nb");
    assert_eq!(event(r#""data":"text""#), "\"text\"");
}

fn meta() -> Meta {
    let mut all = campana_bus::HeaderMap::new();
    headers::set(&mut all, headers::CE_ID, "o%201");
    headers::set(&mut all, headers::ORIGINAL_SUBJECT, "app.default.shop.order=2Ecreated.k1");
    all.insert("ce-datacontenttype", "application/json");
    all.insert("Nats-Msg-Id", "secret");
    Meta {
        stream: Arc::from("EVENTS"),
        consumer: Arc::from("billing"),
        sequence: 7,
        subject: "_retry.EVENTS.billing.7".to_owned(),
        attempt: 2,
        is_last: false,
        redelivered: true,
        redrives: 0,
        message_id: Some("m1".to_owned()),
        trace: None,
        published_at: Micros(1_700_000_000_000_000),
        headers: std::sync::Arc::new(all),
    }
}

const HANDOVER: Handover<'_> = Handover { id: "hnd_1", subscription: "billing", trace: None };

#[test]
fn a_copy_that_came_back_still_says_what_it_is() {
    let payload = Bytes::from_static(br#"{"n": 1.10}"#);
    let (request, body) = write(Mode::Binary, &payload, &meta(), &HANDOVER);
    assert_eq!(body, payload);
    for (name, value) in [
        ("ce-specversion", "1.0"),
        ("ce-id", "o%201"),
        ("ce-source", "shop"),
        ("ce-type", "shop.order.created"),
        ("ce-time", "2023-11-14T22:13:20Z"),
        ("content-type", "application/json"),
        ("campana-attempt", "2"),
        ("campana-tenant", "default"),
        ("campana-event", "order.created"),
        ("campana-key", "k1"),
        ("campana-delivery-id", "hnd_1"),
        ("campana-redelivered", "true"),
    ] {
        assert_eq!(request[name], value, "{name}");
    }
    assert!(!request.contains_key("nats-msg-id") && !request.contains_key("ce-datacontenttype"));
    let (request, body) = write(Mode::Structured, &payload, &meta(), &HANDOVER);
    assert_eq!(request["content-type"], STRUCTURED);
    let back = structured(&body).unwrap();
    assert_eq!((back.id.as_deref(), &back.data), (Some("o 1"), &payload));
}

#[test]
fn a_message_of_another_client_gets_what_it_lacks() {
    let bare = Meta {
        headers: std::sync::Arc::new(campana_bus::HeaderMap::new()),
        subject: "app.t.shop.order".to_owned(),
        message_id: None,
        ..meta()
    };
    let (request, _) = write(Mode::Binary, &Bytes::new(), &bare, &HANDOVER);
    assert_eq!(
        (&request["ce-id"], &request["ce-type"]),
        (&HeaderValue::from_static("EVENTS-7"), &HeaderValue::from_static("shop.order"))
    );
    // Data that is not the JSON it claims to be travels encoded.
    let (_, body) = write(Mode::Structured, &Bytes::from("{oops"), &bare, &HANDOVER);
    assert_eq!(structured(&body).unwrap().data, "{oops");
}

proptest! {
    #[test]
    fn values_survive_the_header(value in "\\PC{1,40}") {
        let encoded = encode(&value);
        prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_graphic()));
        prop_assert_eq!(decode(&encoded), value);
    }

    #[test]
    fn no_body_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = structured(&body);
    }
}
