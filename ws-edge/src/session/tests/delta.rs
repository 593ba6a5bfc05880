//! Differences between publications, and numbers for channels' names.

use super::*;

/// A publication of `room:a` that knows the one before it, as the hub makes it.
fn after(base: u64, offset: u64) -> Arc<Published> {
    let body = |at: u64| format!("{{\"text\":\"{}\",\"at\":{at}}}", "the same words ".repeat(9));
    let key = ChannelKey::new("acme", ChannelName::parse("room:a").unwrap()).numbered(7);
    let one = Published::new(&Arc::new(key), offset, None, body(offset).as_bytes(), None);
    one.follow(base, body(base).into());
    Arc::new(one)
}

fn subscribed(protocol: Protocol, request: &Value, joined: Joined) -> World {
    let mut options = options();
    options.namespaces[0].delta = true;
    let mut world = World::speaking(protocol, options);
    world.say(&json!({"id": 1, "connect": {"token": token(3_600)}}));
    world.answer();
    world.sent.clear();
    world.say(&json!({"id": 2, "subscribe": request}));
    let Some(Operation::Join(joins)) = world.waiting.pop() else { panic!() };
    let known = Some(Arc::new(joins[0].key.numbered(7)));
    world.done(Done::Joined(vec![(joins[0].ticket, Ok(Joined { known, ..joined }))]));
    world
}

fn push(world: &mut World, publication: Arc<Published>) -> Value {
    world.sent.clear();
    let mut out = Vec::new();
    world.session.on_publication(publication, &mut out);
    world.take(out);
    world.sent[0]["push"].clone()
}

#[test]
fn the_first_publication_is_whole_and_the_next_ones_are_differences() {
    for protocol in [Protocol::Json, Protocol::Protobuf] {
        let request = json!({"channel": "room:a", "delta": "fossil"});
        let mut world = subscribed(protocol, &request, fresh());
        assert_eq!(world.sent[0]["subscribe"]["delta"], true);
        let is_patch = |push: &Value| push["pub"]["delta"] == true;
        // The client does not have the one at the top, though its offset is the position.
        assert!(!is_patch(&push(&mut world, after(10, 12))));
        assert!(is_patch(&push(&mut world, after(12, 15))));
        assert!(is_patch(&push(&mut world, after(15, 16))));
        // A difference to something that the client did not get.
        assert!(!is_patch(&push(&mut world, after(17, 18))));
        assert!(is_patch(&push(&mut world, after(18, 20))));
    }
}

#[test]
fn what_was_recovered_is_whole_and_begins_the_chain() {
    let request =
        json!({"channel": "room:a", "delta": "fossil", "recover": true, "offset": 3, "epoch": "e"});
    let page = Page { publications: vec![after(4, 5), after(5, 9)], more: false };
    let joined = Joined { recovery: Recovery::Page { from: 3, page }, ..fresh() };
    let mut world = subscribed(Protocol::Json, &request, joined);
    let list = world.sent[0]["subscribe"]["publications"].as_array().unwrap().clone();
    assert_eq!(list.len(), 2);
    assert!(list.iter().all(|one| one["data"].is_string() && one.get("delta").is_none()));
    assert_eq!(push(&mut world, after(9, 11))["pub"]["delta"], true);
}

#[test]
fn who_did_not_ask_or_may_not_gets_payloads() {
    for request in [
        json!({"channel": "room:a"}),
        json!({"channel": "room:a", "delta": "vcdiff"}),
        json!({"channel": "raw:a", "delta": "fossil"}),
    ] {
        let mut world = subscribed(Protocol::Json, &request, fresh());
        assert!(world.sent[0]["subscribe"].get("delta").is_none(), "{request}");
        if request["channel"] == "room:a" {
            push(&mut world, after(10, 12));
            assert!(push(&mut world, after(12, 15))["pub"]["data"].is_object());
        }
    }
}

#[test]
fn who_offers_it_gets_a_number_for_the_name() {
    let mut world = subscribed(Protocol::Json, &json!({"channel": "room:a", "flag": 1}), fresh());
    assert_eq!(world.sent[0]["subscribe"]["id"].as_u64(), Some(7));
    let number = push(&mut world, after(10, 12));
    assert_eq!((number["id"].as_u64(), number.get("channel")), (Some(7), None));
    // A client library that reads the number as an object compares it in vain.
    let mut world =
        subscribed(Protocol::Protobuf, &json!({"channel": "room:a", "flag": 1}), fresh());
    assert!(world.sent[0]["subscribe"].get("id").is_none());
    assert_eq!(push(&mut world, after(10, 12))["channel"], "room:a");
    let mut world = subscribed(Protocol::Json, &json!({"channel": "room:a", "flag": 2}), fresh());
    assert!(world.sent[0]["subscribe"].get("id").is_none());
    assert_eq!(push(&mut world, after(10, 12))["channel"], "room:a");
}
