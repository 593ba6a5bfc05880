//! The percentile curve: how long the slowest tenth, hundredth, thousandth take, for the largest
//! steps. Pure. The horizontal axis counts nines, so that the tail is not squeezed into a pixel.

use super::svg::{Anchor, Canvas, Scale, log_ticks};
use crate::run::{Run, Step};
use crate::table::grouped;

/// Pixels of a drawing.
pub struct Layout {
    pub class: &'static str,
    width: f64,
    height: f64,
    left: f64,
    right: f64,
}

pub const WIDE: Layout =
    Layout { class: "wide", width: 900.0, height: 320.0, left: 56.0, right: 70.0 };
pub const NARROW: Layout =
    Layout { class: "narrow", width: 340.0, height: 270.0, left: 34.0, right: 44.0 };

/// More curves than this cannot be told apart.
pub const CURVES_MAX: usize = 4;
const CLASSES: [&str; CURVES_MAX] = ["s-p50", "s-p99", "s-campana", "s-nats"];
const TOP: f64 = 26.0;
const BOTTOM: f64 = 46.0;
/// Smallest distance between the names at the curves' ends.
const NAME_HEIGHT: f64 = 15.0;

/// The steps that are drawn: one and the largest others, smallest first.
pub fn chosen(run: &Run) -> Vec<(&'static str, &Step)> {
    let mut steps: Vec<&Step> = run.steps.iter().filter(|step| step.curve.len() > 2).collect();
    steps.sort_by_key(|step| step.n);
    let wanted = [1, 100, 500, 2_000];
    let usual: Vec<&Step> = steps.iter().copied().filter(|step| wanted.contains(&step.n)).collect();
    let picked = if usual.len() >= 2 {
        usual
    } else {
        steps.split_off(steps.len().saturating_sub(CURVES_MAX))
    };
    CLASSES.into_iter().zip(picked).collect()
}

/// Draws the curves.
pub fn draw(run: &Run, layout: &Layout) -> String {
    let steps = chosen(run);
    let mut canvas = Canvas::new(layout.width, layout.height);
    let bottom = layout.height - BOTTOM;
    let right = layout.width - layout.right;
    // The fastest of all stands alone far below and would flatten everything above it.
    let values = || steps.iter().flat_map(|(_, step)| step.curve.iter().skip(1).map(|(_, ms)| *ms));
    let ticks = log_ticks(
        values().filter(|ms| *ms > 0.0).fold(f64::INFINITY, f64::min).min(10.0),
        values().fold(10.0, f64::max),
    );
    let y = Scale::log(ticks[0], ticks[ticks.len() - 1], bottom, TOP);
    for tick in &ticks {
        canvas.line("grid", (layout.left, y.at(*tick)), (right, y.at(*tick)));
        canvas.text("", (layout.left - 8.0, y.at(*tick) + 4.0), Anchor::End, &tick.to_string());
    }
    let samples = steps.iter().map(|(_, step)| step.received_once).max().unwrap_or(0);
    let nines = (samples.max(10) as f64).log10().clamp(1.0, 6.0);
    let x = Scale::linear(0.0, nines, layout.left, right);
    for (count, name) in ["0", "90", "99", "99.9", "99.99", "99.999", "99.9999"].iter().enumerate()
    {
        let at = count as f64;
        if x.holds(at) {
            canvas.line("grid", (x.at(at), TOP), (x.at(at), bottom));
            canvas.text("", (x.at(at), bottom + 17.0), Anchor::Middle, name);
        }
    }
    canvas.text("strong", (layout.left, TOP - 12.0), Anchor::Start, "latency, ms");
    let caption = "percent of notifications that were at least as fast";
    canvas.text("", ((layout.left + right) / 2.0, bottom + 38.0), Anchor::Middle, caption);
    let mut name_floor = f64::INFINITY;
    for (class, step) in &steps {
        let place = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
            points.iter().skip(1).map(|(q, ms)| (x.at(nines_of(*q)), y.at(*ms))).collect()
        };
        canvas.path(&format!("line thin dash {class}"), &place(&step.uncorrected_curve));
        let line = place(&step.curve);
        canvas.path(&format!("line {class}"), &line);
        if let Some((end, level)) = line.last() {
            // Drawn from the smallest step up, each name above the one before.
            let level = (level + 4.0).min(name_floor - NAME_HEIGHT);
            name_floor = level;
            let name = grouped(u64::from(step.n));
            canvas.text(&format!("label {class}"), (end + 7.0, level), Anchor::Start, &name);
        }
    }
    canvas.finish(layout.class, "Percentile curves of the latency by size of the wave")
}

/// 0.9 is one nine, 0.99 two.
fn nines_of(quantile: f64) -> f64 {
    -(1.0 - quantile).max(1e-9).log10()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::sample;

    #[test]
    fn the_usual_steps_are_chosen_and_drawn() {
        let run = sample();
        let sizes: Vec<u32> = chosen(&run).iter().map(|(_, step)| step.n).collect();
        assert_eq!(sizes, [1, 100, 500]);
        for layout in [&WIDE, &NARROW] {
            let svg = draw(&run, layout);
            assert!(!svg.contains("NaN") && svg.contains("99.9"), "{svg}");
        }
    }

    #[test]
    fn unusual_sizes_show_the_largest() {
        let mut run = sample();
        for (step, n) in run.steps.iter_mut().zip([3, 30, 300]) {
            step.n = n;
        }
        assert_eq!(chosen(&run).len(), 3);
        run.steps.clear();
        assert!(!draw(&run, &WIDE).contains("NaN"));
    }

    #[test]
    fn nines_count_nines() {
        assert!((nines_of(0.999) - 3.0).abs() < 1e-9);
        assert!(nines_of(1.0).is_finite());
    }
}
