//! The desk is stopped, killed, upgraded and scaled while others go on asking: nothing is lost, nothing doubled.

use std::time::Duration;

use anyhow::{Result, ensure};
use campana_bus::publish::Outgoing;
use campana_bus::{Bus, subjects};
use campana_tests::wait::eventually;
use serde_json::{Value, json};

use crate::desk_folder;
use crate::world::{WITHIN, World};

/// Requests of other services, over the bus.
const REQUESTS: usize = 240;
/// Messages of one customer, over HTTP.
const MESSAGES: usize = 120;
const PAUSE: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_desk_that_is_replaced_under_load_loses_no_message() {
    let world = World::start().await.unwrap();
    let mut first = world.desk().await.unwrap();
    let bus = world.platform.bus().await.unwrap();
    let key = "0123456789abcdef0123456789abcdef";
    let body = json!({"key": key, "name": "Ana", "subject": "Load", "text": "first"});
    let (opened, cookie) = world.post(&first.url, "/api/tickets", "", &body).await.unwrap();
    let ticket = opened["ticket"].as_str().unwrap().to_owned();

    let requests = requests(&bus);
    let url = first.url.clone();
    let messages = messages(&world, &url, &ticket, &cookie);
    let replaced = async {
        arrived(&world, REQUESTS / 8).await?;
        first.close().await?; // an upgrade
        // Nobody else notices: a bell rings while the desk is away.
        world.platform.api()?.ring("alice", "while the desk is away").await?;
        world.open(&mut first).await?;
        arrived(&world, REQUESTS / 4).await?;
        first.kill(); // a crash
        world.open(&mut first).await?;
        let second = world.another_desk().await?; // scaled up
        arrived(&world, REQUESTS / 2).await?;
        first.kill();
        world.open(&mut first).await?;
        arrived(&world, REQUESTS).await?;
        second.stop().await // scaled down
    };
    let (requested, posted, replaced) = tokio::join!(requests, messages, replaced);
    requested.unwrap();
    let numbers = posted.unwrap();
    replaced.unwrap();

    // Every request is one ticket with one message, and every message of the customer is there once.
    let tickets = world.query(
        "SELECT COUNT(*), COUNT(DISTINCT subject) FROM tickets WHERE subject LIKE 'Request %'",
    );
    assert_eq!(tickets.await.unwrap(), json!([[REQUESTS, REQUESTS]]));
    let texts = format!("SELECT text FROM messages WHERE ticket = '{ticket}' ORDER BY seq");
    let texts = world.query(&texts).await.unwrap();
    let wanted: Vec<Value> =
        (0..MESSAGES).map(|number| json!([format!("message {number}")])).collect();
    assert_eq!(texts.as_array().unwrap()[1..], wanted);
    assert_eq!(numbers, (2..MESSAGES as u64 + 2).collect::<Vec<_>>());
    // Everything that happened was told, and nothing was given up.
    eventually("the outbox is empty", WITHIN, async || {
        Ok((world.query("SELECT COUNT(*) FROM outbox").await? == json!([[0]])).then_some(()))
    })
    .await
    .unwrap();
    let filter = subjects::app_event_keyed_filter("support", "message_posted");
    let told = bus.fetch_after("EVENTS", &filter, 0, 10_000).await.unwrap().messages.len();
    let said = world.query("SELECT COUNT(*) FROM messages").await.unwrap();
    assert_eq!(json!([[told]]), said, "events of messages");
    for subscription in ["support-live", "support-requests"] {
        let path = format!("/v1/dead-letters?subscription={subscription}");
        let url = format!("{}{path}", first.sidecar_url());
        let letters: Value = world.http.get(url).send().await.unwrap().json().await.unwrap();
        assert_eq!(letters["dead_letters"], json!([]), "{subscription}");
    }
    first.stop().await.unwrap();
    world.stop().await.unwrap();
}

/// Requests of other services: each is told once, whether or not a desk is open.
async fn requests(bus: &Bus) -> Result<()> {
    for number in 0..REQUESTS {
        let body = json!({
            "reference": format!("order-{number}"), "name": "Ana", "email": "", "locale": "es",
            "subject": format!("Request {number}"), "text": "Where is it?",
        });
        let subject = subjects::app_event("default", "support", "ticket_requested");
        let body = serde_json::to_vec(&body)?.into();
        bus.publish(Outgoing::new(subject, format!("support-request-{number}"), body)).await?;
        tokio::time::sleep(PAUSE / 2).await;
    }
    Ok(())
}

/// A customer who goes on writing: what has no answer is repeated under its key, as the page does.
async fn messages(world: &World, url: &str, ticket: &str, cookie: &str) -> Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for number in 0..MESSAGES {
        let body = json!({"key": format!("key-of-message-{number:04}"), "text": format!("message {number}")});
        let seq = eventually("a message is taken", WITHIN, async || {
            let request = world.http.post(format!("{url}/api/tickets/{ticket}/messages"));
            let answer = request.header("cookie", cookie).json(&body).send().await?;
            let status = answer.status();
            ensure!(status.as_u16() == 201, "{status}");
            Ok(answer.json::<Value>().await?["seq"].as_u64())
        })
        .await?;
        numbers.push(seq);
        tokio::time::sleep(PAUSE).await;
    }
    Ok(numbers)
}

/// Waits until so many requests are tickets.
async fn arrived(world: &World, wanted: usize) -> Result<()> {
    eventually("requests arrive", WITHIN, async || {
        let found =
            world.query("SELECT COUNT(*) FROM tickets WHERE subject LIKE 'Request %'").await?;
        let found = found[0][0].as_u64().unwrap_or(0);
        Ok((found >= wanted as u64).then_some(()))
    })
    .await
}

/// The measurement runs, and every bell of it rings; how fast is for a quiet machine to tell.
#[tokio::test(flavor = "multi_thread")]
async fn bells_ring_during_a_flood_on_the_desk() {
    let world = World::start().await.unwrap();
    let desk = world.desk().await.unwrap();
    let measured = tokio::process::Command::new("python3")
        .arg(desk_folder().join("flood.py"))
        .args([
            "--sidecar-url",
            desk.sidecar_url(),
            "--gateway-url",
            &world.platform.url("gateway"),
        ])
        .args(["--probes", "20", "--flood-per-second", "100", "--rounds", "1"])
        .args(["--settle-seconds", "0", "--json"])
        .env("CAMPANA_API_KEY", world.platform.url("api_key"))
        .output();
    let output = measured.await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    for phase in ["quiet", "flood"] {
        assert_eq!(found[phase]["rang"], 20, "{found}");
    }
    assert!(found["flooded"].as_u64() > Some(0), "{found}");
    // What the flood asked for is all there in the end.
    let flooded = found["flooded"].clone();
    eventually("the desk has worked off the flood", WITHIN, async || {
        Ok((world.query("SELECT COUNT(*) FROM tickets").await? == json!([[flooded]])).then_some(()))
    })
    .await
    .unwrap();
    desk.stop().await.unwrap();
    world.stop().await.unwrap();
}
