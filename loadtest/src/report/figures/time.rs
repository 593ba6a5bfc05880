//! What happened over time: the whole run, and by itself each step that something was done to or that
//! the headline speaks of. The generator's lateness stands under every such picture, because a late
//! generator and a slow platform look alike above it. Pure.

use super::{Numbers, Shown, or_dash};
use crate::model::{Run, Series, Status, Step};
use crate::report::plot::{Axis, Figure, Key, Kind, Mark, Panel, Stretch, key};
use crate::report::read;
use crate::stats::steady;
use crate::table::number;

/// More points than pixels show nothing; a bucket keeps its worst value.
const POINTS_MAX: usize = 400;
/// Rows of the table under a picture.
const ROWS_MAX: usize = 60;
/// Lines of one family (consumers, processes) that can be told apart.
const FAMILY_MAX: usize = 6;
const NOTABLE_MAX: usize = 4;
const MIB: f64 = 1_048_576.0;
/// From here on minutes read better than seconds.
const MINUTES_FROM_S: f64 = 900.0;

/// A line of a panel: column, colour, name.
type Line = (String, String, String);

/// Steps that get a picture of their own.
pub(super) fn notable(run: &Run) -> Vec<&Step> {
    let spoken = read::spoken_of(run).map(|step| step.name.as_str());
    let long = |step: &&Step| step.series.at_s.len() >= 5;
    let mut steps: Vec<&Step> =
        run.steps.iter().filter(|step| !step.load.faults.is_empty()).filter(long).collect();
    let rest = run.steps.iter().filter(long).filter(|step| step.load.faults.is_empty());
    let picked = rest.filter(|step| {
        Some(step.name.as_str()) == spoken || step.verdict.status == Status::Invalid
    });
    steps.extend(picked);
    steps.truncate(NOTABLE_MAX);
    steps
}

/// All steps on one axis.
pub(super) fn whole_run(run: &Run) -> Option<Shown> {
    let mut joined = Series::default();
    for step in run.steps.iter().filter(|step| !step.series.at_s.is_empty()) {
        append(&mut joined, &step.series);
    }
    if joined.at_s.len() < 5 {
        return None;
    }
    let joined = &thinned(&joined, POINTS_MAX);
    let stretches = (run.steps.iter().enumerate())
        .map(|(place, step)| Stretch {
            class: if place % 2 == 0 { "beyond" } else { "plain" },
            from: step.from_s,
            to: step.to_s,
            // Short steps would write over each other.
            name: if (step.to_s - step.from_s) * 14.0 > run.duration_s {
                step.name.clone()
            } else {
                String::new()
            },
        })
        .collect();
    let processes = read::processes(run);
    let mut panels = vec![latency(joined), rates(joined)];
    panels.extend(backlog(joined));
    let cpu = family(joined, "cpu:", |name| read::process_class(run, &processes, name));
    panels.extend(panel("CPU, cores", 0.7, joined, &cpu, Kind::Linear, 1.0));
    let rss = family(joined, "rss:", |name| read::process_class(run, &processes, name));
    panels.extend(panel("resident memory, MiB", 0.6, joined, &rss, Kind::Linear, 1.0 / MIB));
    panels.extend(lag(joined));
    Some(shown(
        "The run over time",
        "From the first step to the last",
        joined,
        panels,
        stretches,
        String::new(),
    ))
}

/// One step, with what was done to the platform meanwhile and how it recovered.
pub(super) fn one_step(step: &Step) -> Option<Shown> {
    let series = &thinned(&step.series, POINTS_MAX);
    if series.at_s.len() < 5 {
        return None;
    }
    let stretches = step
        .load
        .faults
        .iter()
        .filter_map(|fault| {
            let at = read::fault_at(step, fault)?;
            Some(Stretch { class: "fault", from: at, to: at, name: fault.clone() })
        })
        .collect();
    let mut panels = vec![latency(series), rates(series)];
    panels.extend(backlog(series));
    panels.extend(lag(series));
    let heading = if step.load.faults.is_empty() {
        format!("{} over time", step.name)
    } else {
        format!("{}: fault and recovery", step.name)
    };
    Some(shown(&heading, &step.name, series, panels, stretches, recovery(step) + &warm_up(step)))
}

fn recovery(step: &Step) -> String {
    if step.load.faults.is_empty() {
        return String::new();
    }
    let done = step.load.faults.join("; ");
    let lost = step.classes.lost;
    let end = match step.recovery_s {
        Some(seconds) if lost == 0 => format!(
            "Everything that had been accepted had arrived {} s after the end of the fault; nothing was lost.",
            number(seconds)
        ),
        Some(seconds) => format!("It recovered after {} s, but {lost} were lost.", number(seconds)),
        None => format!("How long the recovery took is not known; {lost} were lost."),
    };
    format!("Done to the platform: {done}. {end} ")
}

/// Whether the measured part still held some of the warm-up.
fn warm_up(step: &Step) -> String {
    let Some(column) = step.series.columns.get("p50_ms") else { return String::new() };
    let values: Vec<f64> = column.iter().flatten().copied().collect();
    match steady::mser_5(&values) {
        Some(0) | None => String::new(),
        Some(cut) => format!("By MSER-5 the first {cut} s of p50 still belong to the warm-up. "),
    }
}

fn latency(series: &Series) -> Panel {
    let lines = [
        ("p99_actual_ms", "p99 thin dash", ""),
        ("p99_ms", "p99", "p99"),
        ("p50_ms", "p50", "p50"),
    ];
    let lines =
        lines.map(|(column, class, name)| (column.to_owned(), class.to_owned(), name.to_owned()));
    panel("latency, ms (log scale)", 1.0, series, &lines, Kind::Log, 1.0)
        .unwrap_or_else(|| empty("latency, ms"))
}

fn rates(series: &Series) -> Panel {
    let lines = [
        ("offered", "ref dash", "offered"),
        ("delivered", "good", "received"),
        ("shed", "shed", "shed"),
    ];
    let lines =
        lines.map(|(column, class, name)| (column.to_owned(), class.to_owned(), name.to_owned()));
    panel("per second", 0.7, series, &lines, Kind::Linear, 1.0)
        .unwrap_or_else(|| empty("per second"))
}

fn backlog(series: &Series) -> Option<Panel> {
    let mut lines = family(series, "pending:", |_| String::new());
    for (place, (_, class, _)) in lines.iter_mut().enumerate() {
        *class = read::colour(place);
    }
    let mut waiting = family(series, "ack_pending:", |_| String::new());
    for (_, class, name) in &mut waiting {
        let same = lines.iter().position(|(_, _, known)| known == name).unwrap_or(lines.len());
        *class = format!("{} dash thin", read::colour(same));
        name.clear();
    }
    lines.extend(waiting);
    panel(
        "backlog: pending and (dashed) unacknowledged messages",
        0.6,
        series,
        &lines,
        Kind::Linear,
        1.0,
    )
}

fn lag(series: &Series) -> Option<Panel> {
    let lines = [("lag_p99_ms", "c-generator", "send lag"), ("canary_p99_ms", "c5 thin", "timer")];
    let lines =
        lines.map(|(column, class, name)| (column.to_owned(), class.to_owned(), name.to_owned()));
    panel("the generator's own lateness, p99, ms", 0.35, series, &lines, Kind::Linear, 1.0)
}

fn empty(title: &str) -> Panel {
    Panel {
        title: format!("{title}: not recorded"),
        height: 0.2,
        y: Axis::of(Kind::Linear, []),
        bare: true,
        marks: Vec::new(),
    }
}

/// The columns with a prefix, the largest ones only.
fn family(series: &Series, prefix: &str, class: impl Fn(&str) -> String) -> Vec<Line> {
    let mut found: Vec<(f64, &String, &str)> = series
        .columns
        .iter()
        .filter_map(|(column, values)| {
            let name = column.strip_prefix(prefix)?;
            let most = values.iter().flatten().copied().fold(0.0, f64::max);
            Some((most, column, name))
        })
        .collect();
    found.sort_by(|left, right| right.0.total_cmp(&left.0));
    found.truncate(FAMILY_MAX);
    found
        .into_iter()
        .map(|(_, column, name)| (column.clone(), class(name), name.to_owned()))
        .collect()
}

fn panel(
    title: &str,
    height: f64,
    series: &Series,
    lines: &[Line],
    kind: Kind,
    scale: f64,
) -> Option<Panel> {
    let marks: Vec<Mark> = lines
        .iter()
        .filter_map(|(column, class, name)| {
            let values = series.columns.get(column)?;
            let points = series
                .at_s
                .iter()
                .zip(values)
                .map(|(at, value)| (*at, value.map_or(f64::NAN, |value| value * scale)))
                .collect();
            let name = (!name.is_empty()).then(|| name.clone());
            Some(Mark::Line { class: class.clone(), points, name })
        })
        .collect();
    if marks.is_empty() {
        return None;
    }
    let values = lines
        .iter()
        .filter_map(|(column, _, _)| series.columns.get(column))
        .flatten()
        .filter_map(|value| value.map(|value| value * scale));
    let y = Axis::of(kind, values);
    Some(Panel { title: title.to_owned(), height, y, bare: false, marks })
}

fn shown(
    heading: &str,
    what: &str,
    series: &Series,
    mut panels: Vec<Panel>,
    mut stretches: Vec<Stretch>,
    note: String,
) -> Shown {
    let from = series.at_s.first().copied().unwrap_or(0.0);
    let to = series.at_s.last().copied().unwrap_or(1.0);
    let minutes = to - from > MINUTES_FROM_S;
    let unit = if minutes { 60.0 } else { 1.0 };
    for mark in panels.iter_mut().flat_map(|panel| &mut panel.marks) {
        if let Mark::Line { points, .. } = mark {
            points.iter_mut().for_each(|(at, _)| *at /= unit);
        }
    }
    for stretch in &mut stretches {
        stretch.from /= unit;
        stretch.to /= unit;
    }
    let figure = Figure {
        title: heading.to_owned(),
        description: format!(
            "{what}: latency, rates, backlog and the generator's lateness by second"
        ),
        x: Axis::of(Kind::Span, [from / unit, to / unit]),
        x_name: format!("{} since the run began", if minutes { "minutes" } else { "seconds" }),
        panels,
        stretches,
        keys: keys(),
    };
    let caption = format!(
        "{note}Single seconds; gaps are seconds without a value, never zero. The lowest strip shows how late \
         the generator itself was: what stands above it counts only while it is low."
    );
    Shown { heading: heading.to_owned(), figure, caption, numbers: numbers(series) }
}

fn keys() -> Vec<Key> {
    vec![
        key("line p50", "p50"),
        key("line p99", "p99 from the intended send"),
        key("line p99 dash thin", "p99 from the actual send"),
        key("line ref dash", "offered"),
        key("line good", "received"),
        key("line shed", "shed"),
    ]
}

fn numbers(series: &Series) -> Numbers {
    let few = thinned(series, ROWS_MAX);
    let wanted = ["offered", "delivered", "shed", "p50_ms", "p99_ms", "lag_p99_ms"];
    let mut columns: Vec<&String> =
        few.columns.keys().filter(|column| wanted.contains(&column.as_str())).collect();
    columns.extend(few.columns.keys().filter(|column| column.starts_with("pending:")).take(2));
    let mut head = vec!["second".to_owned()];
    head.extend(columns.iter().map(|column| column.replace('_', " ")));
    let rows = few
        .at_s
        .iter()
        .enumerate()
        .map(|(place, at)| {
            let mut row = vec![format!("{at:.0}")];
            row.extend(
                columns
                    .iter()
                    .map(|column| or_dash(few.columns[*column].get(place).copied().flatten())),
            );
            row
        })
        .collect();
    Numbers { head, rows }
}

/// Puts a step behind the others, with a second without values between.
fn append(joined: &mut Series, next: &Series) {
    let before = joined.at_s.len();
    for name in next.columns.keys() {
        joined.columns.entry(name.clone()).or_insert_with(|| vec![None; before]);
    }
    if let (Some(last), Some(first)) = (joined.at_s.last().copied(), next.at_s.first()) {
        joined.at_s.push(f64::midpoint(last, *first));
        for values in joined.columns.values_mut() {
            values.push(None);
        }
    }
    joined.at_s.extend(&next.at_s);
    for (name, values) in &mut joined.columns {
        let from = next.columns.get(name);
        let found =
            (0..next.at_s.len()).map(|place| from.and_then(|c| c.get(place)).copied().flatten());
        values.extend(found);
    }
}

/// At most so many points. Rates keep their mean, everything else its worst: a spike must survive.
fn thinned(series: &Series, most: usize) -> Series {
    let count = series.at_s.len();
    let step = count.div_ceil(most.max(1)).max(1);
    let mean = ["offered", "sent", "delivered", "shed"];
    let at_s = series.at_s.iter().step_by(step).copied().collect();
    let columns = series
        .columns
        .iter()
        .map(|(name, values)| {
            let averaged = mean.contains(&name.as_str()) || name.starts_with("cpu:");
            let mut values = values.clone();
            values.resize(count, None);
            let kept = values.chunks(step).map(|chunk| bucket(chunk, averaged)).collect();
            (name.clone(), kept)
        })
        .collect();
    Series { at_s, columns }
}

fn bucket(values: &[Option<f64>], averaged: bool) -> Option<f64> {
    let known: Vec<f64> = values.iter().flatten().copied().collect();
    if known.is_empty() {
        None
    } else if averaged {
        Some(known.iter().sum::<f64>() / known.len() as f64)
    } else {
        Some(known.into_iter().fold(f64::NEG_INFINITY, f64::max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(count: usize) -> Series {
        let mut columns = std::collections::BTreeMap::new();
        let spike = |place: usize| Some(if place == 777 { 500.0 } else { 1.0 });
        columns.insert("p99_ms".to_owned(), (0..count).map(spike).collect());
        // Shorter than it should be, as in a file that was cut off.
        columns.insert("offered".to_owned(), vec![Some(2.0); count / 2]);
        Series { at_s: (0..count).map(|place| place as f64).collect(), columns }
    }

    #[test]
    fn a_spike_survives_thinning_and_short_columns_are_filled_up() {
        let thin = thinned(&series(1_800), 400);
        assert!(thin.at_s.len() <= 400);
        assert_eq!(thin.columns["p99_ms"].iter().flatten().copied().fold(0.0, f64::max), 500.0);
        assert_eq!(thin.columns["offered"].len(), thin.at_s.len());
        assert_eq!(thin.columns["offered"].last(), Some(&None));
    }

    #[test]
    fn joined_steps_are_parted_by_a_gap() {
        let mut joined = Series::default();
        append(&mut joined, &series(10));
        append(&mut joined, &series(10));
        assert_eq!(joined.at_s.len(), 21);
        assert_eq!(joined.columns["p99_ms"][10], None);
        assert!(joined.columns.values().all(|values| values.len() == 21));
    }
}
