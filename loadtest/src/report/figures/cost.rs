//! What a thousand notifications cost: CPU by process, and memory. Pure.

use super::{Numbers, Shown, or_dash};
use crate::model::{Kind as Load, Run, Step};
use crate::report::plot::{Axis, Figure, Key, Kind, Mark, Panel, key};
use crate::report::read;
use crate::table::number;

const MIB: f64 = 1_048_576.0;
/// Bars that fit beside each other with their names.
const BARS_MAX: usize = 9;

/// One picture for each kind of load: what is compared must be alike.
pub(super) fn draw(run: &Run) -> Vec<Shown> {
    [Load::Wave, Load::Open, Load::Closed].into_iter().filter_map(|kind| cpu(run, kind)).collect()
}

fn cpu(run: &Run, kind: Load) -> Option<Shown> {
    let mut steps: Vec<&Step> = read::curve(run, kind);
    steps.retain(|step| !step.cpu_s_per_1000.is_empty());
    if steps.len() > BARS_MAX {
        let last = steps.len() - 1;
        steps = (0..BARS_MAX).map(|place| steps[last * place / (BARS_MAX - 1)]).collect();
    }
    if steps.is_empty() {
        return None;
    }
    let processes = read::processes(run);
    let tallest = steps.iter().flat_map(|step| {
        let generator: f64 = parts(run, step, true).map(|(_, value)| value).sum();
        [read::platform_cpu(run, step).unwrap_or(0.0), generator]
    });
    let figure = Figure {
        title: format!("CPU seconds for a thousand deliveries, {} load", kind.text()),
        description: "Stacked by process; the generator's own share stands beside".to_owned(),
        x: Axis::names(steps.iter().map(|step| short_name(step)).collect()),
        x_name: axis_name(kind).to_owned(),
        panels: vec![Panel {
            title: "CPU seconds per 1,000".to_owned(),
            height: 0.9,
            y: Axis::of(Kind::Linear, tallest),
            bare: false,
            marks: steps
                .iter()
                .enumerate()
                .flat_map(|(at, step)| bars(run, &processes, at, step))
                .collect(),
        }],
        stretches: Vec::new(),
        keys: keys(run, &processes),
    };
    let mut head = vec!["step".to_owned(), "platform".to_owned()];
    head.extend(processes.iter().cloned());
    let rows = steps
        .iter()
        .map(|step| {
            let mut row = vec![step.name.clone(), or_dash(read::platform_cpu(run, step))];
            row.extend(
                processes.iter().map(|name| or_dash(step.cpu_s_per_1000.get(name).copied())),
            );
            row
        })
        .collect();
    Some(Shown {
        heading: format!("What it costs: CPU, {} load", kind.text()),
        figure,
        caption: "CPU seconds of the whole step, with the work that follows the last receipt and the gaps \
             between waves, divided by thousands of deliveries; gaps weigh on small loads. From the kernel's \
             nanosecond clocks of each process. The generator is not part of the platform's bar."
            .to_owned(),
        numbers: Numbers { head, rows },
    })
}

fn axis_name(kind: Load) -> &'static str {
    match kind {
        Load::Wave => "notifications released together",
        Load::Open => "notifications offered per second",
        Load::Closed => "users",
    }
}

fn short_name(step: &Step) -> String {
    crate::report::plot::tick_text(read::load(step))
}

fn parts<'a>(
    run: &'a Run,
    step: &'a Step,
    generator: bool,
) -> impl Iterator<Item = (&'a String, f64)> {
    step.cpu_s_per_1000
        .iter()
        .filter(move |(name, _)| read::is_generator(run, name) == generator)
        .map(|(name, value)| (name, value.max(0.0)))
}

fn bars(run: &Run, processes: &[String], at: usize, step: &Step) -> Vec<Mark> {
    let mut marks = Vec::new();
    for (generator, from, to) in [(false, -0.34, 0.12), (true, 0.16, 0.34)] {
        let mut low = 0.0;
        for (name, value) in parts(run, step, generator) {
            marks.push(Mark::Area {
                class: read::process_class(run, processes, name),
                x: (at as f64 + from, at as f64 + to),
                y: (low, low + value),
                opacity: None,
                title: format!("{}: {name} {} s per 1,000", step.name, number(value)),
            });
            low += value;
        }
    }
    marks
}

fn keys(run: &Run, processes: &[String]) -> Vec<Key> {
    let of =
        |name: &String| key(&format!("box {}", read::process_class(run, processes, name)), name);
    processes.iter().map(of).collect()
}

/// Resident memory at the end of every step, in the order in which they ran.
pub(super) fn memory(run: &Run) -> Option<Shown> {
    let steps: Vec<&Step> = run.steps.iter().filter(|step| !step.rss_bytes.is_empty()).collect();
    if steps.len() < 2 {
        return None;
    }
    let processes = read::processes(run);
    let mib =
        |step: &Step, name: &String| step.rss_bytes.get(name).map(|bytes| *bytes as f64 / MIB);
    let marks = processes
        .iter()
        .map(|name| Mark::Line {
            class: read::process_class(run, &processes, name),
            points: (steps.iter().enumerate())
                .map(|(at, step)| (at as f64, mib(step, name).unwrap_or(f64::NAN)))
                .collect(),
            name: Some(name.clone()),
        })
        .collect();
    let values =
        steps.iter().flat_map(|step| step.rss_bytes.values()).map(|bytes| *bytes as f64 / MIB);
    let mut head = vec!["after".to_owned()];
    head.extend(processes.iter().map(|name| format!("{name} MiB")));
    let stores = store_names(&steps);
    head.extend(stores.iter().map(|name| format!("{name} MiB on disk")));
    let rows =
        steps
            .iter()
            .map(|step| {
                let mut row = vec![step.name.clone()];
                row.extend(processes.iter().map(|name| or_dash(mib(step, name))));
                row.extend(stores.iter().map(|name| {
                    or_dash(step.stored_bytes.get(name).map(|bytes| *bytes as f64 / MIB))
                }));
                row
            })
            .collect();
    let figure = Figure {
        title: "Resident memory after each step".to_owned(),
        description: "By process, in the order in which the steps ran".to_owned(),
        x: Axis::names(steps.iter().map(|step| step.name.clone()).collect()),
        x_name: "after the step".to_owned(),
        panels: vec![Panel {
            title: "resident memory, MiB".to_owned(),
            height: 0.8,
            y: Axis::of(Kind::Linear, values),
            bare: false,
            marks,
        }],
        stretches: Vec::new(),
        keys: (keys(run, &processes).into_iter())
            .map(|old| Key { class: old.class.replace("box", "line"), ..old })
            .collect(),
    };
    let caption = "Resident memory (RSS) at the end of each step. Memory that grows with the number of \
         notifications sent so far, not with the load, is a leak; nats-server keeps what its streams keep.";
    Some(Shown {
        heading: "Memory".to_owned(),
        figure,
        caption: caption.to_owned(),
        numbers: Numbers { head, rows },
    })
}

fn store_names(steps: &[&Step]) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> =
        steps.iter().flat_map(|step| step.stored_bytes.keys()).collect();
    names.into_iter().cloned().collect()
}
