//! Makes a step of `run.json` from a judged ledger and the process samples, and decides whether
//! the figure can be trusted. Pure.

use super::{Lag, Makespan, Spreads, Status, Step, Verdict, Wave};
use crate::ledger::{Book, WaveBook};
use crate::procs::Usage;
use crate::stats;

/// A wave is released at one instant but written by as many system calls as it has users, on
/// cores that the platform wants, too. That lateness is inside every latency, so it only makes
/// figures worse; but when sending takes this share of the whole wave, the platform was met by a
/// stream and not by a wave.
const LAG_SHARE_MAX: f64 = 1.0 / 3.0;
/// Below this the timer and one task switch explain it.
const LAG_MS_FLOOR: f64 = 1.0;
const STEAL_PERCENT_MAX: f64 = 2.0;

/// Everything known about a finished step.
pub struct StepInput<'a> {
    pub n: u32,
    /// Waves that were planned and not interrupted.
    pub repeat: u32,
    pub book: &'a Book,
    pub usage: &'a Usage,
    /// Receivers whose connection ended during the step, with the reasons.
    pub dropped_receivers: &'a [String],
    /// Receipts that did not fit in memory.
    pub overflow: u64,
    /// Receipts that came after their own step had been judged.
    pub late: u64,
}

/// Makes the step.
pub fn step(input: &StepInput<'_>) -> Step {
    let book = input.book;
    let totals = &book.totals;
    let all = |pick: fn(&WaveBook) -> &Vec<u64>| {
        stats::histogram(book.waves.iter().flat_map(|wave| pick(wave).iter().copied()))
    };
    let latency = all(|wave| &wave.latency_ns);
    let uncorrected = all(|wave| &wave.uncorrected_ns);
    let lag = stats::percentiles(&all(|wave| &wave.lag_ns));
    let makespans: Vec<u64> = book.waves.iter().filter_map(|wave| wave.makespan_ns).collect();
    let success_ratio =
        if totals.sent == 0 { 0.0 } else { totals.received_once as f64 / totals.sent as f64 };
    let mut step = Step {
        latency_ms: stats::percentiles(&latency),
        uncorrected_ms: stats::percentiles(&uncorrected),
        accept_ms: stats::percentiles(&all(|wave| &wave.accept_ns)),
        makespan_ms: Makespan {
            p50: stats::ns_to_ms(stats::median_ns(&makespans)),
            max: stats::ns_to_ms(makespans.iter().copied().max().unwrap_or(0)),
        },
        spread_ms: spreads(&book.waves),
        cpu_s_per_1000: input.usage.cpu_s_per_1000(totals.sent),
        cpu_percent_of_core: input.usage.percent_of_core(),
        rss_bytes: input.usage.rss_bytes.clone(),
        generator_lag_ms: Lag { p50: lag.p50, p99: lag.p99 },
        steal_percent: stats::round3(input.usage.steal_percent),
        success_ratio: round9(success_ratio),
        failure_upper_bound_95: round9(stats::failure_upper_bound_95(
            totals.sent.saturating_sub(totals.received_once),
            totals.sent,
        )),
        curve: stats::curve(&latency),
        uncorrected_curve: stats::curve(&uncorrected),
        waves: book.waves.iter().map(wave_in_short).collect(),
        ..counted(input)
    };
    step.verdict = verdict(input, &step);
    step
}

/// The counts of a step.
fn counted(input: &StepInput<'_>) -> Step {
    let book = input.book;
    let totals = &book.totals;
    Step {
        kind: "wave".to_owned(),
        n: input.n,
        repeat: input.repeat,
        sent: totals.sent,
        accepted: totals.accepted,
        received_once: totals.received_once,
        lost: totals.lost,
        duplicate: totals.duplicate,
        rejected: totals.rejected,
        shed: totals.shed,
        unknown: totals.unknown,
        unknown_received: totals.unknown_received,
        phantom: totals.phantom,
        reordered: totals.reordered,
        statuses: book.statuses.iter().map(|(code, count)| (code.to_string(), *count)).collect(),
        failures: book.failures.clone(),
        ..Step::default()
    }
}

/// Nine decimals: a bound for a thousand million trials, and text that reads back the same.
fn round9(value: f64) -> f64 {
    (value * 1e9).round() / 1e9
}

fn spreads(waves: &[WaveBook]) -> Spreads {
    let samples: Vec<&[u64]> = waves.iter().map(|wave| wave.latency_ns.as_slice()).collect();
    let (p50, kind) = stats::spread(&samples, 0.5);
    let (p99, _) = stats::spread(&samples, 0.99);
    Spreads { kind, p50, p99 }
}

fn wave_in_short(wave: &WaveBook) -> Wave {
    let summary = stats::percentiles(&stats::histogram(wave.latency_ns.iter().copied()));
    Wave {
        received_once: wave.totals.received_once,
        sent: wave.totals.sent,
        p50_ms: summary.p50,
        p99_ms: summary.p99,
        max_ms: summary.max,
    }
}

fn verdict(input: &StepInput<'_>, step: &Step) -> Verdict {
    let totals = &input.book.totals;
    let planned = u64::from(input.n) * u64::from(input.repeat);
    let lag_share = step.generator_lag_ms.p99 / step.makespan_ms.p50;
    let findings = [
        (Status::Invalid, !totals.balanced(), "the ledger does not add up".to_owned()),
        (
            Status::Invalid,
            totals.sent != planned,
            format!("{} of {planned} planned notifications were sent", totals.sent),
        ),
        (
            Status::Invalid,
            input.overflow > 0,
            format!("{} receipts did not fit in the ledger", input.overflow),
        ),
        (
            Status::Suspect,
            step.generator_lag_ms.p99 > LAG_MS_FLOOR && lag_share > LAG_SHARE_MAX,
            format!(
                "sending took long: p99 {:.1} ms after the release, {:.0} % of the wave (latencies include it)",
                step.generator_lag_ms.p99,
                lag_share * 100.0
            ),
        ),
        (
            Status::Suspect,
            step.steal_percent > STEAL_PERCENT_MAX,
            format!("other guests took {:.1} % of the cores", step.steal_percent),
        ),
        (
            Status::Suspect,
            !input.dropped_receivers.is_empty(),
            dropped_text(input.dropped_receivers),
        ),
        (
            Status::Suspect,
            totals.phantom > 0,
            format!("{} receipts that no accepted request explains", totals.phantom),
        ),
        (
            Status::Suspect,
            input.late > 0,
            format!("{} receipts of earlier steps arrived during this one", input.late),
        ),
        (
            Status::Suspect,
            !warm_up_clean(input.book),
            format!("the warm-up wave was not clean: {:?}", input.book.warm_up),
        ),
    ];
    let found = findings.into_iter().filter(|(_, applies, _)| *applies);
    found.fold(Verdict::default(), |mut verdict, (status, _, reason)| {
        verdict.status = verdict.status.max(status);
        verdict.reasons.push(reason);
        verdict
    })
}

fn warm_up_clean(book: &Book) -> bool {
    book.warm_up.received_once == book.warm_up.sent
}

fn dropped_text(reasons: &[String]) -> String {
    let first = reasons.first().map_or("", String::as_str);
    format!("{} receivers lost their connection ({first})", reasons.len())
}
