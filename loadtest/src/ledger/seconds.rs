//! The step over time: counts and percentiles of each second, a heat map, and for the log one
//! histogram a second. Only the last seconds keep their histograms. Pure.

use std::collections::{BTreeMap, BTreeSet};

use hdrhistogram::Histogram;

use super::blocks::Blocks;
use crate::intake::Channel;
use crate::model::{self, Heat, Series};

/// Seconds that can still get a value: an answer or the queue may be this much behind.
const WINDOW: u32 = 5;
/// A day; what claims to be later is not placed in time.
const SECONDS_MAX: u64 = 86_400;
/// Upper edges of the heat map's rows: 0.5 ms to a minute, each 1.41 times the one before.
const ROWS: usize = 35;
const NS: u64 = 1_000_000_000;

/// One second of one channel, for the interval log.
#[derive(Clone, Debug)]
pub struct IntervalLog {
    /// Number of the step.
    pub step: u32,
    pub channel: Channel,
    /// Since the run began.
    pub from_s: u32,
    /// From the intended send to the first receipt, and from the actual one; nanoseconds, by the
    /// second in which they were received.
    pub intended: Histogram<u64>,
    pub actual: Histogram<u64>,
}

/// What is kept of each second.
#[derive(Clone, Default)]
struct Count {
    offered: u32,
    sent: u32,
    delivered: u32,
    shed: u32,
    in_flight: Option<u32>,
    /// p50 and p99 intended, p50 and p99 actual, p99 of the lag; milliseconds.
    at: [Option<f32>; 5],
    heat: Option<Box<[u32; ROWS + 1]>>,
}

/// A second whose histograms are still open.
struct Live {
    lanes: Vec<Option<(Histogram<u64>, Histogram<u64>)>>,
    lag: Histogram<u64>,
}

/// A first receipt of an accepted request.
pub(super) struct Arrival {
    pub lane: usize,
    pub at_ns: u64,
    pub intended_ns: u64,
    pub actual_ns: u64,
    pub in_time: bool,
}

pub(super) struct Seconds {
    step: u32,
    started_ns: u64,
    channels: Vec<Channel>,
    counts: BTreeMap<u32, Count>,
    live: BTreeMap<u32, Live>,
    now: u32,
    pub done: Vec<IntervalLog>,
    pub blocks: Blocks,
}

impl Seconds {
    pub fn new(step: u32, started_ns: u64, channels: &[Channel]) -> Self {
        Self {
            step,
            started_ns,
            channels: channels.to_vec(),
            counts: BTreeMap::new(),
            live: BTreeMap::new(),
            now: 0,
            done: Vec::new(),
            blocks: Blocks::default(),
        }
    }

    fn second(&self, ns: u64) -> Option<u32> {
        let second = ns.saturating_sub(self.started_ns) / NS;
        u32::try_from(second).ok().filter(|second| u64::from(*second) < SECONDS_MAX)
    }

    fn count(&mut self, ns: u64) -> Option<&mut Count> {
        let second = self.second(ns)?;
        Some(self.counts.entry(second).or_default())
    }

    /// Time has come to `ns`; the second before it ends with this many in flight.
    pub fn advance(&mut self, ns: u64, in_flight: u64) {
        let Some(second) = self.second(ns).filter(|second| *second > self.now) else { return };
        if let Some(count) = self.counts.get_mut(&self.now) {
            count.in_flight = Some(u32::try_from(in_flight).unwrap_or(u32::MAX));
        }
        self.now = second;
        self.finish(second.saturating_sub(WINDOW));
    }

    /// A request, with its lag if it is measured.
    pub fn sent(&mut self, intended_ns: u64, sent_ns: u64, measured: bool) {
        self.offered(intended_ns);
        if let Some(count) = self.count(sent_ns) {
            count.sent += 1;
        }
        if measured && let Some(live) = self.live(sent_ns) {
            live.lag.saturating_record(sent_ns.saturating_sub(intended_ns));
        }
    }

    /// An arrival of the schedule, whether it was sent or not.
    pub fn offered(&mut self, intended_ns: u64) {
        if let Some(count) = self.count(intended_ns) {
            count.offered += 1;
        }
    }

    /// A request was refused under load.
    pub fn shed(&mut self, at_ns: u64) {
        if let Some(count) = self.count(at_ns) {
            count.shed += 1;
        }
    }

    /// A measured delivery.
    pub fn received(&mut self, arrival: &Arrival) {
        let row = row_of(arrival.intended_ns);
        let first = arrival.lane == 0;
        let Some(count) = self.count(arrival.at_ns) else { return };
        count.delivered += u32::from(arrival.in_time);
        if first {
            count.heat.get_or_insert_with(|| Box::new([0; ROWS + 1]))[row] += 1;
        }
        let Some(live) = self.live(arrival.at_ns) else { return };
        if let Some(lane) = live.lanes.get_mut(arrival.lane) {
            let (intended, actual) =
                lane.get_or_insert_with(|| (model::histogram(), model::histogram()));
            intended.saturating_record(arrival.intended_ns);
            actual.saturating_record(arrival.actual_ns);
        }
    }

    /// The histograms of a second; what comes too late for it goes into the oldest open one, so
    /// that the log as a whole is complete.
    fn live(&mut self, ns: u64) -> Option<&mut Live> {
        let second = self.second(ns)?.clamp(self.now.saturating_sub(WINDOW), self.now);
        let lanes = self.channels.len();
        let fresh = || Live { lanes: (0..lanes).map(|_| None).collect(), lag: model::histogram() };
        Some(self.live.entry(second).or_insert_with(fresh))
    }

    fn finish(&mut self, before: u32) {
        let open = self.live.split_off(&before);
        for (second, live) in std::mem::replace(&mut self.live, open) {
            self.sum_up(second, live);
        }
    }

    fn sum_up(&mut self, second: u32, live: Live) {
        let at = |histogram: &Histogram<u64>, quantile: f64| {
            (!histogram.is_empty())
                .then(|| (histogram.value_at_quantile(quantile) as f64 / 1e6) as f32)
        };
        let count = self.counts.entry(second).or_default();
        count.at[4] = at(&live.lag, 0.99);
        for (lane, histograms) in live.lanes.into_iter().enumerate() {
            let Some((intended, actual)) = histograms else { continue };
            if lane == 0 {
                count.at[..4].copy_from_slice(&[
                    at(&intended, 0.5),
                    at(&intended, 0.99),
                    at(&actual, 0.5),
                    at(&actual, 0.99),
                ]);
                let values = intended.iter_recorded();
                self.blocks.push(
                    values.map(|value| (value.value_iterated_to() / 1_000, value.count_at_value())),
                );
            }
            let (step, channel) = (self.step, self.channels[lane]);
            self.done.push(IntervalLog { step, channel, from_s: second, intended, actual });
        }
    }

    /// Sums everything up.
    pub fn close(mut self) -> (Series, Option<Heat>, Vec<IntervalLog>, Blocks) {
        self.finish(u32::MAX);
        (self.series(), self.heat(), self.done, self.blocks)
    }

    fn series(&self) -> Series {
        let mut series = Series::default();
        let (Some(first), Some(last)) =
            (self.counts.keys().next().copied(), self.counts.keys().next_back().copied())
        else {
            return series;
        };
        let empty = Count::default();
        let rows: Vec<&Count> =
            (first..=last).map(|second| self.counts.get(&second).unwrap_or(&empty)).collect();
        series.at_s = (first..=last).map(f64::from).collect();
        let mut column = |name: &str, pick: &dyn Fn(&Count) -> Option<f64>| {
            series.columns.insert(name.to_owned(), rows.iter().map(|row| pick(row)).collect());
        };
        column("offered", &|row| Some(f64::from(row.offered)));
        column("sent", &|row| Some(f64::from(row.sent)));
        column("delivered", &|row| Some(f64::from(row.delivered)));
        column("shed", &|row| Some(f64::from(row.shed)));
        column("in_flight", &|row| row.in_flight.map(f64::from));
        let names = ["p50_ms", "p99_ms", "p50_actual_ms", "p99_actual_ms", "lag_p99_ms"];
        for (index, name) in names.into_iter().enumerate() {
            column(name, &|row| row.at[index].map(|ms| (f64::from(ms) * 1e3).round() / 1e3));
        }
        series
    }

    fn heat(&self) -> Option<Heat> {
        let columns: Vec<(&u32, &[u32; ROWS + 1])> = self
            .counts
            .iter()
            .filter_map(|(second, count)| Some((second, count.heat.as_deref()?)))
            .collect();
        (!columns.is_empty()).then(|| Heat {
            bounds_ms: bounds().map(|ms| (ms * 1e3).round() / 1e3).collect(),
            at_s: columns.iter().map(|(second, _)| f64::from(**second)).collect(),
            counts: columns.iter().map(|(_, rows)| rows.to_vec()).collect(),
        })
    }
}

/// Puts the columns of `from` beside those of `into`, by whole seconds; where one has no row, its
/// columns are null.
pub fn join(into: &mut Series, from: &Series) {
    if from.at_s.is_empty() {
        return;
    }
    let key = |at: &f64| at.floor() as i64;
    let all: BTreeSet<i64> = into.at_s.iter().chain(&from.at_s).map(key).collect();
    let mut joined =
        Series { at_s: all.iter().map(|at| *at as f64).collect(), ..Series::default() };
    for side in [from, &*into] {
        let rows: BTreeMap<i64, usize> =
            side.at_s.iter().enumerate().map(|(row, at)| (key(at), row)).collect();
        for (name, column) in &side.columns {
            let at = |second| rows.get(second).and_then(|row| column.get(*row).copied().flatten());
            joined.columns.insert(name.clone(), all.iter().map(at).collect());
        }
    }
    *into = joined;
}

fn bounds() -> impl Iterator<Item = f64> {
    (0..ROWS).map(|row| 0.5 * 2_f64.powf(row as f64 / 2.0))
}

fn row_of(ns: u64) -> usize {
    let ms = ns as f64 / 1e6;
    // The row whose upper edge is the first that is not below the value.
    if ms <= 0.5 { 0 } else { ((2.0 * (ms / 0.5).log2()).ceil() as usize).min(ROWS) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_the_heat_map_meet_their_edges() {
        let edges: Vec<f64> = bounds().collect();
        assert!(edges.windows(2).all(|pair| pair[0] < pair[1]) && edges[ROWS - 1] > 60_000.0);
        for ns in [0, 1, 499_999, 500_001, 700_000, 1_100_000, 38_000_000, 59_000_000_000] {
            let (row, ms) = (row_of(ns), ns as f64 / 1e6);
            assert!(ms <= edges[row] && (row == 0 || ms > edges[row - 1]), "{ms} in {row}");
        }
        assert_eq!(row_of(u64::MAX), ROWS);
    }

    #[test]
    fn seconds_are_summed_up_when_they_are_over_and_none_is_lost() {
        let mut seconds = Seconds::new(0, 0, &[Channel::InApp]);
        let arrival = |at_ns: u64| Arrival {
            lane: 0,
            at_ns,
            intended_ns: 2_000_000,
            actual_ns: 1_000_000,
            in_time: true,
        };
        for second in 10..30_u64 {
            seconds.advance(second * NS, 3);
            seconds.sent(second * NS, second * NS + 1_000_000, true);
            seconds.received(&arrival(second * NS + 5));
        }
        assert_eq!(seconds.done.len(), 14);
        seconds.received(&arrival(10 * NS));
        seconds.received(&arrival(u64::MAX));
        let (series, heat, done, _) = seconds.close();
        assert_eq!(done.iter().map(|log| log.intended.len()).sum::<u64>(), 21);
        assert_eq!((series.at_s[0], series.at_s.len()), (10.0, 20));
        assert_eq!(series.columns["delivered"][0], Some(2.0));
        assert_eq!(series.columns["in_flight"][0], Some(3.0));
        let p99 = series.columns["p99_ms"][3].unwrap();
        assert!((p99 - 2.0).abs() < 0.01, "{p99}");
        assert_eq!(heat.unwrap().counts.iter().flatten().sum::<u32>(), 21);
    }
}
