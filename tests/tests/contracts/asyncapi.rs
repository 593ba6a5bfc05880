//! `campana asyncapi` is an AsyncAPI document without a fault.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use campana_tests::command;
use serde_json::{Value, json};

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contracts")
}

/// What the official parser says about each document.
fn parse(documents: &[Value]) -> Vec<Value> {
    assert!(
        folder().join("node_modules/@asyncapi/parser").is_dir(),
        "{} lacks its packages: run `cargo xtask tools npm`",
        folder().display()
    );
    let mut parser = Command::new("node")
        .arg(folder().join("validate.mjs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    parser.stdin.take().unwrap().write_all(json!(documents).to_string().as_bytes()).unwrap();
    let said = parser.wait_with_output().unwrap();
    assert!(said.status.success());
    serde_json::from_slice(&said.stdout).unwrap()
}

fn printed() -> Value {
    let said = Command::new(command::campana().unwrap()).arg("asyncapi").output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    serde_json::from_slice(&said.stdout).unwrap()
}

#[test]
fn the_official_parser_finds_no_fault() {
    let said = parse(&[printed()]).remove(0);
    assert_eq!(said["errors"], Value::Array(Vec::new()), "{said:#}");
    assert_eq!(said["warnings"], Value::Array(Vec::new()), "{said:#}");
    assert_eq!(said["version"], "3.0.0");
    let messages = said["messages"].as_array().unwrap();
    let message = |name: &str| messages.iter().find(|one| one["name"] == name).unwrap();
    for name in ["notify.request.v1", "notify.delivery.v1", "notify.outcome.v1", "notify.inbox.v1"]
    {
        message(name);
    }
    assert_eq!(message("notify.delivery.v1")["type"]["const"], "campana.notify.delivery.v1");
    assert_eq!(message("notify.delivery.v1")["contentType"], "application/json");
    let required = message("notify.delivery.v1")["required"].as_array().unwrap();
    assert!(required.contains(&"address".into()) && !required.contains(&"metadata".into()));
    let operations = said["operations"].as_array().unwrap();
    for (id, action) in [
        ("gateway.send.notify.request", "send"),
        ("dispatcher.receive.notify.request", "receive"),
        ("channel-email.receive.notify.delivery", "receive"),
        ("edge.receive.notify.inbox", "receive"),
        ("recorder.receive.notify.outcome", "receive"),
    ] {
        assert!(operations.contains(&json!([id, action])), "{id}: {operations:?}");
    }
}

/// The test would pass for ever if the parser found no fault in anything.
#[test]
fn the_official_parser_finds_planted_faults() {
    let sound = printed();
    let faults: [(&str, Value); 4] = [
        ("/channels/notify.request/parameters", json!({"other": {}})),
        ("/operations/gateway.send.notify.request/action", "shout".into()),
        ("/components/messages/notify.outcome.v1/payload/$ref", "#/components/schemas/none".into()),
        ("/components/schemas/notify.outcome.v1/type", "thing".into()),
    ];
    let planted = faults.clone().map(|(pointer, value)| {
        let mut document = sound.clone();
        *document.pointer_mut(pointer).unwrap() = value;
        document
    });
    for ((pointer, _), said) in faults.into_iter().zip(parse(&planted)) {
        assert!(!said["errors"].as_array().unwrap().is_empty(), "{pointer}");
    }
}
