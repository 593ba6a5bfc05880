//! The page's tables: tiles, ledger, channels, latencies, reconciliation, health, thresholds. Pure.

use super::{Numbers, table};
use crate::model::{Classes, Run, Step};
use crate::report::read;
use crate::table::{grouped, number};

fn section(heading: &str, about: &str, numbers: &Numbers) -> String {
    if numbers.rows.is_empty() {
        return String::new();
    }
    format!(
        "<section>\n<h2>{heading}</h2>\n<p class=\"soft\">{about}</p>\n<div class=\"card\">{}</div>\n</section>",
        table(heading, numbers)
    )
}

fn texts(head: &[&str]) -> Vec<String> {
    head.iter().map(|text| (*text).to_owned()).collect()
}

fn or_dash(value: Option<f64>) -> String {
    value.filter(|value| value.is_finite()).map_or_else(|| "–".to_owned(), number)
}

/// A handful of figures under the headline.
pub(super) fn tiles(run: &Run) -> String {
    let Some(step) = read::spoken_of(run) else { return String::new() };
    let classes = &step.classes;
    let mut tiles = vec![
        (
            "received exactly once",
            format!("{} of {}", grouped(read::received(classes)), grouped(classes.sent)),
        ),
        (
            "failures, 95 % bound",
            format!("≤ {}", read::bound_text(read::failed(classes), classes.sent)),
        ),
    ];
    if let Some(makespan) = &step.makespan {
        tiles.push(("last receipt, median", format!("{} ms", number(makespan.p50_ms))));
    }
    if let Some(seconds) = read::platform_cpu(run, step) {
        // Seconds for a thousand are milliseconds for each.
        tiles.push(("platform CPU for each", format!("{} ms", number(seconds))));
    }
    let single = run
        .steps
        .iter()
        .find(|one| one.load.size == 1 && one.load.fan_out <= 1 && one.name != step.name);
    if let Some(latency) = single.and_then(read::intended) {
        tiles.push(("one at a time, median", format!("{} ms", number(latency.p50_ms))));
    }
    let items: String = tiles
        .iter()
        .map(|(name, value)| format!("<div class=\"tile\"><dt>{name}</dt><dd>{value}</dd></div>"))
        .collect();
    format!("<dl class=\"tiles\">{items}</dl>")
}

const CLASS_HEAD: [&str; 12] = [
    "sent",
    "accepted",
    "in time",
    "late",
    "lost",
    "doubled",
    "corrupt",
    "dead",
    "shed",
    "rejected",
    "unknown",
    "at most fail (95 %)",
];

fn class_cells(classes: &Classes) -> Vec<String> {
    let mut cells: Vec<String> = [
        classes.sent,
        classes.accepted,
        classes.delivered,
        classes.late,
        classes.lost,
        classes.duplicate,
        classes.corrupt,
        classes.dead,
        classes.shed,
        classes.rejected,
        classes.unknown,
    ]
    .map(grouped)
    .to_vec();
    cells.push(read::bound_text(read::failed(classes), classes.sent));
    cells
}

pub(super) fn ledger(run: &Run) -> String {
    let mut head = texts(&["step"]);
    head.extend(texts(&CLASS_HEAD));
    head.extend(texts(&["phantom", "reordered", "adds up", "verdict"]));
    let rows = run
        .steps
        .iter()
        .map(|step| {
            let classes = &step.classes;
            let mut row = vec![step.name.clone()];
            row.extend(class_cells(classes));
            row.extend([grouped(classes.phantom), grouped(classes.reordered)]);
            row.push(if classes.balanced() { "yes" } else { "differs" }.to_owned());
            row.push(step.verdict.status.text().to_owned());
            row
        })
        .collect();
    let about = "Every delivery is in exactly one class and the classes add up to what was sent; a step whose \
         ledger does not balance is INVALID. The last class column is the share of failures, shed included, \
         that so many trials cannot exclude.";
    let causes = Numbers { head: texts(&["step", "cause", "requests"]), rows: causes(run) };
    let more = section(
        "Answers other than 202",
        "By HTTP status, or by why there was no answer.",
        &causes,
    );
    section("Ledger", about, &Numbers { head, rows }) + &more
}

fn causes(run: &Run) -> Vec<Vec<String>> {
    run.steps
        .iter()
        .flat_map(|step| {
            (step.statuses.iter().chain(&step.failures))
                .map(|(cause, count)| vec![step.name.clone(), cause.clone(), grouped(*count)])
        })
        .collect()
}

pub(super) fn channels(run: &Run) -> String {
    let several = run.steps.iter().any(|step| step.by_channel.len() > 1);
    if !several {
        return String::new();
    }
    let mut head = texts(&["step", "channel", "p50 ms", "p99 ms"]);
    head.extend(texts(&CLASS_HEAD));
    let rows = run
        .steps
        .iter()
        .flat_map(|step| {
            step.by_channel.iter().map(|(channel, classes)| {
                let latency = step.latency.get(channel).map(|latency| &latency.intended);
                let mut row = vec![step.name.clone(), channel.clone()];
                row.push(or_dash(latency.map(|latency| latency.p50_ms)));
                row.push(or_dash(latency.map(|latency| latency.p99_ms)));
                row.extend(class_cells(classes));
                row
            })
        })
        .collect();
    let about = "Deliveries by channel; what is not the browser is received at the sandbox's sinks, on the \
         same clock.";
    section("Channels", about, &Numbers { head, rows })
}

pub(super) fn latency(run: &Run) -> String {
    let head = texts(&[
        "step",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
        "mean",
        "p99 from actual send",
        "last of a wave",
        "202 p50",
        "202 p99",
        "lag p50",
        "lag p99",
    ]);
    let rows = run
        .steps
        .iter()
        .map(|step| {
            let found = read::latency(step).map(|(_, latency)| latency);
            let of = |pick: fn(&crate::model::Distribution) -> f64| {
                or_dash(found.map(|l| pick(&l.intended)))
            };
            vec![
                step.name.clone(),
                of(|l| l.p50_ms),
                of(|l| l.p90_ms),
                of(|l| l.p99_ms),
                of(|l| l.p999_ms),
                of(|l| l.max_ms),
                of(|l| l.mean_ms),
                or_dash(found.map(|l| l.actual.p99_ms)),
                or_dash(step.makespan.as_ref().map(|makespan| makespan.p50_ms)),
                number(step.accept.intended.p50_ms),
                number(step.accept.intended.p99_ms),
                number(step.generator.lag.p50_ms),
                number(step.generator.lag.p99_ms),
            ]
        })
        .collect();
    let about = "Milliseconds, from the intended send unless the head says otherwise. “202” is the \
         acknowledgement; “lag” is how late the generator sent, which every other figure includes.";
    section("Latency", about, &Numbers { head, rows })
}

pub(super) fn reconciliation(run: &Run) -> String {
    let rows = run
        .steps
        .iter()
        .flat_map(|step| {
            step.reconciliation.checks.iter().map(|check| {
                vec![
                    step.name.clone(),
                    check.what.clone(),
                    grouped(check.ledger),
                    grouped(check.other),
                    (if check.agrees {
                        "held"
                    } else if check.others() {
                        "others sent"
                    } else {
                        "differs"
                    })
                    .to_owned(),
                ]
            })
        })
        .collect();
    let about = "What the harness counted against what JetStream and the database counted in the same step. Rows \
         are those of this run's recipients; messages and counters are everybody's.";
    let numbers = Numbers { head: texts(&["step", "what", "ledger", "other", ""]), rows };
    let counters: Vec<Vec<String>> = run
        .steps
        .iter()
        .flat_map(|step| {
            step.reconciliation.counters.iter().map(|(name, value)| {
                vec![step.name.clone(), name.replace('_', " "), number(*value)]
            })
        })
        .filter(|row| row[2] != "0.00")
        .collect();
    let counters = Numbers { head: texts(&["step", "counter", "during the step"]), rows: counters };
    section("Reconciliation", about, &numbers)
        + &section("Counters of the platform", "Those that moved during a step.", &counters)
}

pub(super) fn health(run: &Run) -> String {
    let head = texts(&[
        "step",
        "achieved",
        "lag p99 ms",
        "timer p99 ms",
        "dropped",
        "stolen %",
        "pressure %",
        "halves differ by",
        "throughput CV",
        "backlog slope /s",
        "sockets lost",
        "verdict",
    ]);
    let share = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), read::percent);
    let rows = run
        .steps
        .iter()
        .map(|step: &Step| {
            let health = &step.generator;
            vec![
                step.name.clone(),
                read::percent(health.achieved_ratio),
                number(health.lag.p99_ms),
                number(health.canary.p99_ms),
                grouped(health.dropped),
                number(health.steal_percent),
                or_dash(health.pressure_percent),
                share(health.half_difference),
                share(health.throughput_cv),
                or_dash(health.backlog_slope),
                grouped(u64::from(health.receivers_lost)),
                step.verdict.status.text().to_owned(),
            ]
        })
        .collect();
    let about = "Whether the generator kept up and the step was steady; the verdict follows from this table, \
         the ledger and the reconciliation.";
    section("Can these figures be trusted?", about, &Numbers { head, rows })
}

pub(super) fn thresholds(run: &Run) -> String {
    let rows = run
        .thresholds
        .iter()
        .map(|judgement| {
            let actual = judgement.actual.map_or_else(|| "no figure".to_owned(), number);
            let word = if judgement.pass { "held" } else { "MISSED" };
            vec![judgement.expr.clone(), actual, word.to_owned()]
        })
        .collect();
    let numbers = Numbers { head: texts(&["threshold", "worst", ""]), rows };
    section("Thresholds", "A threshold on a step that did not run is missed.", &numbers)
}

pub(super) fn probes(run: &Run) -> String {
    let Some(found) = &run.saturation else { return String::new() };
    let rows = (found.probes.iter())
        .map(|(rate, passed)| {
            vec![number(*rate), if *passed { "held" } else { "MISSED" }.to_owned()]
        })
        .collect();
    let numbers = Numbers { head: texts(&["rate per second", "goal"]), rows };
    section("The search", "Rates in the order in which they were tried.", &numbers)
}
