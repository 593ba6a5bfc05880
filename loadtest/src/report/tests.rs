//! The page as a whole: self-contained, escaped, and complete for good and bad runs.

use super::*;
use crate::run::{Status, sample};

/// Everything that a browser would load or follow.
fn addresses(html: &str) -> Vec<&str> {
    ["src=", "href=", "url(", "@import", "<script", "<link", "<iframe"]
        .into_iter()
        .filter(|needle| html.contains(needle))
        .collect()
}

#[test]
fn the_page_needs_nothing_else() {
    let html = html::render(&sample());
    assert_eq!(addresses(&html), Vec::<&str>::new());
    assert!(html.matches("<svg").count() == 4 && html.matches("</svg>").count() == 4);
}

#[test]
fn the_headline_is_the_figure_and_no_ratio() {
    let html = html::render(&sample());
    assert!(html.contains("500 notifications at once: <span>half within"), "{html}");
    assert!(html.contains("3,000 <small>of 3,000"));
    for boast in ["times faster", "× faster", "x faster"] {
        assert!(!html.contains(boast));
    }
    assert!(html.contains("other hardware, other definition"));
}

#[test]
fn text_from_outside_is_escaped() {
    let mut run = sample();
    run.command = "sweep '<img src=x>'".to_owned();
    run.error = Some("<b>&".to_owned());
    run.steps[0].failures.insert("<i>reset".to_owned(), 1);
    let html = html::render(&run);
    assert!(html.contains("&lt;img src=x&gt;") && html.contains("&lt;b&gt;&amp;"));
    assert!(!html.contains("<img") && !html.contains("<i>reset"));
}

#[test]
fn troubles_are_told_before_the_figure() {
    let mut run = sample();
    run.steps[1].verdict.status = Status::Invalid;
    run.steps[1].verdict.reasons = vec!["the ledger does not add up".to_owned()];
    run.environment.profile = "debug".to_owned();
    let html = html::render(&run);
    let at = |needle: &str| html.find(needle).unwrap();
    assert!(at("the ledger does not add up") < at("<figure"));
    assert!(at("A debug build took part") < at("<figure"));
    run.steps.clear();
    assert!(html::render(&run).contains("No step was finished"));
}

#[test]
fn a_report_can_be_drawn_again_or_says_why_not() {
    let dir = tempfile::tempdir().unwrap();
    assert!(render_again(dir.path()).is_err());
    let mut run = sample();
    fs::write(dir.path().join("run.json"), serde_json::to_string(&run).unwrap()).unwrap();
    let path = render_again(dir.path()).unwrap();
    assert_eq!(fs::read_to_string(path).unwrap(), html::render(&run));
    run.schema_version = 99;
    fs::write(dir.path().join("run.json"), serde_json::to_string(&run).unwrap()).unwrap();
    assert!(render_again(dir.path()).unwrap_err().to_string().contains("99"));
}
