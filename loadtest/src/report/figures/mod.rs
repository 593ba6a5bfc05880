//! The pictures of a report: each a chart, what it means, and its numbers as a table. Pure.

mod closed;
mod cost;
mod heat;
mod open;
pub mod percentiles;
mod stages;
mod time;
mod wave;

use super::plot::{Axis, Figure, Key, Kind, Mark, Panel, key};
use super::read;
use crate::model::{Interval, Run, Step};
use crate::table::{grouped, number};

/// A picture with all that belongs to it. Nothing in it is escaped yet.
pub struct Shown {
    pub heading: String,
    pub figure: Figure,
    /// How to read it, and what not to read into it.
    pub caption: String,
    pub numbers: Numbers,
}

/// A table.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    pub head: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// Every picture that the run has numbers for, in the order of the page.
pub fn all(run: &Run) -> Vec<Shown> {
    let mut shown: Vec<Shown> = [
        wave::draw(run),
        wave::fan_out(run),
        open::draw(run),
        closed::draw(run),
        percentiles::draw(run),
        stages::draw(run),
    ]
    .into_iter()
    .flatten()
    .collect();
    shown.extend(cost::draw(run));
    shown.extend(time::whole_run(run));
    shown.extend(cost::memory(run));
    for step in time::notable(run) {
        shown.extend(time::one_step(step));
        shown.extend(heat::draw(step));
    }
    shown
}

/// p50 and p99 over the load, with their intervals.
fn latency_marks(steps: &[&Step]) -> Vec<Mark> {
    let mut marks = Vec::new();
    for (class, quantile) in [("p99", 0.99), ("p50", 0.5)] {
        let mut line = Vec::new();
        let mut dots = Vec::new();
        for step in steps {
            let Some(latency) = read::intended(step) else { continue };
            let value = if quantile > 0.9 { latency.p99_ms } else { latency.p50_ms };
            let at = read::load(step);
            let range = read::interval(latency, quantile);
            line.push((at, value));
            dots.push((
                at,
                value,
                format!("{}: {class} {} ms{}", step.name, number(value), range_text(range)),
            ));
            if let Some(range) = range {
                marks.push(Mark::Whisker {
                    class: class.to_owned(),
                    x: at,
                    low: range.low,
                    high: range.high,
                });
            }
        }
        marks.push(Mark::Line {
            class: format!("{class} thin"),
            points: line,
            name: Some(class.to_owned()),
        });
        marks.push(Mark::Dots { class: class.to_owned(), hollow: quantile > 0.9, points: dots });
    }
    marks
}

/// A latency panel over the load; `also` are values that must be on it.
fn latency_panel(steps: &[&Step], also: &[f64]) -> Panel {
    let values = steps.iter().filter_map(|step| read::intended(step)).flat_map(|latency| {
        [latency.p50_ms, latency.p99_ms].into_iter().chain(
            [0.5, 0.99]
                .into_iter()
                .filter_map(|q| read::interval(latency, q))
                .flat_map(|i| [i.low, i.high]),
        )
    });
    Panel {
        title: "latency from the intended send, ms (log scale)".to_owned(),
        height: 1.2,
        y: Axis::of(Kind::Log, values.chain(also.iter().copied())),
        bare: false,
        marks: latency_marks(steps),
    }
}

fn latency_keys() -> Vec<Key> {
    vec![key("dot p50", "p50: half are faster"), key("ring p99", "p99: 1 in 100 is slower")]
}

/// What became of what was sent, as a strip of boxes from `edge` to `edge` for each step.
fn success_strip(steps: &[&Step], logarithmic: bool) -> Panel {
    let at: Vec<f64> = steps.iter().map(|step| read::load(step)).collect();
    let between = |a: f64, b: f64| if logarithmic { (a * b).sqrt() } else { f64::midpoint(a, b) };
    let mut marks = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|i| at.get(i)).copied();
        let after = at.get(index + 1).copied();
        let mirrored = |other: f64| {
            if logarithmic { at[index] * at[index] / other } else { 2.0 * at[index] - other }
        };
        let from = before
            .map(|b| between(b, at[index]))
            .or(after.map(|a| mirrored(between(a, at[index]))));
        let to = after
            .map(|a| between(a, at[index]))
            .or(before.map(|b| mirrored(between(b, at[index]))));
        let x = (from.unwrap_or(at[index] * 0.9), to.unwrap_or(at[index] * 1.1));
        marks.extend(shares(step, x));
    }
    Panel {
        title: "what became of what was sent".to_owned(),
        height: 0.14,
        y: Axis::of(Kind::Linear, [0.0, 1.0]).at(vec![0.0, 1.0]),
        bare: true,
        marks,
    }
}

/// Received, shed, and the rest on top of each other. A share that is not zero is never too thin to
/// be seen.
fn shares(step: &Step, x: (f64, f64)) -> Vec<Mark> {
    let classes = &step.classes;
    let visible = |ratio: f64| if ratio > 0.0 { ratio.max(0.12) } else { 0.0 };
    let received = read::received(classes);
    let shed = visible(read::share(classes.shed, classes));
    let other = read::failed(classes).saturating_sub(classes.shed);
    let bad = visible(read::share(other, classes));
    let title = format!(
        "{}: {} of {} received exactly once, {} shed, {} otherwise not",
        step.name,
        grouped(received),
        grouped(classes.sent),
        grouped(classes.shed),
        grouped(other)
    );
    let good = (1.0 - shed - bad).max(0.0);
    [("good", 0.0, good), ("shed", good, good + shed), ("bad", good + shed, good + shed + bad)]
        .into_iter()
        .filter(|(_, low, high)| high > low)
        .map(|(class, low, high)| Mark::Area {
            class: class.to_owned(),
            x,
            y: (low, high),
            opacity: None,
            title: title.clone(),
        })
        .collect()
}

fn success_keys() -> Vec<Key> {
    vec![
        key("box good", "received exactly once"),
        key("box shed", "shed (refused cleanly)"),
        key("box bad", "lost, doubled or failed"),
    ]
}

fn range_text(range: Option<Interval>) -> String {
    range.map_or_else(String::new, |range| {
        format!(" ({}–{})", number(range.low), number(range.high))
    })
}

/// What the whiskers are.
fn whiskers(steps: &[&Step]) -> &'static str {
    if steps.iter().all(|step| read::has_own_intervals(step)) {
        "Whiskers are 95 % bootstrap intervals over waves or seconds."
    } else {
        "Whiskers are 95 % intervals; where a step has too few waves or seconds to resample, they come \
         from the ranks of single receipts, which is narrower than the truth."
    }
}

fn texts(head: &[&str]) -> Vec<String> {
    head.iter().map(|text| (*text).to_owned()).collect()
}

/// A figure or a dash.
fn or_dash(value: Option<f64>) -> String {
    value.filter(|value| value.is_finite()).map_or_else(|| "–".to_owned(), number)
}
