//! Connecting and commanding: every answer and every refusal has its form and code.

use campana_identity::SubscriptionSpec;

use super::*;

#[test]
fn connect_answers_with_the_personal_channel_before_its_publications() {
    let mut world = World::new(options());
    world.say(&json!({"id": 1, "connect": {"token": token(60), "name": "js"}}));
    world.publish("inbox:#alice", 11);
    assert!(world.sent.is_empty());
    world.answer();
    let reply = &world.sent[0];
    assert_eq!(
        (&reply["id"], &reply["connect"]["ping"], &reply["connect"]["pong"]),
        (&json!(1), &json!(25), &json!(true))
    );
    assert_eq!(
        (&reply["connect"]["expires"], &reply["connect"]["ttl"]),
        (&json!(true), &json!(60))
    );
    let inbox = &reply["connect"]["subs"]["inbox:#alice"];
    assert_eq!(
        (&inbox["recoverable"], &inbox["positioned"], &inbox["offset"]),
        (&json!(true), &json!(true), &json!(10))
    );
    assert_eq!(world.offsets("inbox:#alice"), [11]);
}

#[test]
fn the_first_command_must_be_connect_and_only_the_first() {
    for first in [
        "{}",
        "{\"id\":1,\"ping\":{}}",
        "{\"id\":0,\"connect\":{}}",
        "[]",
        "nonsense",
        "",
        "\n",
        "{\"id\":-1}",
        "{\"id\":1,\"connect\":{\"token\":5}}",
    ] {
        let mut world = World::new(options());
        world.text(first);
        assert_eq!(world.closed, Some(3501), "{first}");
    }
    let mut world = World::connected();
    world.say(&json!({"id": 2, "connect": {"token": token(60)}}));
    assert_eq!(world.closed, Some(3501));
}

#[test]
fn bad_tokens_end_in_their_own_ways() {
    let connect = |token: &str| {
        let mut world = World::new(options());
        world.say(&json!({"id": 1, "connect": {"token": token}}));
        world
    };
    assert_eq!(connect("").closed, Some(3501));
    assert_eq!(connect("a.b.c").closed, Some(3500));
    let subscription = keys()
        .mint_subscription("alice", "acme", "room:a", 60, NOW.unix, &SubscriptionSpec::default())
        .unwrap();
    assert_eq!(connect(&subscription).closed, Some(3500));
    let expired = keys()
        .mint_connection("alice", "acme", 60, NOW.unix - 900, &ConnectionSpec::default())
        .unwrap();
    let mut world = connect(&expired);
    assert_eq!((world.closed, &world.sent[0]["error"]["code"]), (None, &json!(109)));
    world.say(&json!({"id": 2, "ping": {}}));
    assert_eq!(world.closed, Some(3501));
}

#[test]
fn an_unreachable_bus_sends_the_client_away_to_come_back() {
    let mut world = World::new(options());
    world.say(&json!({"id": 1, "connect": {"token": token(60)}}));
    world.waiting.clear();
    let ticket = world.session.subscriptions[0].ticket;
    world.done(Done::Joined(vec![(ticket, Err(error::INTERNAL))]));
    assert_eq!(world.closed, Some(3004));
}

#[test]
fn commands_before_the_answer_to_connect_wait_for_it() {
    let mut world = World::new(options());
    let connect = json!({"id": 1, "connect": {"token": token(60)}});
    world.text(&format!(
        "{connect}\n{}\n{}\n",
        json!({"id": 2, "ping": {}}),
        json!({"id": 3, "rpc": {"method": "x"}})
    ));
    assert!(world.sent.is_empty());
    world.answer();
    let ids: Vec<u64> = world.sent.iter().map(|line| line["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [1, 2, 3]);
}

#[test]
fn each_refusal_has_its_code() {
    let mut world = World::connected();
    let long = "x".repeat(10_000);
    let table = [
        (json!({"id": 2, "subscribe": {"channel": "other:x"}}), 102),
        (json!({"id": 2, "subscribe": {"channel": "room:\n"}}), 107),
        (json!({"id": 2, "subscribe": {"channel": ""}}), 107),
        (json!({"id": 2, "subscribe": {"channel": format!("room:{long}")}}), 107),
        (json!({"id": 2, "subscribe": {"channel": "inbox:#bob"}}), 103),
        (json!({"id": 2, "subscribe": {"channel": "inbox:#alice"}}), 105),
        (json!({"id": 2, "subscribe": {"channel": "inbox:#*"}}), 103),
        (json!({"id": 2, "subscribe": {"channel": "inbox:>"}}), 103),
        (json!({"id": 2, "subscribe": {"channel": "vip:a"}}), 103),
        (json!({"id": 2, "publish": {"channel": "inbox:#alice", "data": 1}}), 103),
        (json!({"id": 2, "publish": {"channel": "room:a", "data": 1}}), 103),
        (json!({"id": 2, "publish": {"channel": "flash:a"}}), 107),
        (json!({"id": 2, "publish": {"channel": "flash:a", "data": null}}), 107),
        (json!({"id": 2, "history": {"channel": "room:a"}}), 103),
        (json!({"id": 2, "history": {"channel": "flash:a"}}), 108),
        (json!({"id": 2, "presence": {"channel": "room:a"}}), 108),
        (json!({"id": 2, "presence_stats": {"channel": "other:a"}}), 102),
        (json!({"id": 2, "rpc": {"data": 1}}), 108),
        (json!({"id": 2, "unheard_of": {}}), 104),
        (json!({"id": 2, "sub_refresh": {"channel": "room:a", "token": "x"}}), 103),
    ];
    for (command, code) in table {
        assert_eq!(world.error(&command), code, "{command}");
    }
    for name in ["room:*", "room:>", "room:a.b", "room:🔔"] {
        assert_eq!(world.error(&json!({"id": 3, "subscribe": {"channel": name}})), 0, "{name}");
    }
}

#[test]
fn breaking_the_protocol_closes_the_connection() {
    for (line, code) in [
        ("{\"send\":{\"data\":1}}", 3508),
        ("{}", 3501),
        ("{\"id\":1", 3501),
        ("{\"subscribe\":{\"channel\":\"room:a\"}}", 3501),
        ("{\"id\":99999999999}", 3501),
        ("{\"id\":2,\"publish\":{\"channel\":1}}", 3501),
    ] {
        let mut world = World::connected();
        world.text(line);
        assert_eq!(world.closed, Some(code), "{line}");
        world.text("{\"id\":5,\"ping\":{}}");
    }
}

#[test]
fn publish_history_and_unsubscribe_are_answered() {
    let mut world = World::connected();
    assert_eq!(world.error(&json!({"id": 2, "subscribe": {"channel": "room:a"}})), 0);
    world.say(&json!({"id": 3, "publish": {"channel": "room:a", "data": {"n": 1}}}));
    let Some(Operation::Publish(message)) = world.waiting.first() else {
        panic!("{:?}", world.waiting)
    };
    assert_eq!(message.data.as_ref(), b"{\"n\":1}");
    assert_eq!(message.info, r#"{"user":"alice","client":"cli_1"}"#);
    assert_eq!(message.key.subject, "ch.acme.room.a");
    world.answer();
    assert_eq!(world.sent.last().unwrap(), &json!({"id": 3, "publish": {}}));
    world.say(&json!({"id": 4, "history": {"channel": "room:a", "limit": 100_000, "reverse": true, "since": {"offset": 5, "epoch": "e"}}}));
    let Some(Operation::History(question)) = world.waiting.first() else {
        panic!("{:?}", world.waiting)
    };
    assert_eq!((question.limit, question.reverse), (300, true));
    world.answer();
    assert_eq!(
        world.sent.last().unwrap()["history"],
        json!({"publications": [], "offset": 10, "epoch": "e"})
    );
    world.say(&json!({"id": 5, "unsubscribe": {"channel": "room:a"}}));
    assert!(matches!(world.waiting[..], [Operation::Leave(_)]));
    world.publish("room:a", 20);
    assert_eq!(world.offsets("room:a"), Vec::<u64>::new());
    assert_eq!(world.error(&json!({"id": 6, "unsubscribe": {"channel": "never:seen"}})), 0);
}
