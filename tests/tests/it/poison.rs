//! A request that cannot be planned is parked by itself, and an operator can mend or discard it.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use campana_tests::api::id_of;
use campana_tests::{Api, Client, Platform, eventually};
use serde_json::{Value, json};

const NEIGHBOURS: usize = 40;
const POISONS: [usize; 2] = [7, 23];
const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_request_harms_no_neighbour_and_can_be_redriven_or_discarded() {
    let platform = Platform::up(&[]).await.unwrap();
    let api = platform.api().unwrap();
    // It parses, but it asks for a value that the requests below do not bring.
    put_template(&api, "Order {{ order }}").await.unwrap();
    let mut bell = platform.client("alice").await.unwrap();
    let (poisons, neighbours) = send_together(&api).await.unwrap();
    let mut rung = BTreeSet::new();
    // What was accepted together has no order among itself.
    for _ in &neighbours {
        let data = bell.next(SOON).await.unwrap().data;
        assert!(rung.insert(data["notification_id"].as_str().unwrap().to_owned()), "{data} twice");
    }
    assert_eq!(rung, neighbours.iter().cloned().collect());
    for id in &neighbours {
        api.status(id, "completed").await.unwrap();
    }
    for id in &poisons {
        failed(&api, id).await.unwrap();
    }
    let letters = parked(&platform, POISONS.len()).await.unwrap();
    for letter in &letters {
        assert_eq!(
            (&letter["stream"], &letter["reason"]),
            (&json!("REQUESTS"), &json!("template_failed")),
            "{letter}"
        );
        assert!(letter["error"].as_str().unwrap().contains("in_app"), "{letter}");
        assert_eq!(letter["trace_id"].as_str().map(str::len), Some(32), "{letter}");
    }
    redriven(&platform, &api, &mut bell, &letters[0]).await.unwrap();
    discarded(&platform, &api, &letters[1], &poisons).await.unwrap();
    // The platform goes on.
    let id = api.ring("alice", "after all").await.unwrap();
    bell.expect(&id).await.unwrap();
}

async fn put_template(api: &Api, title: &str) -> Result<()> {
    let answer =
        api.put("/v1/templates/order", &json!({"channels": {"in_app": {"title": title}}})).await?;
    ensure!(answer.status < 300, "{}", answer.text);
    Ok(())
}

/// One batch: one envelope on the bus, with the poisons in the middle.
async fn send_together(api: &Api) -> Result<(Vec<String>, Vec<String>)> {
    let good = |turn: usize| json!({"to": "alice", "content": {"title": format!("good {turn}")}});
    let poison = json!({"to": "alice", "template": "order", "data": {"place": "here"}});
    let all: Vec<Value> = (0..NEIGHBOURS)
        .map(|turn| if POISONS.contains(&turn) { poison.clone() } else { good(turn) })
        .collect();
    let answer =
        api.post("/v1/notifications/batch", &json!({"notifications": all})).await?.expect(202)?;
    ensure!(answer["accepted"] == NEIGHBOURS, "{answer}");
    let (mut poisons, mut neighbours) = (Vec::new(), Vec::new());
    for (turn, one) in answer["results"].as_array().into_iter().flatten().enumerate() {
        let list = if POISONS.contains(&turn) { &mut poisons } else { &mut neighbours };
        list.push(id_of(one)?);
    }
    Ok((poisons, neighbours))
}

async fn failed(api: &Api, id: &str) -> Result<()> {
    let status = api.status(id, "failed").await?;
    ensure!(status["reason"] == "template_failed", "{status}");
    ensure!(status["timeline"].to_string().contains("rejected"), "{status}");
    Ok(())
}

/// The dead letters, once there are so many.
async fn parked(platform: &Platform, count: usize) -> Result<Vec<Value>> {
    eventually("the dead letters", SOON, async || {
        let listed = platform.home.command(&["dlq", "list", "--json"]).await?.json()?;
        let letters = listed["dead_letters"].as_array().cloned().context("a list")?;
        Ok((letters.len() == count).then_some(letters))
    })
    .await
}

/// After the template is mended, the parked request is delivered as if nothing had been.
async fn redriven(platform: &Platform, api: &Api, bell: &mut Client, letter: &Value) -> Result<()> {
    let id = letter["id"].to_string();
    put_template(api, "Order at {{ place }}").await?;
    let nothing = platform.home.command(&["dlq", "redrive"]).await?;
    ensure!(nothing.code == 2, "redriving all needs --all: {nothing:?}");
    platform.home.command(&["dlq", "redrive", &id, "--dry-run", "--json"]).await?.json()?;
    parked(platform, POISONS.len()).await?;
    let done = platform.home.command(&["dlq", "redrive", &id, "--json"]).await?.json()?;
    ensure!(done["redriven"] == 1, "{done}");
    let ring = bell.next(SOON).await?;
    ensure!(ring.data["title"] == "Order at here", "{}", ring.data);
    let notification = ring.data["notification_id"].as_str().context("an id")?;
    let status = api.status(notification, "completed").await?;
    ensure!(ring.data["trace_id"] == status["trace_id"], "{} and {status}", ring.data);
    parked(platform, POISONS.len() - 1).await.map(drop)
}

/// Gone for good, after being told so; what the caller sees stays.
async fn discarded(
    platform: &Platform,
    api: &Api,
    letter: &Value,
    poisons: &[String],
) -> Result<()> {
    let id = letter["id"].to_string();
    let shown = platform.home.command(&["dlq", "show", &id, "--json"]).await?.json()?;
    // An envelope of one.
    let part = &shown["dead_letter"]["body"]["parts"][0];
    let (notification, request) = (part["id"].as_str().context("an id")?, &part["json"]);
    ensure!(request["id"] == notification, "{request}");
    ensure!(poisons.iter().any(|poison| poison == notification), "{part}");
    let unsure = platform.home.command(&["dlq", "discard", &id]).await?;
    ensure!(unsure.code == 2, "{unsure:?}");
    let done = platform.home.command(&["dlq", "discard", &id, "--yes", "--json"]).await?.json()?;
    ensure!(done["discarded"] == 1, "{done}");
    parked(platform, 0).await?;
    failed(api, notification).await
}
