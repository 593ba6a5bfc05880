//! `campana dlq list|show|redrive|discard`.
//! Reads: dead letters. Writes: them and retry subjects. Never: discards without being told so twice.

use base64::Engine;
use campana_bus::dlq::{self, Filter};
use campana_bus::fetch::StoredMessage;
use campana_bus::headers;
use campana_bus::publish::decode_parts;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Global, client, output};
use crate::errors::usage;

/// Which dead letters are meant.
#[derive(Args, Clone)]
pub struct FilterArgs {
    /// Only this dead letter
    id: Option<u64>,
    /// Only from this stream
    #[arg(long)]
    stream: Option<String>,
    /// Only from this consumer
    #[arg(long)]
    consumer: Option<String>,
    /// Only with this reason
    #[arg(long)]
    reason: Option<String>,
    /// At most this many, oldest first
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

/// What to do with dead letters.
#[derive(Subcommand)]
pub enum DlqCommand {
    /// List them, oldest first
    List(FilterArgs),
    /// Show one with headers and body
    Show {
        /// Its id, from `list`
        id: u64,
    },
    /// Give them back to the consumer that gave them up, with fresh attempts
    Redrive {
        #[command(flatten)]
        filter: FilterArgs,
        /// Only say what would be redriven
        #[arg(long)]
        dry_run: bool,
        /// Redrive without naming an id or a filter
        #[arg(long)]
        all: bool,
    },
    /// Remove them for good
    Discard {
        #[command(flatten)]
        filter: FilterArgs,
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
        /// Really remove them
        #[arg(long)]
        yes: bool,
    },
}

impl FilterArgs {
    fn filter(&self) -> Filter {
        Filter {
            stream: self.stream.clone(),
            consumer: self.consumer.clone(),
            reason: self.reason.clone(),
            id: self.id,
        }
    }

    fn is_empty(&self) -> bool {
        self.id.is_none()
            && self.stream.is_none()
            && self.consumer.is_none()
            && self.reason.is_none()
    }
}

pub async fn run(global: &Global, command: DlqCommand) -> anyhow::Result<()> {
    match command {
        DlqCommand::List(arguments) => list(global, &arguments).await,
        DlqCommand::Show { id } => show(global, id).await,
        DlqCommand::Redrive { filter, dry_run: true, .. }
        | DlqCommand::Discard { filter, dry_run: true, .. } => list(global, &filter).await,
        DlqCommand::Redrive { filter, all, .. } => {
            if filter.is_empty() && !all {
                return Err(usage(
                    "name an id or a filter, or say --all; --dry-run shows what would be redriven",
                ));
            }
            let (_, bus) = client::bus(global).await?;
            let done = dlq::redrive(&bus, &filter.filter(), filter.limit).await?;
            counted(global, "redriven", done)
        }
        DlqCommand::Discard { filter, yes, .. } => {
            if !yes {
                return Err(usage(
                    "discarding cannot be undone: say --yes; --dry-run shows what would be removed",
                ));
            }
            let (_, bus) = client::bus(global).await?;
            let done = dlq::discard(&bus, &filter.filter(), filter.limit).await?;
            counted(global, "discarded", done)
        }
    }
}

fn counted(global: &Global, what: &str, done: usize) -> anyhow::Result<()> {
    if global.json { output::json(what, &done) } else { output::text(&format!("{what}: {done}")) }
}

async fn list(global: &Global, arguments: &FilterArgs) -> anyhow::Result<()> {
    let (_, bus) = client::bus(global).await?;
    let letters = dlq::list(&bus, &arguments.filter(), arguments.limit).await?;
    if global.json {
        return output::json("dead_letters", &letters);
    }
    let rows = letters
        .into_iter()
        .map(|one| {
            vec![
                one.id.to_string(),
                one.dead_at,
                one.stream,
                one.consumer,
                one.reason,
                one.attempts.to_string(),
                one.error,
            ]
        })
        .collect();
    output::table(
        &["ID", "PARKED", "STREAM", "CONSUMER", "REASON", "ATTEMPTS", "ERROR"],
        rows,
        "no dead letters",
    )
}

async fn show(global: &Global, id: u64) -> anyhow::Result<()> {
    let (_, bus) = client::bus(global).await?;
    let (letter, stored) = dlq::show(&bus, id).await?;
    let headers: serde_json::Map<String, serde_json::Value> = stored
        .headers
        .iter()
        .map(|(name, values)| {
            (
                name.to_string(),
                values.iter().map(|value| value.as_str()).collect::<Vec<_>>().join(", ").into(),
            )
        })
        .collect();
    let body = readable(&stored);
    let whole = json!({"letter": letter, "headers": headers, "body": body});
    if global.json {
        output::json("dead_letter", &whole)
    } else {
        output::text(&serde_json::to_string_pretty(&whole)?)
    }
}

/// The body as people read it: JSON if it is JSON, the parts of an envelope, text, or base64.
fn readable(stored: &StoredMessage) -> Value {
    if let Ok(value) = serde_json::from_slice::<Value>(&stored.payload) {
        return json!({"json": value});
    }
    let is_envelope = headers::get(&stored.headers, headers::ENVELOPE_PARTS).is_some();
    if let Some(parts) = decode_parts(&stored.payload).filter(|_| is_envelope) {
        let json = |body: &[u8]| {
            let text = || Value::String(String::from_utf8_lossy(body).into_owned());
            serde_json::from_slice(body).unwrap_or_else(|_| text())
        };
        let parts: Vec<Value> =
            parts.iter().map(|part| json!({"id": part.id, "json": json(&part.body)})).collect();
        return json!({"parts": parts});
    }
    match std::str::from_utf8(&stored.payload) {
        Ok(text) => json!({"text": text}),
        Err(_) => {
            json!({"base64": base64::engine::general_purpose::STANDARD.encode(&stored.payload)})
        }
    }
}
