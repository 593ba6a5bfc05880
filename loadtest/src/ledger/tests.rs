//! The ledger against hand-made histories: each class, each order of events, and the self-check.

use super::*;

fn accepted(wave: u32, recipient: u32, id: &str) -> Sent {
    Sent {
        wave,
        recipient,
        intended_ns: 1_000,
        sent_ns: 1_500,
        outcome: Outcome::Accepted { id: id.into(), at_ns: 3_000 },
    }
}

fn answered(recipient: u32, outcome: Outcome) -> Sent {
    Sent { wave: 1, recipient, intended_ns: 0, sent_ns: 0, outcome }
}

fn receipt(recipient: u32, id: &str, at_ns: u64, offset: u64) -> Receipt {
    Receipt { recipient, id: id.into(), at_ns, offset: Some(offset) }
}

#[test]
fn a_receipt_may_overtake_its_answer() {
    let mut ledger = Ledger::default();
    ledger.record_receipt(receipt(0, "a", 2_000, 1));
    assert_eq!(ledger.outstanding(), 0);
    ledger.record_sent(accepted(1, 0, "a"));
    ledger.record_sent(accepted(1, 1, "b"));
    assert_eq!(ledger.outstanding(), 1);
    ledger.record_receipt(receipt(1, "b", 5_000, 1));
    assert_eq!(ledger.outstanding(), 0);
    let book = ledger.close_step();
    assert_eq!(book.totals.received_once, 2);
    assert!(book.totals.balanced());
    assert_eq!(book.waves[0].latency_ns, [1_000, 4_000]);
    assert_eq!(book.waves[0].uncorrected_ns, [500, 3_500]);
    assert_eq!(book.waves[0].accept_ns, [2_000, 2_000]);
    assert_eq!(book.waves[0].makespan_ns, Some(4_000));
}

#[test]
fn every_class_is_told_apart() {
    let mut ledger = Ledger::default();
    ledger.record_sent(accepted(1, 0, "once"));
    ledger.record_sent(accepted(1, 1, "twice"));
    ledger.record_sent(accepted(1, 2, "never"));
    ledger.record_sent(answered(3, Outcome::Refused { status: 422 }));
    ledger.record_sent(answered(4, Outcome::Refused { status: 503 }));
    ledger.record_sent(answered(5, Outcome::Unknown { reason: "reset".into() }));
    ledger.record_receipt(receipt(0, "once", 2_000, 1));
    ledger.record_receipt(receipt(1, "twice", 2_000, 1));
    ledger.record_receipt(receipt(1, "twice", 2_100, 1));
    ledger.record_receipt(receipt(5, "answer got lost", 2_100, 1));
    ledger.record_receipt(receipt(9, "nobody asked", 2_100, 1));
    assert_eq!(ledger.outstanding(), 1);
    let book = ledger.close_step();
    let expected = Totals {
        sent: 6,
        accepted: 3,
        received_once: 1,
        lost: 1,
        duplicate: 1,
        rejected: 1,
        shed: 1,
        unknown: 1,
        unknown_received: 1,
        phantom: 1,
        reordered: 0,
    };
    assert_eq!(book.totals, expected);
    assert!(book.totals.balanced());
    assert_eq!(book.statuses.into_iter().collect::<Vec<_>>(), [(422, 1), (503, 1)]);
    assert_eq!(book.failures["reset"], 1);
}

#[test]
fn the_wrong_reader_is_a_phantom_and_not_a_receipt() {
    for stranger_first in [true, false] {
        let mut ledger = Ledger::default();
        ledger.record_sent(accepted(1, 0, "a"));
        if stranger_first {
            ledger.record_receipt(receipt(7, "a", 2_000, 1));
            assert_eq!(ledger.outstanding(), 1);
        }
        ledger.record_receipt(receipt(0, "a", 3_000, 1));
        if !stranger_first {
            ledger.record_receipt(receipt(7, "a", 4_000, 1));
        }
        assert_eq!(ledger.outstanding(), 0);
        let book = ledger.close_step();
        assert_eq!(book.totals.received_once, 1);
        assert_eq!(book.totals.phantom, 1);
        assert_eq!(book.waves[0].latency_ns, [2_000]);
    }
    let mut ledger = Ledger::default();
    ledger.record_receipt(receipt(7, "a", 2_000, 1));
    ledger.record_sent(accepted(1, 0, "a"));
    assert_eq!(ledger.outstanding(), 1);
    let book = ledger.close_step();
    assert_eq!((book.totals.lost, book.totals.phantom), (1, 1));
}

#[test]
fn order_is_judged_by_offset_and_per_recipient() {
    let mut ledger = Ledger::default();
    for (recipient, id) in [(0, "a"), (0, "b"), (0, "c"), (1, "d")] {
        ledger.record_sent(accepted(1, recipient, id));
    }
    ledger.record_receipt(receipt(0, "b", 2_000, 12));
    ledger.record_receipt(receipt(0, "a", 2_000, 11));
    ledger.record_receipt(receipt(0, "c", 2_000, 13));
    ledger.record_receipt(receipt(1, "d", 2_000, 3));
    // A repeated frame is a duplicate, not a second fault.
    ledger.record_receipt(receipt(0, "b", 2_000, 12));
    let totals = ledger.close_step().totals;
    assert_eq!((totals.reordered, totals.duplicate, totals.received_once), (1, 1, 3));
}

#[test]
fn the_warm_up_is_kept_apart() {
    let mut ledger = Ledger::default();
    ledger.record_sent(accepted(0, 0, "warm"));
    ledger.record_sent(accepted(1, 0, "a"));
    ledger.record_receipt(receipt(0, "a", 2_000, 2));
    let book = ledger.close_step();
    assert_eq!(book.warm_up.lost, 1);
    assert_eq!((book.totals.sent, book.totals.lost), (1, 0));
}

#[test]
fn what_arrives_after_the_judgement_is_late_and_no_phantom() {
    let mut ledger = Ledger::default();
    ledger.record_sent(accepted(1, 0, "a"));
    assert_eq!(ledger.close_step().totals.lost, 1);
    ledger.record_receipt(receipt(0, "a", 9_000, 1));
    assert_eq!(ledger.late(), 1);
    let next = ledger.close_step();
    assert_eq!(next.totals, Totals::default());
}

#[test]
fn one_id_for_two_requests_unbalances_the_ledger() {
    let mut ledger = Ledger::default();
    ledger.record_sent(accepted(1, 0, "a"));
    ledger.record_sent(accepted(1, 1, "a"));
    ledger.record_receipt(receipt(0, "a", 2_000, 1));
    let book = ledger.close_step();
    assert_eq!(book.totals.accepted, 2);
    assert!(!book.totals.balanced());
}
