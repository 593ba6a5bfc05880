//! Whether a step's figures can be believed: OK, SUSPECT (its reasons need to be read) or INVALID
//! (it must not be used, and the program says so by its exit code). Pure. The rules and their
//! bounds are those of docs/loadtest-scenarios.md; each is a function and a test of its own.

mod rules;
#[cfg(test)]
mod tests;

use crate::model::{Kind, Latency, Status, Step, Verdict};

/// What is known about a step beside its figures.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub step: &'a Step,
    /// Notifications that were meant to be sent in the measured part; nothing if that is open,
    /// as in closed load.
    pub planned: Option<u64>,
    /// Whether the harness saw no fault of its own in the books.
    pub sound: bool,
    /// Events that did not fit in memory.
    pub overflow: u64,
    /// Requests that belong to no step.
    pub outside: u64,
    /// The same load against an echo in this process.
    pub null_target: Option<&'a Latency>,
    /// Warm-up traffic of which something went wrong, in words.
    pub warm_up: Option<&'a str>,
    /// Disturbances that could not be done.
    pub complaints: &'a [String],
    /// Stopped by hand.
    pub interrupted: bool,
    /// Whether this machine's lateness may make a step INVALID; a shared CI machine says no, and
    /// judges by counts.
    pub judge_timing: bool,
}

/// One complaint.
type Finding = Option<(Status, String)>;

/// Judges.
pub fn judge(facts: &Facts<'_>) -> Verdict {
    let counts = [
        rules::identity(facts.step),
        rules::sound(facts.sound),
        rules::overflow(facts.overflow),
        rules::outside(facts.outside),
        rules::reconciliation(facts.step),
        rules::planned(facts),
        rules::phantom(facts.step),
        rules::corrupt(facts.step),
        rules::receivers_lost(facts.step),
        rules::warm_up(facts.warm_up),
        rules::complaints(facts.complaints),
        rules::nothing_sent(facts.step),
    ];
    let timing = [
        rules::achieved(facts),
        rules::dropped(facts.step),
        rules::lag(facts.step),
        rules::steal(facts.step),
        rules::pressure(facts.step),
        rules::canary(facts.step),
        rules::floor(facts),
        rules::steady(facts.step),
        rules::little(facts.step),
    ];
    fold(facts, counts.into_iter(), timing.into_iter())
}

/// Judges one of several generators: whether its own books and its own machine were sound. What
/// only the whole shows (steadiness, others' counters, Little's law) is judged there, by
/// [`judge`].
pub fn of_generator(facts: &Facts<'_>) -> Verdict {
    let counts = [
        rules::identity(facts.step),
        rules::sound(facts.sound),
        rules::overflow(facts.overflow),
        rules::outside(facts.outside),
        rules::planned(facts),
        rules::receivers_lost(facts.step),
        rules::complaints(facts.complaints),
    ];
    let timing = [
        rules::achieved(facts),
        rules::dropped(facts.step),
        rules::lag(facts.step),
        rules::steal(facts.step),
        rules::pressure(facts.step),
        rules::canary(facts.step),
    ];
    fold(facts, counts.into_iter(), timing.into_iter())
}

fn fold(
    facts: &Facts<'_>,
    counts: impl Iterator<Item = Finding>,
    timing: impl Iterator<Item = Finding>,
) -> Verdict {
    let most = if facts.judge_timing { Status::Invalid } else { Status::Suspect };
    let timing = timing.flatten().map(|(status, why)| (status.min(most), why));
    counts.flatten().chain(timing).fold(Verdict::default(), |mut verdict, (status, reason)| {
        verdict.status = verdict.status.max(status);
        verdict.reasons.push(reason);
        verdict
    })
}

/// Whether the generator kept its schedule, or has so far; needs the kind of load, the lag, the
/// latencies' medians and the achieved ratio. Whatever this machine is allowed: a late figure is late.
pub fn keeps_schedule(step: &Step) -> bool {
    let late = rules::lag(step).is_some_and(|(status, _)| status == Status::Invalid);
    !late && rules::offered(step)
}

/// Whether the load of this kind has a steady state to speak of.
fn is_timed(kind: Kind) -> bool {
    kind != Kind::Wave
}
