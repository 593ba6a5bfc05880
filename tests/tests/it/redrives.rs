//! What an operator does with many dead letters: looks, corrects one, lets a job give the rest back.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use campana_tests::api::{http, id_of};
use campana_tests::{Api, Client, Platform, eventually};
use serde_json::{Value, json};

const PARKED: usize = 6;
const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_corrects_one_letter_and_a_keeper_redrives_the_rest() {
    let platform = Platform::up(&[]).await.unwrap();
    let api = platform.api().unwrap();
    put_template(&api, "Order {{ order }}").await.unwrap();
    let mut expected = BTreeSet::new();
    for _ in 0..PARKED {
        let poison = json!({"to": "alice", "template": "order", "data": {"place": "here"}});
        expected.insert(id_of(&api.notify(&poison).await.unwrap()).unwrap());
    }
    let letters = parked(&platform, PARKED).await.unwrap();
    depth(&platform, PARKED).await.unwrap();
    let mut bell = platform.client("alice").await.unwrap();
    corrected(&platform, &mut bell, &letters[0], &mut expected).await.unwrap();
    put_template(&api, "Order at {{ place }}").await.unwrap();
    by_job(&platform, &mut bell, &mut expected).await.unwrap();
    assert!(expected.is_empty(), "not rung: {expected:?}");
    depth(&platform, 0).await.unwrap();
}

async fn put_template(api: &Api, title: &str) -> Result<()> {
    let template = json!({"channels": {"in_app": {"title": title}}});
    let answer = api.put("/v1/templates/order", &template).await?;
    ensure!(answer.status < 300, "{}", answer.text);
    Ok(())
}

async fn parked(platform: &Platform, count: usize) -> Result<Vec<Value>> {
    eventually("the dead letters", SOON, async || {
        let listed = platform.home.command(&["dlq", "list", "--json"]).await?.json()?;
        let letters = listed["dead_letters"].as_array().cloned().context("a list")?;
        Ok((letters.len() == count).then_some(letters))
    })
    .await
}

/// The keeper of `campana up` counts by class.
async fn depth(platform: &Platform, count: usize) -> Result<()> {
    let wanted = format!("class=\"permanent\"}} {count}");
    eventually("the depth as a metric", SOON, async || {
        let text = http()?
            .get(format!("{}/metrics", platform.url("metrics")))
            .send()
            .await?
            .text()
            .await?;
        let mut lines = text.lines().filter(|line| line.starts_with("campana_dlq_depth_messages{"));
        Ok(lines.any(|line| line.ends_with(&wanted)).then_some(()))
    })
    .await
}

/// The request inside the envelope is written anew; the rest of the envelope stays.
async fn corrected(
    platform: &Platform,
    bell: &mut Client,
    letter: &Value,
    expected: &mut BTreeSet<String>,
) -> Result<()> {
    let id = letter["id"].to_string();
    let shown = platform.home.command(&["dlq", "show", &id, "--json"]).await?.json()?;
    let mut request = shown["dead_letter"]["body"]["parts"][0]["json"].clone();
    request["content"]["data"] = json!({"order": "corrected"});
    let file = platform.home.path().join("request.json");
    std::fs::write(&file, request.to_string())?;
    let file = file.display().to_string();
    let edit = ["dlq", "edit", &id, "--body", &file, "--note", "it had no order", "--json"];
    let done = platform.home.command(&edit).await?.json()?;
    ensure!(done["redriven"] == 1, "{done}");
    let ring = bell.next(SOON).await?;
    ensure!(ring.data["title"] == "Order corrected", "{}", ring.data);
    ensure!(expected.remove(ring.data["notification_id"].as_str().context("an id")?));
    Ok(())
}

async fn by_job(
    platform: &Platform,
    bell: &mut Client,
    expected: &mut BTreeSet<String>,
) -> Result<()> {
    let filter = ["--stream", "REQUESTS", "--class", "permanent", "--error", "in_app*", "--json"];
    let redrive = [&["dlq", "redrive"][..], &filter].concat();
    let dry = platform.home.command(&[&redrive[..], &["--dry-run"]].concat()).await?.json()?;
    ensure!(dry["redrive_job"]["counts"]["matched"] == PARKED - 1, "{dry}");
    ensure!(dry["redrive_job"]["groups"][0]["count"] == PARKED - 1, "{dry}");
    let none = platform.home.command(&["dlq", "redrive", "--error", "no such text", "--json"]);
    ensure!(none.await?.json()?["redrive_job"]["counts"]["redriven"] == 0);
    parked(platform, PARKED - 1).await?;
    // Left to the keeper.
    let started = platform.home.command(&[&redrive[..], &["--detach"]].concat()).await?.json()?;
    let id = started["redrive_job"].as_str().context("an id")?;
    let job = eventually("the job ends", SOON, async || {
        let listed = platform.home.command(&["dlq", "jobs", id, "--json"]).await?.json()?;
        let job = listed["redrive_jobs"][0].clone();
        Ok((job["state"] == "done").then_some(job))
    })
    .await?;
    ensure!(job["counts"]["redriven"] == PARKED - 1, "{job}");
    for _ in 1..PARKED {
        let ring = bell.next(SOON).await?;
        ensure!(ring.data["title"] == "Order at here", "{}", ring.data);
        ensure!(expected.remove(ring.data["notification_id"].as_str().context("an id")?));
    }
    parked(platform, 0).await?;
    let late = platform.home.command(&["dlq", "cancel", id]).await?;
    ensure!(late.text()?.contains("ended before"), "{late:?}");
    Ok(())
}
