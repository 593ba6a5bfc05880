//! Writes a judged book into a step of `run.json`. Pure. It leaves alone what others know: name,
//! load, processes, verdict.

use hdrhistogram::Histogram;

use super::Book;
use super::book::Lane;
use crate::model::{Distribution, Latency, Stage as StageTime, Step};
use crate::stamps::Stage;

/// The stage that ends with the receipt.
const CLIENT: &str = "client";

impl Book {
    /// Fills classes, latencies, stages, rates, waves, series and the generator's lag.
    pub fn fill(&self, step: &mut Step) {
        step.classes = self.totals();
        for (index, lane) in self.lanes.iter().enumerate() {
            let name = lane.channel.name().to_owned();
            step.by_channel.insert(name.clone(), lane.classes.clone());
            step.latency.insert(name, self.latency(index, lane));
        }
        step.statuses =
            self.statuses.iter().map(|(code, count)| (code.to_string(), *count)).collect();
        step.failures = self.failures.clone();
        if let Some((intended, actual)) = &self.accept {
            step.accept =
                Latency { intended: Distribution::of(intended), actual: Distribution::of(actual) };
        }
        step.makespan = self.makespan.as_ref().filter(|all| !all.is_empty()).map(Distribution::of);
        step.stages = self.stages();
        step.waves.clone_from(&self.waves);
        step.heat.clone_from(&self.heat);
        // The sampler may have been here before.
        let mut series = self.series.clone();
        super::seconds::join(&mut series, &step.series);
        step.series = series;
        if let Some(lag) = &self.lag {
            step.generator.lag = Distribution::of(lag);
        }
        step.generator.dropped = self.skipped;
        let lost: u64 = self.dropped.values().sum();
        step.generator.receivers_lost = u32::try_from(lost).unwrap_or(u32::MAX);
        self.rates(step);
    }

    fn latency(&self, index: usize, lane: &Lane) -> Latency {
        let mut intended = Distribution::of(&lane.intended);
        if index == 0 {
            intended.p50_interval = self.blocks.interval(0.5);
            intended.p99_interval = self.blocks.interval(0.99);
        }
        Latency { intended, actual: Distribution::of(&lane.actual) }
    }

    fn stages(&self) -> Vec<StageTime> {
        let times = self.stage_times();
        times.map(|(name, times)| StageTime { name, time: Distribution::of(times) }).collect()
    }

    /// The stages of the step's first channel, in the order of the way.
    pub fn stage_names() -> impl Iterator<Item = &'static str> {
        Stage::ALL.iter().map(|stage| stage.name()).chain([CLIENT])
    }

    /// Every stage that was stamped; those of further channels are called `channel/stage`.
    pub fn stage_times(&self) -> impl Iterator<Item = (String, &Histogram<u64>)> {
        self.lanes.iter().enumerate().flat_map(|(index, lane)| {
            Self::stage_names().zip(&lane.stages).filter_map(move |(name, times)| {
                let name = if index == 0 {
                    name.to_owned()
                } else {
                    format!("{}/{name}", lane.channel.name())
                };
                Some((name, times.as_deref()?))
            })
        })
    }

    /// From the first intended send to the last of the sends and the receipts in time.
    fn rates(&self, step: &mut Step) {
        let (Some(first), Some(last)) = (self.first_intended_ns, self.last_intended_ns) else {
            return;
        };
        let end = self.last_receipt_ns.map_or(last, |at| at.max(last));
        let since_start = |ns: u64| ns.saturating_sub(self.started_ns) as f64 / 1e9;
        (step.from_s, step.to_s) = (since_start(first), since_start(end));
        let per_second = |count: u64, ns: u64| {
            if ns == 0 { 0.0 } else { (count as f64 / (ns as f64 / 1e9) * 1e3).round() / 1e3 }
        };
        step.goodput_per_s = per_second(step.classes.delivered, end.saturating_sub(first));
        let each = step.classes.sent / self.requests.max(1);
        // n sends have n - 1 gaps between them.
        let gaps = step.classes.sent.saturating_sub(each);
        step.sent_per_s = per_second(gaps, last.saturating_sub(first));
    }
}
