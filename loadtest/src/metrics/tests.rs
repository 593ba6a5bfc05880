//! Families from the start, counters over several steps, and buckets.

use super::*;
use crate::intake::{Channel, Event, Outcome};
use crate::ledger::{Ledger, StepBooks, WarmUp};

fn books() -> StepBooks {
    StepBooks {
        kind: Kind::Open,
        channels: vec![Channel::InApp],
        fan_out: 1,
        deadline_ns: 1_000_000_000,
        warm_up: WarmUp::Until(0),
    }
}

fn value(text: &str, start: &str) -> f64 {
    let line = text.lines().find(|line| line.starts_with(start));
    let line = line.unwrap_or_else(|| panic!("no {start} in {text}"));
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

/// A request that is accepted at once and received a millisecond after it was meant to be sent.
fn deliver(ledger: &mut Ledger, slot: u64, received: bool) {
    let (intended_ns, sent_ns) = (slot * 1_000, slot * 1_000 + 500_000);
    ledger.enter(Event::Sent { slot, wave: 0, recipient: 0, intended_ns, sent_ns });
    let outcome = Outcome::Accepted { stamps: None };
    ledger.enter(Event::Answered { slot, at_ns: sent_ns, outcome });
    if received {
        ledger.enter(Event::Receipt {
            slot,
            channel: Channel::InApp,
            recipient: 0,
            at_ns: intended_ns + 800_000,
            offset: None,
            intact: true,
            recovered: false,
            stamps: None,
        });
    }
}

#[test]
fn counters_go_on_over_steps_and_end_as_run_json_does() {
    let mut meter = Meter::new("0badcafe".to_owned(), &Scenario::load("ci").unwrap()).unwrap();
    let started = meter.handle().render();
    for (outcome, _) in OUTCOMES {
        let series =
            format!("{NOTIFICATIONS}{{run=\"0badcafe\",channel=\"in_app\",outcome=\"{outcome}\"}}");
        assert!(value(&started, &series) == 0.0);
    }
    assert!(started.contains(&format!("# TYPE {STAGE} histogram")), "{started}");
    let sampled =
        sampler::Row { cpu: [("generator".to_owned(), 0.25)].into(), ..sampler::Row::default() };
    let now = Now {
        kind: Kind::Open,
        target_rate: 7.0,
        in_flight: 1,
        generator_valid: false,
        sampled: &sampled,
    };
    let mut ledger = Ledger::new(0);
    let mut steps = Vec::new();
    for step in 0..2_u64 {
        ledger.open_step(books());
        for slot in 0..10 {
            deliver(&mut ledger, step * 100 + slot, slot != 3);
            meter.show(ledger.book().unwrap(), &now);
        }
        let book = ledger.close_step();
        meter.close(&book, Kind::Open);
        let mut done = Step::default();
        book.fill(&mut done);
        meter.judged(&done, true);
        steps.push(done);
    }
    meter.told(&steps);
    let text = meter.handle().render();
    let of = |outcome: &str| {
        let labels = format!("run=\"0badcafe\",channel=\"in_app\",outcome=\"{outcome}\"");
        value(&text, &format!("{NOTIFICATIONS}{{{labels}}}"))
    };
    assert_eq!((of("delivered"), of("lost"), of("shed")), (18.0, 2.0, 0.0));
    assert_eq!(value(&text, &format!("{SENT}{{run=\"0badcafe\",kind=\"open\"}}")), 20.0);
    assert_eq!(value(&text, &format!("{LAG}_count")), 20.0);
    let first = "run=\"0badcafe\",channel=\"in_app\",basis=\"intended\"";
    assert_eq!(value(&text, &format!("{E2E}_bucket{{{first},le=\"0.001\"}}")), 18.0);
    let sum = value(&text, &format!("{E2E}_sum{{{first}}}"));
    assert!((sum - 18.0 * 0.0008).abs() < 18.0 * 0.000_001, "{sum}");
    assert_eq!(value(&text, &format!("{CPU}{{run=\"0badcafe\",process=\"loadtest\"}}")), 0.25);
    assert_eq!(value(&text, &format!("{GENERATOR_VALID}{{")), 1.0);
    assert_eq!(value(&text, &format!("{IN_FLIGHT}{{")), 0.0);
}
