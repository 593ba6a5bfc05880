//! Orders from outside, and what the client sees of them.

use futures::FutureExt as _;

use super::*;
use crate::codes::unsubscribe;
use crate::control::order::{Outcome, Subscribe};
use crate::control::{Control, Order, texts};

impl World {
    fn order(&mut self, order: Order) -> Outcome {
        self.order_to(order, None)
    }

    fn order_to(&mut self, order: Order, session: Option<&str>) -> Outcome {
        let (control, outcome) = Control::new(order, session.map(Into::into));
        let mut out = Vec::new();
        self.session.on_control(control, self.now, &mut out);
        self.take(out);
        outcome
    }
}

fn subscribe(channel: &str) -> Order {
    let data = Some("{\"why\":1}".into());
    Order::Subscribe(Subscribe { channel: channel.into(), data, ..Subscribe::default() })
}

fn end(channel: Option<&str>) -> Order {
    Order::Unsubscribe { channel: channel.map(Into::into), why: unsubscribe::SERVER }
}

/// How many sessions refused, if all are done.
fn refused(outcome: Outcome) -> Option<u32> {
    outcome.settled().now_or_never()
}

#[test]
fn a_subscription_is_done_when_the_client_was_told() {
    let mut world = World::connected();
    let outcome = world.order(subscribe("room:a"));
    world.publish("room:a", 11);
    assert!(world.sent.is_empty(), "{:?}", world.sent);
    world.answer();
    assert_eq!(refused(outcome), Some(0));
    let told = &world.sent[0]["push"];
    assert_eq!((&told["channel"], &told["subscribe"]["offset"]), (&json!("room:a"), &json!(10)));
    assert_eq!(told["subscribe"]["data"], json!({"why": 1}));
    assert_eq!(world.offsets("room:a"), [11]);
    // Again: nothing happens.
    let sent = world.sent.len();
    assert_eq!(refused(world.order(subscribe("room:a"))), Some(0));
    assert_eq!((world.sent.len(), world.waiting.len()), (sent, 0));
}

#[test]
fn what_waits_for_the_bus_is_not_done() {
    let mut world = World::connected();
    let outcome = world.order(subscribe("room:a"));
    assert_eq!(refused(outcome), None);
}

#[test]
fn an_order_waits_for_the_connect_reply() {
    let mut world = World::new(options());
    world.say(&json!({"id": 1, "connect": {"token": token(3_600)}}));
    let message = world.order(Order::Message("{\"hello\":1}".into()));
    let channel = world.order(subscribe("room:a"));
    assert!(world.sent.is_empty());
    world.answer();
    world.answer();
    assert_eq!((refused(message), refused(channel)), (Some(0), Some(0)));
    assert_eq!(world.sent[0]["id"], 1);
    assert_eq!(world.sent[1]["push"]["message"]["data"], json!({"hello": 1}));
    assert_eq!(world.sent[2]["push"]["channel"], "room:a");
}

#[test]
fn what_a_connection_cannot_hold_is_refused() {
    let options = EdgeOptions { channels_per_client_max: 2, ..options() };
    let mut world = World::new(options);
    world.say(&json!({"id": 1, "connect": {"token": token(3_600)}}));
    world.answer();
    assert_eq!(refused(world.order(subscribe("nowhere:a"))), Some(1));
    let first = world.order(subscribe("room:a"));
    world.answer();
    assert_eq!(refused(first), Some(0));
    assert_eq!(refused(world.order(subscribe("room:b"))), Some(1));
    assert_eq!(world.closed, None);
}

#[test]
fn a_channel_that_cannot_be_joined_is_refused_without_a_word() {
    let mut world = World::connected();
    let outcome = world.order(subscribe("room:a"));
    let Some(Operation::Join(joins)) = world.waiting.pop() else { panic!("no join") };
    world.done(Done::Joined(vec![(joins[0].ticket, Err(error::INTERNAL))]));
    assert_eq!(refused(outcome), Some(1));
    assert!(world.sent.is_empty() && world.session.channels().count() == 1);
}

#[test]
fn subscriptions_end_whatever_state_they_are_in() {
    let mut world = World::connected();
    // Asked for by the client and not answered yet.
    world.say(&json!({"id": 2, "subscribe": {"channel": "room:a"}}));
    world.order(end(Some("room:a")));
    assert_eq!((&world.sent[0]["id"], &world.sent[0]["error"]["code"]), (&json!(2), &json!(103)));
    world.answer();
    // Ordered and not joined yet.
    let outcome = world.order(subscribe("room:b"));
    world.order(end(Some("room:b")));
    assert_eq!(refused(outcome), Some(0));
    world.answer();
    assert_eq!(world.sent.len(), 1);
    // Not there at all.
    assert_eq!(refused(world.order(end(Some("room:c")))), Some(0));
    // All that is left: the inbox.
    world.order(end(None));
    assert_eq!(world.sent[1]["push"]["channel"], "inbox:#alice");
    assert_eq!(world.sent[1]["push"]["unsubscribe"]["code"], 2000);
    assert_eq!((world.sent.len(), world.session.channels().count()), (2, 0));
}

#[test]
fn an_order_for_another_session_is_not_obeyed() {
    let mut world = World::connected();
    assert_eq!(refused(world.order_to(end(None), Some("secret"))), Some(0));
    let out = Order::End(texts::disconnect(4_000, "out"));
    world.order_to(out, Some("secret"));
    assert_eq!((world.closed, world.sent.len()), (None, 0));
    world.order(Order::End(texts::disconnect(4_000, "out")));
    assert_eq!(world.closed, Some(4_000));
}

#[test]
fn an_end_that_is_moved_counts() {
    let mut world = World::connected();
    let expires_at = Some(NOW.unix + 60);
    world.order(Order::Refresh { expires_at });
    assert_eq!(world.sent[0]["push"]["refresh"], json!({"expires": true, "ttl": 60}));
    let grace = EdgeOptions::default().expiry_grace_ms;
    assert!(world.session.next_timer_ms() <= NOW.ms + 60_000 + grace);
    world.order(Order::Refresh { expires_at: None });
    assert_ne!(world.sent[1]["push"]["refresh"]["expires"], true);
    world.order(Order::Refresh { expires_at: Some(NOW.unix) });
    assert_eq!(world.closed, Some(3005));
}

#[test]
fn a_subscription_that_was_ordered_for_a_time_ends_the_connection_with_it() {
    let mut world = World::connected();
    let wanted = Subscribe {
        channel: "room:a".into(),
        expires_at: Some(NOW.unix + 60),
        ..Subscribe::default()
    };
    world.order(Order::Subscribe(wanted));
    world.answer();
    let end = NOW.ms + 60_000 + EdgeOptions::default().expiry_grace_ms;
    assert!(world.session.next_timer_ms() <= end);
    // The client cannot be told to get a new token for it: it must come back.
    world.at(end);
    assert_eq!(world.closed, Some(3006));
}
