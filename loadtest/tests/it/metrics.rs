//! The Prometheus endpoint of a run: every family is there from the start, grows while the run goes
//! on, and its last state is what run.json says.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::fake::{Fake, Faults};
use crate::program::{measure, program};

const SCENARIO: &str = r#"
name = "scraped"
about = "open load and waves"
recipients = 10
[[steps]]
kind = "open"
rate_per_s = [200]
warm_up_s = 0.3
hold_s = 3
drain_s = 1
settle_s = 0.05
[[steps]]
kind = "wave"
size = 5
repeat = 3
drain_s = 1
settle_s = 0.05
"#;

const FAMILIES: [(&str, &str); 11] = [
    ("info", "gauge"),
    ("target_rate", "gauge"),
    ("in_flight_notifications", "gauge"),
    ("generator_valid", "gauge"),
    ("sent_total", "counter"),
    ("notifications_total", "counter"),
    ("lag_seconds", "histogram"),
    ("e2e_duration_seconds", "histogram"),
    ("stage_duration_seconds", "histogram"),
    ("process_cpu_cores", "gauge"),
    ("process_resident_bytes", "gauge"),
];
const OUTCOMES: [&str; 11] = [
    "delivered",
    "late",
    "lost",
    "duplicate",
    "corrupt",
    "shed",
    "rejected",
    "unknown",
    "dead",
    "phantom",
    "reordered",
];
/// Often enough to be there in the two seconds after the run.
const SCRAPE_EVERY: Duration = Duration::from_millis(100);

const LONGEST: Duration = Duration::from_secs(120);

/// The sum of all series of `campana_loadtest_{name}` with this label; nothing if there is none.
fn sum(text: &str, name: &str, label: &str) -> Option<f64> {
    let start = format!("campana_loadtest_{name}{{");
    let found = text.lines().filter(|line| line.starts_with(&start) && line.contains(label));
    found.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).reduce(|a, b| a + b)
}

/// The sum over all steps of a number in run.json.
fn total(run: &Value, pointer: &str) -> f64 {
    let steps = run["steps"].as_array().unwrap().iter();
    steps.map(|step| step.pointer(pointer).and_then(Value::as_f64).unwrap_or(0.0)).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_can_be_scraped_and_ends_as_its_run_json() {
    let faults =
        Faults { lose_every: Some(40), refuse_every: Some((25, 500)), ..Faults::default() };
    let fake = Fake::start(faults).await;
    let file = fake.data_dir.path().join("own.toml");
    std::fs::write(&file, SCENARIO).unwrap();
    let out = fake.data_dir.path().join("out");
    let mut child = program(fake.data_dir.path())
        .args(["run", file.to_str().unwrap(), "--metrics", "127.0.0.1:0"])
        .args(["--no-floor", "--lenient-timing", "--out", out.to_str().unwrap()])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = loop {
        let line = told.next_line().await.unwrap().expect("the address is told");
        if let Some(address) = line.strip_prefix("metrics at ") {
            break address.to_owned();
        }
    };
    let client = reqwest::Client::builder().timeout(LONGEST).build().unwrap();
    let mut scraped: Vec<String> = Vec::new();
    let mut rhythm = tokio::time::interval(SCRAPE_EVERY);
    let scraping = async {
        // Until nobody answers any more.
        while let Ok(answer) = client.get(&address).send().await {
            let Ok(text) = answer.text().await else { break };
            scraped.push(text);
            rhythm.tick().await;
        }
        child.wait().await.unwrap()
    };
    let status = tokio::time::timeout(LONGEST, scraping).await.unwrap();
    let text = std::fs::read_to_string(out.join("run.json")).unwrap();
    let run: Value = serde_json::from_str(&text).unwrap();
    assert!(status.success(), "{}", run["steps"]);
    assert_eq!(told.next_line().await.unwrap(), None, "no progress goes to a pipe");

    let (first, last) = (&scraped[0], scraped.last().unwrap());
    for outcome in OUTCOMES {
        let label = format!("channel=\"in_app\",outcome=\"{outcome}\"");
        assert!(sum(first, "notifications_total", &label).is_some(), "{outcome}");
        let counted = total(&run, &format!("/by_channel/in_app/{outcome}"));
        assert_eq!(sum(last, "notifications_total", &label), Some(counted), "{outcome}");
    }
    assert!(total(&run, "/classes/lost") > 0.0 && total(&run, "/classes/rejected") > 0.0);
    for (name, kind) in FAMILIES {
        let declared = format!("# TYPE campana_loadtest_{name} {kind}\n");
        assert!(last.contains(&declared), "{declared}{last}");
        assert!(last.contains(&format!("# HELP campana_loadtest_{name} ")), "{name}");
    }
    let label = format!("run=\"{}\",scenario=\"scraped\"", run["id"].as_str().unwrap());
    assert_eq!(sum(last, "info", &label), Some(1.0));
    assert_eq!(sum(last, "sent_total", ""), Some(total(&run, "/classes/sent")));
    assert_eq!(sum(last, "lag_seconds_count", ""), Some(total(&run, "/generator/lag/count")));
    for basis in ["intended", "actual"] {
        let counted = total(&run, &format!("/latency/in_app/{basis}/count"));
        let label = format!("basis=\"{basis}\"");
        assert_eq!(sum(last, "e2e_duration_seconds_count", &label), Some(counted));
    }
    assert!(sum(last, "process_resident_bytes", "process=\"loadtest\"").unwrap() > 0.0);
    assert!(sum(last, "process_cpu_cores", "process=\"loadtest\"").is_some());

    let during = |text: &&String| sum(text, "target_rate", "") == Some(200.0);
    let sent = |text: &String| sum(text, "sent_total", "").unwrap();
    let growing: Vec<f64> = scraped.iter().filter(during).map(sent).collect();
    assert!(!growing.is_empty(), "never scraped while the load was on");
    let all: Vec<f64> = scraped.iter().map(sent).collect();
    assert!(all.is_sorted(), "a counter went back: {all:?}");
    assert!(growing[0] < *all.last().unwrap(), "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_use_is_told_before_the_run() {
    let fake = Fake::start(Faults::default()).await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let done = measure(&fake, &["sweep", "--waves", "1", "--metrics", &address]).await;
    assert_eq!(done.code, 1, "{}", done.stderr);
    assert!(done.stderr.contains("--metrics") && done.stderr.contains(&address), "{}", done.stderr);
    assert_eq!(done.run, Value::Null);
}
