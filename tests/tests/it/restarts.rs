//! What is killed comes back, and what was promised before is kept.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use campana_tests::api::{http, id_of};
use campana_tests::platform::fixed_ports;
use campana_tests::{Client, Home, Platform, Roles, eventually, process};
use serde_json::json;

const SOON: Duration = Duration::from_secs(20);
/// Longer than the bus waits before it gives a message that was in hand at a kill to somebody else (30 s).
const LATE: Duration = Duration::from_secs(50);

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_platform_takes_nats_server_with_it_and_keeps_its_promises() {
    let home = Home::new().unwrap();
    let ports = fixed_ports().unwrap();
    let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
    let mut platform = Platform::up_in(&home, &ports).await.unwrap();
    let api = platform.api().unwrap();
    let mut bell = platform.client("frank").await.unwrap();
    let before = api.ring("frank", "before").await.unwrap();
    bell.expect(&before).await.unwrap();
    let body =
        json!({"to": {"id": "frank"}, "content": {"title": "scheduled"}, "delay_seconds": 2});
    let scheduled = id_of(&api.notify(&body).await.unwrap()).unwrap();
    // Accepted a moment before the kill: on disk, and perhaps nowhere else.
    let last = api.ring("frank", "last words").await.unwrap();
    platform.kill().await.unwrap();
    assert_eq!(process::mentioning(&home.mark()), Vec::<u32>::new(), "something lives on");

    let platform = Platform::up_in(&home, &ports).await.unwrap();
    // A client that comes back to the same address gets what it missed and what is new, each once.
    bell.reconnect().await.unwrap();
    assert!(bell.recovered, "the edge could not recover");
    let after = api.ring("frank", "after").await.unwrap();
    let wanted = BTreeSet::from([last.clone(), scheduled.clone(), after.clone()]);
    let mut rung = BTreeSet::new();
    // What was in a worker's hand at the kill comes later than what is new: the bus waits for the worker.
    while rung.len() < wanted.len() {
        let next = bell.next(LATE).await.unwrap().data;
        let id = next["notification_id"].as_str().unwrap().to_owned();
        assert!(wanted.contains(&id) && rung.insert(id), "{next} is not wanted, or came twice");
    }
    for id in [&before, &last, &scheduled, &after] {
        api.status(id, "completed").await.unwrap();
    }
    platform.stop(process::Signal::TERM).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_nats_server_is_started_again() {
    let platform = Platform::up(&[]).await.unwrap();
    let api = platform.api().unwrap();
    let mut bell = platform.client("grace").await.unwrap();
    let before = api.ring("grace", "before").await.unwrap();
    bell.expect(&before).await.unwrap();
    let staged = StagedInMemory::of(&platform);
    staged.eventually("from the start").await;
    let killed = platform.kill_nats().unwrap();
    // Held by the gateway until the bus is back, or refused with a clean 503.
    let after = eventually("a notification after the kill", SOON, async || {
        api.ring("grace", "after").await.map(Some)
    })
    .await
    .unwrap();
    assert_ne!(platform.nats_pid(), Some(killed));
    rings(&mut bell, &after).await.unwrap();
    api.status(&after, "completed").await.unwrap();
    staged.eventually("again after the restart").await;
    platform.stop(process::Signal::TERM).await.unwrap();
    assert!(!staged.folder.exists(), "{} is left", staged.folder.display());
}

/// Whether nats-server stages batches in memory: what it says on `/metrics`, and what is on the disk.
struct StagedInMemory {
    metrics: String,
    link: PathBuf,
    folder: PathBuf,
}

impl StagedInMemory {
    fn of(platform: &Platform) -> Self {
        let link =
            platform.home.data().join("nats/jetstream/jetstream/$G/streams/CHANNELS/batches");
        let folder = std::fs::read_link(&link).unwrap().parent().unwrap().to_owned();
        assert!(folder.starts_with("/dev/shm"), "{}", folder.display());
        Self { metrics: format!("{}/metrics", platform.url("metrics")), link, folder }
    }

    async fn eventually(&self, when: &str) {
        eventually(&format!("batches staged in memory {when}"), SOON, async || {
            let text = http()?.get(&self.metrics).send().await?.text().await?;
            let said = text.lines().any(|line| line == "campana_nats_streams_staged_in_memory 3");
            Ok((said && std::fs::symlink_metadata(&self.link)?.is_symlink()).then_some(()))
        })
        .await
        .unwrap();
    }
}

/// The client stays connected while the bus is away, or comes back.
async fn rings(bell: &mut Client, id: &str) -> Result<()> {
    if bell.expect(id).await.is_ok() {
        return Ok(());
    }
    eventually("the reconnect", SOON, async || bell.reconnect().await.map(Some)).await?;
    bell.expect(id).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_waits_for_a_dispatcher_and_too_much_is_refused() {
    let limits = [("GATEWAY__BACKLOG_MESSAGES_MAX", "20"), ("GATEWAY__BACKLOG_POLL_MS", "20")];
    let mut roles = Roles::start_with(&["gateway"], &limits).await.unwrap();
    let api = roles.api().unwrap();
    let (mut accepted, body) = (Vec::new(), json!({"to": {"id": "x"}, "content": {"title": "x"}}));
    let refused = eventually("the end of patience", SOON, async || {
        let answer = api.post("/v1/notifications", &body).await?;
        if answer.status != 202 {
            return Ok(Some(answer));
        }
        accepted.push(id_of(&answer.body)?);
        Ok(None)
    })
    .await
    .unwrap();
    assert_eq!((refused.status, refused.code()), (503, "overloaded"), "{}", refused.text);
    assert_eq!(refused.body["retryable"], true);
    assert!(refused.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0));
    assert!(accepted.len() > 20, "refused after {}", accepted.len());
    for role in ["dispatcher", "recorder"] {
        roles.start_role(role).await.unwrap();
    }
    for id in &accepted {
        api.status(id, "completed").await.unwrap();
    }
    api.ring("x", "welcome again").await.unwrap();
    roles.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_tells_every_client_to_come_back() {
    let platform = Platform::up(&["--set", "edge.drain_window_ms=500"]).await.unwrap();
    let mut clients = Vec::new();
    for number in 0..30 {
        clients.push(platform.client(&format!("user-{number}")).await.unwrap());
    }
    let id = platform.api().unwrap().ring("user-0", "in the last moment").await.unwrap();
    clients[0].expect(&id).await.unwrap();
    let told = async {
        for client in &mut clients {
            let end = client.next(SOON).await.unwrap_err().to_string();
            assert!(end.contains("3001"), "{end}");
        }
    };
    let (stopped, ()) = tokio::join!(platform.stop(process::Signal::TERM), told);
    stopped.unwrap();
}
