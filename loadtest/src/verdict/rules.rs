//! The rules, one function each. Pure.

use super::{Facts, Finding, is_timed};
use crate::model::{Distribution, Kind, Reconciled, Status, Step};

/// A generator that is later than this share of the median latency measures itself.
const LAG_SHARE_MAX: f64 = 0.10;
/// A timer and a task switch on a shared core take this much; less is nobody's fault.
const LAG_FLOOR_MS: f64 = 1.0;
/// A wave is released at one instant but written by as many system calls as it has users. When
/// that takes this share of the whole wave, the platform was met by a stream and not by a wave.
const WAVE_LAG_SHARE_MAX: f64 = 1.0 / 3.0;
const ACHIEVED_MIN: f64 = 0.99;
const STEAL_SUSPECT: f64 = 2.0;
const STEAL_INVALID: f64 = 20.0;
const PRESSURE_SUSPECT: f64 = 80.0;
/// The canary's p99 against the step's p99.
const CANARY_SHARE_MAX: f64 = 0.10;
const CANARY_FLOOR_MS: f64 = 5.0;
/// The harness's own share of the median.
const FLOOR_SHARE_MAX: f64 = 0.5;
/// Too short a step has no halves to compare.
const STEADY_HOLD_S: f64 = 10.0;
const HALF_DIFFERENCE_MAX: f64 = 0.05;
/// Medians nearer than this are the same, whatever their ratio.
const HALF_DIFFERENCE_FLOOR_MS: f64 = 0.25;
const CV_MAX: f64 = 0.05;
/// Independent arrivals vary by themselves: this many times their own deviation is allowed.
const POISSON_CV_FACTOR: f64 = 1.5;
/// A backlog may grow by this share of the rate before it counts.
const SLOPE_SHARE_MAX: f64 = 0.01;
const LITTLE_MAX: f64 = 0.05;

fn invalid(why: impl Into<String>) -> Finding {
    Some((Status::Invalid, why.into()))
}

fn suspect(why: impl Into<String>) -> Finding {
    Some((Status::Suspect, why.into()))
}

/// The channel that figures are drawn for: the browser's, else the first.
fn main_latency(step: &Step) -> Option<&Distribution> {
    let latency = step.latency.get("in_app").or_else(|| step.latency.values().next());
    latency.map(|latency| &latency.intended).filter(|intended| intended.count > 0)
}

pub fn identity(step: &Step) -> Finding {
    if !step.classes.balanced() {
        return invalid("the ledger does not add up: some delivery is in no class or in two");
    }
    let unbalanced = step.by_channel.iter().find(|(_, classes)| !classes.balanced());
    unbalanced.and_then(|(name, _)| invalid(format!("the ledger of {name} does not add up")))
}

pub fn sound(sound: bool) -> Finding {
    if sound {
        return None;
    }
    invalid("the harness used a slot twice or got an answer to nothing")
}

pub fn complaints(complaints: &[String]) -> Finding {
    if complaints.is_empty() {
        return None;
    }
    suspect(format!("not everything could be done to the platform: {}", complaints.join("; ")))
}

pub fn overflow(overflow: u64) -> Finding {
    if overflow == 0 {
        return None;
    }
    invalid(format!("{overflow} events did not fit in the ledger's queue"))
}

pub fn outside(outside: u64) -> Finding {
    if outside == 0 {
        return None;
    }
    invalid(format!("{outside} requests or answers belong to no step"))
}

pub fn reconciliation(step: &Step) -> Finding {
    let checks = &step.reconciliation.checks;
    let told = |wanted: fn(&Reconciled) -> bool| -> String {
        let disagreeing = checks.iter().filter(|check| !check.agrees && wanted(check));
        let words = disagreeing.map(|check| {
            format!("{}: ledger {}, counted {}", check.what, check.ledger, check.other)
        });
        words.collect::<Vec<_>>().join("; ")
    };
    let ours = told(|check| !check.others() && !check.growing);
    if !ours.is_empty() {
        return invalid(format!("the ledger and the platform's counts disagree ({ours})"));
    }
    let behind = told(|check| check.growing);
    if !behind.is_empty() {
        return suspect(format!("the platform had not recorded everything yet ({behind})"));
    }
    let others = told(Reconciled::others);
    if others.is_empty() {
        return None;
    }
    let rows = if checks.iter().any(|check| check.of_run) {
        "the rows of this run are complete"
    } else {
        "this platform cannot count this run's alone"
    };
    suspect(format!(
        "more was counted than this run sent ({others}): somebody else sends as well; {rows}"
    ))
}

/// Of waves, all must have been sent.
pub fn planned(facts: &Facts<'_>) -> Finding {
    let (step, planned) = (facts.step, facts.planned?);
    if is_timed(step.load.kind) || facts.interrupted {
        return None;
    }
    let cells = u64::from(step.load.fan_out.max(1)) * step.load.channels.len().max(1) as u64;
    if step.classes.sent == planned * cells {
        return None;
    }
    invalid(format!(
        "{} of {} planned deliveries were asked for",
        step.classes.sent,
        planned * cells
    ))
}

pub fn phantom(step: &Step) -> Finding {
    let count = step.classes.phantom;
    if count == 0 {
        return None;
    }
    suspect(format!("{count} receipts that no request explains"))
}

pub fn corrupt(step: &Step) -> Finding {
    let count = step.classes.corrupt;
    if count == 0 {
        return None;
    }
    suspect(format!("{count} receipts with other content than was sent"))
}

pub fn receivers_lost(step: &Step) -> Finding {
    let count = step.generator.receivers_lost;
    if count == 0 {
        return None;
    }
    suspect(format!("{count} receivers lost their connection although nothing was done to them"))
}

pub fn warm_up(complaint: Option<&str>) -> Finding {
    complaint.and_then(|what| suspect(format!("the warm-up was not clean: {what}")))
}

pub fn nothing_sent(step: &Step) -> Finding {
    if step.classes.sent > 0 {
        return None;
    }
    invalid("nothing was sent")
}

/// Whether enough of open load's arrivals were sent.
pub fn offered(step: &Step) -> bool {
    step.load.kind != Kind::Open || step.generator.achieved_ratio >= ACHIEVED_MIN
}

/// Open load must have been offered, or its latencies are those of a smaller load.
pub fn achieved(facts: &Facts<'_>) -> Finding {
    let step = facts.step;
    if offered(step) || facts.planned == Some(0) {
        return None;
    }
    invalid(format!(
        "only {:.1} % of the intended arrivals were sent ({} % are needed)",
        step.generator.achieved_ratio * 100.0,
        ACHIEVED_MIN * 100.0
    ))
}

pub fn dropped(step: &Step) -> Finding {
    let count = step.generator.dropped;
    if count == 0 {
        return None;
    }
    suspect(format!("{count} arrivals were dropped because too many requests had no answer"))
}

pub fn lag(step: &Step) -> Finding {
    let lag = step.generator.lag.p99_ms;
    if lag <= LAG_FLOOR_MS {
        return None;
    }
    if step.load.kind == Kind::Wave {
        let makespan = step.makespan.as_ref().map_or(0.0, |makespan| makespan.p50_ms);
        if lag <= makespan * WAVE_LAG_SHARE_MAX {
            return None;
        }
        let share = lag / makespan.max(f64::MIN_POSITIVE) * 100.0;
        return suspect(format!(
            "sending took long: p99 {lag:.1} ms after the release, {share:.0} % of the wave (latencies include it)"
        ));
    }
    let p50 = main_latency(step)?.p50_ms;
    if lag <= p50 * LAG_SHARE_MAX {
        return None;
    }
    invalid(format!(
        "the generator was late: p99 {lag:.2} ms after the intended send, more than 10 % of the median latency ({p50:.2} ms)"
    ))
}

pub fn steal(step: &Step) -> Finding {
    let percent = step.generator.steal_percent;
    let why = format!("other guests took {percent:.1} % of the cores");
    match percent {
        much if much > STEAL_INVALID => invalid(why),
        some if some > STEAL_SUSPECT => suspect(why),
        _ => None,
    }
}

pub fn pressure(step: &Step) -> Finding {
    let percent = step.generator.pressure_percent.filter(|percent| *percent > PRESSURE_SUSPECT)?;
    suspect(format!(
        "in {percent:.0} % of the time some task waited for a core: generator and platform were in each other's way"
    ))
}

pub fn canary(step: &Step) -> Finding {
    let canary = step.generator.canary.p99_ms;
    let p99 = main_latency(step)?.p99_ms;
    if canary <= CANARY_FLOOR_MS || canary <= p99 * CANARY_SHARE_MAX {
        return None;
    }
    suspect(format!(
        "a timer of this machine fired up to {canary:.1} ms late (p99), more than 10 % of the p99 ({p99:.1} ms)"
    ))
}

/// What the harness needs by itself is part of every latency.
pub fn floor(facts: &Facts<'_>) -> Finding {
    let floor = facts.null_target?.intended.p50_ms;
    let p50 = main_latency(facts.step)?.p50_ms;
    if facts.step.load.kind == Kind::Wave || floor <= p50 * FLOOR_SHARE_MAX {
        return None;
    }
    suspect(format!(
        "the harness alone needs {floor:.2} ms at the median, more than half of what was measured ({p50:.2} ms)"
    ))
}

pub fn steady(step: &Step) -> Finding {
    if !is_timed(step.load.kind) || step.load.hold_s < STEADY_HOLD_S || !step.load.faults.is_empty()
    {
        return None;
    }
    let health = &step.generator;
    let p50 = main_latency(step).map_or(0.0, |latency| latency.p50_ms);
    let halves = health.half_difference.filter(|difference| {
        difference.abs() > HALF_DIFFERENCE_MAX && difference.abs() * p50 > HALF_DIFFERENCE_FLOOR_MS
    });
    if let Some(difference) = halves {
        let percent = difference * 100.0;
        return suspect(format!(
            "not steady: the median of the second half differs by {percent:.0} % from the first's"
        ));
    }
    let own = if step.load.arrivals == "poisson" && step.load.rate_per_s > 0.0 {
        POISSON_CV_FACTOR / step.load.rate_per_s.sqrt()
    } else {
        0.0
    };
    if let Some(cv) = health.throughput_cv.filter(|cv| *cv > CV_MAX.max(own)) {
        return suspect(format!(
            "not steady: the throughput of single seconds varies by {:.0} %",
            cv * 100.0
        ));
    }
    let most = (step.load.rate_per_s.max(step.sent_per_s) * SLOPE_SHARE_MAX).max(1.0);
    let slope = health.backlog_slope.filter(|slope| *slope > most)?;
    suspect(format!("not steady: the backlog grew by {slope:.0} messages a second"))
}

pub fn little(step: &Step) -> Finding {
    let ratio = step.little.filter(|ratio| (ratio - 1.0).abs() > LITTLE_MAX)?;
    suspect(format!(
        "users are not throughput times response time: N ÷ (X·R) is {ratio:.2}, which must be near 1"
    ))
}
