//! Both protocols say the same, and what one cannot say.

use campana_identity::SubscriptionSpec;

use super::*;

/// Everything that a client can say, and what happens meanwhile.
fn scenario(protocol: Protocol) -> (Vec<Value>, Option<u16>) {
    let mut world = World::speaking(protocol, options());
    let vip = keys()
        .mint_subscription("alice", "acme", "vip:a", 90, NOW.unix, &SubscriptionSpec::default())
        .unwrap();
    let hints = json!({"inbox:#alice": {"recover": true, "offset": 3, "epoch": "e"}});
    world.say(&json!({"id": 1, "connect": {"token": token(60), "subs": hints}}));
    let Some(Operation::Join(joins)) = world.waiting.pop() else { panic!("{:?}", world.waiting) };
    assert_eq!(joins[0].since, Some(Since { offset: 3, epoch: "e".to_owned() }));
    let recovery = Recovery::Page { from: 3, page: page("inbox:#alice", &[4, 6], false) };
    let joined = Joined { top: 10, epoch: "e".into(), recovery, known: None };
    world.done(Done::Joined(vec![(joins[0].ticket, Ok(joined))]));
    for command in [
        json!({"id": 2, "subscribe": {"channel": "room:a", "recover": true, "offset": 7, "flag": 2}}),
        json!({"id": 3, "subscribe": {"channel": "room:a"}}),
        json!({"id": 4, "subscribe": {"channel": "vip:a", "token": vip}}),
        json!({"id": 5, "subscribe": {"channel": "room:map", "type": 1}}),
        json!({"id": 6, "subscribe": {"channel": "room:filter", "tf": {"op": "and"}}}),
        json!({"id": 7, "publish": {"channel": "room:a", "data": {"n": [1, "ü"]}}}),
        json!({"id": 8, "publish": {"channel": "room:a"}}),
        json!({"id": 9, "publish": {"channel": "room:a", "data": 1, "type": 1}}),
        json!({"id": 10, "history": {"channel": "room:a", "limit": -1, "since": {"offset": 2}}}),
        json!({"id": 11, "presence": {"channel": "room:a"}}),
        json!({"id": 12, "presence_stats": {"channel": "room:a"}}),
        json!({"id": 13, "ping": {}}),
        json!({"id": 14, "rpc": {"method": "quote"}}),
        json!({"id": 15, "refresh": {"token": token(600)}}),
        json!({"id": 16, "sub_refresh": {"channel": "vip:a", "token": vip}}),
        json!({"id": 17, "sub_refresh": {"token": vip}}),
        json!({"id": 18, "sub_refresh": {"channel": "vip:a", "token": vip, "type": 1}}),
        json!({"id": 19, "unheard_of": {}}),
        json!({"id": 20, "unsubscribe": {"channel": "room:a"}}),
        json!({"id": 21, "unsubscribe": {"channel": "room:a"}, "ping": {}}),
    ] {
        world.say(&command);
        world.answer();
        world.publish("vip:a", command["id"].as_u64().unwrap() + 20);
    }
    world.at(NOW.ms + 15_000);
    world.say(&json!({}));
    world.at(NOW.ms + 45_000);
    world.say(&json!({}));
    world.at(NOW.ms + 100_000);
    (world.sent, world.closed)
}

#[test]
fn the_same_is_said_in_both_protocols() {
    let (json, json_end) = scenario(Protocol::Json);
    let (protobuf, protobuf_end) = scenario(Protocol::Protobuf);
    assert_eq!(json, protobuf);
    assert_eq!(json_end, protobuf_end);
    let codes: Vec<(u64, u64)> = json
        .iter()
        .filter_map(|line| Some((line["id"].as_u64()?, line["error"]["code"].as_u64()?)))
        .collect();
    assert_eq!(
        codes,
        [
            (3, 105),
            (5, 108),
            (6, 108),
            (8, 107),
            (9, 108),
            (11, 108),
            (12, 108),
            (14, 108),
            (18, 108),
            (19, 104)
        ]
    );
}

#[test]
fn the_wrong_kind_of_frame_ends_the_connection() {
    let mut world = World::connected_by(Protocol::Protobuf);
    world.text("{}");
    assert_eq!(world.closed, Some(3506));
    let mut world = World::connected();
    world.binary(vec![0]);
    assert_eq!(world.closed, Some(3506));
}

#[test]
fn bad_frames_end_the_connection_and_what_came_before_is_done() {
    let ping = wire::command(&json!({"id": 2, "ping": {}}));
    let cases: [&[u8]; 8] = [
        &[],
        &[0],
        &[0xff],
        &[0xff; 11],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        &[5, 8, 1],
        // An id of minus one, and one that is text.
        &[11, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        &[3, 10, 1, b'a'],
    ];
    for tail in cases {
        let mut world = World::connected_by(Protocol::Protobuf);
        let frame = if tail.is_empty() { Vec::new() } else { [&ping[..], tail].concat() };
        world.binary(frame);
        assert_eq!(world.closed, Some(3501), "{tail:?}");
        assert_eq!(world.sent.len(), usize::from(!tail.is_empty()), "{tail:?}");
    }
}

#[test]
fn several_commands_share_a_frame_also_before_the_answer_to_connect() {
    let mut world = World::speaking(Protocol::Protobuf, options());
    let commands = [
        json!({"id": 1, "connect": {"token": token(60)}}),
        json!({"id": 2, "ping": {}}),
        json!({"id": 3, "presence": {"channel": "room:a"}}),
    ];
    world.binary(commands.iter().flat_map(wire::command).collect());
    assert!(world.sent.is_empty());
    world.answer();
    let ids: Vec<u64> = world.sent.iter().map(|line| line["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [1, 2, 3]);
}

#[test]
fn what_waits_for_the_answer_to_connect_is_limited() {
    let mut world = World::new(EdgeOptions { queue_bytes_max: 1_000, ..options() });
    world.say(&json!({"id": 1, "connect": {"token": token(60)}}));
    let big = json!({"id": 2, "publish": {"channel": "room:a", "data": "x".repeat(600)}});
    world.say(&big);
    assert_eq!(world.closed, None);
    world.say(&big);
    assert_eq!(world.closed, Some(3501));
}

/// Bytes that are no text: as they are to Protobuf clients, the end for JSON clients; text is a string to them.
#[test]
fn bytes_reach_who_can_read_them() {
    let bytes: &[u8] = &[0xff, 0, 0xfe];
    for protocol in [Protocol::Json, Protocol::Protobuf] {
        let mut world = World::connected_by(protocol);
        assert_eq!(world.error(&json!({"id": 2, "subscribe": {"channel": "raw:a"}})), 0);
        world.sent.clear();
        let mut out = Vec::new();
        world.session.on_publication(with_body("raw:a", 11, b"text"), &mut out);
        world.session.on_publication(with_body("raw:a", 12, bytes), &mut out);
        world.session.on_publication(with_body("raw:a", 13, b"1"), &mut out);
        world.take(out);
        match protocol {
            Protocol::Json => {
                assert_eq!(world.closed, Some(3506));
                assert_eq!(world.sent.len(), 1);
                assert_eq!(world.sent[0]["push"]["pub"]["data"], "text");
            }
            Protocol::Protobuf => {
                assert_eq!(world.closed, None);
                let data: Vec<&Value> =
                    world.sent.iter().map(|line| &line["push"]["pub"]["data"]).collect();
                assert_eq!(data, [&json!(b"text"), &json!(bytes), &json!(1)]);
            }
        }
    }
}

#[test]
fn bytes_in_an_answer_end_a_json_connection_too() {
    let bad = || vec![with_body("room:a", 4, &[0xff]), with_body("room:a", 5, b"1")];
    let mut world = World::connected();
    world.say(&json!({"id": 2, "subscribe": {"channel": "room:a", "recover": true, "offset": 3}}));
    let Some(Operation::Join(joins)) = world.waiting.pop() else { panic!() };
    let page = Page { publications: bad(), more: true };
    let joined = Joined {
        top: 9,
        epoch: "e".into(),
        recovery: Recovery::Page { from: 3, page },
        known: None,
    };
    world.done(Done::Joined(vec![(joins[0].ticket, Ok(joined))]));
    assert_eq!((world.closed, world.waiting.len()), (Some(3506), 0));
    let mut world = World::connected();
    assert_eq!(world.error(&json!({"id": 2, "subscribe": {"channel": "room:a"}})), 0);
    world.say(&json!({"id": 3, "history": {"channel": "room:a", "limit": 9}}));
    let found = Found { publications: bad(), top: 5, epoch: "e".into() };
    world.done(Done::History(3, Ok(found)));
    assert_eq!(world.closed, Some(3506));
}

#[test]
fn only_namespaces_for_bytes_take_bytes_from_clients() {
    let publish = |world: &mut World, channel: &str, data: &[u8]| {
        use prost::Message as _;
        let publish = crate::proto::protobuf::Publish {
            channel: channel.to_owned(),
            data: data.to_vec().into(),
            kind: 0,
        };
        let command = crate::proto::protobuf::WireCommand {
            id: 9,
            publish: Some(publish),
            ..Default::default()
        };
        world.sent.clear();
        world.binary(command.encode_length_delimited_to_vec());
        match world.waiting.pop() {
            Some(Operation::Publish(message)) => Ok(message.data),
            _ => Err(world.sent[0]["error"]["code"].as_u64().unwrap()),
        }
    };
    let mut world = World::connected_by(Protocol::Protobuf);
    assert_eq!(
        publish(&mut world, "flash:a", b"{\"a\" :1}"),
        Ok(Bytes::from_static(b"{\"a\" :1}"))
    );
    assert_eq!(publish(&mut world, "flash:a", &[0xff]), Err(107));
    assert_eq!(publish(&mut world, "flash:a", b"text"), Err(107));
    assert_eq!(publish(&mut world, "raw:a", &[0xff]), Ok(Bytes::from_static(&[0xff])));
    assert_eq!(publish(&mut world, "raw:a", b""), Err(107));
}
