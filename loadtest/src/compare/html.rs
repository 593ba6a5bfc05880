//! compare.html: the answer, every figure with its interval, and how the distributions moved. Pure.

use super::{Comparison, StepShift, Test, Verdict, text};
use crate::report::{
    Axis, Figure, Kind, Mark, Numbers, Panel, Shown, escape, key, nines, page, picture, table_of,
};
use crate::table::number;

/// The whole page.
pub(super) fn render(found: &Comparison) -> String {
    let class = match found.verdict {
        Verdict::Worse => "INVALID",
        Verdict::CannotTell => "SUSPECT",
        Verdict::Better | Verdict::Same => "OK",
    };
    let warnings: String =
        found.warnings.iter().map(|text| format!("<li>{}</li>", escape(text))).collect();
    let warnings = if warnings.is_empty() {
        warnings
    } else {
        format!("<ul class=\"warnings\">{warnings}</ul>")
    };
    let numbers = Numbers { head: text::head(), rows: found.tests.iter().map(text::row).collect() };
    let shifts: String = found.shifts.iter().map(|shift| picture(&shift_figure(shift))).collect();
    let body = format!(
        "<h1>Campana load test <small>comparison</small></h1>\n\
         <p class=\"badge {class}\"><b>{verdict}</b> gate: {gate}</p>\n<p class=\"headline\">{sentence}</p>\n{warnings}\n\
         {ratios}\n<section><h2>Every figure</h2>\n<p class=\"soft\">A figure is the median of the runs' own. It is \
         better or worse only if its whole interval lies on one side of 1, not all of it within ±{margin} %, and the \
         rank test (Mann and Whitney, corrected after Holm) agrees. Figures in brackets do not decide.</p>\n\
         <div class=\"card\">{table}</div></section>\n{shifts}",
        verdict = found.verdict.text(),
        gate = escape(&text::gate(found)),
        sentence = escape(&text::sentence(found)),
        ratios = picture(&ratios(found)),
        margin = number(found.margin * 100.0),
        table = table_of("Every figure", &numbers),
    );
    page("comparison", &body)
}

/// Every ratio with its interval on one line each.
fn ratios(found: &Comparison) -> Shown {
    let name = |test: &Test| format!("{} {}", test.metric.text(), test.step);
    let tests: Vec<&Test> = found.tests.iter().filter(|test| test.ratio.is_finite()).collect();
    let mut marks = vec![
        Mark::Area {
            class: "ref".to_owned(),
            x: (-0.5, tests.len() as f64 - 0.5),
            y: (1.0 / (1.0 + found.margin), 1.0 + found.margin),
            opacity: Some(0.25),
            title: "counts as the same".to_owned(),
        },
        Mark::Level { class: "ref".to_owned(), y: 1.0, name: String::new() },
    ];
    for (place, test) in tests.iter().enumerate() {
        let class = match test.verdict {
            Verdict::Better => "good",
            Verdict::Worse => "bad",
            Verdict::Same | Verdict::CannotTell => "c8",
        };
        if let Some(range) = test.interval {
            marks.push(Mark::Whisker {
                class: class.to_owned(),
                x: place as f64,
                low: range.low,
                high: range.high,
            });
        }
        let title = format!("{}: {:.3}, {}", name(test), test.ratio, test.verdict.text());
        marks.push(Mark::Dots {
            class: class.to_owned(),
            hollow: !test.decides,
            points: vec![(place as f64, test.ratio, title)],
        });
    }
    let values = tests.iter().flat_map(|test| {
        let range = test.interval.map_or([test.ratio; 2], |range| [range.low, range.high]);
        [test.ratio, range[0], range[1]]
    });
    let figure = Figure {
        title: "Ratio of B to A for every figure".to_owned(),
        description: text::sentence(found),
        x: Axis::names(tests.iter().map(|test| name(test)).collect()),
        x_name: "figure and step".to_owned(),
        panels: vec![Panel {
            title: "B ÷ A (log scale)".to_owned(),
            height: 1.0,
            y: Axis::of(Kind::Log, values.chain([0.8, 1.25])),
            bare: false,
            marks,
        }],
        stretches: Vec::new(),
        keys: vec![
            key("dot good", "better"),
            key("dot bad", "worse"),
            key("dot c8", "same, or cannot tell"),
            key("box ref", "counts as the same"),
        ],
    };
    let rows = tests.iter().map(|test| vec![name(test), format!("{:.3}", test.ratio)]).collect();
    let caption = "Whiskers are 95 % bootstrap intervals over runs. For latency and CPU less is better, for \
         throughput more.";
    Shown {
        heading: "How much".to_owned(),
        figure,
        caption: caption.to_owned(),
        numbers: Numbers { head: vec!["figure".to_owned(), "B ÷ A".to_owned()], rows },
    }
}

fn shift_figure(step: &StepShift) -> Shown {
    let at = |quantile: f64| nines(quantile);
    let line = step.shifts.iter().map(|one| (at(one.quantile), one.ratio)).collect();
    let dots = step
        .shifts
        .iter()
        .map(|one| {
            let title = format!(
                "p{}: {} to {} ms",
                one.quantile * 100.0,
                number(one.a_ms),
                number(one.b_ms)
            );
            (at(one.quantile), one.ratio, title)
        })
        .collect();
    let mut marks =
        vec![Mark::Level { class: "ref".to_owned(), y: 1.0, name: "no shift".to_owned() }];
    marks.extend(step.shifts.iter().map(|one| Mark::Whisker {
        class: "p50".to_owned(),
        x: at(one.quantile),
        low: one.interval.low,
        high: one.interval.high,
    }));
    marks.push(Mark::Line { class: "p50 thin".to_owned(), points: line, name: None });
    marks.push(Mark::Dots { class: "p50".to_owned(), hollow: false, points: dots });
    let values =
        step.shifts.iter().flat_map(|one| [one.ratio, one.interval.low, one.interval.high]);
    let last = step.shifts.last().map_or(1.0, |one| at(one.quantile));
    let figure = Figure {
        title: format!("{}: shift of every quantile", step.step),
        description: "Ratio of B to A over the quantiles".to_owned(),
        x: Axis { kind: Kind::Nines, low: 0.0, high: last.max(1.0) + 0.2, ticks: Vec::new() },
        x_name: "percent of notifications that were at least as fast".to_owned(),
        panels: vec![Panel {
            title: "B ÷ A (log scale)".to_owned(),
            height: 0.9,
            y: Axis::of(Kind::Log, values.chain([0.8, 1.25])),
            bare: false,
            marks,
        }],
        stretches: Vec::new(),
        keys: vec![key("dot p50", "B ÷ A, with its 95 % interval over runs")],
    };
    let rows = step
        .shifts
        .iter()
        .map(|one| {
            vec![
                format!("p{}", one.quantile * 100.0),
                number(one.a_ms),
                number(one.b_ms),
                format!("{:.3}", one.ratio),
                format!("{:.3} to {:.3}", one.interval.low, one.interval.high),
            ]
        })
        .collect();
    let head = ["quantile", "A ms", "B ms", "B ÷ A", "95 % interval"].map(str::to_owned).to_vec();
    let caption = "A level line is a change of everything by the same factor; a line that rises to the right is \
         a longer tail.";
    Shown {
        heading: format!("{}: shift of the quantiles", step.step),
        figure,
        caption: caption.to_owned(),
        numbers: Numbers { head, rows },
    }
}
