//! What the columns of a step say about its steadiness, and Little's law. Pure.

use crate::model::{Kind, Step};
use crate::stats::round3;

/// Fewer whole seconds than this have no halves and no spread.
const SECONDS_MIN: usize = 6;
/// How many standard errors a slope must be from zero to be one.
const SLOPE_ERRORS: f64 = 2.0;

/// Fills in half difference, variation, slope of the backlog and Little's ratio.
pub fn fill(step: &mut Step) {
    step.little = little(step);
    let seconds = whole_seconds(step);
    if step.load.kind == Kind::Wave || seconds.len() < SECONDS_MIN {
        return;
    }
    let medians = column(step, "p50_ms", &seconds);
    step.generator.half_difference = half_difference(&medians).map(round3);
    let delivered = column(step, "delivered", &seconds);
    step.generator.throughput_cv = variation(&delivered).map(round3);
    step.generator.backlog_slope = slope(&backlog(step, &seconds)).map(round3);
}

/// Rows that lie wholly within the measured part.
fn whole_seconds(step: &Step) -> Vec<usize> {
    let to_s = step.from_s + step.load.hold_s;
    let whole = |at: f64| at >= step.from_s && at + 1.0 <= to_s;
    let rows = step.series.at_s.iter().enumerate();
    rows.filter(|(_, at)| whole(**at)).map(|(index, _)| index).collect()
}

fn column(step: &Step, name: &str, rows: &[usize]) -> Vec<f64> {
    let Some(values) = step.series.columns.get(name) else { return Vec::new() };
    rows.iter().filter_map(|row| values.get(*row).copied().flatten()).collect()
}

/// Messages that wait in the platform's streams; where nobody reads those, what is in flight.
fn backlog(step: &Step, rows: &[usize]) -> Vec<f64> {
    let names: Vec<&String> =
        step.series.columns.keys().filter(|name| name.starts_with("pending:")).collect();
    if names.is_empty() {
        return column(step, "in_flight", rows);
    }
    let sum = |row: &usize| {
        let values =
            names.iter().map(|name| step.series.columns[*name].get(*row).copied().flatten());
        values.sum::<Option<f64>>()
    };
    rows.iter().filter_map(sum).collect()
}

/// The second half's median against the first's, relative.
fn half_difference(values: &[f64]) -> Option<f64> {
    let (first, second) = values.split_at(values.len() / 2);
    let (first, second) = (median(first)?, median(second)?);
    (first > 0.0).then(|| (second - first) / first)
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    Some(if sorted.len().is_multiple_of(2) { (sorted[middle - 1] + upper) / 2.0 } else { upper })
}

/// Standard deviation ÷ mean.
fn variation(values: &[f64]) -> Option<f64> {
    if values.len() < SECONDS_MIN {
        return None;
    }
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean > 0.0).then(|| (squares / (count - 1.0)).sqrt() / mean)
}

/// Least squares over one value a second; 0 if it cannot be told from none.
fn slope(values: &[f64]) -> Option<f64> {
    if values.len() < SECONDS_MIN {
        return None;
    }
    let count = values.len() as f64;
    let mean_x = (count - 1.0) / 2.0;
    let mean_y = values.iter().sum::<f64>() / count;
    let points = || values.iter().enumerate().map(|(x, y)| (x as f64 - mean_x, y - mean_y));
    let spread: f64 = points().map(|(x, _)| x * x).sum();
    let slope = points().map(|(x, y)| x * y).sum::<f64>() / spread;
    let rest: f64 = points().map(|(x, y)| (y - slope * x).powi(2)).sum();
    let error = (rest / (count - 2.0) / spread).sqrt();
    Some(if slope.abs() > SLOPE_ERRORS * error { slope } else { 0.0 })
}

/// Users ÷ (throughput × response time).
fn little(step: &Step) -> Option<f64> {
    if step.load.kind != Kind::Closed || step.load.hold_s <= 0.0 {
        return None;
    }
    let requests = step.accept.intended.count as f64;
    // The slowest channel is what a user waits for.
    let means = step.latency.values().map(|latency| latency.intended.mean_ms);
    let response_s = means.fold(0.0, f64::max) / 1e3;
    let product = requests / step.load.hold_s * response_s;
    (product > 0.0).then(|| round3(f64::from(step.load.size) / product))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Distribution, Latency, Load};

    #[test]
    fn halves_spread_and_slope_are_those_of_the_whole_seconds() {
        let mut step = Step {
            from_s: 10.5,
            load: Load { kind: Kind::Open, hold_s: 8.0, ..Load::default() },
            ..Step::default()
        };
        step.series.at_s = (8..20).map(f64::from).collect();
        let columns = &mut step.series.columns;
        let some =
            |value: &dyn Fn(f64) -> f64| (8..20).map(|s| Some(value(f64::from(s)))).collect();
        columns.insert("p50_ms".to_owned(), some(&|s| if s < 14.0 { 2.0 } else { 3.0 }));
        columns.insert("delivered".to_owned(), some(&|_| 100.0));
        columns.insert("in_flight".to_owned(), some(&|s| 5.0 * s));
        fill(&mut step);
        assert_eq!(step.generator.half_difference, Some(0.5));
        assert_eq!(step.generator.throughput_cv, Some(0.0));
        assert_eq!(step.generator.backlog_slope, Some(5.0));
        step.series.columns.insert("pending:a".to_owned(), some(&|s| (s * 7.0) % 3.0));
        fill(&mut step);
        assert_eq!(step.generator.backlog_slope, Some(0.0), "the streams know better");
    }

    #[test]
    fn a_slope_that_is_noise_is_none() {
        assert_eq!(slope(&[3.0, 1.0, 2.0, 3.0, 1.0, 2.0, 3.0]), Some(0.0));
        assert_eq!(slope(&[1.0, 2.0]), None);
    }

    #[test]
    fn littles_law_is_about_one() {
        let count = 1_000;
        let intended = Distribution { count, mean_ms: 100.0, ..Distribution::default() };
        let latency = Latency { intended, ..Latency::default() };
        let step = Step {
            load: Load { kind: Kind::Closed, size: 10, hold_s: 10.0, ..Load::default() },
            accept: latency.clone(),
            latency: [("in_app".to_owned(), latency)].into(),
            ..Step::default()
        };
        assert_eq!(little(&step), Some(1.0));
    }
}
