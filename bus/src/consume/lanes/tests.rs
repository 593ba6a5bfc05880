//! Turns without a server: order, copies, giving back, and that nothing is kept.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use proptest::prelude::*;

use super::*;
use crate::HeaderMap;
use crate::consume::Meta;
use crate::headers;

fn message(sequence: u64, key: Option<&str>) -> Incoming {
    let mut all = HeaderMap::new();
    if let Some(key) = key {
        headers::set(&mut all, headers::KEY, key);
    }
    let meta = Meta {
        stream: Arc::from("S"),
        consumer: Arc::from("c"),
        sequence,
        subject: "app.default.shop.order".to_owned(),
        attempt: 1,
        is_last: false,
        redelivered: false,
        redrives: 0,
        message_id: None,
        trace: None,
        published_at: Micros(1),
        headers: std::sync::Arc::new(all),
    };
    Incoming::for_test(Bytes::new(), meta)
}

fn by_key() -> Arc<Lanes> {
    Lanes::new(Ordering::ByKey { lanes: 4 }, None).unwrap()
}

fn turn(lanes: &Arc<Lanes>, sequence: u64, key: Option<&str>) -> Turn {
    match lanes.arrive(&message(sequence, key)) {
        Arrival::Turn(turn) => turn,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_later_message_of_a_key_waits_and_other_keys_do_not() {
    let lanes = by_key();
    let first = turn(&lanes, 1, Some("a"));
    let mut second = turn(&lanes, 2, Some("a"));
    let mut other = turn(&lanes, 3, Some("b"));
    let mut keyless = turn(&lanes, 4, None);
    assert_eq!(second.wait().now_or_never(), None);
    assert_eq!(other.wait().now_or_never(), Some(Passed::Go));
    assert_eq!(keyless.wait().now_or_never(), Some(Passed::Go));
    first.settled();
    assert_eq!(second.wait().now_or_never(), Some(Passed::Go));
}

#[test]
fn what_is_given_back_or_dropped_takes_its_successors_along() {
    let lanes = by_key();
    let first = turn(&lanes, 1, Some("a"));
    let mut second = turn(&lanes, 2, Some("a"));
    let mut third = turn(&lanes, 3, Some("a"));
    first.given_back();
    assert_eq!(second.wait().now_or_never(), Some(Passed::GiveBack));
    drop(second);
    assert_eq!(third.wait().now_or_never(), Some(Passed::GiveBack));
    drop(third);
    // A key that everybody left is new again.
    assert_eq!(lanes.keys(), 0);
    assert_eq!(turn(&lanes, 1, Some("a")).wait().now_or_never(), Some(Passed::Go));
}

#[test]
fn a_copy_of_a_message_in_hand_gets_no_turn_and_a_settled_one_is_known() {
    let lanes = by_key();
    let first = turn(&lanes, 1, Some("a"));
    assert!(matches!(lanes.arrive(&message(1, Some("a"))), Arrival::Copy));
    first.settled();
    assert!(matches!(lanes.arrive(&message(1, Some("a"))), Arrival::Settled));
    // The same sequence in a stream that was made anew is another message.
    let mut anew = message(1, Some("a"));
    anew.meta.published_at = Micros(2);
    assert!(matches!(lanes.arrive(&anew), Arrival::Turn(_)));
}

#[test]
fn memory_of_settled_messages_is_bounded() {
    let lanes = by_key();
    for sequence in 0..(SETTLED_MEMORY as u64 + 10) {
        turn(&lanes, sequence, Some("a")).settled();
    }
    let state = lanes.lock();
    assert_eq!(state.settled.known.len(), SETTLED_MEMORY);
    assert_eq!(state.settled.oldest_first.len(), SETTLED_MEMORY);
    assert!(state.in_hand.is_empty() && state.keys.is_empty());
}

#[test]
fn a_key_function_that_panics_costs_an_attempt_and_no_more() {
    let function = KeyOf::new(|_: &Delivery| -> Option<String> { panic!("a bug") });
    let lanes = Lanes::new(Ordering::ByKey { lanes: 1 }, Some(function)).unwrap();
    let Arrival::Turn(turn) = lanes.arrive(&message(1, Some("a"))) else { panic!("no turn") };
    assert!(turn.keyless.is_some());
}

#[test]
fn strict_order_is_one_key_for_everything() {
    let lanes = Lanes::new(Ordering::Strict, None).unwrap();
    let _first = turn(&lanes, 1, Some("a"));
    let mut second = turn(&lanes, 2, Some("b"));
    assert_eq!(second.wait().now_or_never(), None);
}

proptest! {
    /// Whatever ends in whatever order: a message may go exactly when all of its key before it have ended.
    #[test]
    fn at_most_one_of_a_key_may_go(keys in proptest::collection::vec(0_u8..4, 1..60), picks in proptest::collection::vec(any::<prop::sample::Index>(), 1..200)) {
        let lanes = by_key();
        let mut waiting: Vec<(u8, u64, Turn)> = keys
            .iter()
            .zip(1_u64..)
            .map(|(key, sequence)| (*key, sequence, turn(&lanes, sequence, Some(&key.to_string()))))
            .collect();
        for pick in picks {
            if waiting.is_empty() {
                break;
            }
            let at = pick.index(waiting.len());
            let (key, sequence) = (waiting[at].0, waiting[at].1);
            let first_of_key = !waiting.iter().any(|(k, s, _)| *k == key && *s < sequence);
            let may = waiting[at].2.wait().now_or_never();
            prop_assert_eq!(may, first_of_key.then_some(Passed::Go));
            if may.is_some() {
                waiting.remove(at).2.settled();
            }
        }
        drop(waiting);
        prop_assert_eq!(lanes.keys(), 0);
    }
}
