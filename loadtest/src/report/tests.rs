//! The page as a whole: self-contained, escaped, complete for good and bad runs, unbroken by files
//! that nobody wrote.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::model::{Kind as Load, Status};

/// Everything that a browser would load or follow.
fn addresses(html: &str) -> Vec<&str> {
    [
        "src=", "href=", "url(", "@import", "<script", "<link", "<iframe", "<img", "http://",
        "https://",
    ]
    .into_iter()
    .filter(|needle| html.contains(needle))
    .collect()
}

#[test]
fn the_page_needs_nothing_else() {
    let mut run = sample::everything();
    // The one address that is shown is a fact about the run, not something to load.
    run.environment.target = "the gateway".to_owned();
    let html = html::render(&run);
    assert_eq!(addresses(&html), Vec::<&str>::new());
    assert_eq!(html.matches("<svg").count(), html.matches("</svg>").count());
    assert!(html.len() < 3_000_000, "{} bytes", html.len());
}

#[test]
fn every_picture_of_a_full_run_is_there_and_has_its_numbers() {
    let run = sample::everything();
    let shown = figures::all(&run);
    let headings: Vec<&str> = shown.iter().map(|shown| shown.heading.as_str()).collect();
    for wanted in [
        "Waves: latency, CPU and success",
        "Fan-out",
        "Open load: latency and goodput over the rate",
        "Closed load: throughput over users",
        "The tail",
        "Where the time goes",
        "What it costs: CPU, wave load",
        "The run over time",
        "Memory",
        "open 3000/s, edge restarted: fault and recovery",
        "open 3000/s, edge restarted: heat map",
        "wave 500 over time",
    ] {
        assert!(headings.contains(&wanted), "{wanted} is missing in {headings:?}");
    }
    for shown in &shown {
        assert!(!shown.numbers.rows.is_empty(), "{} has no numbers", shown.heading);
        let widths: Vec<usize> = shown.numbers.rows.iter().map(Vec::len).collect();
        assert!(widths.iter().all(|width| *width == shown.numbers.head.len()), "{}", shown.heading);
        let drawing = shown.figure.draw();
        assert!(!drawing.contains("NaN") && !drawing.contains("inf"), "{}", shown.heading);
        assert!(drawing.contains("role=\"img\"") && drawing.contains("aria-label=\""));
    }
}

#[test]
fn the_headline_is_the_figure_and_no_ratio() {
    let html = html::render(&sample::everything());
    let head = &html[..html.find("<section").unwrap()];
    assert!(head.contains("500 notifications at once: <span>half arrive within"), "{head}");
    assert!(head.contains("25,000 of 25,000"));
    for boast in ["times faster", "× faster", "x faster", "times lower"] {
        assert!(!html.contains(boast));
    }
    assert!(html.contains("other hardware, other definition"));
}

#[test]
fn kinds_never_share_a_picture() {
    let run = sample::everything();
    for shown in figures::all(&run) {
        let open = shown.numbers.rows.iter().any(|row| row[0].starts_with("open "));
        let closed = shown.numbers.rows.iter().any(|row| row[0].starts_with("closed "));
        let free = ["The tail", "Where the time goes", "Memory", "The run over time"];
        assert!(!(open && closed) || free.contains(&shown.heading.as_str()), "{}", shown.heading);
    }
    assert_eq!(read::curve(&run, Load::Open).len(), 8, "the step with a fault is on no curve");
}

#[test]
fn the_closed_curve_tells_its_knee_or_that_there_is_none() {
    let html = html::render(&sample::closed());
    assert!(html.contains("Throughput peaks at about"), "no knee");
    let mut run = sample::closed();
    run.steps.truncate(4);
    assert!(html::render(&run).contains("No scalability law is fitted"));
    let mut run = sample::closed();
    run.steps.truncate(6);
    assert!(html::render(&run).contains("No knee within range"));
}

#[test]
fn recovery_is_told_in_words() {
    let html = html::render(&sample::fault());
    assert!(
        html.contains("restart edge at 20 s for 4 s") && html.contains("had arrived 2.40 s after")
    );
    let mut run = sample::fault();
    run.steps[0].classes.lost = 7;
    assert!(html::render(&run).contains("but 7 were lost"));
}

#[test]
fn text_from_outside_is_escaped() {
    let mut run = sample::everything();
    run.command = "sweep '<img src=x>'".to_owned();
    run.error = Some("<b>&".to_owned());
    run.scenario.name = "</title><u>".to_owned();
    for step in &mut run.steps {
        step.name = format!("<i>{}", step.name);
        step.failures.insert("<i>reset".to_owned(), 1);
        for stage in &mut step.stages {
            stage.name = format!("<i>{}", stage.name);
        }
        step.cpu_s_per_1000.insert("\"><i>".to_owned(), 1.0);
        step.load.faults.push("<i> at 3 s".to_owned());
    }
    let html = html::render(&run);
    assert!(html.contains("&lt;img src=x&gt;") && html.contains("&lt;b&gt;&amp;"));
    for tag in ["<img", "<i>", "<u>", "<b>&"] {
        let found = html.matches(tag).count();
        // The legend's own marks are empty.
        let own = if tag == "<i>" { html.matches("<i></i>").count() } else { 0 };
        assert_eq!(found, own, "{tag}");
    }
}

#[test]
fn troubles_are_told_before_the_figures() {
    let mut run = sample::waves();
    run.steps[1].verdict.status = Status::Invalid;
    run.steps[1].verdict.reasons = vec!["the ledger does not add up".to_owned()];
    run.environment.profile = "debug".to_owned();
    let html = html::render(&run);
    let at = |needle: &str| html.find(needle).unwrap();
    assert!(at("the ledger does not add up") < at("<figure"));
    assert!(at("A debug build took part") < at("<figure"));
    assert!(at("these figures must not be used") < at("<figure"));
    assert!(html.contains("Not drawn, because INVALID: wave 10."));
    run.steps.clear();
    assert!(html::render(&run).contains("no step was finished"));
}

#[test]
fn a_report_can_be_drawn_again_or_says_why_not() {
    let dir = tempfile::tempdir().unwrap();
    assert!(render_again(dir.path(), None).is_err());
    let mut run = sample::waves();
    let file = dir.path().join("run.json");
    fs::write(&file, serde_json::to_string(&run).unwrap()).unwrap();
    let path = render_again(dir.path(), None).unwrap();
    assert_eq!(fs::read_to_string(path).unwrap(), html::render(&run));
    let elsewhere = dir.path().join("new/folder");
    render_again(&file, Some(&elsewhere)).unwrap();
    assert!(elsewhere.join(SUMMARY_FILE).exists());
    run.schema_version = 99;
    fs::write(&file, serde_json::to_string(&run).unwrap()).unwrap();
    let error = render_again(dir.path(), None).unwrap_err().to_string();
    assert!(error.contains("schema_version is 99, this harness reads 2"), "{error}");
    for (text, wanted) in [
        ("{}", "schema_version is missing"),
        ("[1", "not a whole run.json"),
        ("{\"schema_version\":2}", "missing field"),
    ] {
        let error = load::parse(text).unwrap_err();
        assert!(error.contains(wanted), "{error}");
    }
}

/// The page in Debian's Chromium: nothing is asked for, axe-core finds nothing, it fits a phone.
/// `LOADTEST_SHOTS` names a folder for the pictures of it.
#[test]
fn the_page_is_sound_in_chromium() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/browser");
    assert!(
        folder.join("node_modules/playwright-core").exists(),
        "the npm packages of tests/browser are missing: run `cargo xtask tools`"
    );
    let dir = tempfile::tempdir().unwrap();
    write(&sample::everything(), dir.path()).unwrap();
    let mut command = std::process::Command::new("node");
    command.arg("report.mjs").arg(dir.path().join(FILE)).current_dir(folder);
    if let Some(shots) = std::env::var_os("LOADTEST_SHOTS") {
        command.arg("--shots").arg(shots);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

/// A small run with every part, as JSON.
fn small() -> Value {
    let mut run = sample::everything();
    let wanted = [
        "wave 1",
        "wave 10",
        "wave 500",
        "open 1000/s",
        "open 2000/s",
        "closed 1",
        "closed 8",
        "fan-out 10",
        "fan-out 100",
    ];
    run.steps.retain(|step| wanted.contains(&step.name.as_str()) || !step.load.faults.is_empty());
    serde_json::to_value(&run).unwrap()
}

/// Every place in a document.
fn places(value: &Value, here: &str, found: &mut Vec<String>) {
    found.push(here.to_owned());
    match value {
        Value::Array(items) => {
            // The first and the last stand for all of a long list.
            for at in [0, items.len().saturating_sub(1)] {
                if let Some(item) = items.get(at) {
                    places(item, &format!("{here}/{at}"), found);
                }
            }
        }
        Value::Object(fields) => {
            for (name, item) in fields {
                let safe = name.replace('~', "~0").replace('/', "~1");
                places(item, &format!("{here}/{safe}"), found);
            }
        }
        _ => {}
    }
}

fn strange() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(Value::from(0)),
        Just(Value::from(u64::MAX)),
        Just(Value::from(u32::MAX)),
        Just(Value::from(-1)),
        Just(Value::from(1e308)),
        Just(Value::from(-1e308)),
        Just(Value::from(1e-308)),
        Just(Value::from("")),
        Just(Value::from("wave \u{0}<\u{1b}[2J é 漢")),
        Just(Value::from("INVALID")),
        Just(Value::from(Vec::<Value>::new())),
        Just(serde_json::json!({})),
        Just(serde_json::json!([null, 1.0, null])),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Changed in some places: a clear error, or a page.
    #[test]
    fn a_hostile_file_never_panics(changes in prop::collection::vec((any::<prop::sample::Index>(), strange()), 1..6)) {
        let mut json = SMALL.clone();
        for (place, value) in changes {
            let pointer = place.get(&PLACES);
            if let Some(found) = json.pointer_mut(pointer) {
                *found = value;
            }
        }
        if let Ok(run) = load::parse(&json.to_string()) {
            let html = html::render(&run);
            prop_assert!(!html.contains("NaN"));
            prop_assert!(!markdown::render(&run).is_empty());
let escapes = crate::table::render(&run).contains('\u{1b}');
            prop_assert!(!escapes);
        }
    }

    /// Cut off anywhere: an error.
    #[test]
    fn a_file_that_was_cut_off_is_refused(at in any::<prop::sample::Index>()) {
        let text = &*TEXT;
        let mut end = at.index(text.len() - 1);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        prop_assert!(load::parse(&text[..end]).is_err());
    }
}

static SMALL: std::sync::LazyLock<Value> = std::sync::LazyLock::new(small);
static TEXT: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| SMALL.to_string());
static PLACES: std::sync::LazyLock<Vec<String>> = std::sync::LazyLock::new(|| {
    let mut found = Vec::new();
    places(&SMALL, "", &mut found);
    found
});
