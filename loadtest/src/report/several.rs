//! Several runs on one page: a row for each run, a row for each step with the runs side by side,
//! and their percentile curves laid on each other. It tells and does not judge: whether one run is
//! better than another is a question for `compare`. Pure, but for the two files that it writes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::figures::percentiles;
use super::plot::{Axis, Figure, Kind, Mark, Panel, key};
use super::{
    FILE, Numbers, SUMMARY_FILE, Shown, escape, markdown, page, picture, put, read, table_of,
};
use crate::failure::Failure;
use crate::model::{Run, Status, Step};
use crate::table::{grouped, number};

/// More runs than this do not fit beside each other.
pub const RUNS_MAX: usize = 20;
/// More curves cannot be told apart: there are eight colours.
const CURVES_MAX: usize = read::COLOURS;
const PICTURES_MAX: usize = 12;
const MISSING: &str = "–";

/// A run and how it is called here.
struct Named<'a> {
    name: String,
    run: &'a Run,
}

/// Draws one page of several runs into a folder.
pub fn draw(sources: &[PathBuf], out: &Path) -> Result<PathBuf, Failure> {
    if sources.len() > RUNS_MAX {
        return Err(Failure::Usage(format!("{} runs; allowed are {RUNS_MAX}", sources.len())));
    }
    let runs: Vec<Run> =
        sources.iter().map(|source| super::load(source)).collect::<Result<_, _>>()?;
    fs::create_dir_all(out).map_err(|error| Failure::failed(out.display(), error))?;
    put(&out.join(FILE), &html(&runs))?;
    put(&out.join(SUMMARY_FILE), &summary(&runs))?;
    Ok(out.join(FILE))
}

fn named(runs: &[Run]) -> Vec<Named<'_>> {
    let name = |(index, run): (usize, &Run)| format!("{} {}", letter(index), run.id);
    runs.iter().enumerate().map(|(index, run)| Named { name: name((index, run)), run }).collect()
}

fn letter(index: usize) -> char {
    char::from(b'A' + u8::try_from(index % 26).unwrap_or(0))
}

/// Every step's name, in the order in which they first ran.
fn steps<'a>(runs: &[Named<'a>]) -> Vec<&'a str> {
    let mut seen = BTreeSet::new();
    let all = runs.iter().flat_map(|one| &one.run.steps).map(|step| step.name.as_str());
    all.filter(|name| seen.insert(*name)).collect()
}

fn step<'a>(run: &'a Run, name: &str) -> Option<&'a Step> {
    run.steps.iter().find(|step| step.name == name)
}

fn html(runs: &[Run]) -> String {
    let runs = named(runs);
    let warnings: String = warnings(&runs)
        .iter()
        .map(|(status, text)| {
            format!("<li><b class=\"{0}\">{0}</b> {1}</li>", status.text(), escape(text))
        })
        .collect();
    let warnings = if warnings.is_empty() {
        warnings
    } else {
        format!("<ul class=\"warnings\">{warnings}</ul>")
    };
    let pictures: String = steps(&runs)
        .into_iter()
        .filter_map(|name| curves(&runs, name))
        .take(PICTURES_MAX)
        .map(|shown| picture(&shown))
        .collect();
    let body = format!(
        "<h1>Campana load test <small>{count} runs</small></h1>\n\
         <p class=\"headline\">{count} runs side by side</p>\n\
         <p class=\"soft\">Each figure is one run's own. Whether a difference is more than noise is not said here: \
         <code>campana loadtest compare</code> says it, from five runs a side.</p>\n{warnings}\n\
         <section><h2>Runs</h2>\n<div class=\"card\">{who}</div></section>\n\
         <section><h2>Steps</h2>\n<p class=\"soft\">Steps of the same name stand in one row.</p>\n\
         <div class=\"card\">{figures}</div></section>\n{pictures}",
        count = runs.len(),
        who = table_of("Runs", &who(&runs)),
        figures = table_of("Steps", &figures(&runs)),
    );
    page(&format!("{} runs", runs.len()), &body)
}

/// What keeps runs from being set side by side, and verdicts that must be known.
fn warnings(runs: &[Named<'_>]) -> Vec<(Status, String)> {
    let mut lines = Vec::new();
    for one in runs {
        let status = read::status(one.run);
        if status != Status::Ok {
            let why = match status {
                Status::Invalid => "its figures must not be used; its own page says why",
                _ => "its own page says what to read before its figures are used",
            };
            lines.push((status, format!("{}: {why}", one.name)));
        }
    }
    lines.sort_by_key(|(status, _)| std::cmp::Reverse(*status));
    type Pick = fn(&Run) -> String;
    let facts: [(&str, Pick); 6] = [
        ("scenario files", |run| run.scenario.sha256.clone()),
        ("targets", |run| run.target.name.clone()),
        ("durabilities", |run| run.target.durability.clone()),
        ("processors", |run| format!("{} {}", run.environment.cores, run.environment.cpu_model)),
        ("numbers of generators", |run| run.generators.len().to_string()),
        ("builds", |run| run.environment.profile.clone()),
    ];
    for (what, pick) in facts {
        let values: BTreeSet<String> = runs.iter().map(|one| pick(one.run)).collect();
        if values.len() > 1 {
            lines.push((Status::Suspect, format!("The runs have different {what}.")));
        }
    }
    lines
}

fn who(runs: &[Named<'_>]) -> Numbers {
    let rows = runs
        .iter()
        .map(|one| {
            let run = one.run;
            let commit = run.environment.git_commit.as_deref().unwrap_or(MISSING);
            vec![
                one.name.clone(),
                run.scenario.name.clone(),
                // To the second.
                run.started_at.chars().take(19).collect(),
                number(run.duration_s),
                format!("{} {}", run.target.name, run.target.version.as_deref().unwrap_or("")),
                commit.chars().take(10).collect(),
                format!("{} × {}", run.environment.cores, run.environment.cpu_model),
                run.generators.len().to_string(),
                run.scenario.seed.to_string(),
                read::status(run).text().to_owned(),
            ]
        })
        .collect();
    let head = [
        "run",
        "scenario",
        "started",
        "took s",
        "target",
        "commit",
        "cores",
        "generators",
        "seed",
        "verdict",
    ];
    Numbers { head: head.map(str::to_owned).to_vec(), rows }
}

const FIGURES: [&str; 7] =
    ["p50 ms", "p99 ms", "received once", "lost", "goodput /s", "CPU s/1,000", "verdict"];

/// A row for each step; of each figure the runs stand beside each other.
fn figures(runs: &[Named<'_>]) -> Numbers {
    let mut head = vec!["step".to_owned()];
    for what in FIGURES {
        head.extend((0..runs.len()).map(|index| format!("{what} {}", letter(index))));
    }
    let rows = steps(runs)
        .into_iter()
        .map(|name| {
            let all: Vec<Vec<String>> = runs.iter().map(|one| cells(one.run, name)).collect();
            let mut row = vec![name.to_owned()];
            for figure in 0..FIGURES.len() {
                row.extend(all.iter().map(|cells| cells[figure].clone()));
            }
            row
        })
        .collect();
    Numbers { head, rows }
}

fn cells(run: &Run, name: &str) -> Vec<String> {
    let Some(step) = step(run, name) else { return vec![MISSING.to_owned(); FIGURES.len()] };
    let latency = read::intended(step);
    let of = |value: Option<f64>| {
        value.filter(|value| value.is_finite()).map_or_else(|| MISSING.to_owned(), number)
    };
    vec![
        of(latency.map(|latency| latency.p50_ms)),
        of(latency.map(|latency| latency.p99_ms)),
        format!("{} of {}", grouped(read::received(&step.classes)), grouped(step.classes.sent)),
        grouped(step.classes.lost),
        of(Some(step.goodput_per_s)),
        of(read::platform_cpu(run, step)),
        step.verdict.status.text().to_owned(),
    ]
}

/// The curves of one step in all runs that have it; nothing where that is one.
fn curves(runs: &[Named<'_>], name: &str) -> Option<Shown> {
    let (mut marks, mut keys, mut rows, mut most) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for (place, one) in runs.iter().enumerate() {
        let Some((_, latency)) = step(one.run, name).and_then(read::latency) else { continue };
        let times = read::histogram(&latency.intended);
        if times.is_empty() || keys.len() == CURVES_MAX {
            continue;
        }
        let class = read::colour(place);
        most = most.max(times.len());
        marks.push(Mark::Line {
            class: class.clone(),
            points: percentiles::points(&times),
            name: Some(letter(place).to_string()),
        });
        keys.push(key(&format!("line {class}"), &one.name));
        rows.push(percentiles::row(&one.name, "intended", &times));
    }
    if keys.len() < 2 {
        return None;
    }
    let values: Vec<f64> = marks.iter().flat_map(percentiles::values_of).collect();
    let figure = Figure {
        title: format!("Percentile curves of {name}"),
        description: "Latency of each run over the share of notifications that were at least as \
                      fast"
            .to_owned(),
        x: percentiles::axis(most),
        x_name: percentiles::AXIS_NAME.to_owned(),
        panels: vec![Panel {
            title: "latency from the intended send, ms (log scale)".to_owned(),
            height: 1.0,
            y: Axis::of(Kind::Log, values),
            bare: false,
            marks,
        }],
        stretches: Vec::new(),
        keys,
    };
    Some(Shown {
        heading: format!("The tail of {name}"),
        figure,
        caption: "From the intended send, whole histograms. The right end of each curve is its \
                  slowest receipt: one sample, not a rule."
            .to_owned(),
        numbers: Numbers { head: percentiles::head("run"), rows },
    })
}

/// The same for a pull request.
fn summary(runs: &[Run]) -> String {
    let runs = named(runs);
    let mut text = format!("## {} load test runs\n\n", runs.len());
    for (status, line) in warnings(&runs) {
        text += &format!("- {} {}\n", status.text(), markdown::plain(&line));
    }
    let table = |numbers: &Numbers| {
        let line = |cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(|cell| markdown::plain(cell)).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let rule = format!("|{}\n", "---|".repeat(numbers.head.len()));
        let rows: String = numbers.rows.iter().map(|row| line(row)).collect();
        format!("\n{}{rule}{rows}", line(&numbers.head))
    };
    text += &table(&who(&runs));
    text += &table(&figures(&runs));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn steps_of_one_name_share_a_row_and_a_picture() {
        let (first, mut second) = (sample::waves(), sample::waves());
        second.id = "deadbeef".to_owned();
        second.steps.retain(|step| step.load.size >= 100);
        second.steps[0].verdict.status = Status::Invalid;
        let mut third = sample::open();
        third.scenario.sha256 = "other".to_owned();
        let runs = [first, second, third];
        let page = html(&runs);
        assert_eq!(page.matches("<th scope=\"row\">wave 100</th>").count(), 1);
        assert_eq!(page.matches("<th scope=\"row\">wave 10</th>").count(), 1);
        assert!(page.contains("The tail of wave 500") && !page.contains("The tail of wave 10<"));
        assert!(page.contains("B deadbeef: its figures must not be used"), "{page}");
        assert!(page.contains("The runs have different scenario files."));
        assert!(!page.contains("http://") && !page.contains("<script"));
        let names = named(&runs);
        let figures = figures(&names);
        assert!(figures.rows.iter().all(|row| row.len() == figures.head.len()));
        let ten = figures.rows.iter().find(|row| row[0] == "wave 10").unwrap();
        let missing = ten.iter().filter(|cell| *cell == MISSING).count();
        assert_eq!(missing, 2 * FIGURES.len(), "only the first run has it: {ten:?}");
        assert_eq!(figures.head[1..4], ["p50 ms A", "p50 ms B", "p50 ms C"]);
        let text = summary(&runs);
        assert!(text.contains("| wave 500 |"), "{text}");
    }

    #[test]
    fn hostile_names_become_text_and_too_many_runs_are_refused() {
        let mut run = sample::waves();
        run.id = "<img src=x>".to_owned();
        run.steps[0].name = "</table><script>".to_owned();
        let page = html(&[run.clone(), run.clone()]);
        assert!(!page.contains("<img") && !page.contains("<script>"));
        assert!(!summary(&[run.clone(), run]).contains("<img"));
        let many = vec![PathBuf::from("x"); RUNS_MAX + 1];
        assert!(draw(&many, Path::new("/nowhere")).is_err());
    }
}
