//! What a measurement found: one form for all, as JSON and as a table.
//! Reads: figures. Writes: standard output and, on a terminal, a progress bar on standard error.
//! Never: prints figures over lost messages without saying so.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::Value;

use super::board::Checks;
use crate::cli::{Global, output};
use crate::errors::Failure;

/// The platform's own column.
pub const EDGE: &str = "edge";

/// One figure of every column.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    /// What was measured.
    pub what: &'static str,
    /// In what.
    pub unit: &'static str,
    /// The median of each column.
    pub values: BTreeMap<&'static str, f64>,
    /// The first column by each other one.
    pub ratios: BTreeMap<&'static str, f64>,
    /// The most that the first column should be, or its ratio to the column named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<f64>,
    /// The column whose ratio the target is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_beside: Option<&'static str>,
    /// Whether it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_met: Option<bool>,
}

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Which.
    pub bench: &'static str,
    /// How it was set up.
    pub setup: BTreeMap<&'static str, Value>,
    /// Who was measured; the first is compared with the others.
    pub columns: Vec<&'static str>,
    /// The figures.
    pub rows: Vec<Row>,
    /// The sums, over all rounds and columns.
    pub checks: Checks,
    /// What a reader must know.
    pub notes: Vec<String>,
}

/// Samples of all rounds: the value of a figure in a column.
#[derive(Debug, Default)]
pub struct Samples(BTreeMap<(&'static str, &'static str), Vec<f64>>);

impl Samples {
    /// One more round.
    pub fn add(&mut self, column: &'static str, what: &'static str, value: f64) {
        self.0.entry((column, what)).or_default().push(value);
    }

    fn median(&self, column: &'static str, what: &'static str) -> Option<f64> {
        self.0.get(&(column, what)).map(|all| quantile(all.clone(), 0.5))
    }
}

/// A value below which this share of all lies; 0 of none.
pub fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = ((values.len() as f64 * share) as usize).min(values.len().saturating_sub(1));
    values.get(index).copied().unwrap_or_default()
}

impl Report {
    /// A report without figures.
    pub fn new(bench: &'static str, columns: Vec<&'static str>) -> Self {
        Self {
            bench,
            setup: BTreeMap::new(),
            columns,
            rows: Vec::new(),
            checks: Checks::default(),
            notes: Vec::new(),
        }
    }

    /// Says how it was set up.
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.setup.insert(name, value.into());
        self
    }

    /// The medians of one figure.
    pub fn row(&mut self, samples: &Samples, what: &'static str, unit: &'static str) -> &mut Row {
        let values: BTreeMap<_, _> = self
            .columns
            .iter()
            .filter_map(|column| Some((*column, samples.median(column, what)?)))
            .collect();
        let first = self.columns.first().and_then(|column| values.get(column)).copied();
        let ratio = |column: &&'static str| {
            let (first, other) = (first?, *values.get(column)?);
            (other > 0.0).then_some((*column, first / other))
        };
        let ratios = self.columns.iter().skip(1).filter_map(ratio).collect();
        self.rows.push(Row { what, unit, values, ratios, ..Row::default() });
        let last = self.rows.len() - 1;
        &mut self.rows[last]
    }

    fn print(&self) -> anyhow::Result<()> {
        let setup: Vec<String> =
            self.setup.iter().map(|(name, value)| format!("{name} {value}")).collect();
        output::text(&format!("{}: {}", self.bench, setup.join(", ")))?;
        let others: Vec<String> = self
            .columns
            .iter()
            .skip(1)
            .filter_map(|other| Some(format!("{} / {other}", self.columns.first()?).to_uppercase()))
            .collect();
        let names: Vec<String> = self.columns.iter().map(|name| name.to_uppercase()).collect();
        let mut header = vec!["WHAT", "UNIT"];
        header.extend(names.iter().map(String::as_str));
        header.extend(others.iter().map(String::as_str));
        header.push("TARGET");
        let rows = self.rows.iter().map(|row| self.cells(row)).collect();
        output::table(&header, rows, "nothing was measured")?;
        let Checks { expected, received, faults, lost_connections } = self.checks;
        output::text(&format!(
            "expected {expected}, received {received}, twice or out of order {faults}, connections lost {lost_connections}"
        ))?;
        self.notes.iter().try_for_each(|note| output::text(note))
    }

    fn cells(&self, row: &Row) -> Vec<String> {
        let mut cells = vec![row.what.to_owned(), row.unit.to_owned()];
        let values = self.columns.iter().map(|column| row.values.get(column));
        cells.extend(values.map(|value| value.map(|value| number(*value)).unwrap_or_default()));
        let ratios = self.columns.iter().skip(1).map(|column| row.ratios.get(column));
        cells.extend(ratios.map(|ratio| ratio.map(|it| format!("{it:.2}")).unwrap_or_default()));
        let of = if row.target_beside.is_some() { "ratio " } else { "" };
        let met = if row.target_met == Some(true) { "met" } else { "MISSED" };
        let target = row.target.map(|target| format!("{of}<= {target}, {met}"));
        cells.push(target.unwrap_or_default());
        cells
    }
}

impl Row {
    /// The first column should be at most this.
    pub fn at_most(&mut self, target: f64) {
        let actual = self.values.get(EDGE).copied();
        (self.target, self.target_met) = (Some(target), actual.map(|actual| actual <= target));
    }

    /// Its ratio to this column should be at most this.
    pub fn ratio_at_most(&mut self, other: &'static str, target: f64) {
        let actual = self.ratios.get(other).copied();
        (self.target, self.target_met) = (Some(target), actual.map(|actual| actual <= target));
        self.target_beside = Some(other);
    }
}

fn number(value: f64) -> String {
    if value.abs() >= 1_000.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

/// Prints all of them; an error if a message was lost, or, if asked for, if a target was missed.
pub fn finish(global: &Global, reports: &[Report], strict: bool) -> anyhow::Result<()> {
    if global.json {
        output::json("edge", &reports)?;
    } else {
        for report in reports {
            report.print()?;
        }
    }
    let wrong: Vec<&str> =
        reports.iter().filter(|one| !one.checks.pass()).map(|one| one.bench).collect();
    anyhow::ensure!(
        wrong.is_empty(),
        "messages were lost, repeated or out of order in {}: the figures are worth nothing",
        wrong.join(", ")
    );
    let missed: Vec<String> = reports
        .iter()
        .flat_map(|report| report.rows.iter().map(move |row| (report.bench, row)))
        .filter(|(_, row)| row.target_met == Some(false))
        .map(|(bench, row)| format!("{bench}: {}", row.what))
        .collect();
    if strict && !missed.is_empty() {
        let message = format!("targets missed: {}", missed.join("; "));
        return Err(Failure { code: 10, message }.into());
    }
    Ok(())
}

/// A bar of `length` steps, on a terminal only.
pub fn bar(title: &'static str, length: usize) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(length as u64), target);
    // The template is a constant; should it ever be wrong, the default bar does.
    let style = ProgressStyle::with_template("{prefix:<24} {bar:32} {pos:>6}/{len} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style);
    bar.set_prefix(title);
    bar.enable_steady_tick(Duration::from_millis(250));
    bar.with_finish(indicatif::ProgressFinish::AndClear)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_compared_and_judged() {
        let mut samples = Samples::default();
        for (edge, other) in [(1.0, 4.0), (9.0, 2.0), (3.0, 3.0)] {
            samples.add(EDGE, "time", edge);
            samples.add("other", "time", other);
        }
        let mut report = Report::new("x", vec![EDGE, "other", "absent"]);
        report.row(&samples, "time", "ms").at_most(2.0);
        report.row(&samples, "time", "ms").ratio_at_most("other", 1.0);
        let [first, second] = &report.rows[..] else { panic!("two rows") };
        assert_eq!((first.values[EDGE], first.ratios["other"]), (3.0, 1.0));
        assert_eq!((first.target_met, second.target_met), (Some(false), Some(true)));
        assert_eq!(report.cells(first).len(), 2 + 3 + 2 + 1);
    }

    #[test]
    fn quantiles_of_few_values() {
        assert_eq!(quantile(vec![], 0.5), 0.0);
        assert_eq!(quantile(vec![3.0, 1.0, 2.0], 0.5), 2.0);
        assert_eq!(quantile(vec![3.0, 1.0, 2.0], 0.99), 3.0);
    }
}
