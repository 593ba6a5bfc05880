//! What a trace shows, and what it must not.

use prost::Message as _;

use super::*;
use crate::codes::error;
use crate::encode;
use crate::proto::Protocol;
use crate::proto::protobuf::replies as r;

const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl";

fn value(map: Shown) -> Value {
    Value::Object(map)
}

#[test]
fn without_payloads_a_line_has_names_sizes_and_codes_only() {
    let frame = format!(
        "{{\"id\":1,\"connect\":{{\"token\":\"{TOKEN}\"}}}}\n{{\"id\":2,\"publish\":{{\"channel\":\"room:secret\",\"data\":1}}}}\n{{}}\n"
    );
    let lines: Vec<Value> = text(&frame, false).into_iter().map(value).collect();
    let bytes = frame.split('\n').next().unwrap().len();
    let connect = json!({"kind": "command", "method": "connect", "id": 1, "bytes": bytes});
    assert_eq!(lines[0], connect);
    assert_eq!((&lines[1]["method"], &lines[1]["id"]), (&json!("publish"), &json!(2)));
    assert_eq!(lines[2]["kind"], "pong");
    let all = Value::from(lines).to_string();
    assert!(!all.contains("eyJ") && !all.contains("room:secret"), "{all}");
    assert_eq!(value(text("not json", true).remove(0))["kind"], "malformed");
}

#[test]
fn secrets_are_taken_out_of_payloads_wherever_they_stand() {
    let command = json!({"id": 1, "connect": {
        "token": TOKEN,
        "headers": {"Cookie": "a=b"},
        "data": {"deep": [{"Password": "p"}, {"link": format!("https://x/?t={TOKEN}&u=1")}], "ok": 1},
    }});
    let shown = value(text(&command.to_string(), true).remove(0));
    let said = shown.to_string();
    for secret in ["eyJ", "a=b", "\"p\"", "c2lnbmF0dXJl"] {
        assert!(!said.contains(secret), "{secret} in {said}");
    }
    assert_eq!(shown["payload"]["data"]["ok"], 1);
    assert_eq!(shown["payload"]["token"], REDACTED);
    let reply = Encoded::from(r#"{"id":1,"connect":{"client":"c","session":"s3cret"}}"#.to_owned());
    let shown = value(encoded(&reply, false, true));
    assert_eq!(shown["payload"]["connect"], json!({"client": "c", "session": REDACTED}));
    let mut deep = Value::Null;
    (0..100).for_each(|_| deep = json!([deep]));
    assert!(scrubbed(deep).to_string().contains(REDACTED));
    assert!(scrubbed(json!({"x": "y".repeat(40_000)}))["cut_bytes"].is_number());
}

#[test]
fn replies_and_pushes_are_told_apart_in_both_protocols() {
    for protocol in [Protocol::Json, Protocol::Protobuf] {
        let refusal = encode::error(protocol, 7, error::LIMIT_EXCEEDED);
        let shown = value(encoded(&refusal, false, false));
        assert_eq!(
            (&shown["kind"], &shown["id"], &shown["code"]),
            (&json!("reply"), &json!(7), &json!(106))
        );
        let plain =
            value(encoded(&encode::plain(protocol, 8, encode::Plain::Publish), false, false));
        assert_eq!((&plain["method"], &plain["id"]), (&json!("publish"), &json!(8)));
        assert_eq!(value(encoded(&encode::ping(protocol), false, true))["kind"], "ping");
        let why = crate::codes::unsubscribe::EXPIRED;
        let push = value(encoded(&encode::unsubscribe_push(protocol, "c", why), false, false));
        assert_eq!(
            (&push["kind"], &push["method"], &push["code"]),
            (&json!("push"), &json!("unsubscribe"), &json!(2501))
        );
    }
}

#[test]
fn a_protobuf_push_shows_its_data_only_if_asked() {
    let publication =
        r::Publication { data: Bytes::from_static(b"{\"n\":1}"), ..Default::default() };
    let reply = r::Reply {
        push: Some(r::Push {
            channel: "room:a".to_owned(),
            publication: Some(publication.encode_to_vec().into()),
            ..Default::default()
        }),
        ..Default::default()
    };
    let message = Encoded::Binary(reply.encode_length_delimited_to_vec().into());
    let shown = value(encoded(&message, false, true));
    assert_eq!(shown["payload"], json!({"channel": "room:a", "data": {"n": 1}}));
    assert_eq!(value(encoded(&message, false, false)).get("payload"), None);
    let bare = reply.push.unwrap().encode_length_delimited_to_vec();
    let shown = value(encoded(&Encoded::Binary(bare.into()), true, false));
    assert_eq!((&shown["kind"], &shown["method"]), (&json!("push"), &json!("pub")));
    let broken = Encoded::Binary(Bytes::from_static(&[5, 0xff, 0xff]));
    assert_eq!(value(encoded(&broken, false, true))["kind"], "malformed");
}

proptest::proptest! {
    /// Whatever stands in a frame: no panic, and nothing that looks like a token comes out.
    #[test]
    fn any_frame_can_be_shown(frame in proptest::collection::vec(proptest::num::u8::ANY, 0..200), line in "\\PC{0,100}") {
        let bytes = Bytes::from(frame);
        let _ = binary(&bytes, true);
        let _ = encoded(&Encoded::Binary(bytes), false, true);
        let text_lines = text(&format!("{{\"rpc\":{{\"data\":{}}}}}", json!(format!("{line}{TOKEN}"))), true);
        let all = Value::from(text_lines.into_iter().map(value).collect::<Vec<_>>()).to_string();
        proptest::prop_assert!(!all.contains("eyJ"));
    }
}
