//! `campana up`: quick, repeatable, and gone without a trace.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use campana_tests::api::{http, id_of, send};
use campana_tests::process::Signal;
use campana_tests::{Answer, Api, Client, Home, Platform, eventually};
use reqwest::Method;
use serde_json::json;

const SOON: Duration = Duration::from_secs(20);
/// A debug build on a shared machine; the release build's figure is in the README.
const START_MAX: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_starts_quickly_and_continues_with_the_same_data() {
    let first = Platform::up(&[]).await.unwrap();
    let key = first.url("api_key");
    let api = first.api().unwrap();
    api.put("/v1/recipients/erin", &json!({"email": "erin@example.com"}))
        .await
        .unwrap()
        .expect(201)
        .unwrap();
    let mut bell = first.client("erin").await.unwrap();
    let id = id_of(&once(&api).await.unwrap().expect(202).unwrap()).unwrap();
    let offset = bell.expect(&id).await.unwrap().offset;
    api.status(&id, "completed").await.unwrap();
    drop(bell);
    let home = first.stop(Signal::TERM).await.unwrap();

    let second = Platform::up_in(&home, &[]).await.unwrap();
    println!("ready on an existing data directory after {:?}", second.ready_after);
    assert!(second.ready_after < START_MAX, "{:?}", second.ready_after);
    assert_eq!(second.url("api_key"), key);
    let api = second.api().unwrap();
    api.get("/v1/recipients/erin").await.unwrap().expect(200).unwrap();
    api.status(&id, "completed").await.unwrap();
    let again = once(&api).await.unwrap();
    assert_eq!(
        (again.status, again.header("idempotent-replayed")),
        (202, "true"),
        "{}",
        again.text
    );
    assert_eq!(id_of(&again.body).unwrap(), id);
    let mut bell = second.client("erin").await.unwrap();
    assert!(bell.offset >= offset, "the stream began anew");
    let after = api.ring("erin", "after").await.unwrap();
    bell.expect(&after).await.unwrap();
    second.stop(Signal::INT).await.unwrap();
}

/// The same request with the same key.
async fn once(api: &Api) -> Result<Answer> {
    let request = api.request(Method::POST, "/v1/notifications").header("Idempotency-Key", "once");
    send(request.json(&json!({"to": "erin", "content": {"title": "before"}}))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_up_prints_works() {
    let platform = Platform::up(&[]).await.unwrap();
    let banner = platform.process.output();
    for name in ["gateway", "sandbox", "edge_ws", "api_key", "nats", "data_dir"] {
        assert!(banner.contains(&platform.url(name)), "{name} is missing in {banner}");
    }
    let (gateway, sandbox, metrics) =
        (platform.url("gateway"), platform.url("sandbox"), platform.url("metrics"));
    let http = http().unwrap();
    let pages = [
        format!("{gateway}/"),
        format!("{gateway}/docs/"),
        format!("{gateway}/openapi.json"),
        format!("{sandbox}/"),
        format!("{metrics}/metrics"),
        format!("{metrics}/healthz"),
        format!("{metrics}/readyz"),
    ];
    for page in pages {
        assert_eq!(http.get(&page).send().await.unwrap().status(), 200, "{page}");
    }
    let names = http.get(format!("{metrics}/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(names.lines().filter(|line| line.starts_with("campana_")).count() > 20, "{names}");
    use std::os::unix::fs::PermissionsExt as _;
    let mode =
        std::fs::metadata(platform.home.data().join("up.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "up.json holds a key");

    // The printed curl, as a person pastes it.
    let curl = banner
        .lines()
        .skip_while(|line| !line.starts_with("curl "))
        .take_while(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("\n");
    let mut bell = platform.client("alice").await.unwrap();
    let ran = std::process::Command::new("sh").args(["-c", &curl]).output().unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    bell.expect(answer["id"].as_str().unwrap()).await.unwrap();
    platform.sandbox().unwrap().message("email", "alice@example.com").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn seeded_people_can_be_reached_on_every_channel() {
    let platform = Platform::up(&[]).await.unwrap();
    let api = platform.api().unwrap();
    let body = json!({"to": "alice", "content": {"title": "Hi"}, "channels": ["in_app", "email", "sms", "whatsapp", "webhook"]});
    let id = id_of(&api.notify(&body).await.unwrap()).unwrap();
    api.status(&id, "completed").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_work_on_the_running_platform() {
    let platform = Platform::up(&["--set", "gateway.key_cache_seconds=1"]).await.unwrap();
    configuration(&platform.home).await.unwrap();
    topology(&platform).await.unwrap();
    tokens(&platform).await.unwrap();
    keys(&platform).await.unwrap();
    notifications(&platform).await.unwrap();
}

async fn configuration(home: &Home) -> Result<()> {
    let arguments = [
        "config",
        "show",
        "--json",
        "--set",
        "auth.token_secret=\"a very secret secret of the right size\"",
    ];
    let shown = home.command(&arguments).await?;
    let json = shown.json()?;
    ensure!(json["schema_version"] == 1 && json["options"].is_array(), "{json}");
    ensure!(!shown.stdout.contains("a very secret secret"), "a secret is shown");
    ensure!(shown.stdout.contains("auth.token_secret"), "{}", shown.stdout);
    home.command(&["config", "check"]).await?.text()?;
    ensure!(home.command(&["config", "doc"]).await?.text()?.contains("[nats.embedded]"));
    Ok(())
}

async fn topology(platform: &Platform) -> Result<()> {
    let home = &platform.home;
    let shown = home.command(&["topology", "show", "--json"]).await?.json()?;
    let names: Vec<&str> = shown["topology"]["streams"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| one["name"].as_str())
        .collect();
    for name in ["REQUESTS", "DELIVERIES", "OUTCOMES", "CHANNELS", "EVENTS", "DLQ"] {
        ensure!(names.contains(&name), "{name} is missing in {names:?}");
    }
    let none = home.command(&["topology", "diff", "--json"]).await?.json()?;
    ensure!(none["differences"].as_array().is_some_and(Vec::is_empty), "{none}");
    let bus = platform.bus().await?;
    let mut changed = bus.jetstream().get_stream("CHANNELS").await?.cached_info().config.clone();
    changed.max_messages_per_subject = 7;
    bus.jetstream().update_stream(changed).await?;
    let differs = home.command(&["topology", "diff", "--json"]).await?;
    ensure!(differs.code == 1 && differs.stdout.contains("CHANNELS"), "{differs:?}");
    home.command(&["topology", "apply"]).await?.text()?;
    home.command(&["topology", "diff"]).await?.text()?;
    Ok(())
}

async fn tokens(platform: &Platform) -> Result<()> {
    let minted =
        platform.home.command(&["token", "mint", "--user", "heidi", "--json"]).await?.json()?;
    let token = minted["token"]["token"].as_str().context("a token")?;
    let mut bell = Client::connect(&platform.url("edge_ws"), "heidi", token).await?;
    let id = platform.api()?.ring("heidi", "minted").await?;
    bell.expect(&id).await.map(drop)
}

async fn keys(platform: &Platform) -> Result<()> {
    let home = &platform.home;
    let created = home
        .command(&["keys", "create", "--name", "e2e", "--role", "reader", "--json"])
        .await?
        .json()?;
    let (key, id) = (
        created["key"]["api_key"].as_str().context("a key")?,
        created["key"]["id"].as_str().context("an id")?,
    );
    let api = platform.api()?.with_key(key);
    api.get("/v1/notifications").await?.expect(200)?;
    let listed = home.command(&["keys", "list", "--json"]).await?;
    ensure!(
        listed.stdout.contains(id) && !listed.stdout.contains(key),
        "a key is shown once: {}",
        listed.stdout
    );
    home.command(&["keys", "revoke", id]).await?.text()?;
    eventually("the end of a revoked key", SOON, async || {
        let answer = api.get("/v1/notifications").await?;
        Ok((answer.status == 401 && answer.code() == "unauthorized").then_some(()))
    })
    .await?;
    ensure!(home.command(&["keys", "revoke", id]).await?.code == 1, "a key is revoked once");
    Ok(())
}

async fn notifications(platform: &Platform) -> Result<()> {
    let sent = platform
        .home
        .command(&["notify", "send", "--to", "alice", "--title", "From the shell", "--json"])
        .await?
        .json()?;
    let id = sent["notification"]["id"].as_str().context("an id")?;
    platform.api()?.status(id, "completed").await?;
    let shown = platform.home.command(&["notify", "show", id]).await?;
    ensure!(shown.text()?.contains("completed"), "{}", shown.stdout);
    Ok(())
}
