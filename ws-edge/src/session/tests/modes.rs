//! How a session talks apart from the encoding: clients that only listen, pings as frames, ids of positions.

use super::*;

fn talking(mode: Mode) -> World {
    let mut world = World::new(options());
    let rules = Arc::new(Rules::new(options(), keys().key_set().clone()));
    world.session = Session::new(rules, Protocol::Json, "cli_1", NOW, 15_000, Handshake::default())
        .with_mode(mode);
    world
}

fn listening() -> World {
    talking(Mode { unidirectional: true, ..Mode::default() })
}

#[test]
fn who_only_listens_introduces_itself_and_is_not_asked_anything() {
    let mut world = listening();
    world.text(&json!({"token": token(3_600), "name": "curl"}).to_string());
    world.answer();
    let connect = &world.sent[0]["push"]["connect"];
    assert_eq!((&connect["client"], &connect["ping"]), (&json!("cli_1"), &json!(25)));
    assert!(connect["subs"]["inbox:#alice"].is_object(), "{connect}");
    assert_eq!((&connect["pong"], &connect["session"]), (&Value::Null, &Value::Null));
    world.sent.clear();
    world.publish("inbox:#alice", 11);
    assert_eq!(world.offsets("inbox:#alice"), [11]);
    for text in ["{}", "nonsense", r#"{"id":1,"subscribe":{"channel":"room:a"}}"#, ""] {
        world.text(text);
    }
    assert_eq!((world.sent.len(), world.closed), (1, None));
    // Pings go out, and nobody waits for an answer.
    for at in [16_000, 26_000, 51_000, 61_000] {
        world.at(NOW.ms + at);
    }
    assert_eq!((world.sent.last(), world.closed), (Some(&json!({})), None));
}

#[test]
fn who_may_not_listen_is_sent_away_instead_of_answered() {
    let long_ago = NOW.unix - 900;
    let expired =
        keys().mint_connection("alice", "acme", 60, long_ago, &ConnectionSpec::default()).unwrap();
    for (text, code) in [
        ("{}".to_owned(), 3501),
        ("[]".to_owned(), 3501),
        ("nonsense".to_owned(), 3501),
        (json!({"token": "x"}).to_string(), 3500),
        (json!({"token": expired}).to_string(), 3005),
    ] {
        let mut world = listening();
        world.text(&text);
        world.answer();
        assert_eq!((world.closed, world.sent.len()), (Some(code), 0), "{text}");
    }
    let mut stale = listening();
    stale.at(NOW.ms + 10_000);
    assert_eq!(stale.closed, Some(3502));
}

#[test]
fn pings_may_be_frames() {
    let start = || {
        let mut world = talking(Mode { frame_pings: true, ..Mode::default() });
        world.say(&json!({"id": 1, "connect": {"token": token(3_600)}}));
        world.answer();
        let connect = &world.sent[0]["connect"];
        assert_eq!((&connect["ping"], &connect["pong"]), (&Value::Null, &Value::Null));
        world.sent.clear();
        world
    };
    let timer = |world: &mut World, at: u64| {
        world.now = Now { ms: NOW.ms + at, ..NOW };
        let mut out = Vec::new();
        world.session.on_timer(world.now, &mut out);
        out
    };
    let pong = |world: &mut World| {
        let mut out = Vec::new();
        world.session.on_pong_frame(world.now, &mut out);
        out.len()
    };
    let mut world = start();
    assert_eq!(pong(&mut world), 0, "nobody asked, and nobody minds");
    assert!(matches!(timer(&mut world, 15_000)[..], [Effect::Ping]));
    assert_eq!(pong(&mut world), 1, "it is counted");
    assert!(matches!(timer(&mut world, 40_000)[..], [Effect::Ping]));
    assert!(matches!(&timer(&mut world, 50_000)[..], [Effect::Close(why)] if why.code == 3012));
    let mut world = start();
    world.text("{}");
    assert_eq!(world.closed, Some(3501), "the other kind of pong was not asked for");
}

#[test]
fn a_connect_reply_says_where_requests_find_the_session() {
    let address = Address { session: "secret".into(), node: "node_1".into() };
    let mut world = talking(Mode { address: Some(Box::new(address)), ..Mode::default() });
    world.say(&json!({"id": 1, "connect": {"token": token(3_600)}}));
    world.answer();
    let connect = &world.sent[0]["connect"];
    assert_eq!((&connect["session"], &connect["node"]), (&json!("secret"), &json!("node_1")));
    assert_eq!(connect["pong"], true);
}

#[test]
fn ids_name_what_the_client_has_once_it_got_the_message() {
    let mode = Mode { unidirectional: true, marks: Some(Box::default()), ..Mode::default() };
    let mut world = talking(mode);
    let mut out = Vec::new();
    world.session.on_text(&json!({"token": token(3_600)}).to_string(), NOW, &mut out);
    let join = out.iter().find_map(|effect| match effect {
        Effect::Run(Operation::Join(joins)) => Some(joins[0].ticket),
        _ => None,
    });
    // Two live ones come while the channel is joined: the client stands at 10 before them.
    for offset in [11, 12] {
        world.session.on_publication(publication("inbox:#alice", offset), &mut out);
    }
    out.clear();
    world.session.on_done(Done::Joined(vec![(join.unwrap(), Ok(fresh()))]), NOW, &mut out);
    let mut ids = Vec::new();
    let mut id = None;
    for effect in out {
        match effect {
            Effect::Mark(text) => id = Some(text),
            Effect::Send(_) | Effect::Push(..) => ids.push(id.take().unwrap()),
            _ => {}
        }
    }
    let at = |offset: u64| format!("inbox=3A=23alice,e,{offset}");
    assert_eq!(ids, [at(10), at(11), at(12)]);
}
