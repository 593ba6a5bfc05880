//! What keeps `campana up` from starting: one clear line, exit code 4, and nothing left running.

use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context, Result, ensure};
use campana_tests::command::{self, Ended};
use campana_tests::{Home, Platform, process};

/// Runs `up`, which must refuse.
async fn refused(home: &Home, arguments: &[String], says: &[&str]) -> Result<()> {
    let before = process::mentioning(&home.mark());
    let Ended { code, stdout, stderr } = command::run(home.path(), &[], arguments).await?;
    ensure!(code == 4, "exit code {code} of {arguments:?}: {stderr}");
    let lines: Vec<&str> = stderr.lines().collect();
    ensure!(lines.len() == 1 && lines[0].starts_with("campana: "), "not one line: {stderr}");
    for word in says {
        ensure!(stderr.contains(word), "{word:?} is missing in: {stderr}");
    }
    ensure!(!stderr.contains("::"), "an inside name is shown: {stderr}");
    ensure!(stdout.is_empty(), "{stdout}");
    ensure!(process::mentioning(&home.mark()) == before, "a process lives on after: {stderr}");
    Ok(())
}

fn up(home: &Home, more: &[&str]) -> Vec<String> {
    home.up_arguments(more).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_options_are_refused() {
    let home = Home::new().unwrap();
    let cases: [(&[&str], &[&str]); 6] = [
        (&["--set", "nats.embeded.port=1"], &["unknown option nats.embeded.port", "flag"]),
        (&["--set", "gateway.rate_burst=many"], &["gateway.rate_burst", "flag"]),
        (&["--set", "nats.durability=hope"], &["nats.durability"]),
        (&["--set", "auth.token_secret=short"], &["auth.token_secret", "32 random bytes"]),
        (&["--config", "/nowhere.toml"], &["/nowhere.toml does not exist"]),
        (
            &["--set", "nats.embedded.free_bytes_min=9000000000000000"],
            &["the disk of", "is full", "free_bytes_min"],
        ),
    ];
    for (arguments, says) in cases {
        refused(&home, &up(&home, arguments), says).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_is_checked_and_names_itself() {
    let home = Home::new().unwrap();
    let environment = [("CAMPANA__LOG__LEVLE".to_owned(), "info".to_owned())];
    let ended = command::run(home.path(), &environment, &["config", "check"]).await.unwrap();
    assert_eq!(ended.code, 4, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("log.levle") && ended.stderr.contains("environment"),
        "{}",
        ended.stderr
    );
    // Texts that look like numbers are still texts.
    let environment = [
        ("CAMPANA__CHANNELS__TWILIO__SMS_FROM".to_owned(), "+12025550199".to_owned()),
        (
            "CAMPANA__CHANNELS__TWILIO__AUTH_TOKEN".to_owned(),
            "12345678901234567890123456789012".to_owned(),
        ),
    ];
    let ended =
        command::run(home.path(), &environment, &["config", "show", "--json"]).await.unwrap();
    assert!(ended.json().unwrap().to_string().contains("\"+12025550199\""), "{}", ended.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_failure_has_its_exit_code() {
    let home = Home::new().unwrap();
    let nats = ("CAMPANA__NATS__URL".to_owned(), "nats://127.0.0.1:1".to_owned());
    let cases: [(&[&str], i32, &str); 7] = [
        (&["run", "--role", "dispatcher"], 4, "nats.url is empty"),
        (&["run", "--role", "cook"], 2, "cook"),
        (&["dlq", "list"], 5, "no running platform found"),
        (&["notify", "send", "--to", "alice", "--title", "x"], 5, "no running platform found"),
        (&["notify", "send", "--to", "alice"], 2, "--title or --template"),
        (&["token", "mint", "--user", "a\nb"], 1, "control characters"),
        (&["up", "--nonsense"], 2, "--nonsense"),
    ];
    for (arguments, code, says) in cases {
        let ended = home.command(arguments).await.unwrap();
        assert_eq!(ended.code, code, "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(says) && ended.stdout.is_empty(), "{ended:?}");
    }
    let shared = ["run", "--role", "gateway", "--set", "listen.ops=0", "--set", "listen.gateway=0"];
    let secretless = command::run(home.path(), &[nats], &shared).await.unwrap();
    assert_eq!(secretless.code, 4, "{}", secretless.stderr);
    assert!(secretless.stderr.contains("auth.token_secret"), "{}", secretless.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_nats_server_is_refused() {
    let home = Home::new().unwrap();
    let fake = |name: &str, text: &str| {
        let path = home.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\necho '{text}'\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    };
    let missing = home.path().join("missing").display().to_string();
    let cases = [
        (fake("old", "nats-server: v2.9.10"), vec!["v2.9.10", "2.14 or newer is needed"]),
        (fake("other", "hello"), vec!["hello", "2.14 or newer is needed"]),
        (missing, vec!["missing", "cannot be run"]),
    ];
    for (path, says) in cases {
        let mut arguments = up(&home, &[]);
        arguments[2] = path;
        refused(&home, &arguments, &says).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_port_and_a_second_platform_are_refused() {
    let running = Platform::up(&[]).await.unwrap();
    // A second platform on the same data.
    let same = up(&running.home, &[]);
    refused(&running.home, &same, &["another campana is running on", "--data-dir"]).await.unwrap();
    // Each port that somebody else has.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let home = Home::new().unwrap();
    for key in [
        "listen.gateway",
        "listen.edge",
        "listen.ops",
        "listen.sandbox_smtp",
        "listen.sandbox_web",
        "nats.embedded.port",
        "nats.embedded.monitor_port",
    ] {
        refused(
            &home,
            &with_port(&home, key, port).unwrap(),
            &[&format!("port {port}"), "is in use", key],
        )
        .await
        .unwrap();
    }
    // None of this disturbed the one that runs.
    let api = running.api().unwrap();
    let id = api.ring("alice", "still here").await.unwrap();
    api.status(&id, "completed").await.unwrap();
}

/// Free ports everywhere but for one key.
fn with_port(home: &Home, key: &str, port: u16) -> Result<Vec<String>> {
    let mut arguments = campana_tests::platform::fixed_ports()?;
    let at = arguments
        .iter()
        .position(|argument| argument.starts_with(&format!("{key}=")))
        .context("a known key")?;
    arguments[at] = format!("{key}={port}");
    let borrowed: Vec<&str> = arguments.iter().map(String::as_str).collect();
    home.up_arguments(&borrowed)
}
