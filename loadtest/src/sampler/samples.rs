//! What a sampler saw of a step, and how it is written into `run.json`. Pure.

use std::collections::{BTreeMap, BTreeSet};

use hdrhistogram::Histogram;

use super::Row;
use crate::ledger::join;
use crate::model::{Distribution, Series, Step};

/// Everything between start and stop.
#[derive(Clone, Debug)]
pub struct Samples {
    pub rows: Vec<Row>,
    pub wall_ns: u64,
    /// CPU time by process.
    pub cpu_ns: BTreeMap<String, u64>,
    /// Resident memory at the end, by process.
    pub rss: BTreeMap<String, u64>,
    /// Bytes of the database and of all streams at the end.
    pub stored: BTreeMap<String, u64>,
    pub steal_percent: f64,
    pub pressure_percent: Option<f64>,
    /// Overshoot of 1 ms timers in the runtime, nanoseconds; a bare thread's is in the rows.
    pub canary: Histogram<u64>,
}

impl Samples {
    /// Fills resources, the generator's health and the series; the step's classes and its
    /// measured part must be there.
    pub fn fill(&self, step: &mut Step) {
        // What was measured is not all that was done: the warm-up cost CPU as well, so whoever
        // wants it left out starts the sampler behind it.
        let scale = if step.classes.sent == 0 { 0.0 } else { 1e3 / step.classes.sent as f64 };
        let seconds = |ns: u64| (ns as f64 / 1e9 * scale * 1e6).round() / 1e6;
        step.cpu_s_per_1000 =
            self.cpu_ns.iter().map(|(name, ns)| (name.clone(), seconds(*ns))).collect();
        step.cpu_percent_of_core = self.percent_of_core(step.from_s, step.to_s);
        step.rss_bytes.clone_from(&self.rss);
        step.stored_bytes.clone_from(&self.stored);
        let health = &mut step.generator;
        health.canary = Distribution::of(&self.canary);
        health.steal_percent = round3(self.steal_percent);
        health.pressure_percent = self.pressure_percent.map(round3);
        health.backlog_slope = self.backlog_slope(step.from_s, step.to_s);
        join(&mut step.series, &self.series());
    }

    /// Rows of seconds that lie in a part of the run.
    fn within(&self, from_s: f64, to_s: f64) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| {
            let middle = row.second as f64 + 0.5;
            middle >= from_s && middle <= to_s
        })
    }

    /// CPU by process during a part of the run, 100 for one core; over everything if the part is
    /// shorter than a row.
    pub fn percent_of_core(&self, from_s: f64, to_s: f64) -> BTreeMap<String, f64> {
        let rows: Vec<&Row> = self.within(from_s, to_s).collect();
        if rows.is_empty() {
            let wall = self.wall_ns.max(1) as f64;
            let percent = |ns: u64| round3(ns as f64 / wall * 100.0);
            return self.cpu_ns.iter().map(|(name, ns)| (name.clone(), percent(*ns))).collect();
        }
        let mut sums = BTreeMap::<String, f64>::new();
        for (name, cores) in rows.iter().flat_map(|row| &row.cpu) {
            *sums.entry(name.clone()).or_default() += cores;
        }
        let count = rows.len() as f64;
        sums.into_iter().map(|(name, sum)| (name, round3(sum / count * 100.0))).collect()
    }

    /// Least squares through what was waiting in all consumers, messages per second; nothing
    /// from fewer than three rows.
    pub fn backlog_slope(&self, from_s: f64, to_s: f64) -> Option<f64> {
        let points: Vec<(f64, f64)> = self
            .within(from_s, to_s)
            .filter(|row| !row.pending.is_empty())
            .map(|row| {
                let waiting: u64 = row.pending.values().chain(row.ack_pending.values()).sum();
                (row.second as f64, waiting as f64)
            })
            .collect();
        if points.len() < 3 {
            return None;
        }
        let count = points.len() as f64;
        let mean = |pick: fn(&(f64, f64)) -> f64| points.iter().map(pick).sum::<f64>() / count;
        let (x, y) = (mean(|point| point.0), mean(|point| point.1));
        let over: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
        let under: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
        (under > 0.0).then(|| round3(over / under))
    }

    /// The rows as columns.
    pub fn series(&self) -> Series {
        let mut series = Series {
            at_s: self.rows.iter().map(|row| row.second as f64).collect(),
            ..Series::default()
        };
        let mut column = |name: String, pick: &dyn Fn(&Row) -> Option<f64>| {
            series
                .columns
                .insert(name, self.rows.iter().map(|row| pick(row).map(round3)).collect());
        };
        column("steal_percent".to_owned(), &|row| Some(row.steal_percent));
        column("pressure_percent".to_owned(), &|row| row.pressure_percent);
        column("canary_p99_ms".to_owned(), &|row| row.canary_p99_ms);
        column("canary_bare_p99_ms".to_owned(), &|row| row.canary_bare_p99_ms);
        for name in self.names(|row| row.cpu.keys()) {
            column(format!("cpu:{name}"), &|row| row.cpu.get(name).copied());
        }
        for name in self.names(|row| row.rss.keys()) {
            column(format!("rss:{name}"), &|row| row.rss.get(name).map(|bytes| *bytes as f64));
        }
        for name in self.names(|row| row.pending.keys()) {
            let value = |count: Option<&u64>| count.map(|count| *count as f64);
            column(format!("pending:{name}"), &|row| value(row.pending.get(name)));
            column(format!("ack_pending:{name}"), &|row| value(row.ack_pending.get(name)));
        }
        series
    }

    fn names<'a, I: Iterator<Item = &'a String>>(
        &'a self,
        pick: fn(&'a Row) -> I,
    ) -> BTreeSet<&'a String> {
        self.rows.iter().flat_map(pick).collect()
    }
}

fn round3(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;

    fn samples(rows: Vec<Row>) -> Samples {
        Samples {
            rows,
            wall_ns: 2_000_000_000,
            cpu_ns: BTreeMap::from([("campana".to_owned(), 1_000_000_000)]),
            rss: BTreeMap::new(),
            stored: BTreeMap::new(),
            steal_percent: 0.0,
            pressure_percent: None,
            canary: model::histogram(),
        }
    }

    fn row(second: u64, cores: f64, waiting: u64) -> Row {
        let name = "campana".to_owned();
        Row {
            second,
            cpu: BTreeMap::from([(name, cores)]),
            pending: BTreeMap::from([("S/c".to_owned(), waiting)]),
            ..Row::default()
        }
    }

    #[test]
    fn a_step_gets_shares_slopes_and_columns() {
        let rows = vec![row(9, 9.0, 0), row(10, 0.5, 100), row(11, 0.7, 110), row(12, 0.6, 120)];
        let samples = samples(rows);
        let mut step = Step { from_s: 10.0, to_s: 13.0, ..Step::default() };
        step.classes.sent = 4_000;
        step.series.at_s = vec![8.0, 10.0];
        step.series.columns.insert("sent".to_owned(), vec![Some(1.0), Some(2.0)]);
        samples.fill(&mut step);
        assert_eq!(step.cpu_s_per_1000["campana"], 0.25);
        assert_eq!(step.cpu_percent_of_core["campana"], 60.0);
        assert_eq!(step.generator.backlog_slope, Some(10.0));
        assert_eq!(step.series.at_s, [8.0, 9.0, 10.0, 11.0, 12.0]);
        assert_eq!(step.series.columns["sent"], [Some(1.0), None, Some(2.0), None, None]);
        assert_eq!(step.series.columns["pending:S/c"][2], Some(100.0));
        assert_eq!(samples.percent_of_core(500.0, 501.0)["campana"], 50.0);
    }
}
