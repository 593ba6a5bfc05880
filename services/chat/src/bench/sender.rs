//! The one who writes: an account of its own, a room of its own.
//! Reads and writes: the chat's HTTP API. Never: waits for one message's answer before the next one is due.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use campana_bus::clock;
use reqwest::header::{COOKIE, SET_COOKIE};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{BenchOptions, Sent};
use crate::secrets;

const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) struct Sender {
    http: reqwest::Client,
    url: String,
    cookie: String,
    pub(super) room: String,
}

impl Sender {
    /// Makes an account and a room.
    pub(super) async fn enter(options: &BenchOptions) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().timeout(TIMEOUT).build()?;
        let url = options.url.trim_end_matches('/').to_owned();
        let id = secrets::fresh_id("bench")?;
        let account = json!({"handle": &id[..20], "name": "Bench", "password": secrets::secret()?});
        let answer = http.post(format!("{url}/api/accounts")).json(&account).send().await?;
        ensure!(answer.status().is_success(), "no account: {}", answer.text().await?);
        let cookie = answer.headers().get(SET_COOKIE).and_then(|value| value.to_str().ok());
        let cookie =
            cookie.and_then(|value| value.split(';').next()).context("a session's cookie")?;
        let cookie = cookie.to_owned();
        let room = http.post(format!("{url}/api/rooms")).header(COOKIE, &cookie);
        let room = room.json(&json!({"name": "Bench", "private": true})).send().await?;
        ensure!(room.status().is_success(), "no room: {}", room.text().await?);
        let room: Value = room.json().await?;
        let room = room["id"].as_str().context("a room has an id")?.to_owned();
        Ok(Self { http, url, cookie, room })
    }

    /// Sends at the pace that was asked for.
    pub(super) async fn send(&self, options: &BenchOptions) -> anyhow::Result<Sent> {
        let mut tick = tokio::time::interval(Duration::from_millis(options.every_ms.max(1)));
        let (mut sent, mut answers) = (Sent::new(), JoinSet::new());
        for number in 0..options.messages {
            tick.tick().await;
            sent.push(clock::monotonic_ns());
            let text = format!("bench {number}");
            let body = json!({"client_id": format!("bench-{number}"), "text": text});
            let url = format!("{}/api/rooms/{}/messages", self.url, self.room);
            let request = self.http.post(url).header(COOKIE, &self.cookie).json(&body).send();
            answers.spawn(async move { Ok::<_, reqwest::Error>(request.await?.status()) });
        }
        while let Some(answer) = answers.join_next().await {
            let status = answer??;
            ensure!(status.is_success(), "a message was refused: {status}");
        }
        Ok(sent)
    }
}
