//! Comparisons whose answer is known: the same, a tenth slower, half as fast, and what is refused.

use super::*;
use crate::model::{Kind, Run, Status};
use crate::report::sample;

fn side(from: u64, count: u64, scale: f64) -> Vec<Run> {
    // Every second minute, so that the sides are interleaved.
    (0..count).map(|index| sample::scaled(from + index * 2, scale)).collect()
}

fn one_figure(metric: Metric, step: &str) -> Options {
    Options { primary: Some(Primary { metric, step: Some(step.to_owned()) }), ..Options::default() }
}

#[test]
fn a_slower_side_is_worse_and_the_gate_says_so() {
    let (a, b) = (side(10, 6, 1.0), side(11, 6, 1.3));
    let found = decide(&a, &b, &one_figure(Metric::P99, "wave 100")).unwrap();
    let test = found.tests.iter().find(|test| test.decides).unwrap();
    assert_eq!((found.verdict, found.pass), (Verdict::Worse, false), "{test:?}");
    assert!((test.ratio - 1.3).abs() < 0.1, "{test:?}");
    let turned = decide(&b, &a, &one_figure(Metric::P99, "wave 100")).unwrap();
    assert_eq!((turned.verdict, turned.pass), (Verdict::Better, true));
    assert!(found.warnings.is_empty(), "{:?}", found.warnings);
}

#[test]
fn the_same_is_the_same_only_within_the_margin() {
    let (a, b) = (side(10, 8, 1.0), side(11, 8, 1.0));
    let mut options = one_figure(Metric::P50, "wave 100");
    options.margin = 0.08;
    let found = decide(&a, &b, &options).unwrap();
    assert_eq!(found.verdict, Verdict::Same, "{:?}", found.tests[0]);
    options.margin = 0.001;
    options.gate = Gate::NotProven;
    let found = decide(&a, &b, &options).unwrap();
    assert_eq!((found.verdict, found.pass), (Verdict::CannotTell, false));
}

/// Both sides from the same source, again and again: hardly ever a difference.
#[test]
fn sides_that_do_not_differ_are_seldom_told_apart() {
    let wrong = (0..10)
        .filter(|round| {
            let a = side(1_000 + round * 40, 6, 1.0);
            let b = side(1_001 + round * 40, 6, 1.0);
            let found = decide(&a, &b, &Options::default()).unwrap();
            matches!(found.verdict, Verdict::Better | Verdict::Worse)
        })
        .count();
    assert!(wrong <= 1, "{wrong} of 10");
}

#[test]
fn one_run_a_side_cannot_tell() {
    let found = decide(&side(10, 1, 1.0), &side(11, 1, 2.0), &Options::default()).unwrap();
    assert_eq!((found.verdict, found.pass), (Verdict::CannotTell, true));
    assert!(found.warnings[0].contains("only 1 runs a side"), "{:?}", found.warnings);
    assert!(found.tests.iter().all(|test| test.interval.is_none()));
}

#[test]
fn many_figures_ask_for_more_runs() {
    let found = decide(&side(10, 5, 1.0), &side(11, 5, 1.0), &Options::default()).unwrap();
    let throughput = found.tests.iter().filter(|test| test.metric == Metric::Throughput);
    assert_eq!(throughput.count(), 1, "a wave has none");
    assert_eq!(found.tests.len(), 7);
    assert!(
        found.warnings.iter().any(|text| text.contains("7 figures decide")),
        "{:?}",
        found.warnings
    );
    assert_eq!((sides::runs_needed(1), sides::runs_needed(7)), (4, 6));
}

#[test]
fn what_is_not_comparable_is_refused_with_the_reason() {
    let a = side(10, 2, 1.0);
    let refused = |change: fn(&mut Run), wanted: &str| {
        let mut b = side(11, 2, 1.0);
        change(&mut b[1]);
        let error = decide(&a, &b, &Options::default()).unwrap_err().to_string();
        assert!(error.contains(wanted) && error.contains("--force"), "{error}");
        let forced = Options { force: true, ..Options::default() };
        let found = decide(&a, &b, &forced).unwrap();
        assert!(found.warnings[0].contains(wanted), "{:?}", found.warnings);
    };
    refused(
        |run| run.scenario.name = "another".to_owned(),
        "the scenario differs: another and compared",
    );
    refused(|run| run.target.durability = "none".to_owned(), "durability differs");
    refused(|run| run.steps[0].load.kind = Kind::Closed, "the load of wave 100 differs");
    refused(|run| run.steps[0].verdict.status = Status::Invalid, "is INVALID");
    refused(|run| run.environment.cores = 64, "the number of cores differs");
    assert!(decide(&[], &a, &Options { force: true, ..Options::default() }).is_err());
}

#[test]
fn weak_comparisons_are_called_weak() {
    let a = side(10, 2, 1.0);
    let found = decide(&a, &a, &Options::default()).unwrap();
    assert!(found.warnings.iter().any(|text| text.contains("same run")));
    let late = (0..2).map(|index| sample::scaled(40 + index, 1.0)).collect::<Vec<_>>();
    let found = decide(&a, &late, &Options::default()).unwrap();
    assert!(found.warnings.iter().any(|text| text.contains("interleave")), "{:?}", found.warnings);
    assert!(sides::has_outlier(&[1.0, 1.01, 0.99, 1.02, 3.0]));
    assert!(!sides::has_outlier(&[1.0, 1.01, 0.99, 1.02, 1.03]));
}

#[test]
fn a_comparison_is_readable_as_text_json_and_page() {
    let (mut a, mut b) = (side(10, 5, 1.0), side(11, 5, 1.5));
    for run in a.iter_mut().chain(&mut b) {
        run.steps[0].name = "wave <100>".to_owned();
    }
    let found = decide(&a, &b, &one_figure(Metric::P99, "wave <100>")).unwrap();
    let text = text::render(&found);
    assert!(text.starts_with("B is worse than A: 5 runs of A (campana 0.1.0)"), "{text}");
    assert!(
        text.contains("gate: MISSED") && text.contains("(cannot tell)") || text.contains("(worse)"),
        "{text}"
    );
    let page = html::render(&found);
    assert!(page.contains("wave &lt;100&gt;: shift of the quantiles") && !page.contains("<100>"));
    for needle in ["src=", "href=", "url(", "<script", "NaN", "http"] {
        assert!(
            !page.contains(needle) || needle == "http" && page.contains("http-equiv"),
            "{needle}"
        );
    }
    let json = serde_json::to_string(&found).unwrap();
    let read: Comparison = serde_json::from_str(&json).unwrap();
    assert_eq!(read.verdict, found.verdict);
}

#[test]
fn files_and_folders_are_read_and_results_written() {
    use clap::Parser;
    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        arguments: args::CompareArgs,
    }
    let dir = tempfile::tempdir().unwrap();
    let mut words = vec!["compare".to_owned()];
    for (name, runs) in [("a", side(10, 2, 1.0)), ("b", side(11, 2, 1.0))] {
        words.push(format!("--{name}"));
        for (index, run) in runs.iter().enumerate() {
            let folder = dir.path().join(format!("{name}{index}"));
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join("run.json"), serde_json::to_string(run).unwrap()).unwrap();
            words.push(folder.display().to_string());
        }
    }
    words.extend([
        "--out".to_owned(),
        dir.path().join("out").display().to_string(),
        "--json".to_owned(),
    ]);
    let typed = Typed::parse_from(words);
    let (found, printed) = compare(&typed.arguments).unwrap();
    assert!(printed.starts_with("{\n") && found.a.runs.len() == 2);
    assert!(dir.path().join("out/compare.html").exists());
    assert!(Typed::try_parse_from(["compare", "only-one"]).is_err());
    assert!(Typed::try_parse_from(["compare", "a", "b", "--primary", "p98"]).is_err());
    assert!(Typed::try_parse_from(["compare", "a", "b", "--margin", "-3"]).is_err());
    let both = Typed::parse_from(["compare", "a", "b", "--primary", "p99@wave 500"]);
    assert_eq!(both.arguments.primary.unwrap().step.as_deref(), Some("wave 500"));
}
