//! The ledger against hand-made histories: each class, each order of events, and its memory.

use super::book::Faults;
use super::*;
use crate::intake::Outcome;
use crate::model::{Classes, Step};
use crate::stamps::Stamps;

const MS: u64 = 1_000_000;
const S: u64 = 1_000 * MS;

fn books(channels: &[Channel], fan_out: u32) -> StepBooks {
    StepBooks {
        kind: Kind::Wave,
        channels: channels.to_vec(),
        fan_out,
        deadline_ns: 100 * MS,
        warm_up: WarmUp::Waves(1),
    }
}

fn ledger() -> Ledger {
    let mut ledger = Ledger::new(S);
    ledger.open_step(books(&[Channel::InApp], 1));
    ledger
}

fn sent(slot: u64, wave: u32, recipient: u32) -> Event {
    Event::Sent { slot, wave, recipient, intended_ns: 10 * S, sent_ns: 10 * S + MS }
}

fn answered(slot: u64, outcome: Outcome) -> Event {
    Event::Answered { slot, at_ns: 10 * S + 2 * MS, outcome }
}

fn accepted(slot: u64) -> Event {
    answered(slot, Outcome::Accepted { stamps: None })
}

fn receipt(slot: u64, recipient: u32, after_ms: u64, offset: u64) -> Event {
    Event::Receipt {
        slot,
        channel: Channel::InApp,
        recipient,
        at_ns: 10 * S + after_ms * MS,
        offset: Some(offset),
        intact: true,
        recovered: false,
        stamps: None,
    }
}

fn damaged(slot: u64, recipient: u32) -> Event {
    let mut event = receipt(slot, recipient, 5, 1);
    if let Event::Receipt { intact, .. } = &mut event {
        *intact = false;
    }
    event
}

fn enter(ledger: &mut Ledger, events: impl IntoIterator<Item = Event>) {
    events.into_iter().for_each(|event| ledger.enter(event));
}

#[test]
fn every_class_is_told_apart() {
    let mut ledger = ledger();
    for slot in 1..=9 {
        enter(&mut ledger, [sent(slot, 1, slot as u32)]);
    }
    enter(&mut ledger, (1..=5).map(accepted));
    enter(
        &mut ledger,
        [
            receipt(1, 1, 5, 1),
            receipt(2, 2, 101, 1),
            receipt(3, 3, 5, 1),
            receipt(3, 3, 6, 1),
            damaged(4, 4),
            answered(6, Outcome::Refused { status: 503 }),
            answered(7, Outcome::Refused { status: 422 }),
            answered(8, Outcome::Unknown { reason: "reset".to_owned() }),
            receipt(8, 8, 5, 1),
            receipt(6, 6, 5, 1),
            receipt(99, 9, 5, 1),
            Event::Stranger { channel: Channel::InApp, recipient: 0, at_ns: 1 },
        ],
    );
    assert_eq!((ledger.requests(), ledger.unanswered(), ledger.outstanding()), (9, 1, 1));
    assert_eq!(ledger.in_flight(), 2);
    let book = ledger.close_step();
    let expected = Classes {
        sent: 9,
        accepted: 5,
        delivered: 1,
        late: 1,
        lost: 1,
        duplicate: 1,
        corrupt: 1,
        shed: 1,
        rejected: 1,
        unknown: 2,
        unknown_received: 1,
        phantom: 3,
        ..Classes::default()
    };
    assert_eq!(book.totals(), expected);
    assert!(book.sound());
    assert_eq!(book.failures.values().sum::<u64>(), 2);
    assert_eq!(book.lanes[0].intended.len(), 4);
}

#[test]
fn a_receipt_may_come_before_its_answer_and_before_its_request() {
    let mut ledger = ledger();
    enter(&mut ledger, [receipt(1, 0, 7, 5), sent(1, 1, 0)]);
    assert_eq!(ledger.outstanding(), 0);
    enter(&mut ledger, [accepted(1), sent(2, 1, 1), receipt(2, 1, 3, 6)]);
    assert_eq!(ledger.in_flight(), 1);
    enter(&mut ledger, [accepted(2)]);
    assert_eq!((ledger.in_flight(), ledger.outstanding()), (0, 0));
    let mut step = Step::default();
    let book = ledger.close_step();
    book.fill(&mut step);
    assert_eq!((step.classes.delivered, step.classes.phantom), (2, 0));
    let latency = &step.latency["in_app"];
    assert_eq!((latency.intended.count, latency.intended.max_ms.round()), (2, 7.0));
    assert_eq!(latency.actual.max_ms.round(), 6.0);
    assert_eq!(step.accept.intended.p50_ms.round(), 2.0);
    assert_eq!(step.generator.lag.p50_ms.round(), 1.0);
    assert_eq!((step.waves.len(), step.waves[0].delivered, step.waves[0].sent), (1, 2, 2));
    assert_eq!(step.makespan.as_ref().unwrap().max_ms.round(), 7.0);
    assert_eq!(step.series.at_s, [9.0]);
    assert_eq!((step.from_s, step.classes.balanced()), (9.0, true));
}

#[test]
fn what_settled_is_still_judged() {
    let mut ledger = ledger();
    for slot in 1..=4 {
        enter(&mut ledger, [sent(slot, 1, 7), accepted(slot), receipt(slot, 7, 3, slot)]);
    }
    assert_eq!(ledger.in_flight(), 0);
    // A repeat, a damaged repeat, a repeat of both, and a copy for somebody else.
    enter(&mut ledger, [receipt(1, 7, 4, 1), damaged(2, 7), receipt(1, 7, 5, 1), damaged(1, 7)]);
    enter(&mut ledger, [receipt(2, 7, 5, 1), receipt(3, 8, 5, 1)]);
    let book = ledger.close_step();
    let totals = book.totals();
    assert_eq!((totals.delivered, totals.duplicate, totals.corrupt), (2, 1, 1));
    assert_eq!((totals.phantom, totals.balanced()), (1, true));
    assert_eq!(book.waves[0].delivered, 2);
}

#[test]
fn the_wrong_reader_is_a_phantom_whenever_he_reads() {
    let mut ledger = ledger();
    enter(&mut ledger, [sent(1, 1, 0), receipt(1, 7, 2, 1), accepted(1), receipt(1, 7, 3, 1)]);
    assert_eq!(ledger.outstanding(), 1);
    enter(&mut ledger, [receipt(1, 0, 4, 1), receipt(1, 7, 5, 1)]);
    let totals = ledger.close_step().totals();
    assert_eq!((totals.delivered, totals.duplicate, totals.phantom), (1, 0, 3));
}

#[test]
fn order_is_judged_by_offset_and_per_recipient() {
    let mut ledger = ledger();
    for slot in 1..=5 {
        enter(&mut ledger, [sent(slot, 1, u32::from(slot == 5)), accepted(slot)]);
    }
    let offsets = [(2, 0, 12), (3, 0, 13), (1, 0, 11), (3, 0, 13), (4, 0, 20), (5, 1, 3)];
    enter(
        &mut ledger,
        offsets.map(|(slot, recipient, offset)| receipt(slot, recipient, 5, offset)),
    );
    let totals = ledger.close_step().totals();
    assert_eq!((totals.reordered, totals.reorder_depth_max, totals.duplicate), (1, 2, 1));
}

#[test]
fn channels_and_a_fan_out_are_cells_of_their_own() {
    let mut ledger = Ledger::new(0);
    ledger.open_step(books(&[Channel::InApp, Channel::Email], 3));
    enter(&mut ledger, [sent(1, 1, 10), accepted(1)]);
    assert_eq!(ledger.outstanding(), 6);
    enter(&mut ledger, [10, 11, 12].map(|recipient| receipt(1, recipient, 3, 1)));
    enter(&mut ledger, [receipt(1, 13, 3, 1), receipt(1, 9, 3, 1), receipt(1, 11, 4, 1)]);
    let mail = |recipient, at_ms| match receipt(1, recipient, at_ms, 1) {
        Event::Receipt { slot, at_ns, .. } => Event::Receipt {
            slot,
            channel: Channel::Email,
            recipient,
            at_ns,
            offset: None,
            intact: true,
            recovered: true,
            stamps: None,
        },
        other => other,
    };
    enter(&mut ledger, [mail(10, 3), mail(12, 500)]);
    let book = ledger.close_step();
    let [in_app, email] = [0, 1].map(|lane| book.lanes[lane].classes.clone());
    assert_eq!((in_app.sent, in_app.delivered, in_app.duplicate, in_app.phantom), (3, 2, 1, 2));
    assert_eq!((email.delivered, email.late, email.lost), (1, 1, 1));
    assert!(book.sound() && book.totals().sent == 6 && book.recovered == 2);
}

#[test]
fn the_warm_up_is_kept_apart() {
    let mut ledger = ledger();
    enter(
        &mut ledger,
        [sent(0, 0, 0), accepted(0), sent(1, 0, 0), accepted(1), receipt(1, 0, 3, 1)],
    );
    enter(&mut ledger, [sent(2, 1, 0), accepted(2), receipt(2, 0, 3, 2), receipt(1, 0, 3, 1)]);
    let book = ledger.close_step();
    assert_eq!((book.warm_up().lost, book.warm_up().duplicate), (1, 1));
    assert_eq!((book.totals().sent, book.totals().delivered), (1, 1));
    assert_eq!((book.waves.len(), book.requests, book.warm_up_requests), (1, 1, 2));
    assert_eq!(book.lanes[0].intended.len(), 1);
}

#[test]
fn what_arrives_after_the_judgement_is_attributed() {
    let mut ledger = ledger();
    for slot in 1..=3 {
        enter(&mut ledger, [sent(slot, 1, 0), accepted(slot)]);
    }
    enter(&mut ledger, [receipt(1, 0, 3, 1), receipt(2, 0, 200, 2)]);
    let mut step = Step::default();
    ledger.close_step().fill(&mut step);
    assert_eq!((step.classes.delivered, step.classes.late, step.classes.lost), (1, 1, 1));
    assert!(ledger.afterwards(0).is_empty());
    enter(&mut ledger, [receipt(3, 0, 900, 3)]);
    let second = ledger.open_step(books(&[Channel::InApp, Channel::Email], 1));
    enter(
        &mut ledger,
        [receipt(1, 0, 901, 1), receipt(1, 0, 902, 1), damaged(2, 0), receipt(3, 9, 1, 1)],
    );
    let after = ledger.afterwards(0);
    assert_eq!((after.arrived, after.strangers), (1, 1));
    after.amend(&mut step);
    assert_eq!((step.classes.delivered, step.classes.duplicate), (0, 1));
    assert_eq!((step.classes.late, step.classes.corrupt, step.classes.lost), (0, 1, 1));
    assert_eq!(step.by_channel["in_app"].duplicate, 1);
    assert!(step.classes.balanced());
    assert!(ledger.afterwards(second).is_empty());
    assert_eq!(ledger.close_step().totals(), Classes::default());
}

#[test]
fn the_harness_own_faults_unsettle_the_book() {
    let mut ledger = ledger();
    enter(&mut ledger, [sent(1, 1, 0), sent(1, 1, 0), accepted(1), accepted(1), accepted(5)]);
    let book = ledger.close_step();
    assert_eq!(book.faults, Faults { reused_slots: 1, stray_answers: 2 });
    assert!(!book.sound());
}

#[test]
fn stages_add_up_to_the_whole_way() {
    let mut ledger = ledger();
    let at = |ms: u64| 10 * S + ms * MS;
    let text = |pairs: &[(&str, u64)]| {
        let stamps = pairs.iter().map(|(name, ms)| format!(";{name}={}", at(*ms)));
        Stamps::parse(&format!("boot=00000001{}", stamps.collect::<String>()), 1)
    };
    let answer = Outcome::Accepted { stamps: text(&[("accepted", 3), ("stored", 9)]) };
    enter(&mut ledger, [sent(1, 1, 0), answered(1, answer)]);
    let mut event = receipt(1, 0, 20, 1);
    if let Event::Receipt { stamps, .. } = &mut event {
        // The dispatcher had it before the gateway knew that it was stored.
        *stamps = text(&[("accepted", 3), ("dispatched", 7), ("edge", 12), ("socket", 14)]);
    }
    enter(&mut ledger, [event]);
    let mut step = Step::default();
    ledger.close_step().fill(&mut step);
    let times: Vec<(String, f64)> =
        step.stages.iter().map(|stage| (stage.name.clone(), stage.time.p50_ms.round())).collect();
    let expected = [
        ("accepted", 2.0),
        ("stored", 6.0),
        ("dispatched", 0.0),
        ("edge", 3.0),
        ("socket", 2.0),
        ("client", 6.0),
    ];
    assert_eq!(times, expected.map(|(name, ms)| (name.to_owned(), ms)));
}

/// Two million ids through one step, each settled; prints what is kept of them.
#[test]
fn two_million_ids_fit_in_little_memory() {
    let mut ledger = Ledger::new(0);
    ledger.open_step(StepBooks {
        kind: Kind::Open,
        warm_up: WarmUp::Until(0),
        ..books(&[Channel::InApp], 1)
    });
    const IDS: u64 = 2_000_000;
    for slot in 0..IDS {
        let (now, recipient) = (slot * 200_000, (slot % 5_000) as u32);
        ledger.enter(Event::Sent { slot, wave: 0, recipient, intended_ns: now, sent_ns: now });
        ledger.enter(Event::Answered {
            slot,
            at_ns: now + MS,
            outcome: Outcome::Accepted { stamps: None },
        });
        ledger.enter(Event::Receipt {
            slot,
            channel: Channel::InApp,
            recipient,
            at_ns: now + 2 * MS,
            offset: Some(slot),
            intact: true,
            recovered: false,
            stamps: None,
        });
        if slot % 10_000 == 0 {
            ledger.take_intervals();
        }
    }
    let bytes = ledger.kept_bytes();
    println!("{bytes} bytes kept of {IDS} ids: {:.2} each", bytes as f64 / IDS as f64);
    assert!(bytes < 16 << 20, "{bytes}");
    ledger.enter(receipt(17, 3, 1, 1));
    let book = ledger.close_step();
    assert_eq!((book.totals().delivered, book.totals().duplicate), (IDS - 1, 1));
    assert!(book.sound());
}
