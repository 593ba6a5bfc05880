//! The percentile curve: how long the slowest tenth, hundredth, thousandth take. Pure. The horizontal
//! axis counts nines, so that the tail is not squeezed into a pixel.

use hdrhistogram::Histogram;

use super::{Numbers, Shown, texts};
use crate::model::{Run, Step};
use crate::report::plot::{Axis, Figure, Kind, Mark, Panel, key, nines};
use crate::report::read;
use crate::table::number;

/// More curves than this cannot be told apart.
const CURVES_MAX: usize = 5;
const NINES_MAX: f64 = 6.0;
/// Ten points for each tenth of the tail draw a smooth line.
const SHRINK: f64 = 0.794_328_234_724_281_5;

pub const AXIS_NAME: &str = "percent of notifications that were at least as fast";

const CAPTION: &str = "Solid: from the intended send, which is the figure that counts. \
     Dashed: from the actual send, without the time that the generator itself needed to get the \
     request out; where the two part, the generator or the connection was late, and a harness \
     that starts its clock at the actual send would not have shown it. The right end is the \
     slowest receipt: one sample, not a rule.";

pub(super) fn draw(run: &Run) -> Option<Shown> {
    let steps = chosen(run);
    if steps.is_empty() {
        return None;
    }
    let mut marks = Vec::new();
    let mut keys = Vec::new();
    let mut most = 0;
    let mut rows = Vec::new();
    for (place, step) in steps.iter().enumerate() {
        let Some((_, latency)) = read::latency(step) else { continue };
        let class = read::colour(place);
        let intended = read::histogram(&latency.intended);
        most = most.max(intended.len());
        let actual = points(&read::histogram(&latency.actual));
        marks.push(Mark::Line { class: format!("{class} thin dash"), points: actual, name: None });
        marks.push(Mark::Line {
            class: class.clone(),
            points: points(&intended),
            name: Some(step.name.clone()),
        });
        keys.push(key(&format!("line {class}"), &step.name));
        rows.push(row(&step.name, "intended", &intended));
        rows.push(row(&step.name, "actual", &read::histogram(&latency.actual)));
    }
    if let Some(floor) = &run.null_target {
        let points = points(&read::histogram(&floor.intended));
        marks.push(Mark::Line {
            class: "ref".to_owned(),
            points,
            name: Some("harness alone".to_owned()),
        });
        keys.push(key("line ref", "the harness alone, against an echo in its own process"));
    }
    keys.push(key("line ink dash thin", "from the actual send"));
    let values: Vec<f64> = marks.iter().flat_map(values_of).collect();
    let figure = Figure {
        title: "Percentile curves of the latency".to_owned(),
        description: "Latency over the share of notifications that were at least as fast"
            .to_owned(),
        x: axis(most),
        x_name: AXIS_NAME.to_owned(),
        panels: vec![Panel {
            title: "latency, ms (log scale)".to_owned(),
            height: 1.25,
            y: Axis::of(Kind::Log, values),
            bare: false,
            marks,
        }],
        stretches: Vec::new(),
        keys,
    };
    Some(Shown {
        heading: "The tail".to_owned(),
        figure,
        caption: CAPTION.to_owned(),
        numbers: Numbers { head: head("step"), rows },
    })
}

/// The axis of as many nines as so many samples can tell.
pub fn axis(most: u64) -> Axis {
    Axis {
        kind: Kind::Nines,
        low: 0.0,
        high: (most.max(10) as f64).log10().clamp(1.0, NINES_MAX),
        ticks: Vec::new(),
    }
}

/// The head of a table of [`row`]s.
pub fn head(first: &str) -> Vec<String> {
    texts(&[first, "from the", "p50 ms", "p90", "p99", "p99.9", "p99.99", "max"])
}

/// The step that is spoken of, and others evenly over the rest.
fn chosen(run: &Run) -> Vec<&Step> {
    let usable: Vec<&Step> = run
        .steps
        .iter()
        .filter(|step| {
            read::latency(step).is_some_and(|(_, latency)| !latency.intended.hdr.is_empty())
        })
        .collect();
    if usable.len() <= CURVES_MAX {
        return usable;
    }
    let spoken = read::spoken_of(run).map(|step| step.name.as_str());
    let mut kept: Vec<usize> =
        usable.iter().position(|step| Some(step.name.as_str()) == spoken).into_iter().collect();
    let last = usable.len() - 1;
    for place in 0..CURVES_MAX {
        let index = last * place / (CURVES_MAX - 1);
        if kept.len() < CURVES_MAX && !kept.contains(&index) {
            kept.push(index);
        }
    }
    kept.sort_unstable();
    kept.into_iter().map(|index| usable[index]).collect()
}

/// The curve.
pub fn points(times: &Histogram<u64>) -> Vec<(f64, f64)> {
    if times.is_empty() {
        return Vec::new();
    }
    let resolution = (1.0 / times.len() as f64).max(10_f64.powf(-NINES_MAX));
    let at = |quantile: f64| times.value_at_quantile(quantile) as f64 / 1e6;
    let mut points = vec![(0.0, at(0.1))];
    points[0].0 = nines(0.1);
    let mut rest = 0.9;
    while rest > resolution {
        rest *= SHRINK;
        points.push((nines(1.0 - rest), at(1.0 - rest)));
    }
    points
}

/// The latencies of a curve.
pub fn values_of(mark: &Mark) -> Vec<f64> {
    match mark {
        Mark::Line { points, .. } => points.iter().map(|point| point.1).collect(),
        _ => Vec::new(),
    }
}

/// The curve's figures.
pub fn row(name: &str, from: &str, times: &Histogram<u64>) -> Vec<String> {
    let at = |quantile: f64| {
        // Fewer samples than a quantile needs would only repeat the maximum.
        if times.len() as f64 * (1.0 - quantile) < 1.0 {
            "–".to_owned()
        } else {
            number(times.value_at_quantile(quantile) as f64 / 1e6)
        }
    };
    let mut row = vec![name.to_owned(), from.to_owned()];
    row.extend([0.5, 0.9, 0.99, 0.999, 0.9999].map(at));
    row.push(number(times.max() as f64 / 1e6));
    row
}
