//! The rules must pass what is right and fail what is not: each trial with a report as a sound
//! harness gives it, and with those of harnesses whose one detector is broken.

use proptest::prelude::*;

use super::judge::{Doctored, Facts, judge, outcome};
use super::report::{Check, Injected, Outcome, Seen, Witness};
use super::trial::{RATE_PER_S, Trial};
use crate::model::{Classes, Distribution, Latency, Status, Step, histogram};

const REQUESTS: u64 = 600;
const HITS: u64 = 6;
const GAP_MS: f64 = 1_000.0 / RATE_PER_S;

fn distribution(values_ms: impl IntoIterator<Item = f64>) -> Distribution {
    let mut all = histogram();
    for ms in values_ms {
        all.record((ms * 1e6) as u64).unwrap();
    }
    Distribution::of(&all)
}

/// What everything takes on a quiet machine: 1 to 3 ms.
fn usual(index: u64) -> f64 {
    1.0 + (index * 7 % 20) as f64 / 10.0
}

/// Latencies of even arrivals of which the first after `at` stood still for `size` ms.
fn stood(size: f64, at: u64) -> Distribution {
    let wait = |index: u64| {
        let since = index.checked_sub(at).map(|late| late as f64 * GAP_MS);
        since.map_or(0.0, |since| (size - since).max(0.0))
    };
    distribution((0..REQUESTS).map(|index| usual(index) + wait(index)))
}

fn quiet() -> Distribution {
    distribution((0..REQUESTS).map(usual))
}

/// What an observer close to the harness saw of a step.
fn witness(step: &Step) -> Witness {
    let Latency { intended, actual } = &step.latency["in_app"];
    let seen = |one: &Distribution, more: f64| Seen {
        p50_ms: one.p50_ms + more,
        p99_ms: one.p99_ms + more,
        max_ms: one.max_ms + more,
    };
    Witness {
        latency: seen(intended, -0.1),
        until_read: seen(intended, 0.2),
        unheld_p50_ms: quiet().p50_ms,
        since_sent_p99_ms: actual.p99_ms + 3.0,
        lag: seen(&step.generator.lag, 0.2),
    }
}

/// A trial as a sound harness reports it.
#[derive(Clone)]
struct Case {
    trial: Trial,
    injected: Injected,
    step: Step,
    control: Step,
    doctored: Doctored,
}

impl Case {
    fn clean() -> Step {
        let latency = Latency { intended: quiet(), actual: quiet() };
        let mut step = Step {
            classes: Classes {
                sent: REQUESTS,
                accepted: REQUESTS,
                delivered: REQUESTS,
                ..Classes::default()
            },
            latency: [("in_app".to_owned(), latency)].into(),
            ..Step::default()
        };
        step.generator.lag = distribution((0..REQUESTS).map(|_| 0.08));
        step.generator.canary = distribution((0..REQUESTS).map(|_| 1.1));
        step
    }

    fn sound(trial: Trial) -> Self {
        let mut it = Injected {
            requests: REQUESTS,
            publications: REQUESTS,
            held_p50_ms: 0.05,
            held_max_ms: 0.4,
            ..Injected::default()
        };
        let mut step = Self::clean();
        let classes = &mut step.classes;
        let verdict = &mut step.verdict;
        let mut say = |status, reason: &str| {
            verdict.status = status;
            verdict.reasons = vec![reason.to_owned()];
        };
        let latency = step.latency.get_mut("in_app").unwrap();
        let late = "the generator was late: p99 9 ms after the intended send";
        match trial {
            Trial::Control => {}
            Trial::Stop => {
                it.stop_ms = Some(1_000.4);
                (latency.intended, latency.actual) = (stood(1_000.4, 150), stood(1_000.4, 150));
            }
            Trial::SenderWaits => {
                (it.stop_ms, it.stall_ms) = (Some(850.0), Some(1_000.2));
                latency.intended = stood(1_000.2, 150);
                step.generator.lag = stood(1_000.2, 150);
                say(Status::Invalid, late);
            }
            Trial::Stall => {
                it.stall_ms = Some(300.1);
                latency.intended = stood(300.1, 150);
                step.generator.lag = stood(300.1, 150);
                say(Status::Invalid, late);
            }
            Trial::Delay => {
                (it.held_p50_ms, it.held_max_ms) = (50.9, 52.0);
                let later = || distribution((0..REQUESTS).map(|index| usual(index) + 50.9));
                (latency.intended, latency.actual) = (later(), later());
            }
            Trial::Loss => (it.dropped, classes.lost) = (HITS, HITS),
            Trial::Duplicate => (it.doubled, classes.duplicate) = (HITS, HITS),
            Trial::Reorder => (it.swapped, classes.reordered) = (HITS, HITS),
            Trial::Corrupt => {
                (it.corrupted, classes.corrupt) = (HITS, HITS);
                say(Status::Suspect, "6 receipts with other content than was sent");
            }
            Trial::Phantom => {
                (it.invented, classes.phantom) = (HITS, HITS);
                say(Status::Suspect, "6 receipts that no request explains");
            }
            Trial::Books => {
                it.planted = 2;
                say(Status::Invalid, "the harness used a slot twice or got an answer to nothing");
            }
        }
        classes.delivered -= classes.lost + classes.duplicate + classes.corrupt;
        let reasons = vec!["the ledger does not add up: some delivery is in no class".to_owned()];
        let doctored = Doctored { reasons, exit_of_unsound: 1, exit_of_unbalanced: 1 };
        it.witness = Some(witness(&step));
        Self { trial, injected: it, step, control: Self::clean(), doctored }
    }

    fn checks(&self) -> Vec<Check> {
        let control = Self::sound_control();
        judge(&Facts {
            trial: self.trial,
            injected: &self.injected,
            step: &self.step,
            control: &self.control,
            control_injected: &control,
            doctored: Some(&self.doctored),
        })
    }

    fn sound_control() -> Injected {
        let witness = Some(witness(&Self::clean()));
        Injected { requests: REQUESTS, held_p50_ms: 0.05, witness, ..Injected::default() }
    }

    fn outcome(&self) -> Outcome {
        outcome(&self.checks())
    }

    /// The same, reported by a harness with something broken.
    fn broken(trial: Trial, spoil: impl FnOnce(&mut Self)) -> Outcome {
        let mut case = Self::sound(trial);
        spoil(&mut case);
        case.outcome()
    }

    fn latency(&mut self) -> &mut Latency {
        self.step.latency.get_mut("in_app").unwrap()
    }
}

#[test]
fn a_sound_harness_passes_every_trial() {
    for trial in Trial::ALL {
        let case = Case::sound(trial);
        let checks = case.checks();
        assert_eq!(outcome(&checks), Outcome::Ok, "{trial:?}: {checks:#?}");
        assert!(checks.len() >= 4);
    }
}

#[test]
fn a_harness_that_sees_nothing_fails_every_trial() {
    for trial in Trial::ALL.into_iter().filter(|trial| *trial != Trial::Control) {
        let blind = Case::broken(trial, |case| {
            (case.step, case.doctored) = (Case::clean(), Doctored::default());
        });
        assert_eq!(blind, Outcome::Failed, "{trial:?}");
    }
}

#[test]
fn a_trial_that_did_not_happen_proves_nothing() {
    for trial in Trial::ALL {
        let mut case = Case::sound(trial);
        case.injected = Injected { requests: REQUESTS, ..Injected::default() };
        case.step = Case::clean();
        assert_eq!(case.outcome(), Outcome::Failed, "{trial:?}");
    }
    assert_eq!(outcome(&[]), Outcome::Failed);
}

#[test]
fn counts_must_be_exact_and_in_the_right_class() {
    type Pick = fn(&mut Classes) -> &mut u64;
    let of: [(Trial, Pick, Pick); 5] = [
        (Trial::Loss, |c| &mut c.lost, |c| &mut c.dead),
        (Trial::Duplicate, |c| &mut c.duplicate, |c| &mut c.phantom),
        (Trial::Corrupt, |c| &mut c.corrupt, |c| &mut c.duplicate),
        (Trial::Reorder, |c| &mut c.reordered, |c| &mut c.phantom),
        (Trial::Phantom, |c| &mut c.phantom, |c| &mut c.corrupt),
    ];
    for (trial, right, wrong) in of {
        for change in [|count: &mut u64| *count -= 1, |count: &mut u64| *count += 1] {
            let off_by_one = Case::broken(trial, |case| change(right(&mut case.step.classes)));
            assert_eq!(off_by_one, Outcome::Failed, "{trial:?}");
        }
        let elsewhere = Case::broken(trial, |case| {
            let count = std::mem::take(right(&mut case.step.classes));
            *wrong(&mut case.step.classes) += count;
        });
        assert_eq!(elsewhere, Outcome::Failed, "{trial:?}");
    }
}

#[test]
fn a_target_that_loses_by_itself_fails_the_control() {
    let lost = Case::broken(Trial::Control, |case| {
        (case.step.classes.lost, case.step.classes.delivered) = (1, REQUESTS - 1);
    });
    assert_eq!(lost, Outcome::Failed);
    let dropped = Case::broken(Trial::Control, |case| case.step.classes.sent -= 1);
    assert_eq!(dropped, Outcome::Failed);
}

#[test]
fn a_harness_with_coordinated_omission_fails_the_stops() {
    // Each counts from the actual send: what waited in the sender is not there.
    for trial in [Trial::SenderWaits, Trial::Stall] {
        let omitted = Case::broken(trial, |case| {
            case.latency().intended = quiet();
            case.step.generator.lag = quiet();
        });
        assert_eq!(omitted, Outcome::Failed, "{trial:?}");
    }
    // Closed load dressed up as open: one request waits, the others were never sent.
    let one_sample = Case::broken(Trial::Stop, |case| {
        let values = (0..REQUESTS).map(|index| if index == 0 { 1_000.4 } else { usual(index) });
        case.latency().intended = distribution(values);
    });
    assert_eq!(one_sample, Outcome::Failed);
    let uncorrected_shows_it = Case::broken(Trial::SenderWaits, |case| {
        case.latency().actual = stood(1_000.2, 150);
    });
    assert_eq!(uncorrected_shows_it, Outcome::Failed, "the two figures are one");
}

#[test]
fn wrong_units_and_sizes_fail() {
    for factor in [0.001, 0.5, 0.9, 1.2, 2.0, 1_000.0] {
        for trial in [Trial::Stop, Trial::SenderWaits, Trial::Stall, Trial::Delay] {
            let scaled = Case::broken(trial, |case| {
                let lag = &mut case.step.generator.lag;
                for one in [lag, &mut case.step.latency.get_mut("in_app").unwrap().intended] {
                    for value in [&mut one.p50_ms, &mut one.p99_ms, &mut one.max_ms] {
                        *value *= factor;
                    }
                }
            });
            assert_eq!(scaled, Outcome::Failed, "{trial:?} × {factor}");
        }
    }
    let nonsense = Case::broken(Trial::Delay, |case| case.latency().intended.p50_ms = f64::NAN);
    assert_eq!(nonsense, Outcome::Failed);
}

#[test]
fn a_verdict_that_is_silent_or_too_mild_fails() {
    for trial in [Trial::SenderWaits, Trial::Stall, Trial::Books, Trial::Corrupt, Trial::Phantom] {
        let silent = Case::broken(trial, |case| case.step.verdict.reasons.clear());
        assert_eq!(silent, Outcome::Failed, "{trial:?}");
        let mild = Case::broken(trial, |case| case.step.verdict.status = Status::Ok);
        assert_eq!(mild, Outcome::Failed, "{trial:?}");
    }
    let exits = Case::broken(Trial::Books, |case| case.doctored.exit_of_unbalanced = 0);
    assert_eq!(exits, Outcome::Failed);
    let exits = Case::broken(Trial::Books, |case| case.doctored.exit_of_unsound = 10);
    assert_eq!(exits, Outcome::Failed);
}

#[test]
fn a_restless_machine_is_no_proof_and_no_accusation() {
    // Readers that may have read so late that any figure would do.
    for trial in [Trial::Stop, Trial::SenderWaits, Trial::Stall, Trial::Delay] {
        let restless = Case::broken(trial, |case| {
            let mut seen = witness(&case.step);
            for one in [&mut seen.until_read, &mut seen.lag] {
                (one.p50_ms, one.p99_ms, one.max_ms) = (200.0, 2_500.0, 2_500.0);
            }
            case.injected.witness = Some(seen);
        });
        assert_eq!(restless, Outcome::Unclear, "{trial:?}");
    }
    // A control that is as slow as the fault.
    for trial in [Trial::Stop, Trial::SenderWaits, Trial::Stall] {
        let slow = Case::broken(trial, |case| {
            case.control.generator.lag = stood(1_200.0, 100);
            case.control.latency.get_mut("in_app").unwrap().intended = stood(1_200.0, 100);
        });
        assert_eq!(slow, Outcome::Unclear, "{trial:?}");
    }
}

#[test]
fn what_the_machine_changes_between_two_steps_is_no_fault_of_the_harness() {
    let mut case = Case::sound(Trial::Delay);
    let drifted = || distribution((0..REQUESTS).map(|index| usual(index) + 50.9 + 30.0));
    *case.latency() = Latency { intended: drifted(), actual: drifted() };
    assert_eq!(case.outcome(), Outcome::Failed, "the observer saw nothing of it");
    let mut seen = witness(&case.step);
    seen.unheld_p50_ms += 30.0;
    case.injected.witness = Some(seen);
    assert_eq!(case.outcome(), Outcome::Ok, "{:#?}", case.checks());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the stop, the moment it begins and the machine's usual latency: the reckoned
    /// bounds hold what even arrivals give, and not what a harness says that saw half of it.
    #[test]
    fn the_schedule_predicts_every_stop(
        size in 300.0_f64..1_800.0,
        at in 0_u64..200,
        slow in 1.0_f64..8.0,
        phase in 0.0_f64..0.999,
    ) {
        let wait = |index: u64| {
            let since = index.checked_sub(at).map(|late| (late as f64 + phase) * GAP_MS);
            since.map_or(0.0, |since| (size - since).max(0.0))
        };
        let stopped = distribution((0..REQUESTS).map(|index| usual(index) * slow + wait(index)));
        let mut case = Case::sound(Trial::Stop);
        case.injected.stop_ms = Some(size);
        let control = distribution((0..REQUESTS).map(|index| usual(index) * slow));
        case.control.latency.get_mut("in_app").unwrap().intended = control;
        case.latency().intended = stopped.clone();
        case.injected.witness = Some(witness(&case.step));
        prop_assert_eq!(case.outcome(), Outcome::Ok, "{:#?}", case.checks());
        case.latency().intended.p99_ms = stopped.p99_ms / 2.0;
        prop_assert_eq!(case.outcome(), Outcome::Failed);
    }

    #[test]
    fn no_wrong_count_passes(
        trial in 0_usize..Trial::ALL.len(),
        counts in proptest::array::uniform8(0_u64..700),
    ) {
        let mut case = Case::sound(Trial::ALL[trial]);
        let right = case.step.classes.clone();
        let classes = &mut case.step.classes;
        [
            classes.lost, classes.duplicate, classes.corrupt, classes.reordered,
            classes.phantom, classes.sent, classes.delivered, classes.rejected,
        ] = counts;
        let same = *classes == right;
        prop_assert_eq!(case.outcome() == Outcome::Ok, same);
    }

    #[test]
    fn no_report_makes_the_rules_panic(
        values in proptest::array::uniform8(prop::num::f64::ANY),
        count: u64,
        counts in proptest::array::uniform4(0_u64..=u64::MAX / 8),
    ) {
        for trial in Trial::ALL {
            let mut case = Case::sound(trial);
            let wild = Distribution {
                count, mean_ms: values[0], p50_ms: values[1], p90_ms: values[2],
                p99_ms: values[3], max_ms: values[4], ..Distribution::default()
            };
            *case.latency() = Latency { intended: wild.clone(), actual: wild.clone() };
            case.step.generator.lag = wild.clone();
            case.control.latency.insert("in_app".to_owned(), Latency { intended: wild.clone(), actual: wild });
            (case.injected.stop_ms, case.injected.stall_ms) = (Some(values[5]), Some(values[6]));
            case.injected.held_p50_ms = values[7];
            case.injected.witness = Some(witness(&case.step));
            [case.injected.requests, case.step.classes.lost, case.step.classes.late, case.injected.dropped] = counts;
            prop_assert!(case.checks().iter().all(|check| !check.what.is_empty()));
        }
    }
}
