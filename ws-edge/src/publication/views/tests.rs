//! Every view of a publication gives the client the payload that was stored.

use std::sync::Arc;

use campana_bus::subjects::ChannelName;
use proptest::prelude::*;
use prost::Message as _;
use serde_json::Value;

use super::*;
use crate::proto::protobuf::replies as wire;
use crate::publication::ChannelKey;

fn key() -> Arc<ChannelKey> {
    let key = ChannelKey::new("t", ChannelName::parse("news:x").unwrap());
    Arc::new(key.numbered(300))
}

fn pair(base: &[u8], body: &[u8]) -> Published {
    let one = Published::new(&key(), 9, None, body, None);
    one.follow(7, Bytes::copy_from_slice(base));
    one
}

fn json(one: &Published, form: Form, compact: bool) -> Value {
    let view = View { protocol: Protocol::Json, form, compact };
    let Some(Encoded::Text(text)) = one.push(view) else { panic!() };
    assert!(!text.as_str().contains('\n'));
    serde_json::from_str::<Value>(text.as_str()).unwrap()["push"].take()
}

fn protobuf(one: &Published, form: Form, compact: bool) -> (wire::Push, wire::Publication) {
    let view = View { protocol: Protocol::Protobuf, form, compact };
    let Some(Encoded::Binary(bytes)) = one.push(view) else { panic!() };
    let push = wire::Reply::decode_length_delimited(bytes).unwrap().push.unwrap();
    let publication = wire::Publication::decode(push.publication.clone().unwrap()).unwrap();
    (push, publication)
}

/// What an SDK makes of a publication when differences were agreed on: it keeps the text it got.
fn read_json(push: &Value, kept: &str) -> (String, bool) {
    let text = push["pub"]["data"].as_str().unwrap();
    if push["pub"]["delta"] == true {
        let whole = fossil_delta::apply(kept.as_bytes(), text.as_bytes()).unwrap();
        (String::from_utf8(whole).unwrap(), true)
    } else {
        (text.to_owned(), false)
    }
}

fn check(base: &[u8], body: &[u8]) -> (bool, bool) {
    let one = pair(base, body);
    let kept = encode::payload(base).unwrap().into_owned();
    let wanted = encode::payload(body).unwrap().into_owned();
    let mut patched = (false, false);
    for compact in [false, true] {
        let push = json(&one, Form::Patch, compact);
        let (read, was_patch) = read_json(&push, &kept);
        assert_eq!(read, wanted);
        patched.0 = was_patch;
        assert_eq!(push["id"].as_u64(), compact.then_some(300));
        assert_eq!(push["channel"].as_str(), (!compact).then_some("news:x"));
        let (push, publication) = protobuf(&one, Form::Patch, compact);
        let read = match publication.delta {
            true => fossil_delta::apply(base, &publication.data).unwrap(),
            false => publication.data.to_vec(),
        };
        assert_eq!(read, body);
        patched.1 = publication.delta;
        assert_eq!((push.id, push.channel.as_str()), (0, "news:x"));
    }
    patched
}

#[test]
fn what_changes_little_is_sent_as_a_difference() {
    let base = format!("{{\"lines\":\"{}\",\"n\":1}}", "the same words again ".repeat(20));
    let body = base.replace("\"n\":1", "\"n\":2");
    assert_eq!(check(base.as_bytes(), body.as_bytes()), (true, true));
    let one = pair(base.as_bytes(), body.as_bytes());
    let patch = json(&one, Form::Patch, false)["pub"]["data"].as_str().unwrap().len();
    assert!(patch < 40, "{patch}");
    assert!(one.follows(7) && !one.follows(8));
}

#[test]
fn what_has_nothing_in_common_is_sent_whole() {
    assert_eq!(check(b"{\"a\":1}", b"[true]"), (false, false));
    assert_eq!(check(b"", b"\"x\""), (false, false));
    let one = Published::new(&key(), 9, None, b"{}", None);
    assert_eq!(json(&one, Form::Patch, false)["pub"]["data"], "{}");
    assert!(!one.follows(0));
}

#[test]
fn a_difference_that_cuts_a_character_is_not_sent_as_json() {
    // The two bells differ in their last byte: copies end within the character.
    let base = format!("\"{}\u{1f514}{}\"", "a".repeat(40), "b".repeat(40));
    let body = format!("\"{}\u{1f515}{}\"", "a".repeat(40), "b".repeat(40));
    assert_eq!(check(base.as_bytes(), body.as_bytes()), (false, true));
}

#[test]
fn what_nobody_agreed_on_is_the_payload_itself() {
    let one = pair(b"{\"a\":1}", b"{\"a\":2}");
    assert_eq!(json(&one, Form::Plain, false)["pub"]["data"]["a"], 2);
    assert_eq!(json(&one, Form::Plain, true)["id"], 300);
    assert_eq!(json(&one, Form::Whole, false)["pub"]["data"], "{\"a\":2}");
    assert_eq!(
        one.json_object(Form::Whole).unwrap().as_str(),
        r#"{"data":"{\"a\":2}","offset":9}"#
    );
    let unnumbered = ChannelKey::new("t", ChannelName::parse("x").unwrap());
    let one = Published::new(&Arc::new(unnumbered), 9, None, b"1", None);
    assert_eq!(json(&one, Form::Plain, true)["channel"], "x");
}

#[test]
fn bodies_that_are_too_large_are_not_compared() {
    let large = format!("\"{}\"", "x".repeat(DELTA_BYTES_MAX));
    assert!(!pair(large.as_bytes(), b"1").follows(7));
    assert!(!pair(b"1", large.as_bytes()).follows(7));
}

proptest! {
    #[test]
    fn every_difference_gives_the_payload_back(
        base in "\\PC{0,300}",
        body in "\\PC{0,300}",
        at in 0_usize..300,
        cut in 0_usize..40,
    ) {
        check(base.as_bytes(), body.as_bytes());
        // A small change somewhere, at any character.
        let at = base.floor_char_boundary(at);
        let end = base.floor_char_boundary(at + cut);
        let changed = format!("{}{}{}", &base[..at], body, &base[end.max(at)..]);
        check(base.as_bytes(), changed.as_bytes());
        check(base.repeat(4).as_bytes(), changed.repeat(4).as_bytes());
    }
}
