//! The ledger against one that keeps every event and judges at the end: any history, the same
//! classes. A test only.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::{Ledger, StepBooks, WarmUp};
use crate::intake::{Channel, Event, Outcome};
use crate::model::{Classes, Kind};

const CHANNELS: [Channel; 2] = [Channel::InApp, Channel::Email];
const DEADLINE: u64 = 50;

/// What happens to one slot.
#[derive(Clone, Debug)]
struct Story {
    outcome: u8,
    /// Lane, how far from the right recipient, time, intact; in any number.
    receipts: Vec<(usize, u32, u64, bool)>,
}

fn story(fan_out: u32) -> impl Strategy<Value = Story> {
    let receipt = (0..3_usize, 0..fan_out + 1, 0..100_u64, prop::bool::weighted(0.8));
    (0..6_u8, prop::collection::vec(receipt, 0..5))
        .prop_map(|(outcome, receipts)| Story { outcome, receipts })
}

fn events(stories: &[Story], fan_out: u32) -> Vec<(u64, Event)> {
    let mut events = Vec::new();
    for (slot, story) in (0_u64..).zip(stories) {
        let (intended_ns, recipient) = (1_000 + slot * 3, (slot % 4) as u32);
        events.push((
            intended_ns,
            Event::Sent { slot, wave: 1, recipient, intended_ns, sent_ns: intended_ns },
        ));
        let outcome = match story.outcome {
            0 => None,
            1 => Some(Outcome::Unknown { reason: "r".to_owned() }),
            2 => Some(Outcome::Refused { status: 503 }),
            3 => Some(Outcome::Refused { status: 400 }),
            _ => Some(Outcome::Accepted { stamps: None }),
        };
        let at_ns = intended_ns + u64::from(story.outcome) * 7 + 1;
        events.extend(outcome.map(|outcome| (at_ns, Event::Answered { slot, at_ns, outcome })));
        for (lane, off, after, intact) in &story.receipts {
            let at_ns = intended_ns + after;
            let channel = [Channel::InApp, Channel::Email, Channel::Sms][*lane];
            let receipt = Event::Receipt {
                slot,
                channel,
                recipient: recipient + off % (fan_out + 1),
                at_ns,
                offset: None,
                intact: *intact,
                recovered: false,
                stamps: None,
            };
            events.push((at_ns, receipt));
        }
    }
    // In time; what happens at once, in any order that keeps a request before the rest.
    events.sort_by_key(|(at, event)| (*at, !matches!(event, Event::Sent { .. })));
    events
}

/// Keeps everything, judges at the end.
fn naive(events: &[(u64, Event)], fan_out: u32, warm_up_until: u64) -> (Classes, Classes) {
    let mut requests = BTreeMap::new();
    let mut answers = HashMap::new();
    let mut receipts: HashMap<(u64, Channel, u32), Vec<(u64, bool)>> = HashMap::new();
    for (_, event) in events {
        match event {
            Event::Sent { slot, recipient, intended_ns, .. } => {
                requests.insert(*slot, (*recipient, *intended_ns));
            }
            Event::Answered { slot, outcome, .. } => {
                answers.insert(*slot, outcome.clone());
            }
            Event::Receipt { slot, channel, recipient, at_ns, intact, .. } => {
                receipts.entry((*slot, *channel, *recipient)).or_default().push((*at_ns, *intact));
            }
            _ => {}
        }
    }
    let (mut measured, mut warm_up) = (Classes::default(), Classes::default());
    for (slot, (recipient, intended)) in &requests {
        let warm = *intended < warm_up_until;
        for channel in CHANNELS {
            for reader in *recipient..*recipient + fan_out {
                let seen = receipts.remove(&(*slot, channel, reader)).unwrap_or_default();
                let classes = if warm { &mut warm_up } else { &mut measured };
                judge(classes, answers.get(slot), &seen, *intended);
            }
        }
    }
    // Read by somebody else, or on a channel on which nobody sent: the latter belongs to no
    // channel of the step, so it counts as measured, like a wrong reader of a settled slot.
    measured.phantom += receipts.values().map(Vec::len).sum::<usize>() as u64;
    (measured, warm_up)
}

fn judge(classes: &mut Classes, answer: Option<&Outcome>, seen: &[(u64, bool)], intended: u64) {
    classes.sent += 1;
    match answer {
        Some(Outcome::Accepted { .. }) => classes.accepted += 1,
        Some(Outcome::Refused { status }) => {
            *if *status == 503 { &mut classes.shed } else { &mut classes.rejected } += 1;
            classes.phantom += seen.len() as u64;
            return;
        }
        Some(Outcome::Unknown { .. }) | None => {
            classes.unknown += 1;
            classes.unknown_received += u64::from(!seen.is_empty());
            return;
        }
    }
    match seen {
        [] => classes.lost += 1,
        [(_, false), ..] | [_, (_, false), ..] => classes.corrupt += 1,
        [_, _, ..] => classes.duplicate += 1,
        [(at, true)] if at - intended > DEADLINE => classes.late += 1,
        [(_, true)] => classes.delivered += 1,
    }
}

proptest! {
    #[test]
    fn any_history_gives_the_same_classes(
        (fan_out, stories) in (1..4_u32).prop_flat_map(|fan_out| (Just(fan_out), prop::collection::vec(story(fan_out), 1..30))),
        warm_up in 0..40_u64,
    ) {
        let warm_up_until = 1_000 + warm_up;
        let events = events(&stories, fan_out);
        let mut ledger = Ledger::new(0);
        ledger.open_step(StepBooks {
            kind: Kind::Open,
            channels: CHANNELS.to_vec(),
            fan_out,
            deadline_ns: DEADLINE,
            warm_up: WarmUp::Until(warm_up_until),
        });
        for (_, event) in &events {
            ledger.enter(event.clone());
        }
        let in_flight = ledger.in_flight();
        let book = ledger.close_step();
        let (mut measured, mut warm) = naive(&events, fan_out, warm_up_until);
        prop_assert!(book.sound(), "{:?}", book);
        let (mut totals, mut early) = (book.totals(), book.warm_up());
        // Which of the two a phantom of the warm-up counts for depends on when it came.
        prop_assert_eq!(totals.phantom + early.phantom, measured.phantom + warm.phantom);
        for classes in [&mut totals, &mut early, &mut measured, &mut warm] {
            classes.phantom = 0;
        }
        prop_assert_eq!(totals, measured);
        prop_assert_eq!(early, warm);
        prop_assert!(in_flight <= stories.len() as u64);
        prop_assert_eq!(ledger.in_flight(), 0);
    }
}
