//! The figure: latency, CPU and success over the size of the wave, three panels on one axis.
//! Pure. CPU has a panel of its own with its axis on the right: two quantities on one field
//! would invite the eye to compare heights that have nothing in common.

use super::reference as paper;
use super::svg::{Anchor, Canvas, Scale, linear_ticks, log_ticks};
use crate::run::{Run, Step};
use crate::table::{grouped, number};

/// Pixels of a drawing; one for screens and paper, one for phones.
pub struct Layout {
    pub class: &'static str,
    width: f64,
    left: f64,
    right: f64,
    latency_height: f64,
    cpu_height: f64,
    labels: bool,
}

pub const WIDE: Layout = Layout {
    class: "wide",
    width: 900.0,
    left: 56.0,
    right: 56.0,
    latency_height: 300.0,
    cpu_height: 120.0,
    labels: true,
};

pub const NARROW: Layout = Layout {
    class: "narrow",
    width: 340.0,
    left: 34.0,
    right: 34.0,
    latency_height: 250.0,
    cpu_height: 100.0,
    labels: false,
};

const TOP: f64 = 26.0;
const GAP: f64 = 40.0;
const STRIP_HEIGHT: f64 = 12.0;
const BOTTOM: f64 = 46.0;
/// Room between the outermost marks and the frame.
const INSET: f64 = 26.0;

/// Draws the figure.
pub fn draw(run: &Run, layout: &Layout) -> String {
    let latency = (TOP, TOP + layout.latency_height);
    let cpu = (latency.1 + GAP, latency.1 + GAP + layout.cpu_height);
    let strip_top = cpu.1 + GAP;
    let height = strip_top + STRIP_HEIGHT + BOTTOM;
    let mut canvas = Canvas::new(layout.width, height);
    let x = x_scale(run, layout);
    frame(&mut canvas, run, layout, &x, strip_top + STRIP_HEIGHT);
    latency_panel(&mut canvas, run, layout, &x, latency);
    cpu_panel(&mut canvas, run, layout, &x, cpu);
    success_strip(&mut canvas, run, layout, &x, strip_top);
    canvas.finish(
        layout.class,
        "Latency, CPU and success over the number of notifications released together",
    )
}

fn x_scale(run: &Run, layout: &Layout) -> Scale {
    let sizes = run.steps.iter().map(|step| f64::from(step.n));
    let low = sizes.clone().fold(f64::INFINITY, f64::min).min(paper::WAVE_MAX);
    let high = sizes.fold(low, f64::max);
    let inset = if layout.labels { INSET } else { INSET * 0.55 };
    let (from, to) = (layout.left + inset, layout.width - layout.right - inset);
    Scale::log(low, if high > low { high } else { low * 2.0 }, from, to)
}

/// The vertical lines of the steps and their names at the foot.
fn frame(canvas: &mut Canvas, run: &Run, layout: &Layout, x: &Scale, bottom: f64) {
    // Neighbours on a log axis can be too near for two names: then the larger one is named.
    let room = if layout.labels { 34.0 } else { 24.0 };
    let mut named = f64::INFINITY;
    for step in sorted(run).into_iter().rev() {
        let at = x.at(f64::from(step.n));
        canvas.line("grid", (at, TOP), (at, bottom));
        if named - at >= room {
            canvas.text("strong", (at, bottom + 17.0), Anchor::Middle, &short(step.n, layout));
            named = at;
        }
    }
    let middle = (layout.left + layout.width - layout.right) / 2.0;
    let caption = "notifications released together (log scale)";
    canvas.text("", (middle, bottom + 38.0), Anchor::Middle, caption);
}

fn short(n: u32, layout: &Layout) -> String {
    if layout.labels || n < 1_000 {
        grouped(u64::from(n))
    } else if n.is_multiple_of(1_000) {
        format!("{}k", n / 1_000)
    } else {
        format!("{:.1}k", f64::from(n) / 1_000.0)
    }
}

fn sorted(run: &Run) -> Vec<&Step> {
    let mut steps: Vec<&Step> = run.steps.iter().collect();
    steps.sort_by_key(|step| step.n);
    steps
}

fn with_latency(run: &Run) -> Vec<&Step> {
    sorted(run).into_iter().filter(|step| step.latency_ms.max > 0.0).collect()
}

fn latency_panel(
    canvas: &mut Canvas,
    run: &Run,
    layout: &Layout,
    x: &Scale,
    (top, bottom): (f64, f64),
) {
    let steps = with_latency(run);
    let lowest = steps.iter().map(|s| s.latency_ms.p50.min(s.spread_ms.p50.low));
    let highest = steps.iter().map(|s| s.latency_ms.p99.max(s.spread_ms.p99.high));
    let ticks = log_ticks(
        lowest.fold(paper::LATENCY_MS.0, f64::min),
        highest.fold(paper::LATENCY_MS.1, f64::max),
    );
    let (first, last) = (ticks[0], ticks[ticks.len() - 1]);
    let y = Scale::log(first, last, bottom, top);
    for tick in &ticks {
        let at = y.at(*tick);
        canvas.line("grid", (layout.left, at), (layout.width - layout.right, at));
        canvas.text("", (layout.left - 8.0, at + 4.0), Anchor::End, &tick_text(*tick));
    }
    canvas.text("strong", (layout.left, top - 12.0), Anchor::Start, "latency, ms");
    paper_latency(canvas, layout, x, &y);
    for (class, pick) in SERIES {
        let points: Vec<(f64, f64)> =
            steps.iter().map(|step| (x.at(f64::from(step.n)), y.at(pick(step).0))).collect();
        canvas.path(&format!("line thin {class}"), &points);
        for (step, (at, level)) in steps.iter().zip(&points) {
            let (value, low, high) = pick(step);
            canvas.line(&format!("whisker {class}"), (*at, y.at(low)), (*at, y.at(high)));
            for end in [low, high] {
                let cap = y.at(end);
                canvas.line(&format!("whisker {class}"), (at - 4.0, cap), (at + 4.0, cap));
            }
            let mark = if class == "s-p50" { "dot" } else { "ring" };
            let title = format!("{} at once: {} ms", grouped(u64::from(step.n)), number(value));
            canvas.dot(&format!("{mark} {class}"), (*at, *level), 4.5, &title);
            if layout.labels {
                let below = class == "s-p50";
                let label = if below { level + 20.0 } else { level - 12.0 };
                let anchor = Anchor::Middle;
                canvas.text(&format!("label {class}"), (*at, label), anchor, &number(value));
            }
        }
    }
}

type Pick = fn(&Step) -> (f64, f64, f64);
const SERIES: [(&str, Pick); 2] = [
    ("s-p99", |step| (step.latency_ms.p99, step.spread_ms.p99.low, step.spread_ms.p99.high)),
    ("s-p50", |step| (step.latency_ms.p50, step.spread_ms.p50.low, step.spread_ms.p50.high)),
];

/// A range over a range is all that was reported, so a band is all that is drawn.
fn paper_latency(canvas: &mut Canvas, layout: &Layout, x: &Scale, y: &Scale) {
    let (low, high) = paper::LATENCY_MS;
    let (top, bottom) = (y.at(high), y.at(low));
    let end = x.at(paper::WAVE_MAX);
    let middle = (top + bottom) / 2.0;
    let height = (bottom - top).max(5.0);
    canvas.rect("ref", (layout.left, middle - height / 2.0), (end - layout.left, height), 2.0);
    let text = if layout.labels { paper::LATENCY_TEXT } else { paper::LATENCY_TEXT_SHORT };
    canvas.text("ref", (layout.left + 6.0, middle - height / 2.0 - 7.0), Anchor::Start, text);
}

fn cpu_panel(
    canvas: &mut Canvas,
    run: &Run,
    layout: &Layout,
    x: &Scale,
    (top, bottom): (f64, f64),
) {
    let steps = sorted(run);
    let all = steps.iter().flat_map(|step| step.cpu_percent_of_core.values().copied());
    let ticks = linear_ticks(all.fold(paper::CPU_PERCENT.1, f64::max));
    let y = Scale::linear(0.0, ticks[ticks.len() - 1], bottom, top);
    let right = layout.width - layout.right;
    for tick in &ticks {
        let at = y.at(*tick);
        canvas.line("grid", (layout.left, at), (right, at));
        canvas.text("", (right + 8.0, at + 4.0), Anchor::Start, &format!("{tick:.0}"));
    }
    let title = if layout.labels {
        "CPU while a wave is in flight, % of one core"
    } else {
        "CPU in flight, % of one core"
    };
    canvas.text("strong", (right, top - 12.0), Anchor::End, title);
    for name in super::process_names(run) {
        let class = super::process_class(&name);
        let points: Vec<(f64, f64)> = steps
            .iter()
            .filter_map(|step| {
                let value = step.cpu_percent_of_core.get(&name)?;
                Some((x.at(f64::from(step.n)), y.at(*value)))
            })
            .collect();
        let dash = if class == "s-generator" { " dash" } else { "" };
        canvas.path(&format!("line thin{dash} {class}"), &points);
        for point in &points {
            canvas.dot(&format!("dot {class}"), *point, 3.5, &name);
        }
    }
    for (wave, percent) in [(1.0, paper::CPU_PERCENT.0), (paper::WAVE_MAX, paper::CPU_PERCENT.1)] {
        let at = if x.holds(wave) { x.at(wave) } else { layout.left };
        let level = y.at(percent);
        canvas.rect("ref", (at - 9.0, level - 2.5), (18.0, 5.0), 2.0);
        let text = if layout.labels {
            format!("reported {percent:.0} %")
        } else {
            format!("{percent:.0} %")
        };
        let above = (at.max(layout.left + 12.0), level - 8.0);
        let anchor = if percent < paper::CPU_PERCENT.1 { Anchor::Start } else { Anchor::Middle };
        canvas.text("ref", above, anchor, &text);
    }
}

fn success_strip(canvas: &mut Canvas, run: &Run, layout: &Layout, x: &Scale, top: f64) {
    let steps = sorted(run);
    let title = if layout.labels {
        "received exactly once (reported for the reference: 100 %)"
    } else {
        "received exactly once"
    };
    canvas.text("strong", (layout.left, top - 12.0), Anchor::Start, title);
    for (index, step) in steps.iter().enumerate() {
        let at = x.at(f64::from(step.n));
        let edge = |neighbour: Option<&&Step>, fallback: f64| {
            neighbour.map_or(fallback, |other| (x.at(f64::from(other.n)) + at) / 2.0)
        };
        let from = edge(index.checked_sub(1).and_then(|i| steps.get(i)), layout.left) + 1.5;
        let to = edge(steps.get(index + 1), layout.width - layout.right) - 1.5;
        let good = (to - from) * step.success_ratio;
        canvas.rect("bar s-bad", (from, top), (to - from, STRIP_HEIGHT), 2.0);
        canvas.rect("bar s-good", (from, top), (good, STRIP_HEIGHT), 2.0);
    }
}

fn tick_text(value: f64) -> String {
    if value >= 1.0 { format!("{value:.0}") } else { format!("{value}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::sample;

    #[test]
    fn both_layouts_draw_every_step_and_the_reference() {
        for layout in [&WIDE, &NARROW] {
            let svg = draw(&sample(), layout);
            assert_eq!(svg.matches("dot s-p50").count(), 3);
            assert_eq!(svg.matches("ring s-p99").count(), 3);
            assert_eq!(svg.matches("bar s-good").count(), 3);
            assert!(svg.contains("reported") || svg.contains("20 %"), "{svg}");
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn a_run_without_figures_is_still_a_picture() {
        let mut run = sample();
        for step in &mut run.steps {
            step.latency_ms = crate::stats::Percentiles::default();
            step.success_ratio = 0.0;
            step.cpu_percent_of_core.clear();
        }
        let svg = draw(&run, &WIDE);
        assert!(!svg.contains("NaN"), "{svg}");
        run.steps.clear();
        assert!(!draw(&run, &NARROW).contains("NaN"));
    }
}
