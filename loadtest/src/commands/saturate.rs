//! `campana loadtest saturate`: the highest rate of open load that meets the objective. A probe
//! passes if p99 and shed share hold, nothing is lost, refused otherwise or unanswered, the
//! backlog does not grow, and the generator kept up.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::common::CommonArgs;
use super::search::Search;
use super::sweep::rate;
use crate::engine::Campaign;
use crate::failure::{EXIT_FAILED, EXIT_THRESHOLD_MISSED, Failure};
use crate::intake::Channel;
use crate::model::{Kind, Slo, Status, Step};
use crate::scenario::{Arrivals, Scenario, StepSpec};
use crate::target;

/// A backlog may grow by this share of the rate, which is noise.
const SLOPE_SHARE_MAX: f64 = 0.01;

/// The quiet time after a probe, as a share of it, and at most.
const SETTLE_SHARE: f64 = 0.1;
const SETTLE_MAX: Duration = Duration::from_secs(1);

/// Options of `saturate`.
#[derive(Args, Debug)]
pub struct SaturateArgs {
    /// Take objective, recipients, payload, channels and seed from this scenario
    #[arg(long, value_name = "NAME|FILE")]
    pub scenario: Option<String>,
    /// Highest p99 from the intended send, milliseconds [default: the scenario's, else 100]
    #[arg(long, value_name = "MS")]
    pub p99_ms: Option<f64>,
    /// Highest share that may be shed, 0 to 1 [default: the scenario's, else 0.001]
    #[arg(long, value_name = "SHARE")]
    pub shed_ratio_max: Option<f64>,
    /// First rate that is tried
    #[arg(long, value_name = "RATE", default_value = "500", value_parser = rate)]
    pub start: f64,
    /// Never more than this
    #[arg(long, value_name = "RATE", default_value = "50000", value_parser = rate)]
    pub most: f64,
    /// Fail with exit code 10 if less than this is found
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub at_least: Option<f64>,
    /// Measured seconds of each probe
    #[arg(long, value_name = "S", default_value = "30", value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub hold_s: u32,
    /// Seconds before them
    #[arg(long, value_name = "S", default_value = "3", value_parser = clap::value_parser!(u32).range(0..=600))]
    pub warm_up_s: u32,
    /// How long the last receipts of a probe are waited for
    #[arg(long, value_name = "S", default_value = "30", value_parser = clap::value_parser!(u32).range(1..=600))]
    pub drain_s: u32,
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Searches.
pub async fn saturate(
    arguments: SaturateArgs,
    stop: CancellationToken,
) -> Result<ExitCode, Failure> {
    let (scenario, slo) = scenario(&arguments)?;
    let target = target::find(&arguments.common.target)?;
    let options = arguments.common.options();
    let mut campaign = Box::pin(Campaign::open(&scenario, target, &options, stop)).await?;
    let mut search = Search::new(arguments.start, arguments.most);
    let template = &scenario.steps[0];
    while let Some(rate) = search.next() {
        let number = search.found().probes.len() + 1;
        let name = format!("probe {number}, {rate}/s");
        let spec = StepSpec { name, rate_per_s: rate, ..template.clone() };
        if !campaign.step(&spec).await {
            break;
        }
        let Some(step) = campaign.last().filter(|step| step.name == spec.name) else { break };
        let missed = miss(step, &slo);
        if !arguments.common.quiet {
            // A search takes minutes; a terminal has the bar of each probe besides.
            eprintln!("{}: {}", spec.name, missed.as_deref().unwrap_or("passed"));
        }
        search.enter(rate, missed.is_none());
        campaign.run.saturation = Some(search.found().clone());
    }
    let finished = campaign.finish().await?;
    arguments.common.print(&finished)?;
    if !arguments.common.json {
        tell(&search, &finished.run.steps, &slo)?;
    }
    let found = search.found().rate_per_s;
    Ok(if finished.run.error.is_some() || found <= 0.0 {
        ExitCode::from(EXIT_FAILED)
    } else if finished.missed() || arguments.at_least.is_some_and(|least| found < least) {
        ExitCode::from(EXIT_THRESHOLD_MISSED)
    } else {
        ExitCode::SUCCESS
    })
}

/// One step as the pattern of all probes, and what they must reach.
fn scenario(arguments: &SaturateArgs) -> Result<(Scenario, Slo), Failure> {
    let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
    let given = arguments.scenario.as_deref().map(Scenario::load).transpose()?;
    let open = given.as_ref().and_then(|all| all.steps.iter().find(|step| step.kind == Kind::Open));
    let template = StepSpec {
        name: "probe".to_owned(),
        kind: Kind::Open,
        size: 0,
        rate_per_s: arguments.start,
        arrivals: open.map_or(Arrivals::Poisson, |step| step.arrivals),
        repeat: 0,
        warm_up: seconds(arguments.warm_up_s),
        hold: seconds(arguments.hold_s),
        drain: seconds(arguments.drain_s),
        settle: seconds(arguments.hold_s).mul_f64(SETTLE_SHARE).min(SETTLE_MAX),
        fan_out: open.map_or(1, |step| step.fan_out),
        channels: open.map_or_else(|| vec![Channel::InApp], |step| step.channels.clone()),
        faults: Vec::new(),
    };
    let mut slo = Slo { p99_ms: 100.0, shed_ratio_max: 0.001 };
    let scenario = match given {
        Some(mut scenario) => {
            slo = scenario.slo.take().unwrap_or(slo);
            scenario.steps = vec![template];
            // They speak of steps that will not run.
            scenario.thresholds.clear();
            scenario
        }
        None => Scenario::of_steps("saturate", 1, 500, vec![template]),
    };
    slo.p99_ms = arguments.p99_ms.unwrap_or(slo.p99_ms);
    slo.shed_ratio_max = arguments.shed_ratio_max.unwrap_or(slo.shed_ratio_max);
    if !(slo.p99_ms > 0.0 && (0.0..=1.0).contains(&slo.shed_ratio_max)) {
        return Err(Failure::Usage(
            "--p99-ms must be positive, --shed-ratio-max 0 to 1".to_owned(),
        ));
    }
    Ok((Scenario { slo: Some(slo.clone()), ..scenario }, slo))
}

/// Why a probe missed; nothing if it passed.
fn miss(step: &Step, slo: &Slo) -> Option<String> {
    let classes = &step.classes;
    let browser = step.latency.get(Channel::InApp.name()).or_else(|| step.latency.values().next());
    let p99 =
        browser.map(|latency| &latency.intended).filter(|it| it.count > 0).map(|it| it.p99_ms);
    let shed = classes.shed as f64 / classes.sent.max(1) as f64;
    let slope = step.generator.backlog_slope.unwrap_or(0.0);
    let reasons = [
        (p99.is_none_or(|p99| p99 > slo.p99_ms), {
            p99.map_or_else(|| "nothing arrived".to_owned(), |p99| format!("p99 {p99:.1} ms"))
        }),
        (shed > slo.shed_ratio_max, format!("{:.2} % shed", shed * 100.0)),
        (classes.lost > 0, format!("{} lost", classes.lost)),
        (classes.rejected > 0, format!("{} rejected", classes.rejected)),
        (classes.unknown > 0, format!("{} without an answer", classes.unknown)),
        (
            slope > (step.load.rate_per_s * SLOPE_SHARE_MAX).max(1.0),
            format!("the backlog grew by {slope:.0}/s"),
        ),
        (
            step.verdict.status == Status::Invalid,
            format!("INVALID ({})", step.verdict.reasons.join("; ")),
        ),
    ];
    let missed: Vec<String> =
        reasons.into_iter().filter(|(applies, _)| *applies).map(|(_, why)| why).collect();
    (!missed.is_empty()).then(|| missed.join(", "))
}

fn tell(search: &Search, steps: &[Step], slo: &Slo) -> Result<(), Failure> {
    let found = search.found();
    let mut text = format!(
        "  highest rate with p99 <= {} ms, shed <= {} %, nothing lost: {}/s ({})\n",
        slo.p99_ms,
        slo.shed_ratio_max * 100.0,
        found.rate_per_s,
        if search.confirmed() { "confirmed" } else { "not confirmed" },
    );
    for (step, (rate, passed)) in steps.iter().zip(&found.probes) {
        let how = if *passed { "passed".to_owned() } else { miss(step, slo).unwrap_or_default() };
        text += &format!("  {rate:>9}/s  {how}\n");
    }
    write!(std::io::stdout(), "{text}").map_err(|error| Failure::failed("stdout", error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Classes, Distribution, Latency};

    fn probe() -> Step {
        let intended = Distribution { count: 100, p99_ms: 40.0, ..Distribution::default() };
        let latency = Latency { intended, ..Latency::default() };
        Step {
            classes: Classes {
                sent: 1_000,
                accepted: 1_000,
                delivered: 1_000,
                ..Classes::default()
            },
            latency: [("in_app".to_owned(), latency)].into(),
            ..Step::default()
        }
    }

    #[test]
    fn a_probe_passes_only_if_everything_holds() {
        let slo = Slo { p99_ms: 50.0, shed_ratio_max: 0.01 };
        assert_eq!(miss(&probe(), &slo), None);
        let spoilt = |spoil: fn(&mut Step)| {
            let mut step = probe();
            spoil(&mut step);
            miss(&step, &slo).unwrap_or_default()
        };
        assert!(spoilt(|step| step.classes.lost = 1).contains("1 lost"));
        assert!(spoilt(|step| step.classes.shed = 20).contains("2.00 % shed"));
        assert!(spoilt(|step| step.classes.unknown = 1).contains("without an answer"));
        assert!(spoilt(|step| step.generator.backlog_slope = Some(9.0)).contains("backlog"));
        assert!(spoilt(|step| step.verdict.status = Status::Invalid).contains("INVALID"));
        assert!(spoilt(|step| step.latency.clear()).contains("nothing arrived"));
        let strict = Slo { p99_ms: 39.0, shed_ratio_max: 0.0 };
        assert!(miss(&probe(), &strict).unwrap().contains("p99 40.0 ms"));
    }
}
