//! The server API as backends use it: the published Python library `cent` against two edges, and the lines of the
//! guide in `curl`.
//! Reads: `docs/guide-server-api.md`. Writes: temporary folders. Never: leaves an edge running.

use std::path::Path;
use std::time::Duration;

use campana_tests::edges::Edges;
use campana_tests::{Home, Process};
use serde_json::Value;

use super::{must_be_installed, python, sdk};

const API_KEY: &str = "a-key-that-the-test-and-the-edges-share";
const ENDS_WITHIN: Duration = Duration::from_secs(180);
const CONFIGURATION: &str = r#"
[edge]
namespaces = [
  { name = "api", subscribe = ["authenticated"], track_presence = true },
  { name = "room", subscribe = ["authenticated"] },
]
[edge.api]
key = "a-key-that-the-test-and-the-edges-share"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn cent_works_in_both_its_clients() {
    must_be_installed();
    let edges = Edges::start(2, CONFIGURATION).await.unwrap();
    let home = Home::new().unwrap();
    let api = format!("http://{}/api", edges.nodes[0].address);
    let url = Edges::url(edges.nodes[1].address);
    let token = Edges::token("alice").unwrap();
    let mut script = Process::start("cent", &python(), home.path(), |command| {
        command.arg(sdk().join("server_api.py")).args(["--api", &api, "--url", &url]);
        command.args(["--key", API_KEY, "--token", &token]);
    })
    .unwrap();
    let status = script.ended(ENDS_WITHIN).await.unwrap();
    let said = script.output();
    assert!(status.success() && said.ends_with("done\n"), "{status}: {said}\n{}", script.log());
    edges.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guide_s_lines_work_in_curl() {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guide-server-api.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let lines: Vec<&str> = guide.lines().filter(|line| line.starts_with("curl ")).collect();
    assert!(lines.len() >= 5, "{lines:?}");
    let edges = Edges::start(2, CONFIGURATION).await.unwrap();
    let home = Home::new().unwrap();
    for (number, line) in lines.iter().enumerate() {
        let line = line.replace("127.0.0.1:8000", &edges.nodes[number % 2].address.to_string());
        let mut curl = Process::start("curl", Path::new("sh"), home.path(), |command| {
            command.args(["-c", &format!("exec {line}")]).env("API_KEY", API_KEY);
        })
        .unwrap();
        assert!(curl.ended(ENDS_WITHIN).await.unwrap().success(), "{line}");
        let answer: Value = serde_json::from_str(&curl.output()).unwrap();
        assert!(answer["result"].is_object(), "{line}: {answer}");
    }
    edges.stop().await.unwrap();
}
