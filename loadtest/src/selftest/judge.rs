//! What the harness must have said about each trial, and whether it did. Counts must be exactly
//! what the layer counted. Times are held against what an observer in the layer saw, and bounded
//! from below by what physically was: nothing that was meant for the beginning of a stop can arrive
//! before its end. How long readers took is measured from outside as well, so that a restless
//! machine widens what is allowed; a range that would hold the figure without
//! the fault as well proves nothing, and says so. Pure.

use super::report::{Check, Injected, Outcome, Unit, Witness};
use super::trial::{RATE_PER_S, Trial};
use crate::model::{Distribution, Latency, Status, Step};
use crate::stats::round3;

/// Histograms have three digits; what they round is less than this.
const ROUNDING: f64 = 0.001;
const ROUNDING_MS: f64 = 0.01;
const LATE: &str = "the generator was late";
const UNEXPLAINED: &str = "no request explains";
const OTHER_CONTENT: &str = "other content";
const UNSOUND: &str = "used a slot twice or got an answer to nothing";
const UNBALANCED: &str = "does not add up";

const COUNTED: &str = "a count: the layer's own";
const MADE_SO: &str = "a yes or no";
const AS_SEEN: &str = "latency: from when the layer began to write a publication on until its reader had answered the \
    ping behind it, and a timer's usual lateness; never less than even arrivals give";
const BY_SCHEDULE: &str =
    "lag: from what even arrivals give to when the requests had come to the layer";
const UNSEEN: &str = "from the actual send: nothing of the wait, at most what came after it until the readers had read";
const SHIFT: &str = "median: both steps' as seen by the layer, until written and until read";

/// What the books' trial adds: the same step with a wrong count, judged again.
#[derive(Clone, Debug, Default)]
pub struct Doctored {
    pub reasons: Vec<String>,
    /// Exit codes of a run with the trial's step, and with the doctored one.
    pub exit_of_unsound: u8,
    pub exit_of_unbalanced: u8,
}

/// What is known about a trial.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub trial: Trial,
    pub injected: &'a Injected,
    pub step: &'a Step,
    pub control: &'a Step,
    pub control_injected: &'a Injected,
    pub doctored: Option<&'a Doctored>,
}

/// Every check of a trial.
pub fn judge(facts: &Facts<'_>) -> Vec<Check> {
    let mut checks = vec![happened(facts)];
    checks.extend(counts(facts));
    checks.extend(match facts.trial {
        Trial::Control | Trial::Loss | Trial::Duplicate | Trial::Reorder => Vec::new(),
        Trial::Corrupt => vec![says(facts, "the verdict names other content", OTHER_CONTENT)],
        Trial::Phantom => vec![says(facts, "the verdict names receipts of nothing", UNEXPLAINED)],
        Trial::Stop => stop(facts),
        Trial::SenderWaits => sender_waits(facts),
        Trial::Delay => delay(facts),
        Trial::Stall => stall(facts),
        Trial::Books => books(facts),
    });
    checks
}

/// The worst of them.
pub fn outcome(checks: &[Check]) -> Outcome {
    checks.iter().map(|check| check.outcome).max().unwrap_or(Outcome::Failed)
}

/// A trial in which nothing was injected proves nothing, whatever the harness says.
fn happened(facts: &Facts<'_>) -> Check {
    let it = facts.injected;
    let happened = match facts.trial {
        Trial::Control => it.requests > 0 && it.publications > 0,
        Trial::Stop => it.stop_ms.is_some_and(|ms| ms > 0.0),
        Trial::SenderWaits => {
            [it.stop_ms, it.stall_ms].iter().all(|ms| ms.is_some_and(|ms| ms > 0.0))
        }
        Trial::Stall => it.stall_ms.is_some_and(|ms| ms > 0.0),
        Trial::Loss => it.dropped > 0,
        Trial::Duplicate => it.doubled > 0,
        Trial::Corrupt => it.corrupted > 0,
        Trial::Reorder => it.swapped > 0,
        Trial::Phantom => it.invented > 0,
        Trial::Delay => it.held_p50_ms > 0.0,
        Trial::Books => it.planted > 0,
    };
    let what =
        if facts.trial == Trial::Control { "passed through the layer" } else { "was injected" };
    general(yes(what, happened))
}

fn counts(facts: &Facts<'_>) -> Vec<Check> {
    let (it, classes) = (facts.injected, &facts.step.classes);
    let spoilt = it.dropped + it.doubled + it.corrupted;
    // What came but was not asked for would be a fault of the target; the control tells it.
    let whole = it.requests.saturating_sub(spoilt);
    let strange = it.dropped.abs_diff(classes.lost)
        + it.doubled.abs_diff(classes.duplicate)
        + it.corrupted.abs_diff(classes.corrupt)
        + it.swapped.abs_diff(classes.reordered)
        + it.invented.abs_diff(classes.phantom);
    let refused = classes.shed + classes.rejected + classes.unknown + classes.dead;
    let injected = match facts.trial {
        Trial::Loss => Some(("lost", it.dropped, classes.lost)),
        Trial::Duplicate => Some(("duplicate", it.doubled, classes.duplicate)),
        Trial::Corrupt => Some(("corrupt", it.corrupted, classes.corrupt)),
        Trial::Reorder => Some(("reordered", it.swapped, classes.reordered)),
        Trial::Phantom => Some(("phantom", it.invented, classes.phantom)),
        _ => None,
    };
    let mut checks: Vec<Check> = injected
        .map(|(what, expected, reported)| exactly(what, expected, reported))
        .into_iter()
        .collect();
    let everywhere = [
        exactly("sent", it.requests, classes.sent),
        exactly("received once and whole", whole, classes.delivered + classes.late),
        exactly("in any wrong class", 0, strange + refused),
    ];
    checks.extend(everywhere.map(general));
    checks
}

/// Sends go on while the target stands: the latency from the intended send shows all of it.
fn stop(facts: &Facts<'_>) -> Vec<Check> {
    waited(facts, facts.injected.stop_ms.unwrap_or(0.0)).into()
}

/// Sends wait: the corrected latency shows what the uncorrected one hides.
fn sender_waits(facts: &Facts<'_>) -> Vec<Check> {
    let size = facts.injected.stall_ms.unwrap_or(0.0);
    let mut checks: Vec<Check> = waited(facts, size).into();
    let expected = witness(facts.injected).since_sent_p99_ms;
    let high = expected + usual_lateness(facts.step) + rounding(expected);
    let seen = latency(facts.step).actual.p99_ms;
    let range = Range { expected, low: 0.0, high, tells: high < size / 2.0 };
    checks.push(within("latency, p99 from the actual send", range, seen, UNSEEN));
    checks.push(says(facts, "the verdict is INVALID: generator late", LATE));
    checks
}

/// The median, against the control's; what the machine changed between the two, without the
/// layer's own keeping, is in what is expected.
fn delay(facts: &Facts<'_>) -> Vec<Check> {
    let (now, then) = (witness(facts.injected), witness(facts.control_injected));
    let (step, control) = (latency(facts.step).intended, latency(facts.control).intended);
    let size = facts.injected.held_p50_ms - facts.control_injected.held_p50_ms;
    let expected = now.latency.p50_ms - then.latency.p50_ms;
    let extra = usual_lateness(facts.step) + usual_lateness(facts.control) + rounding(step.p50_ms);
    let low = now.latency.p50_ms - then.until_read.p50_ms - extra;
    let high = now.until_read.p50_ms - then.latency.p50_ms + extra;
    // Without the keeping only this would be there, give or take as much.
    let drift = now.unheld_p50_ms - then.unheld_p50_ms;
    let tells = low > drift + (high - low) && high - low <= size;
    let range = Range { expected, low, high, tells };
    let shift = round3(step.p50_ms - control.p50_ms);
    vec![within("latency, median above the control's", range, shift, SHIFT)]
}

fn stall(facts: &Facts<'_>) -> Vec<Check> {
    let size = facts.injected.stall_ms.unwrap_or(0.0);
    let seen = witness(facts.injected);
    let (lag, usual) = (&facts.step.generator.lag, &facts.control.generator.lag);
    let check = |what: &str, rank: f64, most: f64, usual: f64, reported: f64| {
        let (expected, low) = by_schedule(size, rank);
        let high = most.max(expected) + usual_lateness(facts.step) + rounding(most);
        let range = Range { expected, low, high, tells: low > usual && high - low <= size };
        within(what, range, reported, BY_SCHEDULE)
    };
    vec![
        check("lag, maximum", 1.0, seen.lag.max_ms, usual.max_ms, lag.max_ms),
        check("lag, p99", rank_of_p99(lag), seen.lag.p99_ms, usual.p99_ms, lag.p99_ms),
        says(facts, "the verdict is INVALID: generator late", LATE),
    ]
}

fn books(facts: &Facts<'_>) -> Vec<Check> {
    let nothing = Doctored::default();
    let doctored = facts.doctored.unwrap_or(&nothing);
    let unbalanced = doctored.reasons.iter().any(|reason| reason.contains(UNBALANCED));
    let mut checks = vec![
        says(facts, "a request and an answer too many: INVALID", UNSOUND),
        yes("a delivery in no class: INVALID", unbalanced),
    ];
    let codes = [doctored.exit_of_unsound, doctored.exit_of_unbalanced];
    for (what, code) in ["exit code of the first", "exit code of the second"].into_iter().zip(codes)
    {
        checks.push(exactly(what, 1, u64::from(code)));
    }
    checks
}

/// Maximum and p99 of the corrected latency when something stood still for `size` ms: what the
/// observer in the layer saw, and never less than the schedule makes of it.
fn waited(facts: &Facts<'_>, size: f64) -> [Check; 2] {
    let Witness { latency: seen, until_read: read, .. } = witness(facts.injected);
    let (step, usual) = (latency(facts.step).intended, latency(facts.control).intended);
    let check = |what: &str, rank: f64, bounds: [f64; 2], usual: f64, reported: f64| {
        let [expected, most] = bounds;
        let low = (expected - rounding(expected)).max(by_schedule(size, rank).1);
        let high = most + usual_lateness(facts.step) + rounding(most);
        let range = Range { expected, low, high, tells: low > usual && high - low <= size };
        within(what, range, reported, AS_SEEN)
    };
    let rank = rank_of_p99(&step);
    [
        check("latency, maximum", 1.0, [seen.max_ms, read.max_ms], usual.max_ms, step.max_ms),
        check("latency, p99", rank, [seen.p99_ms, read.p99_ms], usual.p99_ms, step.p99_ms),
    ]
}

/// Of even arrivals the first waits all of `size` ms, and the n-th longest wait is shorter by
/// n - 1 gaps, or by n at most: what is expected, and what there is at least.
fn by_schedule(size: f64, rank: f64) -> (f64, f64) {
    let gap = 1_000.0 / RATE_PER_S;
    let expected = size - (rank - 1.0) * gap;
    (expected, expected - gap - rounding(size))
}

/// The p99 of n values is the one with 1 % of n above it.
fn rank_of_p99(values: &Distribution) -> f64 {
    (values.count - (values.count as f64 * 0.99).ceil() as u64 + 1) as f64
}

/// How much later than it began the schedule may seem to have begun: the least delayed request was
/// not delayed more than a timer usually is, milliseconds.
fn usual_lateness(step: &Step) -> f64 {
    step.generator.canary.p50_ms
}

fn rounding(ms: f64) -> f64 {
    ms.abs() * ROUNDING + ROUNDING_MS
}

fn witness(injected: &Injected) -> Witness {
    injected.witness.clone().unwrap_or_default()
}

fn latency(step: &Step) -> Latency {
    step.latency.get("in_app").cloned().unwrap_or_default()
}

/// What is allowed, and whether the same figure without the fault would be outside of it.
#[derive(Clone, Copy, Debug)]
struct Range {
    expected: f64,
    low: f64,
    high: f64,
    tells: bool,
}

fn within(what: &str, range: Range, reported: f64, why: &str) -> Check {
    let Range { expected, low, high, tells } = range;
    // A number that is none is not inside.
    let outcome = match (reported >= low && reported <= high, tells) {
        (false, _) => Outcome::Failed,
        (true, false) => Outcome::Unclear,
        (true, true) => Outcome::Ok,
    };
    Check {
        what: what.to_owned(),
        unit: Unit::Milliseconds,
        expected: round3(expected),
        low: round3(low),
        high: round3(high),
        reported,
        why: why.to_owned(),
        general: false,
        outcome,
    }
}

fn exactly(what: &str, expected: u64, reported: u64) -> Check {
    let (value, outcome) = (expected as f64, passed(expected == reported));
    Check {
        what: what.to_owned(),
        unit: Unit::Count,
        expected: value,
        low: value,
        high: value,
        reported: reported as f64,
        why: COUNTED.to_owned(),
        general: false,
        outcome,
    }
}

fn yes(what: &str, reported: bool) -> Check {
    Check {
        what: what.to_owned(),
        unit: Unit::YesNo,
        expected: 1.0,
        low: 1.0,
        high: 1.0,
        reported: f64::from(u8::from(reported)),
        why: MADE_SO.to_owned(),
        general: false,
        outcome: passed(reported),
    }
}

/// What must hold in every trial.
fn general(check: Check) -> Check {
    Check { general: true, ..check }
}

fn passed(yes: bool) -> Outcome {
    if yes { Outcome::Ok } else { Outcome::Failed }
}

/// Whether the verdict has this reason; what makes a figure INVALID must have made it so.
fn says(facts: &Facts<'_>, what: &str, reason: &str) -> Check {
    let verdict = &facts.step.verdict;
    let least = if [LATE, UNSOUND].contains(&reason) { Status::Invalid } else { Status::Suspect };
    let named = verdict.reasons.iter().any(|one| one.contains(reason));
    yes(what, named && verdict.status >= least)
}
