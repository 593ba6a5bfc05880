//! Books whose counters are known: what agrees, what is missing, what somebody else sent.

use super::*;
use crate::intake::{Event, Outcome};
use crate::ledger::{Ledger, StepBooks, WarmUp};
use crate::model::Kind;
use crate::sampler::Stream;

/// Three requests on two channels: one accepted and received, one accepted and lost by
/// e-mail, one without an answer.
fn book() -> Book {
    let mut ledger = Ledger::new(0);
    ledger.open_step(StepBooks {
        kind: Kind::Open,
        channels: vec![Channel::InApp, Channel::Email],
        fan_out: 1,
        deadline_ns: 1_000,
        warm_up: WarmUp::Until(3),
    });
    for slot in 0..3 {
        ledger.enter(Event::Sent {
            slot,
            wave: 0,
            recipient: 0,
            intended_ns: slot * 4,
            sent_ns: slot * 4,
        });
        let outcome = if slot == 2 {
            Outcome::Unknown { reason: "reset".to_owned() }
        } else {
            Outcome::Accepted { stamps: None }
        };
        ledger.enter(Event::Answered { slot, at_ns: 10, outcome });
    }
    for (slot, channel) in [(0, Channel::InApp), (0, Channel::Email), (1, Channel::InApp)] {
        ledger.enter(Event::Receipt {
            slot,
            channel,
            recipient: 0,
            at_ns: 20,
            offset: None,
            intact: true,
            recovered: false,
            stamps: None,
        });
    }
    ledger.close_step()
}

fn reading(channels: u64, deliveries: u64, text: &str) -> Reading {
    let stream = |last_seq| Stream { last_seq, ..Stream::default() };
    let streams = BTreeMap::from([
        (CHANNELS.to_owned(), stream(channels)),
        (DELIVERIES.to_owned(), stream(deliveries)),
    ]);
    let monitor = Monitor { streams, ..Monitor::default() };
    Reading { monitor: Some(monitor), metrics: Some(parse_metrics(text)), ..Reading::default() }
}

fn text(accepted: u64, ended: u64, dead: u64) -> String {
    format!(
        "# HELP x y\n{ACCEPTED}{{priority=\"high\"}} 1\n{ACCEPTED}{{priority=\"low\"}} {accepted}\n\
         {ENDED}{{channel=\"email\"}} {ended}\n{DEAD} {dead}\nother 7\n"
    )
}

#[test]
fn what_agrees_and_what_does_not() {
    let before = reading(100, 50, &text(10, 4, 0));
    let book = book();
    assert!(book.sound(), "{book:?}");
    let good = compare(&before, &reading(103, 52, &text(12, 6, 1)), &book);
    assert_eq!(good.checks.len(), 5, "{good:?}");
    assert!(good.checks.iter().all(|check| check.agrees), "{good:?}");
    assert_eq!(good.counters[DEAD], 1.0);
    let bad = compare(&before, &reading(101, 51, &text(14, 8, 4)), &book);
    assert!(bad.checks.iter().all(|check| !check.agrees), "{bad:?}");
    let silent = compare(&Reading::default(), &reading(1, 1, ""), &book);
    assert!(silent.checks.is_empty());
    let mut step = Step { reconciliation: good, ..Step::default() };
    book.fill(&mut step);
    assert_eq!((step.classes.lost, step.by_channel["email"].lost), (1, 1));
    move_dead(&mut step);
    assert_eq!((step.classes.lost, step.classes.dead), (0, 1));
    assert_eq!(step.by_channel["email"].dead, 1);
    assert!(step.classes.balanced());
}

fn rows(notifications: u64, in_app: u64, email: u64, failed: u64) -> Rows {
    let of = |list: &[(&str, u64)]| {
        list.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect::<BTreeMap<_, _>>()
    };
    Rows {
        complete: true,
        to: String::new(),
        notifications: of(&[("completed", notifications)]),
        deliveries: BTreeMap::from([
            ("in_app".to_owned(), of(&[("delivered", in_app)])),
            ("email".to_owned(), of(&[("sent", email), ("failed", failed)])),
        ]),
    }
}

fn with_rows(reading: Reading, of_run: Rows, of_all: Rows) -> Reading {
    Reading { rows: Some(of_run), all_rows: Some(of_all), ..reading }
}

#[test]
fn rows_of_the_run_are_held_against_the_ledger() {
    let book = book();
    let before = with_rows(Reading::default(), rows(5, 5, 4, 1), rows(9, 9, 9, 0));
    // Two accepted on two channels, one of them given up, one request without an answer.
    let good = compare(
        &before,
        &with_rows(Reading::default(), rows(7, 7, 5, 2), rows(14, 9, 9, 0)),
        &book,
    );
    assert_eq!(good.checks.len(), 5, "{good:?}");
    assert!(good.checks.iter().all(|check| check.agrees && check.of_run), "{good:?}");
    assert_eq!(good.counters["rows of email: failed"], 1.0);
    assert_eq!(good.counters[OTHERS], 3.0, "of five more, two are ours");
    // A row is missing, and a delivery that was received has none.
    let bad =
        compare(&before, &with_rows(Reading::default(), rows(6, 6, 4, 1), Rows::default()), &book);
    assert!(bad.checks.iter().all(|check| !check.agrees && !check.others()), "{bad:?}");
}

#[test]
fn a_surplus_in_what_everybody_counts_is_others() {
    let before = reading(100, 50, &text(10, 4, 0));
    let after = reading(110, 52, &text(20, 16, 1));
    let found = compare(&before, &after, &book());
    let others: Vec<&str> = found
        .checks
        .iter()
        .filter(|check| check.others())
        .map(|check| check.what.as_str())
        .collect();
    assert_eq!(
        others,
        ["messages in CHANNELS", "notifications accepted", "email deliveries ended"]
    );
    let missing = compare(&before, &reading(101, 51, &text(11, 5, 0)), &book());
    assert!(missing.checks.iter().any(|check| !check.agrees), "{missing:?}");
    assert!(!missing.checks.iter().any(Reconciled::others), "{missing:?}");
}
