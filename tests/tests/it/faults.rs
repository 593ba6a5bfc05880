//! What was answered 202 happens once, whatever is killed meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use campana_bus::subjects::{self, ChannelName};
use campana_bus::{clock, topology};
use campana_tests::api::{id_of, send};
use campana_tests::random::Random;
use campana_tests::{Api, Client, Home, Platform, Roles, eventually, process};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

const SENDERS: usize = 20;
const EACH: usize = 150;
const PEOPLE: usize = 50;
/// Kills of nats-server and of the platform.
const NATS_KILLS: usize = 3;
const PLATFORM_KILLS: usize = 2;
const ONE_WITHIN: Duration = Duration::from_secs(90);
const DRAINED_WITHIN: Duration = Duration::from_secs(90);
const FINAL: [&str; 3] = ["completed", "partially_failed", "failed"];

/// What the senders know together.
#[derive(Default)]
struct Progress {
    accepted: AtomicUsize,
    /// Id of the notification by its idempotency key.
    ids: Mutex<BTreeMap<String, String>>,
    replays: AtomicUsize,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_accepted_notification_arrives_once_although_everything_is_killed_alone() {
    let mut random = Random::seeded("kills");
    let home = Home::new().unwrap();
    // The same ports in every life, so that senders find the platform again; and a request whose gateway
    // died is soon free to be repeated.
    let mut arguments = campana_tests::platform::fixed_ports().unwrap();
    arguments.extend(["--set".to_owned(), "gateway.idempotency_takeover_seconds=2".to_owned()]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut platform = Platform::up_in(&home, &arguments).await.unwrap();
    let progress = Arc::new(Progress::default());
    let started = clock::monotonic();
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        senders.spawn(send_all(platform.api().unwrap(), sender, Arc::clone(&progress)));
    }
    for (threshold, kill) in plan(&mut random) {
        let what = format!("{threshold} accepted");
        eventually(&what, ONE_WITHIN, async || {
            Ok((progress.accepted.load(Ordering::Relaxed) >= threshold).then_some(()))
        })
        .await
        .unwrap();
        println!("{:?}: {kill:?} after {threshold}", started.elapsed());
        match kill {
            Kill::Nats => drop(
                eventually("nats-server", ONE_WITHIN, async || platform.kill_nats().map(Some))
                    .await
                    .unwrap(),
            ),
            Kill::Platform => {
                platform.kill().await.unwrap();
                platform = Platform::up_in(&home, &arguments).await.unwrap();
            }
        }
    }
    while let Some(sender) = senders.join_next().await {
        sender.unwrap().unwrap();
    }
    let ids = progress.ids.lock().unwrap().clone();
    println!(
        "{} accepted, {} answers were replays",
        ids.len(),
        progress.replays.load(Ordering::Relaxed)
    );
    assert_eq!(ids.len(), SENDERS * EACH);
    let ids: BTreeSet<String> = ids.into_values().collect();
    assert_eq!(ids.len(), SENDERS * EACH, "two keys share a notification");
    settled(&platform.api().unwrap(), &ids).await.unwrap();
    once_in_the_inboxes(&platform, &ids).await.unwrap();
    let dead = home.command(&["dlq", "list", "--json"]).await.unwrap().json().unwrap();
    assert_eq!(dead["dead_letters"], json!([]), "a kill is nobody's fault");
    platform.stop(process::Signal::TERM).await.unwrap();
}

#[derive(Clone, Copy, Debug)]
enum Kill {
    Nats,
    Platform,
}

/// Which kill comes after how many accepted notifications.
fn plan(random: &mut Random) -> Vec<(usize, Kill)> {
    let mut kills =
        [[Kill::Nats; NATS_KILLS].as_slice(), &[Kill::Platform; PLATFORM_KILLS]].concat();
    random.shuffle(&mut kills);
    let all = (SENDERS * EACH) as u64;
    let mut moments: Vec<usize> = kills
        .iter()
        .map(|_| usize::try_from(random.between(all / 20, all * 9 / 10)).unwrap_or(1))
        .collect();
    moments.sort_unstable();
    moments.into_iter().zip(kills).collect()
}

async fn send_all(api: Api, sender: usize, progress: Arc<Progress>) -> Result<()> {
    for turn in 0..EACH {
        let key = format!("{sender}-{turn}");
        let person = format!("person-{}", (sender * EACH + turn) % PEOPLE);
        // Some also leave the house, so that the work queue of a channel is killed in the middle too.
        let channels: &[&str] = if turn % 10 == 0 { &["in_app", "email"] } else { &["in_app"] };
        let body = json!({"to": {"id": person, "email": "person@example.com"}, "content": {"title": key}, "channels": channels});
        let id = send_until_accepted(&api, &key, &body, &progress).await?;
        progress.ids.lock().expect("no sender panics").insert(key, id);
        progress.accepted.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// As a careful caller does it: the same key again until there is an answer. Only errors that say so are
/// worth a repeat.
async fn send_until_accepted(
    api: &Api,
    key: &str,
    body: &Value,
    progress: &Progress,
) -> Result<String> {
    let started = clock::monotonic();
    let mut last = String::new();
    while started.elapsed() < ONE_WITHIN {
        let request = api
            .request(Method::POST, "/v1/notifications")
            .header("Idempotency-Key", key)
            .json(body);
        match send(request).await {
            Ok(answer) if answer.status == 202 => {
                if answer.header("idempotent-replayed") == "true" {
                    progress.replays.fetch_add(1, Ordering::Relaxed);
                }
                return id_of(&answer.body);
            }
            Ok(answer) => {
                ensure!(answer.body["retryable"] == true, "{}: {}", answer.status, answer.text);
                last = answer.text;
            }
            Err(error) => last = format!("{error:#}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("{key} was not accepted: {last}")
}

/// Every notification, by its pages, reaches a final state.
async fn settled(api: &Api, ids: &BTreeSet<String>) -> Result<()> {
    let mut states = BTreeMap::new();
    let done = eventually("final states", DRAINED_WITHIN, async || {
        states = all_states(api).await?;
        let open = ids
            .iter()
            .filter(|id| !states.get(*id).is_some_and(|state| FINAL.contains(&state.as_str())))
            .count();
        Ok((open == 0).then_some(()))
    });
    done.await.with_context(|| {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for id in ids {
            *counts.entry(states.get(id).map_or("unknown", String::as_str)).or_default() += 1;
        }
        format!("{counts:?}")
    })?;
    ensure!(states.len() == ids.len(), "{} notifications of {} requests", states.len(), ids.len());
    ensure!(states.values().all(|state| state == "completed"), "something failed: {states:?}");
    Ok(())
}

async fn all_states(api: &Api) -> Result<BTreeMap<String, String>> {
    let (mut states, mut path) = (BTreeMap::new(), "/v1/notifications?limit=200".to_owned());
    loop {
        let page = api.get(&path).await?.expect(200)?;
        for one in page["data"].as_array().into_iter().flatten() {
            states.insert(id_of(one)?, one["status"].as_str().unwrap_or_default().to_owned());
        }
        let Some(cursor) = page["next_cursor"].as_str() else {
            return Ok(states);
        };
        path = format!("/v1/notifications?limit=200&cursor={cursor}");
    }
}

/// What lies in the inbox channels is what every browser gets.
async fn once_in_the_inboxes(platform: &Platform, ids: &BTreeSet<String>) -> Result<()> {
    let bus = platform.bus().await?;
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for person in 0..PEOPLE {
        let subject =
            subjects::channel("default", &ChannelName::inbox(&format!("person-{person}"))?);
        let page = bus.fetch_after(topology::CHANNELS, &subject, 0, 1_000).await?;
        ensure!(page.pending == 0, "an inbox with {} more messages", page.pending);
        for message in page.messages {
            let data: Value = serde_json::from_slice(&message.payload)?;
            *seen
                .entry(data["notification_id"].as_str().unwrap_or_default().to_owned())
                .or_default() += 1;
        }
    }
    let lost: Vec<&String> = ids.iter().filter(|id| !seen.contains_key(*id)).collect();
    let twice: Vec<_> = seen.iter().filter(|(_, count)| **count > 1).collect();
    let strangers: Vec<_> = seen.keys().filter(|id| !ids.contains(*id)).collect();
    ensure!(
        lost.is_empty() && twice.is_empty() && strangers.is_empty(),
        "lost {lost:?}, twice {twice:?}, not accepted {strangers:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bell_rings_while_the_database_is_away() {
    let mut roles = Roles::start(&["gateway", "dispatcher", "recorder", "edge"]).await.unwrap();
    let api = roles.api().unwrap();
    let token = api.token("alice").await.unwrap();
    let mut bell = Client::connect(&roles.edge_ws().unwrap(), "alice", &token).await.unwrap();
    let before = api.ring("alice", "before").await.unwrap();
    bell.expect(&before).await.unwrap();
    api.status(&before, "completed").await.unwrap();

    roles.postgres.kill();
    let mut during = Vec::new();
    for turn in 0..10 {
        let id = api.ring("alice", &format!("during {turn}")).await.unwrap();
        bell.expect(&id).await.unwrap();
        during.push(id);
    }
    let asked = api.get(&format!("/v1/notifications/{}", during[0])).await.unwrap();
    assert_eq!((asked.status, asked.code()), (503, "store_unavailable"), "{}", asked.text);
    let health = format!("{}/readyz", roles.http("recorder-ops").unwrap());
    let http = campana_tests::api::http().unwrap();
    // No reason to take the process away from its load balancer, but it is said.
    let health = http.get(&health).send().await.unwrap();
    assert_eq!(health.status(), 200);
    assert!(health.text().await.unwrap().contains("the database does not answer"));

    roles.postgres.restart().unwrap();
    for id in &during {
        eventually("the status after the database came back", DRAINED_WITHIN, async || {
            let answer = api.get(&format!("/v1/notifications/{id}")).await?;
            Ok((answer.body["status"] == "completed").then_some(()))
        })
        .await
        .unwrap();
    }
    for (name, process) in &mut roles.processes {
        process.must_run().with_context(|| name.clone()).unwrap();
    }
    roles.stop().await.unwrap();
}
