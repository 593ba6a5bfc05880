//! The paper's figure, measured: latency, CPU and success over the number of notifications released
//! together. The reported values are grey marks, never joined to the measurement and never divided by
//! it. And fan-out: one notification for many receivers. Pure.

use super::{
    Numbers, Shown, latency_keys, latency_panel, or_dash, range_text, success_keys, success_strip,
    texts, whiskers,
};
use crate::model::{Kind as Load, Run, Status, Step};
use crate::report::plot::{Axis, Figure, Kind, Mark, Panel, Stretch, key};
use crate::report::{read, reference as paper};
use crate::table::{grouped, number};

pub(super) fn draw(run: &Run) -> Option<Shown> {
    let steps = read::curve(run, Load::Wave);
    if steps.is_empty() {
        return None;
    }
    let sizes: Vec<f64> = steps.iter().map(|step| read::load(step)).collect();
    let low = sizes.iter().copied().fold(paper::WAVE_MAX, f64::min);
    let high = sizes.iter().copied().fold(paper::WAVE_MAX, f64::max);
    let mut keys = latency_keys();
    let processes = read::processes(run);
    for name in &processes {
        let class = read::process_class(run, &processes, name);
        keys.push(key(&format!("line {class}"), &format!("{name} CPU")));
    }
    keys.extend(success_keys());
    keys.push(key("box ref", "reported by the paper; other hardware, other definition"));
    let stretches = if high > paper::WAVE_MAX {
        let name = "beyond the reported range".to_owned();
        vec![Stretch { class: "beyond", from: paper::WAVE_MAX, to: high, name }]
    } else {
        Vec::new()
    };
    let figure = Figure {
        title: "Latency, CPU and success over the size of the wave".to_owned(),
        description: describe(&steps),
        x: Axis::of(Kind::Log, [low, high]).at(sizes),
        x_name: "notifications released together (log scale)".to_owned(),
        panels: vec![
            with_reference(latency_panel(&steps, &[paper::LATENCY_MS.0, paper::LATENCY_MS.1]), low),
            cpu_panel(run, &steps, low),
            success_strip(&steps, true),
        ],
        stretches,
        keys,
    };
    Some(Shown {
        heading: "Waves: latency, CPU and success".to_owned(),
        figure,
        caption: format!(
            "{} In a wave everybody waits for everybody, so latency grows with its size by construction; \
             the last receipt is the makespan. CPU is that of the measured part, as percent of one core. \
             Grey marks are what the paper reported: other hardware, other definition of latency, load and \
             success. A latency that moves by 7 % over a load that grows 500-fold looks like a constant \
             outside call or a timer; it cannot be told from here, so no ratio is drawn.{}",
            whiskers(&steps),
            left_out(run, Load::Wave)
        ),
        numbers: numbers(run, &steps),
    })
}

fn describe(steps: &[&Step]) -> String {
    let of = |step: &Step| {
        read::intended(step).map_or_else(
            || format!("{}: nothing arrived", step.name),
            |latency| {
                format!(
                    "{}: p50 {} ms, p99 {} ms",
                    step.name,
                    number(latency.p50_ms),
                    number(latency.p99_ms)
                )
            },
        )
    };
    steps.iter().map(|step| of(step)).collect::<Vec<_>>().join("; ")
}

/// A range over a range is all that was reported, so a band is all that is drawn.
fn with_reference(mut panel: Panel, low: f64) -> Panel {
    let band = Mark::Area {
        class: "ref".to_owned(),
        x: (low, paper::WAVE_MAX),
        y: paper::LATENCY_MS,
        opacity: None,
        title: paper::LATENCY_TEXT.to_owned(),
    };
    let note = Mark::Note {
        class: "ref".to_owned(),
        x: low,
        y: paper::LATENCY_MS.1 * 1.12,
        text: paper::LATENCY_TEXT.to_owned(),
    };
    panel.marks.splice(0..0, [band, note]);
    panel
}

fn cpu_panel(run: &Run, steps: &[&Step], low: f64) -> Panel {
    let processes = read::processes(run);
    let values = steps.iter().flat_map(|step| step.cpu_percent_of_core.values().copied());
    let mut marks = Vec::new();
    for name in &processes {
        let class = read::process_class(run, &processes, name);
        let points: Vec<(f64, f64)> = steps
            .iter()
            .filter_map(|step| Some((read::load(step), *step.cpu_percent_of_core.get(name)?)))
            .collect();
        let dots = points
            .iter()
            .map(|(at, value)| {
                (
                    *at,
                    *value,
                    format!("{name} at {}: {} % of a core", grouped(*at as u64), number(*value)),
                )
            })
            .collect();
        marks.push(Mark::Line { class: format!("{class} thin"), points, name: Some(name.clone()) });
        marks.push(Mark::Dots { class, hollow: false, points: dots });
    }
    for (wave, value) in [(low, paper::CPU_PERCENT.0), (paper::WAVE_MAX, paper::CPU_PERCENT.1)] {
        let title = format!("reported: {value:.0} %; whose CPU is not stated");
        marks.push(Mark::Area {
            class: "ref".to_owned(),
            x: (wave / 1.12, wave * 1.12),
            y: (value - 1.5, value + 1.5),
            opacity: None,
            title,
        });
        let text = format!("reported {value:.0} %");
        marks.push(Mark::Note { class: "ref".to_owned(), x: wave * 1.16, y: value, text });
    }
    Panel {
        title: "CPU, % of one core".to_owned(),
        height: 0.6,
        y: Axis::of(Kind::Linear, values.chain([paper::CPU_PERCENT.1])),
        bare: false,
        marks,
    }
}

fn numbers(run: &Run, steps: &[&Step]) -> Numbers {
    let row = |step: &&Step| {
        let latency = read::intended(step);
        let text = |quantile: f64, value: fn(&crate::model::Distribution) -> f64| {
            latency.map_or_else(
                || "–".to_owned(),
                |found| {
                    format!(
                        "{}{}",
                        number(value(found)),
                        range_text(read::interval(found, quantile))
                    )
                },
            )
        };
        vec![
            grouped(u64::from(step.load.size)),
            step.load.repeat.to_string(),
            text(0.5, |latency| latency.p50_ms),
            text(0.99, |latency| latency.p99_ms),
            or_dash(latency.map(|latency| latency.max_ms)),
            or_dash(step.makespan.as_ref().map(|makespan| makespan.p50_ms)),
            or_dash(read::platform_cpu(run, step)),
            format!("{} of {}", grouped(read::received(&step.classes)), grouped(step.classes.sent)),
        ]
    };
    Numbers {
        head: texts(&[
            "at once",
            "waves",
            "p50 ms",
            "p99 ms",
            "max ms",
            "last receipt, median ms",
            "CPU s per 1,000",
            "received once",
        ]),
        rows: steps.iter().map(row).collect(),
    }
}

/// Steps that are not on a curve, and why.
pub(super) fn left_out(run: &Run, kind: Load) -> String {
    let names: Vec<String> = read::of_kind(run, kind)
        .iter()
        .filter(|step| step.verdict.status == Status::Invalid)
        .map(|step| step.name.clone())
        .collect();
    if names.is_empty() {
        String::new()
    } else {
        format!(" Not drawn, because INVALID: {}.", names.join(", "))
    }
}

/// One notification for many receivers: how long until the last has it.
pub(super) fn fan_out(run: &Run) -> Option<Shown> {
    let mut steps: Vec<&Step> = run
        .steps
        .iter()
        .filter(|step| step.load.fan_out > 1 && step.verdict.status != Status::Invalid)
        .collect();
    steps.sort_by_key(|step| step.load.fan_out);
    let at = |step: &Step| f64::from(step.load.fan_out);
    if steps.len() < 2 {
        return None;
    }
    let line = |pick: fn(&Step) -> Option<f64>| -> Vec<(f64, f64)> {
        steps.iter().filter_map(|step| Some((at(step), pick(step)?))).collect()
    };
    let last = line(|step| step.makespan.as_ref().map(|makespan| makespan.p50_ms));
    let half = line(|step| read::intended(step).map(|latency| latency.p50_ms));
    let numbers = Numbers {
        head: texts(&["receivers", "p50 ms", "p99 ms", "last receipt, median ms"]),
        rows: steps
            .iter()
            .map(|step| {
                let latency = read::intended(step);
                vec![
                    grouped(u64::from(step.load.fan_out)),
                    or_dash(latency.map(|latency| latency.p50_ms)),
                    or_dash(latency.map(|latency| latency.p99_ms)),
                    or_dash(step.makespan.as_ref().map(|makespan| makespan.p50_ms)),
                ]
            })
            .collect(),
    };
    let figure = Figure {
        title: "Fan-out: time until the receivers have it".to_owned(),
        description: "The median receiver and the last receiver over the number of receivers"
            .to_owned(),
        x: Axis::of(Kind::Log, steps.iter().map(|step| at(step)))
            .at(steps.iter().map(|step| at(step)).collect()),
        x_name: "receivers of one notification (log scale)".to_owned(),
        panels: vec![Panel {
            title: "ms from the intended send (log scale)".to_owned(),
            height: 1.0,
            y: Axis::of(Kind::Log, last.iter().chain(&half).map(|point| point.1)),
            bare: false,
            marks: vec![
                Mark::Line { class: "p99".to_owned(), points: last, name: Some("last".to_owned()) },
                Mark::Line { class: "p50".to_owned(), points: half, name: Some("half".to_owned()) },
            ],
        }],
        stretches: Vec::new(),
        keys: vec![key("line p50", "half of the receivers"), key("line p99", "the last receiver")],
    };
    let caption = "One notification is written to every receiver's socket; the last one waits for all others.";
    Some(Shown { heading: "Fan-out".to_owned(), figure, caption: caption.to_owned(), numbers })
}
