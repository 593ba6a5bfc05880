//! Some seconds of everything: all channels, a failure on each, retries, refusals, browsers that come, go and come
//! back, a backend that calls the edge's API, dead letters that are sent again.
//! Reads and writes: a running platform. Never: measures; that is the harness's work.

use anyhow::{Context, Result, ensure};
use campana_tests::api::{http, send};
use campana_tests::{Api, Client, Home, Platform, Sandbox};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::task::JoinSet;

/// The key of the edge's API.
pub const API_KEY: &str = "a-key-for-the-dashboards-test";
const CHANNELS: [&str; 5] = ["in_app", "email", "sms", "whatsapp", "webhook"];
const PEOPLE: usize = 8;
/// How long a reader of a socket waits for the next publication before it asks again.
const QUIET: Duration = Duration::from_secs(300);

/// A load on a platform.
pub struct Load {
    api: Api,
    sandbox: Sandbox,
    edge: String,
    edge_ws: String,
    home: Home,
    readers: JoinSet<()>,
    visitor: Client,
    rounds: usize,
}

impl Load {
    /// Writes recipients and a template that cannot be rendered, and connects browsers.
    ///
    /// # Errors
    /// If the platform refuses.
    pub async fn start(platform: &Platform) -> Result<Self> {
        let (api, sandbox) = (platform.api()?, platform.sandbox()?);
        for person in 0..PEOPLE {
            let recipient = json!({
                "email": format!("p{person}@example.com"), "phone": format!("+120255501{person:02}"),
                "whatsapp": format!("+120255502{person:02}"),
                "webhook_url": format!("{}/webhook/p{person}", sandbox.url),
            });
            api.put(&format!("/v1/recipients/p{person}"), &recipient).await?.expect(201)?;
        }
        let refused = json!({
            "email": "bounce@example.com", "phone": "+15005550001", "whatsapp": "+15005550001",
            "webhook_url": format!("{}/webhook/status-410", sandbox.url),
        });
        api.put("/v1/recipients/refused", &refused).await?.expect(201)?;
        let mut readers = JoinSet::new();
        for person in 0..PEOPLE {
            let mut client = platform.client(&format!("p{person}")).await?;
            readers.spawn(async move { while client.next(QUIET).await.is_ok() {} });
        }
        let visitor = platform.client("visitor").await?;
        let (edge, edge_ws) = (platform.url("edge"), platform.url("edge_ws"));
        let home = platform.home.clone();
        Ok(Self { api, sandbox, edge, edge_ws, home, readers, visitor, rounds: 0 })
    }

    /// One of everything.
    ///
    /// # Errors
    /// If something does not go as it should, a failure included.
    pub async fn round(&mut self) -> Result<()> {
        self.rounds += 1;
        self.faults().await.context("faults")?;
        self.notifications().await.context("notifications")?;
        self.failures().await.context("failures")?;
        self.browsers().await.context("browsers")?;
        self.backend().await.context("the server API")?;
        if self.rounds % 5 == 3 {
            // Its letters will be parked again: that is what the panels of redrives are to show.
            let redrive = ["dlq", "redrive", "--consumer", "channel-email", "--detach"];
            let redriven = self.home.command(&redrive).await?;
            ensure!(redriven.code == 0, "{redriven:?}");
        }
        Ok(())
    }

    /// Two answers of each receiver that have to be tried again.
    async fn faults(&self) -> Result<()> {
        let rules = json!({"rules": [
            {"channel": "smtp", "times": 2, "effect": {"kind": "reply", "stage": "rcpt", "code": 451, "enhanced": "4.7.1"}},
            {"channel": "twilio", "times": 2, "effect": {"kind": "http", "status": 503}},
            {"channel": "webhook", "times": 2, "effect": {"kind": "http", "status": 503}},
        ]});
        let request = http()?.request(Method::PUT, format!("{}/api/faults", self.sandbox.url));
        send(request.json(&rules)).await?.expect(200).map(drop)
    }

    async fn notifications(&mut self) -> Result<()> {
        for person in 0..PEOPLE {
            let priority = ["normal", "critical", "bulk"][person % 3];
            let body = json!({
                "to": format!("p{person}"), "priority": priority, "channels": CHANNELS,
                "content": {"title": "Hello", "body": "It rings."},
            });
            self.api.notify(&body).await?;
        }
        let later = json!({"to": "p0", "content": {"title": "later"}, "delay_seconds": 1});
        self.api.notify(&later).await?;
        let once = || {
            let body = json!({"to": "p1", "content": {"title": "once"}});
            let request = self.api.request(Method::POST, "/v1/notifications");
            request.header("Idempotency-Key", format!("round-{}", self.rounds)).json(&body)
        };
        for _ in 0..2 {
            send(once()).await?.expect(202)?;
        }
        Ok(())
    }

    /// A failure on every channel, and callers who are refused.
    async fn failures(&self) -> Result<()> {
        let providers = &CHANNELS[1..];
        let refused = json!({"to": "refused", "channels": providers, "content": {"title": "no"}});
        self.api.notify(&refused).await?;
        // In-app has no provider that could refuse: it fails by being too late.
        let expires = campana_bus::clock::now().plus_seconds(2).to_rfc3339();
        let late = json!({
            "to": "p2", "channels": ["in_app"], "content": {"title": "too late"},
            "delay_seconds": 4, "expires_at": expires,
        });
        self.api.post("/v1/notifications", &late).await?;
        self.api.post("/v1/notifications", &json!({"to": "p0"})).await?.expect(422)?;
        let stranger = self.api.with_key("ck_nobody_knows_it");
        stranger.post("/v1/notifications", &refused).await?.expect(401).map(drop)
    }

    /// Somebody who asks for what is not theirs, goes, misses something and comes back.
    async fn browsers(&mut self) -> Result<()> {
        // Nobody read its socket meanwhile, so that the edge may have cut it: that is what a reconnect is for.
        self.api.ring("visitor", "missed").await?;
        self.visitor.reconnect().await?;
        let channel = self.visitor.channel.clone();
        let other = json!({"channel": "inbox:#p0"});
        let answer = self.visitor.call("subscribe", other).await?;
        ensure!(answer["error"]["code"].is_u64(), "{answer}");
        self.visitor.call("history", json!({"channel": channel, "limit": 5})).await?;
        let seen = json!({"channel": channel, "offset": self.visitor.offset});
        self.visitor.call("rpc", json!({"method": "campana.ack", "data": seen})).await?;
        let bad = Client::connect(&self.edge_ws, "visitor", "not-a-token").await;
        ensure!(bad.is_err(), "a bad token was taken");
        Ok(())
    }

    async fn backend(&self) -> Result<()> {
        let call = async |method: &str, key: &str, body: Value| {
            let request = http()?.post(format!("{}/api/{method}", self.edge));
            anyhow::Ok(send(request.header("X-API-Key", key).json(&body)).await?.status)
        };
        let channel = "inbox:#p3";
        let publish = json!({"channel": channel, "data": {"type": "note"}});
        for (method, body) in [
            ("publish", publish.clone()),
            ("history", json!({"channel": channel, "limit": 2})),
            ("info", json!({})),
            ("presence", json!({"channel": channel})),
        ] {
            call(method, API_KEY, body).await?;
        }
        ensure!(call("publish", "a-wrong-key-of-some-length", publish).await? == 401);
        Ok(())
    }

    /// Lets the browsers go.
    ///
    /// # Errors
    /// Never now; the caller need not know.
    pub async fn stop(mut self) -> Result<()> {
        self.readers.shutdown().await;
        Ok(())
    }
}
