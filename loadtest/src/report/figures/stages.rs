//! Where the time goes: the stages between the platform's stamps, their medians on top of each other
//! and their p99 beside each other. Pure.

use super::{Numbers, Shown, texts};
use crate::model::{Run, Step};
use crate::report::plot::{Axis, Figure, Kind, Mark, Panel, key};
use crate::report::read;
use crate::table::number;

/// Bars that fit beside each other with their names.
const BARS_MAX: usize = 8;

pub(super) fn draw(run: &Run) -> Option<Shown> {
    let mut steps: Vec<&Step> = run.steps.iter().filter(|step| !step.stages.is_empty()).collect();
    if steps.is_empty() {
        return None;
    }
    if steps.len() > BARS_MAX {
        let last = steps.len() - 1;
        steps = (0..BARS_MAX).map(|place| steps[last * place / (BARS_MAX - 1)]).collect();
    }
    let names = stage_names(&steps);
    let keys = (names.iter().enumerate())
        .map(|(place, name)| key(&format!("box {}", read::colour(place)), &name.replace('_', " ")))
        .collect();
    let total = |step: &Step| step.stages.iter().map(|stage| stage.time.p50_ms).sum::<f64>();
    let figure = Figure {
        title: "Time of each stage".to_owned(),
        description: "Medians of the stages stacked, and the p99 of each stage".to_owned(),
        x: Axis::names(steps.iter().map(|step| step.name.clone()).collect()),
        x_name: "step".to_owned(),
        panels: vec![
            Panel {
                title: "medians, ms".to_owned(),
                height: 1.0,
                y: Axis::of(Kind::Linear, steps.iter().map(|step| total(step))),
                bare: false,
                marks: steps
                    .iter()
                    .enumerate()
                    .flat_map(|(at, step)| stack(at, step, &names))
                    .collect(),
            },
            Panel {
                title: "p99 of each stage, ms (log scale)".to_owned(),
                height: 0.8,
                y: Axis::of(
                    Kind::Log,
                    steps.iter().flat_map(|step| &step.stages).map(|stage| stage.time.p99_ms),
                ),
                bare: false,
                marks: tails(&steps, &names),
            },
        ],
        stretches: Vec::new(),
        keys,
    };
    let caption = "A stage is named after the stamp that ends it; stamps are of the same monotonic clock in \
         every process. Medians of stages do not add up exactly to the median of the whole, and p99s do not \
         add up at all: the slowest of one stage are seldom the slowest of the next.";
    let rows = steps.iter().flat_map(|step| rows(step)).collect();
    Some(Shown {
        heading: "Where the time goes".to_owned(),
        figure,
        caption: caption.to_owned(),
        numbers: Numbers { head: texts(&["step", "until", "p50 ms", "p90", "p99", "max"]), rows },
    })
}

fn rows(step: &Step) -> impl Iterator<Item = Vec<String>> {
    step.stages.iter().map(|stage| {
        let time = &stage.time;
        let mut row = vec![step.name.clone(), stage.name.clone()];
        row.extend([time.p50_ms, time.p90_ms, time.p99_ms, time.max_ms].map(number));
        row
    })
}

/// In the order of the way, which every step shares.
fn stage_names(steps: &[&Step]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for stage in steps.iter().flat_map(|step| &step.stages) {
        if !names.contains(&stage.name) {
            names.push(stage.name.clone());
        }
    }
    names
}

fn place_of(names: &[String], name: &str) -> usize {
    names.iter().position(|known| known == name).unwrap_or(0)
}

fn stack(at: usize, step: &Step, names: &[String]) -> Vec<Mark> {
    let mut low = 0.0;
    let mut marks = Vec::new();
    for stage in &step.stages {
        let value = stage.time.p50_ms.max(0.0);
        marks.push(Mark::Area {
            class: read::colour(place_of(names, &stage.name)),
            x: (at as f64 - 0.32, at as f64 + 0.32),
            y: (low, low + value),
            opacity: None,
            title: format!("{}, until {}: median {} ms", step.name, stage.name, number(value)),
        });
        low += value;
    }
    marks
}

fn tails(steps: &[&Step], names: &[String]) -> Vec<Mark> {
    let spread = names.len().max(2) as f64 - 1.0;
    (names.iter().enumerate())
        .map(|(place, name)| {
            let aside = (place as f64 / spread - 0.5) * 0.6;
            let points = steps
                .iter()
                .enumerate()
                .filter_map(|(at, step)| {
                    let stage = step.stages.iter().find(|stage| stage.name == *name)?;
                    let value = stage.time.p99_ms;
                    let title = format!("{}, until {name}: p99 {} ms", step.name, number(value));
                    Some((at as f64 + aside, value, title))
                })
                .collect();
            Mark::Dots { class: read::colour(place), hollow: true, points }
        })
        .collect()
}
