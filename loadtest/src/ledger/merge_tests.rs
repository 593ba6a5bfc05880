//! Books of several generators against the book of one that saw everything.

use proptest::prelude::*;

use super::*;
use crate::agent::part::Part;
use crate::intake::Outcome;
use crate::model::{self, Step};

const MS: u64 = 1_000_000;
const S: u64 = 1_000 * MS;

/// One notification: to whom, by how much it was sent late, and what became of it.
#[derive(Clone, Debug)]
struct Fate {
    recipient: u32,
    wave: u32,
    lag_ms: u64,
    took_ms: u64,
    status: u16,
    receipts: u32,
}

fn fate() -> impl Strategy<Value = Fate> {
    let status = prop_oneof![6 => Just(202_u16), 1 => Just(503), 1 => Just(422), 1 => Just(0)];
    (0_u32..12, 0_u32..4, 0_u64..3, 1_u64..400, status, 0_u32..3).prop_map(
        |(recipient, wave, lag_ms, took_ms, status, receipts)| Fate {
            recipient,
            wave,
            lag_ms,
            took_ms,
            status,
            receipts,
        },
    )
}

fn books(kind: Kind) -> StepBooks {
    let warm_up = match kind {
        Kind::Wave => WarmUp::Waves(1),
        Kind::Closed | Kind::Open => WarmUp::Until(3 * S),
    };
    let (channels, fan_out) = (vec![Channel::InApp], 1);
    StepBooks { kind, channels, fan_out, deadline_ns: 200 * MS, warm_up }
}

/// Enters what one generator did and saw; in waves everybody's are in order.
fn enter(ledger: &mut Ledger, part: Part, kind: Kind, fates: &[Fate]) {
    for (number, fate) in (0_u64..).zip(fates) {
        if !part.owns(fate.recipient) {
            continue;
        }
        let slot = part.slot(number);
        let (recipient, wave) = (part.place(fate.recipient), fate.wave);
        let intended_ns = match kind {
            Kind::Wave => S + u64::from(wave) * 2 * S,
            Kind::Closed | Kind::Open => S + number * 40 * MS,
        };
        let sent_ns = intended_ns + fate.lag_ms * MS;
        ledger.enter(Event::Sent { slot, wave, recipient, intended_ns, sent_ns });
        let outcome = match fate.status {
            202 => Outcome::Accepted { stamps: None },
            0 => Outcome::Unknown { reason: "reset".to_owned() },
            status => Outcome::Refused { status },
        };
        ledger.enter(Event::Answered { slot, at_ns: sent_ns + MS, outcome });
        let at_ns = intended_ns + fate.took_ms * MS;
        for _ in 0..fate.receipts {
            ledger.enter(Event::Receipt {
                slot,
                channel: Channel::InApp,
                recipient,
                at_ns,
                offset: None,
                intact: true,
                recovered: false,
                stamps: None,
            });
        }
    }
}

fn alone(kind: Kind, fates: &[Fate]) -> Step {
    let mut ledger = Ledger::new(0);
    ledger.open_step(books(kind));
    enter(&mut ledger, Part::WHOLE, kind, fates);
    let mut step = Step::default();
    ledger.close_step().fill(&mut step);
    step
}

/// Every generator's book goes over the wire and back.
fn together(kind: Kind, fates: &[Fate], of: u32) -> (Step, Vec<IntervalLog>) {
    let mut merger = Merger::new(0, kind, &[Channel::InApp], of as usize, 0);
    for index in 0..of {
        let part = Part { index, of };
        let mut ledger = Ledger::new(0).of_part(part);
        ledger.open_step(books(kind));
        enter(&mut ledger, part, kind, fates);
        let book = ledger.close_step();
        let seconds: Vec<Second> = ledger.take_intervals().iter().map(Second::of).collect();
        let seconds: Vec<Second> = over_the_wire(&seconds);
        let told: BookPart = over_the_wire(&book.part());
        merger.seconds(index as usize, seconds).unwrap();
        merger.add(&told).unwrap();
    }
    let mut logs = merger.take_intervals();
    let (book, rest) = merger.close().unwrap();
    logs.extend(rest);
    let mut step = Step::default();
    book.fill(&mut step);
    (step, logs)
}

fn over_the_wire<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
    serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn several_books_add_up_to_the_book_of_one(
        mut fates in proptest::collection::vec(fate(), 1..60),
        of in 2_u32..5,
        waves: bool,
    ) {
        let kind = if waves { Kind::Wave } else { Kind::Open };
        // A ledger sees the waves in order.
        fates.sort_by_key(|fate| fate.wave);
        let one = alone(kind, &fates);
        let (sum, logs) = together(kind, &fates, of);
        prop_assert_eq!(&sum.classes, &one.classes);
        prop_assert!(sum.classes.balanced());
        prop_assert_eq!(&sum.statuses, &one.statuses);
        prop_assert_eq!(&sum.failures, &one.failures);
        for (left, right) in [
            (&sum.latency["in_app"].intended, &one.latency["in_app"].intended),
            (&sum.latency["in_app"].actual, &one.latency["in_app"].actual),
            (&sum.accept.intended, &one.accept.intended),
            (&sum.generator.lag, &one.generator.lag),
        ] {
            prop_assert_eq!(left.histogram(), right.histogram());
            prop_assert_eq!(left.p50_interval, right.p50_interval);
            prop_assert_eq!(left.p99_interval, right.p99_interval);
        }
        prop_assert_eq!((sum.from_s, sum.to_s), (one.from_s, one.to_s));
        prop_assert_eq!(sum.goodput_per_s, one.goodput_per_s);
        prop_assert_eq!(&sum.series.at_s, &one.series.at_s);
        for name in ["offered", "sent", "delivered", "shed"] {
            prop_assert_eq!(&sum.series.columns[name], &one.series.columns[name], "{}", name);
        }
        // One generator keeps seconds in single precision.
        for name in ["p50_ms", "p99_ms", "p50_actual_ms", "p99_actual_ms"] {
            let both = sum.series.columns[name].iter().zip(&one.series.columns[name]);
            for (left, right) in both {
                let near = match (left, right) {
                    (Some(left), Some(right)) => (left - right).abs() < 0.002,
                    (left, right) => left.is_none() && right.is_none(),
                };
                prop_assert!(near, "{} {:?} {:?}", name, left, right);
            }
        }
        let heat = |step: &Step| step.heat.as_ref().map(|heat| (heat.at_s.clone(), heat.counts.clone()));
        prop_assert_eq!(heat(&sum), heat(&one));
        let logged: u64 = logs.iter().map(|log| log.intended.len()).sum();
        prop_assert_eq!(logged, one.latency["in_app"].intended.count);
        if kind == Kind::Wave {
            let makespan = |step: &Step| step.makespan.as_ref().map(model::Distribution::histogram);
            prop_assert_eq!(makespan(&sum), makespan(&one));
        }
    }

    #[test]
    fn adding_histograms_is_recording_into_one(
        values in proptest::collection::vec((0_u64..700 * S, 0_usize..4), 0..300),
    ) {
        let mut whole = model::histogram();
        let mut parts = vec![model::histogram(); 4];
        for (value, part) in values {
            whole.saturating_record(value);
            parts[part].saturating_record(value);
        }
        let mut sum = model::histogram();
        for part in &parts {
            Times::of(part).add_to(&mut sum).unwrap();
        }
        prop_assert_eq!(&sum, &whole);
        for quantile in [0.0, 0.5, 0.9, 0.99, 0.999, 1.0] {
            prop_assert_eq!(sum.value_at_quantile(quantile), whole.value_at_quantile(quantile));
        }
    }

    #[test]
    fn a_damaged_histogram_is_refused(hdr in "[A-Za-z0-9+/=]{0,200}", count in 1_u64..1_000) {
        let times = Times { count, hdr };
        prop_assert!(times.histogram().is_err());
    }
}

#[test]
fn anothers_slot_is_not_ours_and_no_phantom_unless_our_socket_got_it() {
    let (part, other) = (Part { index: 0, of: 2 }, Part { index: 1, of: 2 });
    let mut ledger = Ledger::new(0).of_part(part);
    ledger.open_step(StepBooks {
        channels: vec![Channel::InApp, Channel::Email],
        ..books(Kind::Open)
    });
    let receipt = |slot, channel| Event::Receipt {
        slot,
        channel,
        recipient: 0,
        at_ns: 4 * S,
        offset: None,
        intact: true,
        recovered: false,
        stamps: None,
    };
    // The sandbox shows everybody everything.
    ledger.enter(receipt(other.slot(7), Channel::Email));
    assert_eq!(ledger.so_far().phantom, 0);
    // A socket is one generator's.
    ledger.enter(receipt(other.slot(7), Channel::InApp));
    assert_eq!(ledger.so_far().phantom, 1);
    let book = ledger.close_step();
    assert_eq!((book.totals().phantom, book.sound()), (1, true));
}

#[test]
fn parts_that_cannot_be_are_refused() {
    let mut ledger = Ledger::new(0);
    ledger.open_step(books(Kind::Open));
    let good = ledger.close_step().part();
    assert_eq!(good.check(), Ok(()));
    let mut twice = good.clone();
    twice.lanes.push(twice.lanes[0].clone());
    assert!(twice.check().is_err());
    let mut ragged = good.clone();
    ragged.series.columns.insert("sent".to_owned(), vec![Some(1.0)]);
    assert!(ragged.check().is_err());
    let mut merger = Merger::new(0, Kind::Open, &[Channel::Email], 1, 0);
    assert!(merger.add(&good).is_err(), "figures of a channel that the step has not");
}
