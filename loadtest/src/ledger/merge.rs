//! The books of several generators as one. Counts are summed, histograms are added, and whatever
//! is a percentile is taken from the sum: no percentile is ever averaged. Seconds and waves are
//! joined one by one, so that intervals come from the same blocks as those of one generator. Pure.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::blocks::Blocks;
use super::book::{Book, Lane};
use super::part::{BookPart, Times, add};
use super::seconds::IntervalLog;
use super::waves::WavePart;
use crate::intake::Channel;
use crate::model::{self, Heat, Kind, Series};

/// Columns that are counts, and add up; others of a generator's own are left to the caller.
const COUNTS: [&str; 5] = ["offered", "sent", "delivered", "shed", "in_flight"];
/// The worst generator's: seconds of the lag are not sent, so they cannot be added.
const WORST: &str = "lag_p99_ms";
const PERCENTILES: [&str; 4] = ["p50_ms", "p99_ms", "p50_actual_ms", "p99_actual_ms"];

type Both = (Histogram<u64>, Histogram<u64>);
/// p50 and p99 from the intended send, then from the actual one; milliseconds.
type Four = [f64; 4];

/// One second of one channel of one generator, packed.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Second {
    pub channel: Channel,
    /// Since the run began.
    pub from_s: u32,
    pub intended: Times,
    pub actual: Times,
}

impl Second {
    /// Packs an interval.
    pub fn of(log: &IntervalLog) -> Self {
        Self {
            channel: log.channel,
            from_s: log.from_s,
            intended: Times::of(&log.intended),
            actual: Times::of(&log.actual),
        }
    }
}

/// Joins what several generators tell of one step.
pub struct Merger {
    step: u32,
    kind: Kind,
    book: Book,
    /// Up to which second each generator has told everything.
    told: Vec<u32>,
    open: BTreeMap<(u32, Channel), Vec<Second>>,
    percentiles: BTreeMap<u32, Four>,
    blocks: Blocks,
    intervals: Vec<IntervalLog>,
    /// By number: a generator that was stopped has fewer.
    waves: BTreeMap<u32, WaveSum>,
}

/// One wave of all generators.
#[derive(Default)]
struct WaveSum {
    sent: u64,
    delivered: u64,
    makespan_ns: Option<u64>,
    times: Option<Histogram<u64>>,
}

impl Merger {
    /// For a step of so many generators; `started_ns` is the run's beginning.
    pub fn new(
        step: u32,
        kind: Kind,
        channels: &[Channel],
        generators: usize,
        started_ns: u64,
    ) -> Self {
        let book = Book {
            number: step,
            started_ns,
            lanes: channels.iter().map(|channel| Lane::new(*channel)).collect(),
            accept: Some((model::histogram(), model::histogram())),
            lag: Some(model::histogram()),
            ..Book::default()
        };
        Self {
            step,
            kind,
            book,
            told: vec![0; generators],
            open: BTreeMap::new(),
            percentiles: BTreeMap::new(),
            blocks: Blocks::default(),
            intervals: Vec::new(),
            waves: BTreeMap::new(),
        }
    }

    /// Enters seconds that a generator has ended; they come in order.
    pub fn seconds(&mut self, generator: usize, seconds: Vec<Second>) -> Result<(), String> {
        for second in seconds {
            if !self.book.lanes.iter().any(|lane| lane.channel == second.channel) {
                return Err(format!("a second of {}", second.channel.name()));
            }
            if let Some(told) = self.told.get_mut(generator) {
                *told = (*told).max(second.from_s);
            }
            self.open.entry((second.from_s, second.channel)).or_default().push(second);
        }
        self.end_seconds(self.told.iter().min().copied().unwrap_or(0))
    }

    /// Ends the seconds before this one, which nobody will add to.
    fn end_seconds(&mut self, before: u32) -> Result<(), String> {
        let first = self.book.lanes.first().map(|lane| lane.channel);
        while let Some(entry) = self.open.first_entry() {
            let (from_s, channel) = *entry.key();
            if from_s >= before {
                break;
            }
            let (mut intended, mut actual): Both = (model::histogram(), model::histogram());
            for second in entry.remove() {
                second.intended.add_to(&mut intended)?;
                second.actual.add_to(&mut actual)?;
            }
            if first == Some(channel) && !intended.is_empty() {
                let at = |times: &Histogram<u64>, quantile| {
                    (times.value_at_quantile(quantile) as f64 / 1e3).round() / 1e3
                };
                let four =
                    [at(&intended, 0.5), at(&intended, 0.99), at(&actual, 0.5), at(&actual, 0.99)];
                self.percentiles.insert(from_s, four);
                if self.kind != Kind::Wave {
                    push(&mut self.blocks, &intended);
                }
            }
            let step = self.step;
            self.intervals.push(IntervalLog { step, channel, from_s, intended, actual });
        }
        Ok(())
    }

    /// Seconds that are complete since the last call, for the interval log.
    pub fn take_intervals(&mut self) -> Vec<IntervalLog> {
        std::mem::take(&mut self.intervals)
    }

    /// Adds a generator's judged book.
    pub fn add(&mut self, part: &BookPart) -> Result<(), String> {
        part.check()?;
        for other in &part.lanes {
            let lane = self.book.lanes.iter_mut().find(|lane| lane.channel == other.channel);
            lane.ok_or_else(|| format!("figures of {}", other.channel.name()))?.add(other)?;
        }
        let book = &mut self.book;
        book.requests += part.requests;
        book.warm_up_requests += part.warm_up_requests;
        sum(&mut book.statuses, &part.statuses);
        sum(&mut book.failures, &part.failures);
        sum(&mut book.dropped, &part.dropped);
        book.phantom_elsewhere += part.phantom_elsewhere;
        book.recovered += part.recovered;
        book.skipped += part.skipped;
        book.saturated += part.saturated;
        book.faults.reused_slots += part.faults.reused_slots;
        book.faults.stray_answers += part.faults.stray_answers;
        let at = |since: u64| book.started_ns.saturating_add(since);
        let first = part.first_intended_ns.map(at);
        book.first_intended_ns = match (book.first_intended_ns, first) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        book.last_intended_ns = book.last_intended_ns.max(part.last_intended_ns.map(at));
        book.last_receipt_ns = book.last_receipt_ns.max(part.last_receipt_ns.map(at));
        if let Some((intended, actual)) = &mut book.accept {
            part.accept.add_to(intended)?;
            part.accept_actual.add_to(actual)?;
        }
        if let Some(lag) = &mut book.lag {
            part.lag.add_to(lag)?;
        }
        add_series(&mut book.series, &part.series);
        add_heat(&mut book.heat, part.heat.as_ref())?;
        self.add_waves(&part.waves)
    }

    fn add_waves(&mut self, waves: &[WavePart]) -> Result<(), String> {
        for wave in waves {
            let sum = self.waves.entry(wave.number).or_default();
            sum.sent = sum.sent.saturating_add(wave.sent);
            sum.delivered = sum.delivered.saturating_add(wave.delivered);
            sum.makespan_ns = sum.makespan_ns.max(wave.makespan_ns);
            let times = wave.times.histogram()?;
            match &mut sum.times {
                Some(all) => add(all, &times)?,
                none => *none = Some(times),
            }
        }
        Ok(())
    }

    /// The book of all generators, and the last seconds for the interval log.
    pub fn close(mut self) -> Result<(Book, Vec<IntervalLog>), String> {
        self.end_seconds(u32::MAX)?;
        if self.kind == Kind::Wave {
            let mut makespan = model::histogram();
            for wave in self.waves.values() {
                if let Some(ns) = wave.makespan_ns {
                    makespan.saturating_record(ns);
                }
                if let Some(times) = &wave.times {
                    push(&mut self.blocks, times);
                }
            }
            self.book.makespan = Some(makespan);
            self.book.waves = self.waves.values().map(WaveSum::summary).collect();
        }
        self.book.blocks = self.blocks;
        fill_percentiles(&mut self.book.series, &self.percentiles);
        Ok((self.book, self.intervals))
    }
}

impl WaveSum {
    fn summary(&self) -> model::Wave {
        let at = |quantile: f64| {
            let times = self.times.as_ref().filter(|times| !times.is_empty());
            times
                .map_or(0.0, |times| (times.value_at_quantile(quantile) as f64 / 1e3).round() / 1e3)
        };
        model::Wave {
            delivered: self.delivered,
            sent: self.sent,
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            max_ms: at(1.0),
        }
    }
}

fn push(blocks: &mut Blocks, times: &Histogram<u64>) {
    let values = times.iter_recorded();
    blocks.push(values.map(|value| (value.value_iterated_to() / 1_000, value.count_at_value())));
}

fn sum<K: Ord + Clone>(into: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
    for (key, count) in from {
        let counted = into.entry(key.clone()).or_default();
        *counted = counted.saturating_add(*count);
    }
}

/// Adds counts by second. A generator that has no row of a second counted nothing in it.
fn add_series(into: &mut Series, from: &Series) {
    let names = COUNTS.iter().chain([&WORST]);
    let mut rows = BTreeMap::<i64, BTreeMap<&str, f64>>::new();
    for side in [&*into, from] {
        for (row, at) in side.at_s.iter().enumerate() {
            let sums = rows.entry(at.floor() as i64).or_default();
            for name in names.clone() {
                let value = side.columns.get(*name).and_then(|column| *column.get(row)?);
                let Some(value) = value else { continue };
                let sum = sums.entry(*name).or_insert(0.0);
                *sum = if *name == WORST { sum.max(value) } else { *sum + value };
            }
        }
    }
    fill_gaps(&mut rows);
    let column = |name: &&str| {
        let values = rows.values().map(|row| row.get(*name).copied()).collect();
        ((*name).to_owned(), values)
    };
    *into = Series {
        at_s: rows.keys().map(|second| *second as f64).collect(),
        columns: names.map(column).collect(),
    };
}

/// A second in which nobody counted anything is a row of zeros.
fn fill_gaps(rows: &mut BTreeMap<i64, BTreeMap<&str, f64>>) {
    let (first, last) = (rows.keys().next().copied(), rows.keys().next_back().copied());
    let (Some(first), Some(last)) = (first, last) else { return };
    for second in first..=last {
        let row = rows.entry(second).or_default();
        // What is in flight at the end of such a second is not known.
        for name in COUNTS.iter().filter(|name| **name != "in_flight") {
            row.entry(name).or_insert(0.0);
        }
    }
}

fn fill_percentiles(series: &mut Series, percentiles: &BTreeMap<u32, Four>) {
    for (place, name) in PERCENTILES.into_iter().enumerate() {
        let at = |second: &f64| {
            let four = percentiles.get(&(second.floor() as u32))?;
            four.get(place).copied()
        };
        let column = series.at_s.iter().map(at).collect();
        series.columns.insert(name.to_owned(), column);
    }
}

/// Heat maps have the same rows everywhere: the edges are constants of the harness.
fn add_heat(into: &mut Option<Heat>, from: Option<&Heat>) -> Result<(), String> {
    let Some(from) = from else { return Ok(()) };
    let Some(heat) = into else {
        *into = Some(from.clone());
        return Ok(());
    };
    if heat.bounds_ms != from.bounds_ms {
        return Err("a heat map with other edges".to_owned());
    }
    let key = |at: &f64| at.floor() as i64;
    let mut columns: BTreeMap<i64, Vec<u32>> =
        heat.at_s.iter().map(key).zip(std::mem::take(&mut heat.counts)).collect();
    for (at, rows) in from.at_s.iter().zip(&from.counts) {
        let sums = columns.entry(key(at)).or_insert_with(|| vec![0; rows.len()]);
        for (sum, count) in sums.iter_mut().zip(rows) {
            *sum = sum.saturating_add(*count);
        }
    }
    heat.at_s = columns.keys().map(|second| *second as f64).collect();
    heat.counts = columns.into_values().collect();
    Ok(())
}
