//! The rules of a notification's body, one line each.

use super::*;
use crate::gateway::problem::Code;

const NOW: Micros = Micros(1_800_000_000_000_000);

fn check(json: &str) -> Result<Draft, Problem> {
    let input = serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"));
    Draft::check(input, "", &GatewayOptions::default(), NOW)
}

fn assert_refused(json: &str, pointer: &str, code: FieldCode) {
    let problem = check(json).expect_err(json);
    assert_eq!(problem.code, Code::ValidationFailed, "{json}");
    let found = problem.errors.iter().any(|error| error.pointer == pointer && error.code == code);
    assert!(found, "{json}: {:?}", problem.errors);
}

#[test]
fn wrong_recipients_are_named_by_pointer_and_code() {
    let long_name = "x".repeat(10_000);
    let ids = |n: usize| (0..n).map(|i| format!("\"u{i}\"")).collect::<Vec<_>>().join(",");
    let many = format!(r#"{{"to":[{}],"content":{{"title":"x"}}}}"#, ids(101));
    let long = format!(r#"{{"to":"{long_name}","content":{{"title":"x"}}}}"#);
    for (json, pointer, code) in [
        (r#"{"to":[],"content":{"title":"x"}}"#, "/to", FieldCode::Empty),
        (many.as_str(), "/to", FieldCode::TooMany),
        (r#"{"to":"","content":{"title":"x"}}"#, "/to", FieldCode::Empty),
        (long.as_str(), "/to", FieldCode::TooLong),
        (r#"{"to":"a\nb","content":{"title":"x"}}"#, "/to", FieldCode::InvalidName),
        (r#"{"to":["a","a"],"content":{"title":"x"}}"#, "/to/1", FieldCode::Duplicate),
        (
            r#"{"to":{"id":"a","email":"nope"},"content":{"title":"x"}}"#,
            "/to/email",
            FieldCode::InvalidEmail,
        ),
        (
            r#"{"to":[{"id":"a","phone":"123"}],"content":{"title":"x"}}"#,
            "/to/0/phone",
            FieldCode::InvalidPhone,
        ),
        (
            r#"{"to":{"id":"a","webhook_url":"ftp://x"},"content":{"title":"x"}}"#,
            "/to/webhook_url",
            FieldCode::InvalidUrl,
        ),
    ] {
        assert_refused(json, pointer, code);
    }
}

#[test]
fn wrong_contents_are_named_by_pointer_and_code() {
    for (json, pointer, code) in [
        (r#"{"to":"a"}"#, "/content", FieldCode::MissingField),
        (r#"{"to":"a","template":"t","content":{"title":"x"}}"#, "/content", FieldCode::Conflict),
        (r#"{"to":"a","content":{"title":"x"},"data":{}}"#, "/data", FieldCode::Conflict),
        (r#"{"to":"a","content":{"title":"  "}}"#, "/content/title", FieldCode::Empty),
        (
            r#"{"to":"a","content":{"title":"x\r\nBcc: y"}}"#,
            "/content/title",
            FieldCode::InvalidName,
        ),
        (
            r#"{"to":"a","content":{"title":"x","url":"javascript:1"}}"#,
            "/content/url",
            FieldCode::InvalidUrl,
        ),
        (r#"{"to":"a","template":""}"#, "/template", FieldCode::Empty),
        (r#"{"to":"a","template":"t","channels":[]}"#, "/channels", FieldCode::Empty),
        (
            r#"{"to":"a","template":"t","channels":["sms","sms"]}"#,
            "/channels/1",
            FieldCode::Duplicate,
        ),
    ] {
        assert_refused(json, pointer, code);
    }
}

#[test]
fn wrong_times_and_labels_are_named_by_pointer_and_code() {
    let labels = (0..17).map(|i| format!("\"k{i}\":\"v\"")).collect::<Vec<_>>().join(",");
    let labels = format!(r#"{{"to":"a","content":{{"title":"x"}},"metadata":{{{labels}}}}}"#);
    for (json, pointer, code) in [
        (r#"{"to":"a","template":"t","send_at":"tomorrow"}"#, "/send_at", FieldCode::InvalidTime),
        (
            r#"{"to":"a","template":"t","send_at":"2999-01-01T00:00:00Z"}"#,
            "/send_at",
            FieldCode::OutOfRange,
        ),
        (
            r#"{"to":"a","template":"t","delay_seconds":2592001}"#,
            "/delay_seconds",
            FieldCode::OutOfRange,
        ),
        (
            r#"{"to":"a","template":"t","delay_seconds":1,"send_at":"2027-01-16T00:00:00Z"}"#,
            "/delay_seconds",
            FieldCode::Conflict,
        ),
        (
            r#"{"to":"a","template":"t","expires_at":"1999-01-01T00:00:00Z"}"#,
            "/expires_at",
            FieldCode::OutOfRange,
        ),
        (labels.as_str(), "/metadata", FieldCode::TooMany),
        (r#"{"to":"a","template":"t","metadata":{"":"v"}}"#, "/metadata", FieldCode::Empty),
    ] {
        assert_refused(json, pointer, code);
    }
}

#[test]
fn all_errors_are_reported_at_once_and_under_their_prefix() {
    let json = r#"{"to":[{"id":"a","email":"x"},{"id":"b","phone":"y"}],"content":{"title":""},"channels":[]}"#;
    let input = serde_json::from_str(json).unwrap();
    let problem =
        Draft::check(input, "/notifications/3", &GatewayOptions::default(), NOW).unwrap_err();
    let pointers: Vec<_> = problem.errors.iter().map(|error| error.pointer.as_str()).collect();
    assert_eq!(
        pointers,
        [
            "/notifications/3/to/0/email",
            "/notifications/3/to/1/phone",
            "/notifications/3/content/title",
            "/notifications/3/channels"
        ]
    );
}

#[test]
fn names_that_look_like_subjects_are_harmless_and_allowed() {
    for name in ["*", ">", "a.b", "inbox.>", "🔔", "a b", "=2A"] {
        let json = serde_json::json!({ "to": name, "content": { "title": "x" } }).to_string();
        assert_eq!(check(&json).unwrap().to[0].id, name);
    }
}

#[test]
fn a_good_body_becomes_the_command() {
    let draft = check(
        r#"{"to":["a",{"id":"b","email":"b@x.org"}],"template":"t","data":{"n":1},"channels":["email"],
            "priority":"bulk","delay_seconds":60,"metadata":{"order":"7"}}"#,
    )
    .unwrap();
    let id = NotificationId::fresh();
    let request = draft.into_request(id, "acme", NOW, TraceParent::fresh());
    assert_eq!((request.id, request.tenant.as_str(), request.accepted_at), (id, "acme", NOW));
    assert_eq!(request.send_at, Some(NOW.plus_seconds(60)));
    assert_eq!((request.to[0].inline, request.to[1].inline), (false, true));
    assert_eq!(request.priority, Priority::Bulk);
    assert!(
        matches!(request.content, Content::Template { key, data } if key == "t" && data["n"] == 1)
    );
}

#[test]
fn a_time_that_has_passed_means_now() {
    assert_eq!(
        check(r#"{"to":"a","template":"t","send_at":"1999-01-01T00:00:00Z"}"#).unwrap().send_at,
        None
    );
    assert_eq!(check(r#"{"to":"a","template":"t","delay_seconds":0}"#).unwrap().send_at, None);
}
