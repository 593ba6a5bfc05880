//! Events through both modes and back, and messages that are none.

use proptest::prelude::*;

use super::*;

fn full() -> CloudEvent {
    CloudEvent {
        subject: Some("Zoë's order “№ 7” 100% 😀".to_owned()),
        time: Some("2026-11-22T01:02:03.000000004+01:00".to_owned()),
        datacontenttype: Some("application/json".to_owned()),
        dataschema: Some("https://example.com/schemas/order?v=1#x".to_owned()),
        extensions: [("partitionkey", "a b"), ("traceid4", "x\"y\\"), ("empty", "")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        data: Some(Bytes::from_static(br#"{ "order":  1.50, "name": "Zo\u00eb" }"#)),
        ..CloudEvent::new("id 1 é", "/shop/é", "com.example.order created")
    }
}

fn back(message: &Outgoing) -> Result<CloudEvent, CloudEventError> {
    CloudEvent::from_message(&message.headers, &message.payload)
}

#[test]
fn both_modes_keep_everything() {
    for event in [full(), CloudEvent::new("1", "s", "t")] {
        assert_eq!(back(&event.to_outgoing("x").unwrap()).unwrap(), event);
        assert_eq!(back(&event.to_structured("x").unwrap()).unwrap(), event);
    }
}

#[test]
fn headers_are_what_the_binding_says() {
    let message = full().to_outgoing("x").unwrap();
    let header = |name: &str| headers::get(&message.headers, name).unwrap().to_owned();
    assert_eq!(header("ce-id"), "id%201%20%C3%A9");
    assert_eq!(header("ce-type"), "com.example.order%20created");
    assert_eq!(header("ce-specversion"), "1.0");
    assert_eq!(header("ce-datacontenttype"), "application/json");
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(header("ce-traceid4"), "x%22y\\");
    assert_eq!(message.message_id, "id 1 é");
    assert!(message.headers.iter().all(|(_, values)| {
        values.iter().all(|value| value.as_str().bytes().all(|byte| (0x21..=0x7e).contains(&byte)))
    }));
}

#[test]
fn bodies_of_every_kind_survive_structured_mode() {
    let cases: [(&str, &[u8], &str); 4] = [
        ("application/json", b"[1, 2 ]", r#""data":[1, 2 ]"#),
        ("application/vnd.x+json; charset=utf-8", b"null", r#""data":null"#),
        ("text/plain", "grüße \"x\"".as_bytes(), r#""data":"grüße \"x\"""#),
        ("application/octet-stream", &[0xff, 0x00, 0x80], r#""data_base64":"/wCA""#),
    ];
    for (media, data, expected) in cases {
        let event = CloudEvent {
            datacontenttype: Some(media.to_owned()),
            data: Some(Bytes::copy_from_slice(data)),
            ..CloudEvent::new("1", "s", "t")
        };
        let message = event.to_structured("x").unwrap();
        let text = std::str::from_utf8(&message.payload).unwrap();
        assert!(text.contains(expected), "{text}");
        // JSON null is the one body that the format cannot tell from no body.
        if data != b"null" {
            assert_eq!(back(&message).unwrap(), event);
        }
    }
    let not_json =
        CloudEvent { data: Some(Bytes::from_static(b"{")), ..CloudEvent::new("1", "s", "t") };
    assert!(not_json.to_structured("x").is_err());
}

#[test]
fn typed_attributes_of_json_become_their_canonical_text() {
    let body = br#"{"specversion":"1.0","id":"1","source":"s","type":"t","subject":null,
        "flag":true,"number":-42,"text":"x"}"#;
    let event = CloudEvent::from_structured(body).unwrap();
    assert_eq!(event.subject, None);
    let values: Vec<&str> = event.extensions.values().map(String::as_str).collect();
    assert_eq!(values, ["true", "-42", "x"]);
}

fn message(pairs: &[(&str, &str)]) -> Result<CloudEvent, CloudEventError> {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.insert(*name, *value);
    }
    CloudEvent::from_message(&map, &Bytes::new())
}

const REQUIRED: [(&str, &str); 4] =
    [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "s"), ("ce-type", "t")];

fn with(name: &str, value: &str) -> Result<CloudEvent, CloudEventError> {
    let others = REQUIRED.into_iter().filter(|(other, _)| *other != name);
    message(&others.chain([(name, value)]).collect::<Vec<_>>())
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    for (name, _) in REQUIRED {
        let others: Vec<_> = REQUIRED.into_iter().filter(|(other, _)| *other != name).collect();
        let said = message(&others).unwrap_err().to_string();
        assert!(said.contains(&format!("`{}`", &name[3..])), "{name}: {said}");
    }
    assert_eq!(with("ce-id", ""), Err(CloudEventError::Missing("id")));
    assert_eq!(with("ce-specversion", "0.3"), Err(CloudEventError::SpecVersion("0.3".into())));
    let cases = [
        ("ce-subject", "%C0%A0", "UTF-8"),
        ("ce-subject", "a%0Ab", "control"),
        ("ce-subject", "", "empty"),
        ("ce-time", "yesterday", "RFC 3339"),
        ("ce-bad-name", "x", "`bad-name`"),
        ("ce-bad_name", "x", "`bad_name`"),
        ("ce-", "x", "``"),
        ("ce-data", "x", "`data`"),
    ];
    for (name, value, expected) in cases {
        let said = with(name, value).unwrap_err().to_string();
        assert!(said.contains(expected), "{name}={value}: {said}");
    }
}

#[test]
fn structured_bodies_that_are_none_are_refused() {
    let required = r#""specversion":"1.0","id":"1","source":"s","type":"t""#;
    let cases = [
        ("{}".to_owned(), "specversion"),
        ("[]".to_owned(), "cannot be read"),
        ("nonsense".to_owned(), "cannot be read"),
        (format!(r#"{{{required},"data":1,"data_base64":"AA=="}}"#), "data_base64"),
        (format!(r#"{{{required},"data_base64":"*"}}"#), "Base64"),
        (format!(r#"{{{required},"data_base64":7}}"#), "not a text"),
        (format!(r#"{{{required},"x":{{}}}}"#), "`x`"),
        (format!(r#"{{{required},"x":1.5}}"#), "`x`"),
        (format!(r#"{{{required},"Upper":"x"}}"#), "`Upper`"),
    ];
    for (body, expected) in cases {
        let said = CloudEvent::from_structured(body.as_bytes()).unwrap_err().to_string();
        assert!(said.contains(expected), "{body}: {said}");
    }
    let mut map = HeaderMap::new();
    map.insert("CONTENT-TYPE", "Application/CloudEvents+avro");
    let said = CloudEvent::from_message(&map, &Bytes::new()).unwrap_err();
    assert_eq!(said, CloudEventError::Format("Application/CloudEvents+avro".into()));
}

#[test]
fn other_spellings_are_read() {
    let event = message(&[
        ("CE-SpecVersion", "1.0"),
        ("Ce-Id", "\"a \\\"1\\\"\""),
        ("cE-source", "s"),
        ("ce-TYPE", "t"),
        ("Content-Type", "text/plain"),
        ("ce-muchlongerthantwentyletters", "x"),
    ])
    .unwrap();
    assert_eq!(
        (event.id.as_str(), event.datacontenttype.as_deref()),
        ("a \"1\"", Some("text/plain"))
    );
    assert!(matches!(event.to_outgoing("x"), Err(CloudEventError::Name(_))));
}

proptest! {
    #[test]
    fn any_printable_text_goes_through(id in "[^\\p{C}]{1,40}", value in "[^\\p{C}]{1,40}") {
        let mut event = CloudEvent::new(id, "s", "t");
        event.subject = Some(value.clone());
        event.extensions.insert("x".to_owned(), value);
        // White space around a quoted or bare value is encoded, so it survives.
        prop_assert_eq!(&back(&event.to_outgoing("x").unwrap()).unwrap(), &event);
        prop_assert_eq!(&back(&event.to_structured("x").unwrap()).unwrap(), &event);
    }

    #[test]
    fn no_header_makes_it_panic(name in "ce-[ -~]{0,30}", value in "[ -~]{0,40}") {
        let mut map = HeaderMap::new();
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<async_nats::HeaderValue>()) {
            map.insert(name, value);
        }
        let _ = CloudEvent::from_message(&map, &Bytes::new());
    }

    #[test]
    fn no_body_makes_it_panic(body in any::<Vec<u8>>()) {
        let _ = CloudEvent::from_structured(&body);
    }
}
