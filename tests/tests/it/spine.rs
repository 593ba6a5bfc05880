//! One notification from HTTP to a browser, a mailbox, two phones and a webhook, and its whole story; the
//! same checks for the single process on SQLite and for every role as a process of its own on PostgreSQL.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use campana_bus::clock::{self, Micros};
use campana_tests::api::{id_of, send};
use campana_tests::{Api, Client, Platform, Roles, Sandbox, eventually, process};
use reqwest::Method;
use serde_json::{Value, json};

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CHANNELS: [&str; 5] = ["in_app", "email", "sms", "whatsapp", "webhook"];
const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn the_single_process_delivers_on_every_channel() {
    let platform = Platform::up(&[]).await.unwrap();
    let site = Site {
        api: platform.api().unwrap(),
        sandbox: platform.sandbox().unwrap(),
        edge_ws: platform.url("edge_ws"),
    };
    site.check().await.unwrap();
    platform.stop(process::Signal::TERM).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_as_a_process_of_its_own_delivers_on_every_channel() {
    let order = [
        "sandbox",
        "gateway",
        "dispatcher",
        "recorder",
        "edge",
        "email",
        "sms",
        "whatsapp",
        "webhook",
        "keeper",
    ];
    let roles = Roles::start(&order).await.unwrap();
    let site = Site {
        api: roles.api().unwrap(),
        sandbox: roles.sandbox().unwrap(),
        edge_ws: roles.edge_ws().unwrap(),
    };
    site.check().await.unwrap();
    roles.stop().await.unwrap();
}

/// A platform, however it is run.
struct Site {
    api: Api,
    sandbox: Sandbox,
    edge_ws: String,
}

impl Site {
    async fn check(&self) -> Result<()> {
        self.write_recipient_and_template().await?;
        let token = self.api.token("dana").await?;
        let mut bell = Client::connect(&self.edge_ws, "dana", &token).await?;
        let id = self.everywhere(&mut bell).await.context("every channel")?;
        self.story(&id).await.context("the timeline")?;
        self.replay(&mut bell, &id).await.context("the replay")?;
        self.template(&mut bell).await.context("the template")?;
        self.scheduled(&mut bell).await.context("the scheduled notification")?;
        self.read(&mut bell, &token).await.context("the read mark")?;
        self.missed(&mut bell).await.context("the reconnect")
    }

    async fn write_recipient_and_template(&self) -> Result<()> {
        let recipient = json!({
            "email": "dana@example.com", "phone": "+12025550123", "whatsapp": "+12025550124",
            "webhook_url": format!("{}/webhook/dana", self.sandbox.url), "webhook_secret": SECRET,
        });
        self.api.put("/v1/recipients/dana", &recipient).await?.expect(201)?;
        self.sandbox.expect_signed("dana", SECRET).await?;
        let template = json!({"channels": {
            "in_app": {"title": "Order {{ order }}", "body": "Ready at {{ place }}."},
            "email": {"subject": "Your order {{ order }}", "text": "{{ place }}", "html": "<p>{{ place }}</p>"},
        }});
        self.api.put("/v1/templates/order", &template).await?.expect(201).map(drop)
    }

    fn first(&self) -> reqwest::RequestBuilder {
        let body = json!({"to": "dana", "content": {"title": "Hello", "body": "It rings."}, "channels": CHANNELS});
        self.api
            .request(Method::POST, "/v1/notifications")
            .header("Idempotency-Key", "spine-1")
            .header("traceparent", format!("00-{TRACE}-b7ad6b7169203331-01"))
            .json(&body)
    }

    /// One request, five channels, one trace.
    async fn everywhere(&self, bell: &mut Client) -> Result<String> {
        let answer = send(self.first()).await?;
        ensure!(answer.header("traceparent").contains(TRACE), "{:?}", answer.headers);
        ensure!(
            !answer.header("x-request-id").is_empty()
                && !answer.header("ratelimit-remaining").is_empty()
        );
        let accepted = answer.expect(202)?;
        ensure!(
            accepted["status"] == "accepted"
                && accepted["recipients"] == 1
                && accepted["trace_id"] == TRACE,
            "{accepted}"
        );
        let id = id_of(&accepted)?;
        ensure!(accepted["links"]["self"] == format!("/v1/notifications/{id}"));
        let ring = bell.expect(&id).await?;
        ensure!(
            ring.data["type"] == "notification"
                && ring.data["title"] == "Hello"
                && ring.data["body"] == "It rings."
        );
        ensure!(ring.data["trace_id"] == TRACE, "{}", ring.data);
        ensure!(
            ring.tags["traceparent"].as_str().is_some_and(|text| text.contains(TRACE)),
            "{}",
            ring.tags
        );

        let mail = self.sandbox.message("email", "dana@example.com").await?;
        ensure!(
            mail["subject"] == "Hello"
                && mail["email"]["text"].as_str().is_some_and(|text| text.contains("It rings.")),
            "{mail}"
        );
        ensure!(
            mail["email"]["message_id"].as_str().is_some_and(|id| id.contains("dlv_")),
            "{mail}"
        );
        let sms = self.sandbox.message("sms", "2025550123").await?;
        ensure!(sms["sms"]["body"] == "Hello\nIt rings.", "{sms}");
        self.sandbox.message("whatsapp", "2025550124").await?;
        let hook = self.sandbox.message("webhook", "dana").await?;
        ensure!(hook["verification"]["result"] == "verified", "{hook}");
        let trace = hook["webhook"]["headers"]["traceparent"].as_str().unwrap_or_default();
        ensure!(
            trace.contains(TRACE)
                && hook["webhook"]["body"].as_str().is_some_and(|body| body.contains(TRACE)),
            "{hook}"
        );
        Ok(id)
    }

    /// Every attempt is in the timeline, also what the provider confirmed later.
    async fn story(&self, id: &str) -> Result<()> {
        let confirmed = |body: &Value| {
            ["sms", "whatsapp"]
                .iter()
                .all(|channel| delivery(body, channel)["status"] == "delivered")
        };
        let body = self
            .api
            .status_when(id, |body| body["status"] == "completed" && confirmed(body))
            .await?;
        ensure!(
            body["trace_id"] == TRACE
                && body["tenant"] == "default"
                && body["priority"] == "normal",
            "{body}"
        );
        ensure!(
            body["deliveries"].as_array().is_some_and(|all| all.len() == CHANNELS.len()),
            "{body}"
        );
        for (channel, status) in
            [("in_app", "delivered"), ("email", "sent"), ("webhook", "delivered")]
        {
            ensure!(delivery(&body, channel)["status"] == status, "{channel}: {body}");
        }
        for channel in &CHANNELS[1..] {
            let attempts = &delivery(&body, channel)["attempts"];
            ensure!(attempts.as_array().is_some_and(|all| all.len() == 1), "{channel}: {attempts}");
            ensure!(
                attempts[0]["attempt"] == 1 && attempts[0]["possible_duplicate"] == false,
                "{channel}: {attempts}"
            );
            ensure!(
                attempts[0]["provider"].is_string() && attempts[0]["duration_ms"].is_u64(),
                "{channel}: {attempts}"
            );
        }
        let events: Vec<&str> = body["timeline"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|one| one["event"].as_str())
            .collect();
        ensure!(events.first() == Some(&"accepted"), "{events:?}");
        let count = |name: &str| events.iter().filter(|event| **event == name).count();
        ensure!(
            count("planned") >= 1 && count("attempted") == 4 && count("confirmed") >= 2,
            "{events:?}"
        );
        Ok(())
    }

    /// The same key again is the same answer, and nothing happens twice.
    async fn replay(&self, bell: &mut Client, id: &str) -> Result<()> {
        let again = send(self.first()).await?;
        ensure!(
            again.status == 202 && again.header("idempotent-replayed") == "true",
            "{}",
            again.text
        );
        ensure!(id_of(&again.body)? == id);
        let other = self
            .api
            .request(Method::POST, "/v1/notifications")
            .header("Idempotency-Key", "spine-1");
        let other =
            send(other.json(&json!({"to": "dana", "content": {"title": "Another"}}))).await?;
        ensure!(other.status == 422 && other.code() == "idempotency_key_reused", "{}", other.text);
        // What comes next in the inbox is the next notification, not the first one again.
        let marker = self.api.ring("dana", "marker").await?;
        bell.expect(&marker).await?;
        let mails = self.sandbox.messages("email", "dana@example.com").await?.len();
        ensure!(mails == 1, "{mails} mails of one notification");
        Ok(())
    }

    async fn template(&self, bell: &mut Client) -> Result<()> {
        let body = json!({"to": ["dana"], "template": "order", "data": {"order": 7, "place": "the <desk>"}, "metadata": {"shop": "9"}});
        let id = id_of(&self.api.notify(&body).await?)?;
        let ring = bell.expect(&id).await?;
        ensure!(
            ring.data["title"] == "Order 7" && ring.data["body"] == "Ready at the <desk>.",
            "{}",
            ring.data
        );
        ensure!(ring.data["metadata"]["shop"] == "9", "{}", ring.data);
        let status = self.api.status(&id, "completed").await?;
        ensure!(status["template"] == "order" && status["metadata"]["shop"] == "9", "{status}");
        let mails = self.sandbox.messages("email", "dana@example.com").await?;
        ensure!(mails[0]["subject"] == "Your order 7", "{mails:?}");
        Ok(())
    }

    /// Not before its time, and then without being asked.
    async fn scheduled(&self, bell: &mut Client) -> Result<()> {
        let body = json!({"to": "dana", "content": {"title": "later"}, "delay_seconds": 1});
        let later = id_of(&self.api.notify(&body).await?)?;
        let now = self.api.ring("dana", "now").await?;
        bell.expect(&now).await?;
        let ring = bell.expect(&later).await?;
        let accepted = ring.data["created_at"]
            .as_str()
            .and_then(Micros::from_rfc3339)
            .context("created_at")?;
        let waited = clock::now().since(accepted);
        ensure!((1_000_000..15_000_000).contains(&waited), "it rang after {waited} µs");
        let status = self.api.status(&later, "completed").await?;
        ensure!(status["scheduled_at"].is_string(), "{status}");
        let text = status["timeline"].to_string();
        ensure!(text.contains("\"scheduled\""), "{text}");
        Ok(())
    }

    /// A person marks a message as read; the other tabs hear it and the timeline knows it.
    async fn read(&self, bell: &mut Client, token: &str) -> Result<()> {
        let id = self.api.ring("dana", "read me").await?;
        let ring = bell.expect(&id).await?;
        let body = json!({"ids": [ring.data["id"]]});
        let mark = self.api.anonymous(Method::POST, "/v1/inbox/read");
        let answer = send(mark.bearer_auth(token).json(&body)).await?.expect(200)?;
        ensure!(answer["read"] == 1, "{answer}");
        let heard = bell.next(SOON).await?;
        ensure!(heard.data["type"] == "read" && heard.data["ids"] == body["ids"], "{}", heard.data);
        self.api.status_when(&id, |body| delivery(body, "in_app")["read_at"].is_string()).await?;
        Ok(())
    }

    /// What rang while the browser was away is there when it comes back, once and in the order in which it was
    /// stored. (Requests that follow each other within milliseconds are planned at the same time and may swap.)
    async fn missed(&self, bell: &mut Client) -> Result<()> {
        let mut ids = Vec::new();
        for turn in 0..5 {
            ids.push(self.api.ring("dana", &format!("missed {turn}")).await?);
        }
        let last = ids.last().context("five were sent")?.clone();
        self.api.status(&last, "completed").await?;
        eventually("the reconnect", SOON, async || bell.reconnect().await.map(Some)).await?;
        ensure!(bell.recovered, "the edge could not recover");
        let mut heard = Vec::new();
        for _ in &ids {
            // Fails if one comes twice or before an earlier one.
            let next = bell.next(SOON).await?;
            heard.push(next.data["notification_id"].as_str().unwrap_or_default().to_owned());
        }
        ids.sort_unstable();
        heard.sort_unstable();
        ensure!(heard == ids, "{heard:?} instead of {ids:?}");
        Ok(())
    }
}

/// The delivery over one channel.
fn delivery<'a>(notification: &'a Value, channel: &str) -> &'a Value {
    notification["deliveries"]
        .as_array()
        .and_then(|all| all.iter().find(|one| one["channel"] == channel))
        .unwrap_or(&Value::Null)
}
