//! `campana notify send|show|tail`: the HTTP API and the channels from a shell.
//! Reads: notifications; a user's inbox. Writes: notifications. Never: bypasses the gateway.

use campana_bus::subjects::{self, ChannelName};
use campana_bus::topology::CHANNELS;
use clap::{Args, Subcommand};
use futures::StreamExt;
use serde_json::{Value, json};

use super::{Global, client, output};
use crate::errors::{cannot_connect, usage};

/// Where the gateway is.
#[derive(Args, Clone)]
pub struct Target {
    /// The gateway's URL; the running platform's if absent
    #[arg(long, env = "CAMPANA_GATEWAY")]
    gateway: Option<String>,
    /// An API key; the running platform's if absent
    #[arg(long, env = "CAMPANA_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
}

/// What to do with notifications.
#[derive(Subcommand)]
pub enum NotifyCommand {
    /// Send one
    Send {
        #[command(flatten)]
        target: Target,
        /// Recipient's id (repeatable)
        #[arg(long, required = true)]
        to: Vec<String>,
        /// The bell's title, the e-mail's subject
        #[arg(long)]
        title: Option<String>,
        /// The text
        #[arg(long, default_value = "")]
        body: String,
        /// A stored template instead of a title
        #[arg(long, conflicts_with = "title")]
        template: Option<String>,
        /// Data for the template, as JSON
        #[arg(long, default_value = "{}")]
        data: String,
        /// Channel: `in_app`, `email`, `sms`, `whatsapp`, `webhook` (repeatable)
        #[arg(long)]
        channel: Vec<String>,
    },
    /// Show one with its timeline
    Show {
        #[command(flatten)]
        target: Target,
        /// Its id
        id: String,
    },
    /// Print a user's inbox messages as they arrive, until interrupted
    Tail {
        /// The user
        #[arg(long)]
        user: String,
        /// The tenant
        #[arg(long, default_value = "default")]
        tenant: String,
        /// First print this many stored messages
        #[arg(long, default_value_t = 10)]
        last: usize,
    },
}

pub async fn run(global: &Global, command: NotifyCommand) -> anyhow::Result<()> {
    match command {
        NotifyCommand::Send { target, to, title, body, template, data, channel } => {
            let mut request = json!({"to": to});
            match (title, template) {
                (Some(title), None) => request["content"] = json!({"title": title, "body": body}),
                (None, Some(key)) => {
                    let data: Value = serde_json::from_str(&data)
                        .map_err(|error| usage(format!("--data is not JSON: {error}")))?;
                    request["template"] = Value::String(key);
                    request["data"] = data;
                }
                _ => return Err(usage("say --title or --template")),
            }
            if !channel.is_empty() {
                request["channels"] = json!(channel);
            }
            let answer =
                call(global, &target, reqwest::Method::POST, "/v1/notifications", Some(request))
                    .await?;
            if global.json {
                output::json("notification", &answer)
            } else {
                output::text(answer["id"].as_str().unwrap_or_default())
            }
        }
        NotifyCommand::Show { target, id } => {
            let answer = call(
                global,
                &target,
                reqwest::Method::GET,
                &format!("/v1/notifications/{id}"),
                None,
            )
            .await?;
            if global.json { output::json("notification", &answer) } else { show(&answer) }
        }
        NotifyCommand::Tail { user, tenant, last } => tail(global, &user, &tenant, last).await,
    }
}

async fn call(
    global: &Global,
    target: &Target,
    method: reqwest::Method,
    path: &str,
    body: Option<Value>,
) -> anyhow::Result<Value> {
    let (gateway, key) = match (&target.gateway, &target.api_key) {
        (Some(gateway), Some(key)) => (gateway.clone(), key.clone()),
        (gateway, key) => {
            let running = client::running(&global.load()?)?;
            (gateway.clone().unwrap_or(running.gateway), key.clone().unwrap_or(running.api_key))
        }
    };
    let http = reqwest::Client::builder().timeout(std::time::Duration::from_secs(30)).build()?;
    let mut request =
        http.request(method, format!("{}{path}", gateway.trim_end_matches('/'))).bearer_auth(key);
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer = request.send().await.map_err(|error| {
        cannot_connect(format!("the gateway {gateway} does not answer: {error}"))
    })?;
    let status = answer.status();
    let body: Value = answer.json().await?;
    if status.is_success() {
        return Ok(body);
    }
    let details: Vec<String> = body["errors"]
        .as_array()
        .map(|all| {
            all.iter()
                .map(|one| {
                    format!(
                        "{}: {}",
                        one["pointer"].as_str().unwrap_or("/"),
                        one["detail"].as_str().unwrap_or_default()
                    )
                })
                .collect()
        })
        .unwrap_or_default();
    anyhow::bail!(
        "{} ({status}): {} {}",
        body["code"].as_str().unwrap_or("error"),
        body["detail"].as_str().unwrap_or_default(),
        details.join("; ")
    )
}

fn show(notification: &Value) -> anyhow::Result<()> {
    let field = |name: &str| notification[name].as_str().unwrap_or_default().to_owned();
    output::text(&format!(
        "{}  {}  {}  trace {}",
        field("id"),
        field("status"),
        field("created_at"),
        field("trace_id")
    ))?;
    let text = |value: &Value| {
        value.as_str().map_or_else(
            || {
                if value.is_null() { String::new() } else { value.to_string() }
            },
            str::to_owned,
        )
    };
    let rows = notification["timeline"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| {
            vec![
                text(&entry["at"]),
                text(&entry["event"]),
                text(&entry["delivery_id"]),
                text(&entry["detail"]),
            ]
        })
        .collect();
    output::table(&["AT", "EVENT", "DELIVERY", "DETAIL"], rows, "nothing happened yet")
}

async fn tail(global: &Global, user: &str, tenant: &str, last: usize) -> anyhow::Result<()> {
    let (_, bus) = client::bus(global).await?;
    let channel = ChannelName::inbox(user)?;
    let mut live = bus.client().subscribe(subjects::live(tenant, &channel)).await?;
    let stored =
        bus.fetch_after(CHANNELS, &subjects::channel(tenant, &channel), 0, 1_000).await?.messages;
    let mut seen = 0;
    for message in &stored[stored.len().saturating_sub(last)..] {
        output::text(&String::from_utf8_lossy(&message.payload))?;
        seen = message.sequence;
    }
    loop {
        tokio::select! {
            message = live.next() => {
                let Some(message) = message else { return Ok(()) };
                let sequence = message.headers.as_ref().and_then(|all| campana_bus::headers::get_number::<u64>(all, "Nats-Sequence"));
                if sequence.is_some_and(|sequence| sequence > seen) {
                    output::text(&String::from_utf8_lossy(&message.payload))?;
                }
            }
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}
