//! Each reason by itself, and the way they add up.

use super::*;
use crate::model::{Classes, Distribution, GeneratorHealth, Load, Reconciled};

/// A step of open load with nothing to complain about.
fn clean() -> Step {
    let count = 10_000;
    let intended = Distribution { count, p50_ms: 20.0, p99_ms: 60.0, ..Distribution::default() };
    let latency = Latency { intended, ..Latency::default() };
    let classes = Classes { sent: count, accepted: count, delivered: count, ..Classes::default() };
    Step {
        name: "open 500/s".to_owned(),
        load: Load {
            kind: Kind::Open,
            rate_per_s: 500.0,
            arrivals: "poisson".to_owned(),
            hold_s: 20.0,
            fan_out: 1,
            channels: vec!["in_app".to_owned()],
            ..Load::default()
        },
        by_channel: [("in_app".to_owned(), classes.clone())].into(),
        classes,
        latency: [("in_app".to_owned(), latency)].into(),
        generator: GeneratorHealth { achieved_ratio: 1.0, ..GeneratorHealth::default() },
        ..Step::default()
    }
}

fn facts(step: &Step) -> Facts<'_> {
    Facts {
        step,
        planned: Some(10_000),
        sound: true,
        overflow: 0,
        outside: 0,
        null_target: None,
        warm_up: None,
        complaints: &[],
        interrupted: false,
        judge_timing: true,
    }
}

/// Spoils a clean step and says what the verdict is.
fn spoilt(spoil: impl FnOnce(&mut Step)) -> (Status, String) {
    let mut step = clean();
    spoil(&mut step);
    let verdict = judge(&facts(&step));
    assert!(verdict.reasons.len() <= 1, "one fault, one reason: {:?}", verdict.reasons);
    (verdict.status, verdict.reasons.concat())
}

#[test]
fn a_clean_step_is_ok() {
    assert_eq!(spoilt(|_| {}), (Status::Ok, String::new()));
}

#[test]
fn counts_that_cannot_be_are_invalid() {
    let unbalanced = |classes: &mut Classes| classes.lost += 1;
    assert_eq!(spoilt(|step| unbalanced(&mut step.classes)).0, Status::Invalid);
    let (status, why) = spoilt(|step| unbalanced(step.by_channel.get_mut("in_app").unwrap()));
    assert_eq!((status, why.contains("in_app")), (Status::Invalid, true));
    let counted = |what: &str, other: u64, of_run: bool| {
        let what = what.to_owned();
        spoilt(|step| {
            let check = Reconciled { what, ledger: 10, other, of_run, ..Reconciled::default() };
            step.reconciliation.checks.push(check);
        })
    };
    let (status, why) = counted("messages in CHANNELS", 9, false);
    assert_eq!((status, why.contains("CHANNELS")), (Status::Invalid, true));
    let (status, why) = counted("messages in CHANNELS", 11, false);
    assert_eq!((status, why.contains("somebody else")), (Status::Suspect, true));
    for other in [9, 11] {
        assert_eq!(counted("rows of notifications", other, true).0, Status::Invalid);
    }
    let (status, why) = spoilt(|step| {
        let what = "rows of notifications".to_owned();
        let check =
            Reconciled { what, ledger: 10, other: 9, of_run: true, growing: true, agrees: false };
        step.reconciliation.checks.push(check);
    });
    assert_eq!((status, why.contains("not recorded everything")), (Status::Suspect, true));
    let step = clean();
    assert_eq!(judge(&Facts { overflow: 1, ..facts(&step) }).status, Status::Invalid);
    assert_eq!(judge(&Facts { outside: 1, ..facts(&step) }).status, Status::Invalid);
    assert_eq!(judge(&Facts { sound: false, ..facts(&step) }).status, Status::Invalid);
    let empty = Step { load: step.load.clone(), ..Step::default() };
    let verdict = judge(&Facts { planned: Some(0), ..facts(&empty) });
    assert_eq!(verdict.status, Status::Invalid);
    assert!(verdict.reasons[0].contains("nothing was sent"), "{:?}", verdict.reasons);
}

#[test]
fn a_wave_that_was_not_sent_whole_is_invalid_unless_it_was_stopped() {
    let mut step = clean();
    step.load.kind = Kind::Wave;
    assert_eq!(judge(&facts(&step)).status, Status::Ok);
    let short = Facts { planned: Some(10_001), ..facts(&step) };
    assert_eq!(judge(&short).status, Status::Invalid);
    assert_eq!(judge(&Facts { interrupted: true, ..short }).status, Status::Ok);
}

#[test]
fn a_late_generator_is_invalid_for_open_and_suspect_for_waves() {
    let late = |step: &mut Step, ms: f64| step.generator.lag.p99_ms = ms;
    assert_eq!(spoilt(|step| late(step, 1.9)).0, Status::Ok, "less than 10 % of 20 ms");
    assert_eq!(spoilt(|step| late(step, 2.1)).0, Status::Invalid);
    let fast = |step: &mut Step| {
        late(step, 0.9);
        step.latency.get_mut("in_app").unwrap().intended.p50_ms = 1.0;
    };
    assert_eq!(spoilt(fast).0, Status::Ok, "under a millisecond it is the machine");
    let wave = |step: &mut Step| {
        late(step, 30.0);
        step.load.kind = Kind::Wave;
        step.makespan = Some(Distribution { p50_ms: 60.0, ..Distribution::default() });
    };
    assert_eq!(spoilt(wave).0, Status::Suspect);
}

#[test]
fn load_that_was_not_offered_is_invalid() {
    assert_eq!(spoilt(|step| step.generator.achieved_ratio = 0.991).0, Status::Ok);
    assert_eq!(spoilt(|step| step.generator.achieved_ratio = 0.98).0, Status::Invalid);
    assert_eq!(spoilt(|step| step.generator.dropped = 1).0, Status::Suspect);
}

#[test]
fn a_disturbed_machine_is_told() {
    assert_eq!(spoilt(|step| step.generator.steal_percent = 1.9).0, Status::Ok);
    assert_eq!(spoilt(|step| step.generator.steal_percent = 2.1).0, Status::Suspect);
    assert_eq!(spoilt(|step| step.generator.steal_percent = 21.0).0, Status::Invalid);
    assert_eq!(spoilt(|step| step.generator.pressure_percent = Some(81.0)).0, Status::Suspect);
    assert_eq!(spoilt(|step| step.generator.canary.p99_ms = 5.5).0, Status::Ok, "p99 is 60 ms");
    assert_eq!(spoilt(|step| step.generator.canary.p99_ms = 7.0).0, Status::Suspect);
    let step = clean();
    let mut own = Latency::default();
    own.intended.p50_ms = 9.0;
    assert_eq!(judge(&Facts { null_target: Some(&own), ..facts(&step) }).status, Status::Ok);
    own.intended.p50_ms = 11.0;
    assert_eq!(judge(&Facts { null_target: Some(&own), ..facts(&step) }).status, Status::Suspect);
}

#[test]
fn what_is_not_steady_is_suspect() {
    let (status, why) = spoilt(|step| step.generator.half_difference = Some(-0.2));
    assert_eq!((status, why.contains("-20 %")), (Status::Suspect, true), "{why}");
    assert_eq!(spoilt(|step| step.generator.half_difference = Some(0.04)).0, Status::Ok);
    assert_eq!(spoilt(|step| step.generator.throughput_cv = Some(0.06)).0, Status::Ok, "Poisson");
    assert_eq!(spoilt(|step| step.generator.throughput_cv = Some(0.08)).0, Status::Suspect);
    assert_eq!(spoilt(|step| step.generator.backlog_slope = Some(4.0)).0, Status::Ok);
    assert_eq!(spoilt(|step| step.generator.backlog_slope = Some(50.0)).0, Status::Suspect);
    let short = |step: &mut Step| {
        step.generator.half_difference = Some(0.5);
        step.load.hold_s = 5.0;
    };
    assert_eq!(spoilt(short).0, Status::Ok, "five seconds have no halves");
    assert_eq!(spoilt(|step| step.little = Some(1.2)).0, Status::Suspect);
    assert_eq!(spoilt(|step| step.little = Some(0.97)).0, Status::Ok);
}

#[test]
fn strange_receipts_and_lost_receivers_are_suspect() {
    assert_eq!(spoilt(|step| step.classes.phantom = 1).0, Status::Suspect);
    assert_eq!(spoilt(|step| step.generator.receivers_lost = 1).0, Status::Suspect);
    let corrupt = |step: &mut Step| {
        step.classes.corrupt = 1;
        step.classes.delivered -= 1;
    };
    assert_eq!(spoilt(corrupt).0, Status::Suspect);
    let step = clean();
    let verdict = judge(&Facts { warm_up: Some("2 lost"), ..facts(&step) });
    assert_eq!(verdict.status, Status::Suspect);
}

#[test]
fn the_worst_counts_all_are_told_and_a_shared_machine_is_judged_by_counts() {
    let mut step = clean();
    step.generator.achieved_ratio = 0.5;
    step.classes.phantom = 3;
    let verdict = judge(&facts(&step));
    assert_eq!((verdict.status, verdict.reasons.len()), (Status::Invalid, 2));
    let verdict = judge(&Facts { judge_timing: false, ..facts(&step) });
    assert_eq!((verdict.status, verdict.reasons.len()), (Status::Suspect, 2));
}
