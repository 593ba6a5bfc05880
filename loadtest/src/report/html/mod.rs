//! The page: what it says first, its pictures, and the order of everything below. Pure.

mod facts;
mod tables;

use super::svg::escape;
use super::{curve, figure, process_class, process_names};
use crate::run::{Run, Step};
use crate::stats::SpreadKind;
use crate::table::{grouped, number};

const STYLE: &str = include_str!("../style.css");

/// The whole document.
pub fn render(run: &Run) -> String {
    let sections = [
        headline(run),
        warnings(run),
        figure_section(run),
        curve_section(run),
        tables::ledger(run),
        tables::latency(run),
        tables::cost(run),
        tables::thresholds(run),
        facts::environment(run),
        facts::repeat(run),
    ];
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Campana load test, {started}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n<main>\n{body}\n</main>\n</body>\n</html>\n",
        started = escape(&run.started_at),
        body = sections.join("\n")
    )
}

/// The step that the headline speaks of: 500 if it ran, else the largest.
fn spoken_of(run: &Run) -> Option<&Step> {
    let all = || run.steps.iter();
    all().find(|step| step.n == 500).or_else(|| all().max_by_key(|step| step.n))
}

fn headline(run: &Run) -> String {
    let Some(step) = spoken_of(run) else {
        return "<h1>Campana load test</h1><p class=\"headline\">No step was finished</p>"
            .to_owned();
    };
    let notifications = if step.n == 1 { "notification" } else { "notifications at once" };
    let claim = if step.latency_ms.max > 0.0 {
        format!(
            "{} {notifications}: <span>half within <b>{}&nbsp;ms</b>, 99&nbsp;% within <b class=\"tail\">{}&nbsp;ms</b></span>",
            grouped(u64::from(step.n)),
            number(step.latency_ms.p50),
            number(step.latency_ms.p99)
        )
    } else {
        format!("{} {notifications}: none arrived", grouped(u64::from(step.n)))
    };
    format!(
        "<h1>Campana load test</h1>\n<p class=\"headline\">{claim}</p>\n\
         <p class=\"soft\">From the moment a notification should be sent to the moment its WebSocket \
         client has read it. {machine}; {durability}</p>\n{tiles}",
        machine = machine(run),
        durability = durability(run),
        tiles = tiles(run, step)
    )
}

fn machine(run: &Run) -> String {
    let cores = run.environment.cores;
    if run.environment.processes.iter().any(|process| process.name == "campana") {
        format!("Platform and load generator share {cores} cores")
    } else {
        format!("The platform runs elsewhere, the load generator has {cores} cores")
    }
}

fn durability(run: &Run) -> &'static str {
    match run.durability.as_str() {
        "power" => {
            "every accepted notification is on disk before it is acknowledged (durability “power”)."
        }
        "process" => {
            "accepted notifications survive a crash, not a loss of power (durability “process”)."
        }
        _ => "the durability of the target is not known.",
    }
}

fn tiles(run: &Run, step: &Step) -> String {
    let single = run.steps.iter().find(|step| step.n == 1);
    let platform: f64 =
        step.cpu_s_per_1000.iter().filter(|(name, _)| *name != "generator").map(|(_, s)| s).sum();
    let mut tiles = vec![
        (
            "received exactly once",
            format!("{} <small>of {}</small>", grouped(step.received_once), grouped(step.sent)),
        ),
        ("failures, 95 % bound", format!("≤ {}", percent(step.failure_upper_bound_95))),
        (
            "last receipt of a wave",
            format!("{} <small>ms, median</small>", number(step.makespan_ms.p50)),
        ),
        ("platform CPU", format!("{} <small>ms each</small>", number(platform))),
    ];
    if let Some(single) = single.filter(|single| single.n != step.n && single.latency_ms.max > 0.0)
    {
        tiles.push((
            "one at a time",
            format!("{} <small>ms, median</small>", number(single.latency_ms.p50)),
        ));
    }
    let items: String = tiles
        .iter()
        .map(|(name, value)| format!("<div class=\"tile\"><dt>{name}</dt><dd>{value}</dd></div>"))
        .collect();
    format!("<dl class=\"tiles\">{items}</dl>")
}

fn percent(ratio: f64) -> String {
    format!("{}&nbsp;%", number(ratio * 100.0))
}

fn warnings(run: &Run) -> String {
    let mut lines: Vec<String> = Vec::new();
    for step in &run.steps {
        for reason in &step.verdict.reasons {
            let status = step.verdict.status.text();
            lines.push(format!(
                "<span class=\"{status}\">{status}</span> at {}: {}",
                grouped(u64::from(step.n)),
                escape(reason)
            ));
        }
    }
    let debug = |profile: &str| profile == "debug";
    if debug(&run.environment.profile)
        || run.environment.campana_profile.as_deref().is_some_and(debug)
    {
        lines.push("A debug build took part: these figures say nothing about speed.".to_owned());
    }
    if run.interrupted {
        lines.push("Stopped by hand: later steps are missing.".to_owned());
    }
    if run.late > 0 {
        lines.push(format!("{} receipts came after their step had been judged.", run.late));
    }
    if let Some(error) = &run.error {
        lines.push(format!("The run broke off: {}", escape(error)));
    }
    if lines.is_empty() {
        return String::new();
    }
    let items: String = lines.iter().map(|line| format!("<p>{line}</p>")).collect();
    format!("<div class=\"warnings\">{items}</div>")
}

fn figure_section(run: &Run) -> String {
    let processes: String = process_names(run)
        .iter()
        .map(|name| {
            format!("<li class=\"square {}\"><i></i>{} CPU</li>", process_class(name), escape(name))
        })
        .collect();
    let few = run.steps.iter().any(|step| step.spread_ms.kind == SpreadKind::Extremes);
    let whiskers = if few {
        "Whiskers span the lowest and the highest wave (for fewer than five waves), else a 95 % \
         bootstrap interval over waves."
    } else {
        "Whiskers are 95 % bootstrap intervals over waves."
    };
    format!(
        "<h2>Latency, CPU and success</h2>\n<figure class=\"card\">\n<ul class=\"legend\">\
         <li class=\"s-p50\"><i></i>p50</li><li class=\"hollow s-p99\"><i></i>p99</li>{processes}\
         <li class=\"square s-ref\"><i></i>reported by the paper this replaces</li></ul>\n{wide}{narrow}\n\
         <figcaption>{whiskers} In a wave everybody waits for everybody, so latency grows with its \
         size by construction. Grey marks are reported values: other hardware, other definition of \
         latency, load and success; they are not comparable and no ratio is drawn from them.\
         </figcaption>\n</figure>",
        wide = figure::draw(run, &figure::WIDE),
        narrow = figure::draw(run, &figure::NARROW),
    )
}

fn curve_section(run: &Run) -> String {
    let chosen = curve::chosen(run);
    if chosen.is_empty() {
        return String::new();
    }
    let legend: String = chosen
        .iter()
        .map(|(class, step)| {
            format!("<li class=\"{class}\"><i></i>{} at once</li>", grouped(u64::from(step.n)))
        })
        .collect();
    format!(
        "<h2>The tail</h2>\n<figure class=\"card\">\n<ul class=\"legend\">{legend}</ul>\n{}{}\n\
         <figcaption>Solid: from the intended send, which is the figure that counts. Dashed: from the \
         actual send, without the time the generator itself needed to get the request out.\
         </figcaption>\n</figure>",
        curve::draw(run, &curve::WIDE),
        curve::draw(run, &curve::NARROW),
    )
}
