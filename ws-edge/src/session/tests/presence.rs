//! Presence and receipts: who may ask, what others may know, who is told.

use super::*;
use crate::presence::moves::Moved;

const ALICE: &str = r#"{"user":"alice","client":"cli_1"}"#;

fn world(protocol: Protocol) -> World {
    let room = |name: &str| NamespaceOptions {
        name: name.to_owned(),
        subscribe: vec![Allow::Authenticated],
        presence: vec![Allow::Subscriber],
        ..NamespaceOptions::default()
    };
    let namespaces = vec![
        NamespaceOptions { track_presence: true, join_leave: true, ..room("room") },
        NamespaceOptions { join_leave: true, force_push_join_leave: true, ..room("loud") },
        NamespaceOptions { join_leave: true, presence: Vec::new(), ..room("blind") },
        room("quiet"),
    ];
    let mut world = World::speaking(protocol, EdgeOptions { namespaces, ..EdgeOptions::default() });
    world.say(&json!({"id": 1, "connect": {"token": token(3_600)}}));
    world.answer();
    world.sent.clear();
    world
}

fn subscribe(world: &mut World, channel: &str, join_leave: bool) {
    world.say(&json!({"id": 2, "subscribe": {"channel": channel, "join_leave": join_leave}}));
    world.answer();
    world.sent.clear();
}

fn key(channel: &str) -> Arc<ChannelKey> {
    Arc::new(ChannelKey::new("acme", ChannelName::parse(channel).unwrap()))
}

#[test]
fn only_who_may_know_is_answered() {
    let mut world = world(Protocol::Json);
    for command in ["presence", "presence_stats"] {
        let mut ask = |channel: &str| world.error(&json!({"id": 5, command: {"channel": channel}}));
        assert_eq!((ask("room:x"), ask("quiet:x"), ask("none:x"), ask("")), (103, 108, 102, 107));
    }
    subscribe(&mut world, "room:x", false);
    world.say(&json!({"id": 5, "presence": {"channel": "room:x"}}));
    let Some(Operation::Presence(question)) = world.waiting.pop() else { panic!() };
    assert_eq!((question.command, question.stats), (5, false));
    assert_eq!(question.key.subject, key("room:x").subject);
    let clients = [("cli_1".to_owned(), ALICE.to_owned())].into();
    world.done(Done::Present(5, Ok(Present::Clients(clients))));
    let alice: Value = serde_json::from_str(ALICE).unwrap();
    assert_eq!(world.sent, [json!({"id": 5, "presence": {"presence": {"cli_1": alice}}})]);
    world.sent.clear();
    world.done(Done::Present(6, Ok(Present::Numbers(0, 0))));
    world.done(Done::Present(7, Err(error::LIMIT_EXCEEDED)));
    let zeros = json!({"id": 6, "presence_stats": {"num_clients": 0, "num_users": 0}});
    assert_eq!((&world.sent[0], &world.sent[1]["error"]["code"]), (&zeros, &json!(106)));
    // Larger than all that may wait for the client.
    let huge = format!("{{\"user\":\"{}\"}}", "x".repeat(2 * 1024 * 1024));
    world.done(Done::Present(8, Ok(Present::Clients([("c".to_owned(), huge)].into()))));
    assert_eq!(world.sent[2]["error"]["code"], 106);
}

#[test]
fn others_may_know_what_the_namespace_says() {
    let mut world = world(Protocol::Json);
    for (channel, asks, expected) in [
        ("room:a", false, Some((true, true, false))),
        ("room:b", true, Some((true, true, true))),
        ("loud:a", false, Some((false, true, true))),
        ("blind:a", true, Some((false, true, false))),
        ("quiet:a", true, None),
    ] {
        assert_eq!(world.session.attendance(&key(channel)), None);
        subscribe(&mut world, channel, asks);
        let found = world.session.attendance(&key(channel));
        assert!(found.iter().all(|one| &*one.info == ALICE && &*one.user == "alice"));
        let found = found.map(|one| (one.tracked, one.told, one.wants));
        assert_eq!(found, expected, "{channel}");
    }
}

#[test]
fn who_is_subscribed_is_told_and_nobody_else() {
    for protocol in [Protocol::Json, Protocol::Protobuf] {
        let mut world = world(protocol);
        let moved = Moved::new(&key("loud:x"), true, ALICE);
        let tell = |world: &mut World| {
            let mut out = Vec::new();
            world.session.on_moved(&moved, &mut out);
            out.len()
        };
        assert_eq!(tell(&mut world), 0);
        world.say(&json!({"id": 2, "subscribe": {"channel": "loud:x"}}));
        // Not before the answer to the subscription.
        assert_eq!(tell(&mut world), 0);
        world.answer();
        assert_eq!(tell(&mut world), 1);
        world.say(&json!({"id": 3, "unsubscribe": {"channel": "loud:x"}}));
        assert_eq!(tell(&mut world), 0);
    }
}

#[test]
fn the_edge_answers_its_own_methods() {
    let mut world = world(Protocol::Json);
    let ack = json!({"id": 5, "rpc": {"method": "campana.ack",
        "data": {"channel": "quiet:x", "offset": 7, "epoch": "e"}}});
    assert_eq!(world.error(&ack), 103);
    subscribe(&mut world, "quiet:x", false);
    world.say(&ack);
    let call = world.calls.pop().unwrap();
    let Some(BuiltIn::Ack(found)) = call.built_in.as_deref() else { panic!("{call:?}") };
    assert_eq!((found.tenant.as_str(), found.user.as_str()), ("acme", "alice"));
    assert_eq!((found.offset, found.epoch.as_str()), (7, "e"));
    assert_eq!(found.key.subject, key("quiet:x").subject);
    world.done(Done::BuiltIn(5, Ok(Bytes::from_static(b"{\"offset\":7}"))));
    assert_eq!(world.sent.pop(), Some(json!({"id": 5, "rpc": {"data": {"offset": 7}}})));
    world.done(Done::BuiltIn(6, Err(error::UNRECOVERABLE_POSITION.into())));
    assert_eq!(world.sent.pop().unwrap()["error"]["code"], 112);
    let list =
        json!({"id": 5, "rpc": {"method": "campana.receipts", "data": {"channel": "quiet:x"}}});
    world.say(&list);
    let call = world.calls.pop().unwrap();
    assert!(matches!(call.built_in.as_deref(), Some(BuiltIn::Receipts(_))));
    // They are not among the calls of services, of which only some may wait.
    assert_eq!(world.session.calls, 0);
    let unknown = json!({"id": 5, "rpc": {"method": "campana.other", "data": {}}});
    assert_eq!(world.error(&unknown), 108);
}
