//! Catching up: pages, what waits behind them, and positions that are gone.

use super::*;

#[test]
fn recovery_sends_pages_then_what_waited_each_once() {
    let mut world = World::connected();
    world.say(&json!({"id": 2, "subscribe": {"channel": "room:a", "recover": true, "offset": 3, "epoch": "e"}}));
    let Some(Operation::Join(joins)) = world.waiting.pop() else { panic!() };
    assert_eq!(joins[0].since, Some(Since { offset: 3, epoch: "e".to_owned() }));
    let ticket = joins[0].ticket;
    for offset in [6, 7, 8] {
        world.publish("room:a", offset);
    }
    let first = Recovery::Page { from: 3, page: page("room:a", &[4, 5], true) };
    world.done(Done::Joined(vec![(
        ticket,
        Ok(Joined { top: 10, epoch: "e".into(), recovery: first, known: None }),
    )]));
    let reply = &world.sent[0]["subscribe"];
    assert_eq!(
        (&reply["recovered"], &reply["was_recovering"], &reply["offset"]),
        (&json!(true), &json!(true), &json!(3))
    );
    assert_eq!(reply["publications"], json!([{"data": 4, "offset": 4}, {"data": 5, "offset": 5}]));
    let Some(Operation::More(more)) = world.waiting.pop() else { panic!() };
    assert_eq!((more.after, more.at_least), (5, 0));
    world.publish("room:a", 9);
    world.done(Done::More(ticket, Ok(page("room:a", &[6, 7], false))));
    world.publish("room:a", 9);
    world.publish("room:a", 12);
    assert_eq!(world.offsets("room:a"), [6, 7, 8, 9, 12]);
    assert!(world.reports.contains(&Report::Recovered(Ok(()))));
}

#[test]
fn a_lost_position_is_said_or_refused() {
    for (flag, expected) in [(0, json!(false)), (2, Value::Null)] {
        let mut world = World::connected();
        world.say(&json!({"id": 2, "subscribe": {"channel": "room:a", "recover": true, "offset": 3, "flag": flag}}));
        let Some(Operation::Join(joins)) = world.waiting.pop() else { panic!() };
        let recovery = Recovery::Lost(LostReason::Gap);
        world.done(Done::Joined(vec![(
            joins[0].ticket,
            Ok(Joined { top: 10, epoch: "e".into(), recovery, known: None }),
        )]));
        assert_eq!(world.sent[0]["subscribe"]["recovered"], expected);
        if flag == 2 {
            assert_eq!(world.sent[0]["error"]["code"], 112);
            assert!(matches!(world.waiting[..], [Operation::Leave(_)]));
        } else {
            assert_eq!(world.sent[0]["subscribe"]["offset"], 10);
        }
    }
}

#[test]
fn too_much_waiting_is_read_again_instead_of_kept() {
    let mut world = World::new(EdgeOptions { queue_bytes_max: 1_600, ..options() });
    world.say(&json!({"id": 1, "connect": {"token": token(60)}}));
    world.answer();
    world.say(&json!({"id": 2, "subscribe": {"channel": "room:a", "recover": true, "offset": 0}}));
    let Some(Operation::Join(joins)) = world.waiting.pop() else { panic!() };
    let ticket = joins[0].ticket;
    for offset in 11..=30 {
        world.publish("room:a", offset);
    }
    let recovery = Recovery::Page { from: 0, page: page("room:a", &[10], false) };
    world.done(Done::Joined(vec![(
        ticket,
        Ok(Joined { top: 10, epoch: "e".into(), recovery, known: None }),
    )]));
    let Some(Operation::More(more)) = world.waiting.pop() else { panic!("{:?}", world.sent) };
    assert!(more.at_least > 10 && more.after == 10);
    let rest: Vec<u64> = (11..=30).collect();
    world.done(Done::More(ticket, Ok(page("room:a", &rest, false))));
    assert_eq!(world.offsets("room:a"), rest);
}

#[test]
fn a_hole_ends_the_subscription_or_the_connection() {
    let mut world = World::connected();
    assert_eq!(world.error(&json!({"id": 2, "subscribe": {"channel": "room:a"}})), 0);
    let key = ChannelKey::new("acme", ChannelName::parse("room:a").unwrap());
    let mut out = Vec::new();
    world.session.on_lost(&key, &mut out);
    world.take(out);
    assert_eq!(world.sent.last().unwrap()["push"]["unsubscribe"]["code"], 2500);
    let inbox = ChannelKey::new("acme", ChannelName::inbox("alice").unwrap());
    let mut out = Vec::new();
    world.session.on_lost(&inbox, &mut out);
    world.take(out);
    assert_eq!(world.closed, Some(3010));
}
