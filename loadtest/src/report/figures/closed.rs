//! Closed load: throughput over the number of users, with the Universal Scalability Law fitted to it,
//! and the latency that goes with each. Never on one axis with open load (Schroeder, Wierman and
//! Harchol-Balter, NSDI 2006): here the platform slows its own callers down. Pure.

use super::{Numbers, Shown, latency_keys, latency_panel, or_dash, texts, wave, whiskers};
use crate::model::{Kind as Load, Run, Step};
use crate::report::plot::{Axis, Figure, Kind, Mark, Panel, Stretch, key};
use crate::report::read;
use crate::stats::usl::{self, Usl};
use crate::table::{grouped, number};

/// Points of the drawn fit.
const CURVE_POINTS: u32 = 80;

pub(super) fn draw(run: &Run) -> Option<Shown> {
    let steps = read::curve(run, Load::Closed);
    if steps.len() < 2 {
        return None;
    }
    let points: Vec<(f64, f64)> =
        steps.iter().map(|step| (read::load(step), step.goodput_per_s)).collect();
    let fit = usl::fit(&points);
    let last = points.iter().map(|(users, _)| *users).fold(1.0, f64::max);
    let mut keys = vec![key("dot good", "received in time per second")];
    if fit.is_some() {
        keys.push(key("line c6", "Universal Scalability Law, fitted"));
    }
    keys.extend(latency_keys());
    let figure = Figure {
        title: "Throughput and latency over the number of users".to_owned(),
        description: fit_text(fit.as_ref(), points.len()),
        x: Axis::of(Kind::Linear, [0.0, last]),
        x_name: "users, each with one notification outstanding".to_owned(),
        panels: vec![throughput(&steps, &points, fit.as_ref(), last), latency_panel(&steps, &[])],
        stretches: knee(fit.as_ref(), last),
        keys,
    };
    Some(Shown {
        heading: "Closed load: throughput over users".to_owned(),
        figure,
        caption: format!(
            "{} {} Users wait for their receipt before they send again, so the platform slows its own \
             callers down; latency here is not comparable with open load.{}",
            fit_text(fit.as_ref(), points.len()),
            whiskers(&steps),
            wave::left_out(run, Load::Closed)
        ),
        numbers: numbers(run, &steps, fit.as_ref()),
    })
}

fn throughput(steps: &[&Step], points: &[(f64, f64)], fit: Option<&Usl>, last: f64) -> Panel {
    let dots = (points.iter().zip(steps))
        .map(|((x, y), step)| (*x, *y, format!("{}: {} per second", step.name, number(*y))))
        .collect();
    let mut marks = Vec::new();
    let mut values: Vec<f64> = points.iter().map(|point| point.1).collect();
    if let Some(fit) = fit {
        let curve: Vec<(f64, f64)> = (0..=CURVE_POINTS)
            .map(|index| 1.0 + (last - 1.0) * f64::from(index) / f64::from(CURVE_POINTS))
            .map(|users| (users, fit.at(users)))
            .filter(|(_, rate)| *rate > 0.0)
            .collect();
        values.extend(curve.iter().map(|point| point.1));
        marks.push(Mark::Line {
            class: "c6".to_owned(),
            points: curve,
            name: Some("fit".to_owned()),
        });
    }
    marks.push(Mark::Dots { class: "good".to_owned(), hollow: false, points: dots });
    Panel {
        title: "received in time, per second".to_owned(),
        height: 0.9,
        y: Axis::of(Kind::Linear, values),
        bare: false,
        marks,
    }
}

fn knee(fit: Option<&Usl>, last: f64) -> Vec<Stretch> {
    let peak = fit.and_then(|fit| fit.knee).filter(|(users, _)| *users <= last);
    peak.map(|(users, _)| Stretch {
        class: "knee",
        from: users,
        to: users,
        name: format!("peak at {} users", number(users)),
    })
    .into_iter()
    .collect()
}

fn fit_text(fit: Option<&Usl>, points: usize) -> String {
    let Some(fit) = fit else {
        return format!(
            "No scalability law is fitted: it needs {} different numbers of users, there are {points} steps.",
            usl::POINTS_MIN
        );
    };
    let range =
        |interval: crate::model::Interval| format!("{:.2e} to {:.2e}", interval.low, interval.high);
    let parameters = format!(
        "Fitted: one user makes {} per second; waiting for each other σ = {:.4} (95 %: {}), agreeing with \
         each other κ = {:.2e} (95 %: {}); R² = {:.3}.",
        number(fit.lambda),
        fit.sigma,
        range(fit.sigma_interval),
        fit.kappa,
        range(fit.kappa_interval),
        fit.r_squared
    );
    let knee = match fit.knee {
        Some((users, rate)) => {
            format!("Throughput peaks at about {} users with {} per second.", number(users), number(rate))
        }
        None => "No knee within range: κ's interval covers 0, or its peak lies too far beyond the last point.".to_owned(),
    };
    format!("{parameters} {knee}")
}

fn numbers(run: &Run, steps: &[&Step], fit: Option<&Usl>) -> Numbers {
    let row = |step: &&Step| {
        let latency = read::intended(step);
        vec![
            grouped(u64::from(step.load.size)),
            number(step.goodput_per_s),
            or_dash(fit.map(|fit| fit.at(read::load(step)))),
            or_dash(latency.map(|latency| latency.p50_ms)),
            or_dash(latency.map(|latency| latency.p99_ms)),
            or_dash(step.little),
            or_dash(read::platform_cpu(run, step)),
        ]
    };
    Numbers {
        head: texts(&[
            "users N",
            "throughput X /s",
            "fitted /s",
            "p50 ms",
            "p99 ms",
            "N ÷ (X·R)",
            "CPU s per 1,000",
        ]),
        rows: steps.iter().map(row).collect(),
    }
}
