//! Decoding what clients write and what attackers write.

use proptest::prelude::*;

use super::*;
use crate::proto::json;

fn decode(frame: Vec<u8>) -> Vec<Result<Command, Malformed>> {
    commands(frame.into()).map(|one| one.map(|(command, _)| command)).collect()
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["", "[a-z:#$]{1,12}", "\\PC{0,20}"]
}

fn payload() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

fn standing() -> impl Strategy<Value = Standing> {
    (any::<bool>(), text(), any::<u64>()).prop_map(|(recover, epoch, offset)| Standing {
        recover,
        epoch,
        offset,
    })
}

fn request() -> impl Strategy<Value = Request> {
    let subs = prop::collection::btree_map(text(), standing(), 0..4);
    let headers = prop::collection::btree_map(text(), text(), 0..3);
    prop_oneof![
        Just(Request::None),
        Just(Request::Ping),
        payload().prop_map(Request::Send),
        (text(), payload(), subs, text(), headers).prop_map(
            |(token, data, subs, name, headers)| {
                let version = format!("{name}.1");
                Request::Connect(ConnectRequest { token, data, subs, name, version, headers })
            }
        ),
        (text(), text(), standing(), payload(), any::<i64>(), any::<(bool, bool)>()).prop_map(
            |(channel, token, standing, data, flag, (join_leave, special))| {
                let delta = if join_leave { "fossil".to_owned() } else { String::new() };
                Request::Subscribe(SubscribeRequest {
                    channel,
                    token,
                    standing,
                    data,
                    join_leave,
                    delta,
                    flag,
                    special,
                })
            }
        ),
        text().prop_map(Request::Unsubscribe),
        (text(), payload(), any::<bool>()).prop_map(|(channel, data, special)| {
            Request::Publish(PublishRequest { channel, data, special })
        }),
        text().prop_map(Request::Presence),
        text().prop_map(Request::PresenceStats),
        (text(), any::<i32>(), prop::option::of((any::<u64>(), text())), any::<bool>()).prop_map(
            |(channel, limit, since, reverse)| Request::History(HistoryRequest {
                channel,
                limit: limit.into(),
                since: since.map(|(offset, epoch)| Since { offset, epoch }),
                reverse,
            })
        ),
        (text(), payload()).prop_map(|(method, data)| Request::Rpc(RpcRequest { method, data })),
        text().prop_map(Request::Refresh),
        (text(), text(), any::<i32>()).prop_map(|(channel, token, kind)| {
            Request::SubRefresh(SubRefreshRequest { channel, token, kind })
        }),
    ]
}

/// As a client library would write it.
fn wire(id: u32, request: &Request) -> WireCommand {
    let mut wire = WireCommand { id: id.into(), ..Default::default() };
    let channel = |channel: &String| Some(Channel { channel: channel.clone() });
    let position = |one: &Standing| Position {
        recover: one.recover,
        epoch: one.epoch.clone(),
        offset: one.offset,
    };
    match request.clone() {
        Request::None => {}
        Request::Ping => wire.ping = Some(Empty {}),
        Request::Send(data) => wire.send = Some(Send { data }),
        Request::Connect(one) => {
            let subs = one.subs.iter().map(|(name, one)| (name.clone(), position(one))).collect();
            let ConnectRequest { token, data, name, version, headers, .. } = one;
            wire.connect = Some(Connect { token, data, subs, name, version, headers });
        }
        Request::Subscribe(one) => {
            wire.subscribe = Some(Subscribe {
                channel: one.channel,
                token: one.token,
                recover: one.standing.recover,
                epoch: one.standing.epoch,
                offset: one.standing.offset,
                data: one.data,
                join_leave: one.join_leave,
                delta: one.delta,
                tf: None,
                flag: one.flag,
                kind: one.special.into(),
            });
        }
        Request::Unsubscribe(name) => wire.unsubscribe = channel(&name),
        Request::Publish(one) => {
            let kind = one.special.into();
            wire.publish = Some(Publish { channel: one.channel, data: one.data, kind });
        }
        Request::Presence(name) => wire.presence = channel(&name),
        Request::PresenceStats(name) => wire.presence_stats = channel(&name),
        Request::History(one) => {
            wire.history = Some(History {
                channel: one.channel,
                limit: i32::try_from(one.limit).unwrap(),
                since: one.since.map(|at| StreamPosition { offset: at.offset, epoch: at.epoch }),
                reverse: one.reverse,
            });
        }
        Request::Rpc(one) => wire.rpc = Some(Rpc { data: one.data, method: one.method }),
        Request::Refresh(token) => wire.refresh = Some(Token { token }),
        Request::SubRefresh(one) => {
            let (channel, token, kind) = (one.channel, one.token, one.kind);
            wire.sub_refresh = Some(SubRefresh { channel, token, kind });
        }
    }
    wire
}

proptest! {
    #[test]
    fn what_is_written_is_read(list in prop::collection::vec((any::<u32>(), request()), 0..8)) {
        let mut frame = Vec::new();
        for (id, request) in &list {
            wire(*id, request).encode_length_delimited(&mut frame).unwrap();
        }
        let expected: Vec<_> =
            list.into_iter().map(|(id, request)| Ok(Command { id, request })).collect();
        prop_assert_eq!(decode(frame), expected);
    }

    /// Cut or changed anywhere: commands or an error, which is the last; never more than the frame holds.
    #[test]
    fn damage_is_noticed_or_harmless(
        (id, one) in (any::<u32>(), request()),
        cut in any::<prop::sample::Index>(),
        change in any::<(prop::sample::Index, u8)>(),
    ) {
        let whole = wire(id, &one).encode_length_delimited_to_vec();
        let cut_off = whole[..cut.index(whole.len())].to_vec();
        let size = cut_off.len();
        let damaged = decode(cut_off);
        prop_assert!(size == 0 || damaged == [Err(Malformed)], "{damaged:?}");
        let mut changed = whole;
        let at = change.0.index(changed.len());
        changed[at] = change.1;
        let size = changed.len();
        let found = decode(changed);
        prop_assert!(found.len() <= size);
        prop_assert!(found.iter().rev().skip(1).all(Result::is_ok));
    }

    #[test]
    fn no_bytes_panic(frame in prop::collection::vec(any::<u8>(), 0..400)) {
        let size = frame.len();
        let found = decode(frame);
        prop_assert!(found.len() <= size);
        prop_assert!(found.iter().rev().skip(1).all(Result::is_ok));
    }

    /// Plausible fields with implausible contents: deeper into the decoder than noise gets.
    #[test]
    fn no_fields_panic(fields in prop::collection::vec((1_u32..20, 0_u8..8, prop::collection::vec(any::<u8>(), 0..30)), 0..12)) {
        let mut body = Vec::new();
        for (number, kind, content) in fields {
            prost::encode_length_delimiter((number << 3 | u32::from(kind)) as usize, &mut body).unwrap();
            if kind == 2 {
                prost::encode_length_delimiter(content.len(), &mut body).unwrap();
            }
            body.extend(content);
        }
        let mut frame = Vec::new();
        prost::encode_length_delimiter(body.len(), &mut frame).unwrap();
        frame.extend(body);
        prop_assert_eq!(decode(frame).len(), 1);
    }

    #[test]
    fn no_text_panics_the_json_decoder(text in "\\PC{0,80}") {
        prop_assert!(json::commands(&text).count() <= 1);
    }
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    prost::encode_length_delimiter(body.len(), &mut frame).unwrap();
    frame.extend(body);
    frame
}

#[test]
fn hostile_frames_are_refused() {
    let maximal = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let cases: [(&str, Vec<u8>); 12] = [
        ("a length without its end", vec![0x80]),
        ("a length of eleven bytes", vec![0x80; 11]),
        ("a length of 2^64 - 1", maximal.to_vec()),
        ("a length of 2 GiB", vec![0xff, 0xff, 0xff, 0xff, 0x07, 0]),
        ("one byte too few", vec![2, 8]),
        ("a negative id", framed(&[&[8][..], &maximal].concat())),
        ("an id above 32 bits", framed(&[8, 0x80, 0x80, 0x80, 0x80, 0x10])),
        ("an id that is a string", framed(&[10, 1, b'1'])),
        ("field number 0", framed(&[0, 1])),
        ("a channel that is not UTF-8", framed(&[8, 1, 0x32, 3, 10, 1, 0xff])),
        ("a request longer than its command", framed(&[8, 1, 0x32, 9, 10])),
        ("groups a thousand deep", framed(&[0xa3, 0x01].repeat(1_000))),
    ];
    for (name, frame) in cases {
        assert_eq!(decode(frame), [Err(Malformed)], "{name}");
    }
    let zero = decode(vec![0; 3]);
    assert!(zero.iter().all(|one| one.as_ref().is_ok_and(Command::is_pong)) && zero.len() == 3);
}

#[test]
fn unknown_fields_are_skipped_and_the_first_request_counts() {
    // Field 100 (a string), field 99 (a number), field 98 (eight bytes), a whole group.
    let mut body =
        vec![0xa2, 0x06, 2, 0xff, 0xff, 0x98, 0x06, 1, 0x91, 0x06, 1, 2, 3, 4, 5, 6, 7, 8];
    body.extend([0x8b, 0x06, 8, 1, 0x8c, 0x06]);
    WireCommand { id: 7, ping: Some(Empty {}), ..Default::default() }.encode(&mut body).unwrap();
    assert_eq!(decode(framed(&body)), [Ok(Command { id: 7, request: Request::Ping })]);
    let several = WireCommand {
        id: 8,
        publish: Some(Publish::default()),
        unsubscribe: Some(Channel { channel: "a".to_owned() }),
        sub_refresh: Some(SubRefresh::default()),
        ..Default::default()
    };
    let first = Request::Unsubscribe("a".to_owned());
    assert_eq!(
        decode(several.encode_length_delimited_to_vec()),
        [Ok(Command { id: 8, request: first.clone() })]
    );
    let text = r#"{"id":8,"sub_refresh":{},"publish":{},"unsubscribe":{"channel":"a"},"x":[1]}"#;
    let same: Vec<_> = json::commands(text).map(|one| one.map(|(command, _)| command)).collect();
    assert_eq!(same, [Ok(Command { id: 8, request: first })]);
}
