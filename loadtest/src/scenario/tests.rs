//! Built-in scenarios, refusals with their line, and the document's examples.

use super::*;

const HEAD: &str = "name = \"x\"\nabout = \"y\"\n";

fn refusal(text: &str) -> String {
    match Scenario::read("own.toml", text) {
        Ok(scenario) => panic!("accepted {scenario:?}"),
        Err(failure) => failure.to_string(),
    }
}

#[test]
fn every_built_in_scenario_is_sound() {
    let all = listed().unwrap();
    assert_eq!(all.len(), 11);
    assert!(all.iter().all(|one| one.steps > 0 && one.seconds > 0.0));
    let ci = Scenario::load("ci").unwrap();
    // Drains are waited out only if something is lost.
    let seconds: f64 =
        ci.steps.iter().map(|step| (step.warm_up + step.hold + step.settle).as_secs_f64()).sum();
    assert!(seconds < 30.0 && !ci.judge_timing && ci.thresholds.len() >= 3, "{seconds}");
    let figure = Scenario::load("paper-figure").unwrap();
    let sizes: Vec<u32> = figure.steps.iter().map(|step| step.size).collect();
    assert_eq!(sizes, [1, 10, 50, 100, 250, 500, 1_000, 2_000, 5_000]);
    assert_eq!(figure.recipients, 5_000);
}

#[test]
fn a_refusal_names_file_line_and_what_is_allowed() {
    let open = format!("{HEAD}[[steps]]\nkind = \"open\"\n");
    let cases = [
        (
            format!("{open}rate_per_s = 0\n"),
            "own.toml:5: rate_per_s is 0; allowed is 0.1 to 200000",
        ),
        (format!("{open}rate_per_s = [5, nan]\n"), "own.toml:5: rate_per_s is NaN"),
        (format!("{open}rate_per_s = 5\nhold_s = -1\n"), "own.toml:6: hold_s is -1; allowed"),
        (
            format!("{open}rate_per_s = 5\nrepeat = 3\n"),
            "own.toml:6: repeat does not belong to a open",
        ),
        (open.clone(), "own.toml:3: an open step needs rate_per_s"),
        (format!("{open}rate = 5\n"), "own.toml:5: unknown field `rate`, expected one of"),
        (
            format!("{open}rate_per_s = 5\nchannels = [\"fax\"]\n"),
            "own.toml:6: there is no channel \"fax\"; allowed are in_app",
        ),
        (format!("{open}rate_per_s = 5\nchannels = []\n"), "own.toml:6: channels must name"),
        (
            format!("{HEAD}seed = -4\n[[steps]]\nkind = \"wave\"\nsize = 1\n"),
            "own.toml:3: seed is -4",
        ),
        (
            format!("{HEAD}recipients = 3\n[[steps]]\nkind = \"wave\"\nsize = 9\n"),
            "own.toml:3: recipients is 3; allowed is 9 to",
        ),
        (format!("{HEAD}steps = []\n"), "own.toml:3: 0 steps"),
        (
            format!(
                "{HEAD}thresholds = [\"p99<=1@wave 3\"]\n[[steps]]\nkind = \"wave\"\nsize = 1\n"
            ),
            "own.toml:3: threshold",
        ),
        (
            format!(
                "{open}rate_per_s = 5\nhold_s = 9\n[[steps.faults]]\nat_s = 10\nwhat = \"reconnect\"\nshare = 1\n"
            ),
            "own.toml:8: at_s is 10; allowed is 0 to 9",
        ),
        (
            format!(
                "{open}rate_per_s = 5\n[[steps.faults]]\nat_s = 1\nwhat = \"restart\"\nprocess = \"campana\"\n"
            ),
            "own.toml:9: only nats-server",
        ),
        (
            format!("{open}rate_per_s = 5\n[[steps.faults]]\nat_s = 1\nwhat = \"reconnect\"\n"),
            "needs share",
        ),
        ("name = 3".to_owned(), "own.toml:1: "),
        ("about = \"y\"".to_owned(), "missing field `name`"),
    ];
    for (text, expected) in cases {
        let found = refusal(&text);
        assert!(found.contains(expected), "{found}\n  instead of {expected}\n{text}");
    }
}

#[test]
fn steps_of_one_name_are_numbered_and_lists_become_steps() {
    let text = format!(
        "{HEAD}[[steps]]\nkind = \"wave\"\nsize = [2, 2]\n[[steps]]\nkind = \"open\"\nname = \"rush\"\nrate_per_s = [5, 7.5]\n"
    );
    let scenario = Scenario::read("own.toml", &text).unwrap();
    let names: Vec<&str> = scenario.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["wave 2", "wave 2 (2)", "rush, open 5/s", "rush, open 7.5/s"]);
    assert_eq!(scenario.slug(), "x");
}

#[test]
fn faults_say_what_they_do() {
    let scenario = Scenario::load("slow-provider").unwrap();
    let fault = &scenario.steps[1].faults[0];
    assert_eq!(fault.text(), "provider of email answers 500 ms later from 0 s for 30 s");
    assert_eq!(fault.ends(), Duration::from_secs(30));
}

/// Every key that the document explains is known, every known key is explained, and its examples
/// are accepted.
#[test]
fn the_document_is_right() {
    let document = include_str!("../../../docs/loadtest-scenarios.md");
    let mut examples = 0;
    for block in document.split("```toml\n").skip(1) {
        let text = block.split("```").next().unwrap_or_default();
        Scenario::read("docs", text).unwrap();
        examples += 1;
    }
    assert!(examples >= 2, "{examples}");
    let keys = [
        "name",
        "about",
        "seed",
        "recipients",
        "payload_bytes",
        "channels",
        "timeout_s",
        "deadline_s",
        "in_flight_max",
        "idempotency_keys",
        "judge_timing",
        "thresholds",
        "slo.p99_ms",
        "slo.shed_ratio_max",
        "kind",
        "size",
        "rate_per_s",
        "arrivals",
        "repeat",
        "warm_up_s",
        "hold_s",
        "drain_s",
        "settle_s",
        "fan_out",
        "at_s",
        "lasts_s",
        "share",
        "channel",
        "delay_ms",
        "process",
        "what",
    ];
    for key in keys {
        assert!(document.contains(&format!("| `{key}` |")), "{key} is not explained");
    }
}
