//! The heat map: how many receipts of each second had which latency. It shows what percentiles hide:
//! two groups, a periodic stall, a slow start. Pure.

use super::{Numbers, Shown};
use crate::model::{Heat, Step};
use crate::report::plot::{Axis, Figure, Kind, Mark, Panel, Stretch, key};
use crate::report::read;
use crate::table::grouped;

/// Shades; more cannot be told apart.
const SHADES: usize = 6;
/// Columns that fit.
const COLUMNS_MAX: usize = 160;
/// Rows that a sane file has.
const ROWS_MAX: usize = 400;

pub(super) fn draw(step: &Step) -> Option<Shown> {
    let heat = step.heat.as_ref()?;
    let edges = edges(heat)?;
    let columns = columns(heat, edges.len() - 1);
    let most =
        columns.iter().flat_map(|(_, _, counts)| counts).copied().max().filter(|most| *most > 0)?;
    if columns.len() < 3 {
        return None;
    }
    let mut boxes: Vec<Vec<(f64, f64, f64, f64)>> = vec![Vec::new(); SHADES];
    for (from, to, counts) in &columns {
        for (row, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            // Shades follow the logarithm: single stragglers must be seen beside thousands.
            let share = (*count as f64).ln_1p() / (most as f64).ln_1p();
            let shade = ((share * SHADES as f64).ceil() as usize).clamp(1, SHADES) - 1;
            boxes[shade].push((*from, *to, edges[row], edges[row + 1]));
        }
    }
    let marks = boxes
        .into_iter()
        .enumerate()
        .map(|(shade, boxes)| Mark::Cells { opacity: (shade + 1) as f64 / SHADES as f64, boxes })
        .collect();
    let (from, to) = (columns[0].0, columns[columns.len() - 1].1);
    let stretches = (step.load.faults.iter())
        .filter_map(|fault| {
            let at = read::fault_at(step, fault)?;
            Some(Stretch { class: "fault", from: at, to: at, name: fault.clone() })
        })
        .collect();
    let figure = Figure {
        title: format!("{}: receipts by second and latency", step.name),
        description: format!("The darkest field holds {} receipts", grouped(most)),
        x: Axis::of(Kind::Span, [from, to]),
        x_name: "seconds since the run began".to_owned(),
        panels: vec![Panel {
            title: "latency, ms (log scale)".to_owned(),
            height: 1.1,
            y: Axis::of(Kind::Log, [edges[0], edges[edges.len() - 1]]),
            bare: false,
            marks,
        }],
        stretches,
        keys: vec![key(
            "box p50",
            &format!("receipts: darker is more, up to {} in a field", grouped(most)),
        )],
    };
    let caption = "Each field is one second and one range of latency; its shade follows the logarithm of the \
         count, so that single stragglers are seen beside thousands.";
    Some(Shown {
        heading: format!("{}: heat map", step.name),
        figure,
        caption: caption.to_owned(),
        numbers: numbers(&edges, &columns),
    })
}

/// Lower edge of the first row, then the upper edges; nothing if they do not grow.
fn edges(heat: &Heat) -> Option<Vec<f64>> {
    let bounds = &heat.bounds_ms;
    let grow = bounds.windows(2).all(|pair| pair[0] < pair[1]);
    if bounds.len() < 2 || bounds.len() > ROWS_MAX || !grow || bounds[0] <= 0.0 {
        return None;
    }
    let ratio = (bounds[1] / bounds[0]).min(10.0);
    let mut edges = vec![bounds[0] / ratio];
    edges.extend(bounds);
    edges.push(bounds[bounds.len() - 1] * ratio);
    edges.iter().all(|edge| edge.is_finite()).then_some(edges)
}

/// First and last second and the counts of each drawn column.
fn columns(heat: &Heat, rows: usize) -> Vec<(f64, f64, Vec<u64>)> {
    let count = heat.at_s.len().min(heat.counts.len());
    let step = count.div_ceil(COLUMNS_MAX).max(1);
    (0..count)
        .step_by(step)
        .map(|first| {
            let last = (first + step).min(count) - 1;
            let mut counts = vec![0_u64; rows];
            for column in &heat.counts[first..=last] {
                for (sum, value) in counts.iter_mut().zip(column) {
                    *sum += u64::from(*value);
                }
            }
            (heat.at_s[first], heat.at_s[last] + 1.0, counts)
        })
        .filter(|(from, to, _)| from < to)
        .collect()
}

/// By latency over the whole step: a table by second would be longer than the report.
fn numbers(edges: &[f64], columns: &[(f64, f64, Vec<u64>)]) -> Numbers {
    let rows = edges
        .windows(2)
        .enumerate()
        .map(|(row, pair)| {
            (pair, columns.iter().filter_map(|(_, _, counts)| counts.get(row)).sum::<u64>())
        })
        .filter(|(_, count)| *count > 0)
        .map(|(pair, count)| {
            let number = crate::table::number;
            vec![format!("{} to {}", number(pair[0]), number(pair[1])), grouped(count)]
        })
        .collect();
    Numbers { head: vec!["latency, ms".to_owned(), "receipts".to_owned()], rows }
}
