//! `campana bench edge`, small: every figure is there and every sum is right. Nothing is said about speed.

use campana_tests::command::run;
use serde_json::Value;

async fn measure(arguments: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let mut all = vec!["bench", "edge"];
    all.extend(arguments);
    all.push("--json");
    let printed = run(folder.path(), &[], &all).await.unwrap().json().unwrap();
    assert_eq!(printed["schema_version"], 1);
    let [report] = &printed["edge"].as_array().unwrap()[..] else { panic!("{printed}") };
    report.clone()
}

/// Every message once at every receiver, and a figure of every column in every row.
fn check(report: &Value, expected: u64) {
    let checks = &report["checks"];
    assert_eq!(checks["expected"], expected, "{report}");
    assert_eq!(checks["received"], expected, "{report}");
    assert_eq!(
        (&checks["faults"], &checks["lost_connections"]),
        (&0.into(), &0.into()),
        "{report}"
    );
    let rows = report["rows"].as_array().unwrap();
    assert!(!rows.is_empty());
    for row in rows {
        let first = report["columns"][0].as_str().unwrap();
        assert!(row["values"][first].is_f64(), "{row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fan_out_counts_every_delivery_of_both_sides() {
    let small = ["--connections", "50", "--messages", "3", "--bursts", "2", "--rounds", "1"];
    let report = measure(&[&["fanout"], &small[..]].concat()).await;
    // Two to warm up, three alone, two bursts of sixteen; the edge and nats-server's gateway.
    check(&report, 2 * 50 * (2 + 3 + 2 * 16));
    assert_eq!(report["columns"], serde_json::json!(["edge", "nats-server ws"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_stay() {
    let report = measure(&["idle", "--connections", "40", "--seconds", "0", "--rounds", "1"]).await;
    check(&report, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn latency_of_three_ways() {
    let report = measure(&["latency", "--messages", "20", "--rounds", "1"]).await;
    check(&report, 20);
    assert!(report["rows"][0]["ratios"]["bare"].as_f64().unwrap() > 0.0, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mass_reconnect_recovers_everything_once() {
    let small = ["--connections", "40", "--messages", "5", "--rounds", "1"];
    let report = measure(&[&["reconnect"], &small[..]].concat()).await;
    check(&report, 40 * 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_block_while_the_others_are_measured() {
    let small = ["--connections", "24", "--slow", "4", "--messages", "5", "--rounds", "1"];
    let report = measure(&[&["slow"], &small[..]].concat()).await;
    // Two to warm up and five that count, with and without.
    check(&report, 2 * 20 * (2 + 5));
    let rows = report["rows"].as_array().unwrap();
    let blocked = rows.iter().find(|row| row["what"] == "clients that block at the end").unwrap();
    assert_eq!(blocked["values"]["with slow"], 4.0, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_are_spread_over_several_edges() {
    let small = ["--channels", "300", "--edges", "2", "--connections", "4", "--messages", "200"];
    let report = measure(&[&["channels"], &small[..]].concat()).await;
    check(&report, 2 * 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_connections_are_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let many = ["bench", "edge", "idle", "--connections", "1000000000"];
    let ended = run(folder.path(), &[], &many).await.unwrap();
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(ended.stderr.contains("ulimit -n"), "{}", ended.stderr);
}
