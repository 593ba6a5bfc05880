//! Open load: latency and goodput over the offered rate, with the goal and the rate at which it is
//! missed. Arrivals come whatever the platform does, so this is the honest curve. Pure.

use super::{
    Numbers, Shown, latency_keys, latency_panel, or_dash, success_keys, success_strip, texts, wave,
    whiskers,
};
use crate::model::{Kind as Load, Run, Step};
use crate::report::plot::{Axis, Figure, Kind, Mark, Panel, Stretch, key};
use crate::report::read;
use crate::table::{grouped, number};

pub(super) fn draw(run: &Run) -> Option<Shown> {
    let steps = read::curve(run, Load::Open);
    if steps.len() < 2 {
        return None;
    }
    let goal = run.scenario.slo.as_ref().map(|slo| slo.p99_ms).filter(|goal| *goal > 0.0);
    let mut latency = latency_panel(&steps, goal.as_slice());
    if let Some(goal) = goal {
        let name = format!("goal: p99 at most {} ms", number(goal));
        latency.marks.push(Mark::Level { class: "limit".to_owned(), y: goal, name });
    }
    let mut keys = latency_keys();
    keys.extend([key("line good", "received in time"), key("line ref dash", "offered")]);
    keys.extend(success_keys());
    let figure = Figure {
        title: "Latency and goodput over the offered rate".to_owned(),
        description: knee_text(run, &steps),
        x: Axis::of(Kind::Linear, steps.iter().map(|step| read::load(step))),
        x_name: "notifications offered per second".to_owned(),
        panels: vec![latency, goodput(&steps), success_strip(&steps, false)],
        stretches: knee(run),
        keys,
    };
    Some(Shown {
        heading: "Open load: latency and goodput over the rate".to_owned(),
        figure,
        caption: format!(
            "{} {} Arrivals do not wait for answers, so a platform that falls behind shows it as latency, \
             and past its limit as shed load: goodput should then stay level, not fall.{}",
            knee_text(run, &steps),
            whiskers(&steps),
            wave::left_out(run, Load::Open)
        ),
        numbers: numbers(run, &steps),
    })
}

fn goodput(steps: &[&Step]) -> Panel {
    let received: Vec<(f64, f64)> =
        steps.iter().map(|step| (read::load(step), step.goodput_per_s)).collect();
    let offered: Vec<(f64, f64)> =
        steps.iter().map(|step| (read::load(step), read::load(step))).collect();
    let dots = (received.iter().zip(steps))
        .map(|((x, y), step)| (*x, *y, format!("{}: {} per second in time", step.name, number(*y))))
        .collect();
    Panel {
        title: "received in time, per second".to_owned(),
        height: 0.7,
        y: Axis::of(Kind::Linear, received.iter().chain(&offered).map(|point| point.1)),
        bare: false,
        marks: vec![
            Mark::Line {
                class: "ref dash".to_owned(),
                points: offered,
                name: Some("offered".to_owned()),
            },
            Mark::Line {
                class: "good".to_owned(),
                points: received,
                name: Some("in time".to_owned()),
            },
            Mark::Dots { class: "good".to_owned(), hollow: false, points: dots },
        ],
    }
}

fn knee(run: &Run) -> Vec<Stretch> {
    let found = run.saturation.as_ref().filter(|found| found.rate_per_s > 0.0);
    found
        .map(|found| Stretch {
            class: "knee",
            from: found.rate_per_s,
            to: found.rate_per_s,
            name: format!("meets the goal up to {}/s", number(found.rate_per_s)),
        })
        .into_iter()
        .collect()
}

/// Where the goal is missed, as far as this run knows.
fn knee_text(run: &Run, steps: &[&Step]) -> String {
    if let Some(found) = &run.saturation {
        return format!(
            "The search found {} per second: {} passes at that rate, {} misses at 1.1 times it.",
            number(found.rate_per_s),
            found.confirmed_passes,
            found.confirmed_misses
        );
    }
    if run.scenario.slo.is_none() {
        return "The scenario names no goal, so no rate is called the highest.".to_owned();
    }
    let best = steps.iter().take_while(|step| read::meets_goal(run, step)).last();
    let first_miss = steps.iter().find(|step| !read::meets_goal(run, step));
    match (best, first_miss) {
        (Some(best), Some(miss)) => format!(
            "The goal was met up to {} and first missed at {} per second; `saturate` finds the rate between.",
            number(read::load(best)),
            number(read::load(miss))
        ),
        (Some(best), None) => format!(
            "The goal was met at every rate; no knee within the range that ends at {} per second.",
            number(read::load(best))
        ),
        (None, _) => "The goal was not met at the lowest rate.".to_owned(),
    }
}

fn numbers(run: &Run, steps: &[&Step]) -> Numbers {
    let row = |step: &&Step| {
        let latency = read::intended(step);
        vec![
            number(step.load.rate_per_s),
            number(step.sent_per_s),
            number(step.goodput_per_s),
            or_dash(latency.map(|latency| latency.p50_ms)),
            or_dash(latency.map(|latency| latency.p99_ms)),
            grouped(step.classes.shed),
            grouped(step.classes.lost),
            or_dash(read::platform_cpu(run, step)),
        ]
    };
    Numbers {
        head: texts(&[
            "offered/s",
            "sent/s",
            "in time/s",
            "p50 ms",
            "p99 ms",
            "shed",
            "lost",
            "CPU s per 1,000",
        ]),
        rows: steps.iter().map(row).collect(),
    }
}
